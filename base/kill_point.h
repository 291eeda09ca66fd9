// Named instants at which the crash tests end the process (tests/crash/). A point costs a look at
// one pointer, which is null unless their library has been preloaded.
#pragma once

// `factord` exports it to the library, which sets it before main.
extern "C" void (*factord_kill_point)(const char* name);

namespace factord {

inline void KillPoint(const char* name) {
  if (factord_kill_point != nullptr) factord_kill_point(name);
}

}  // namespace factord
