#include "base/kill_point.h"

void (*factord_kill_point)(const char* name) = nullptr;
