#include "tests/crash/kill_switch.h"

namespace factord {

std::vector<std::string> KillSwitch::Environment() const {
#ifdef FACTORD_KILL_POINTS_LIBRARY
  return {std::string("LD_PRELOAD=") + FACTORD_KILL_POINTS_LIBRARY,
          std::string(kKillControlVariable) + "=" + control_.path()};
#else
  return {};
#endif
}

void KillSwitch::Arm(int point, int passes) {
  control_->countdown = passes;
  control_->armed = point;
}

void KillSwitch::Disarm() { control_->armed = -1; }

void KillSwitch::SetClockOffset(int64_t seconds) { control_->clock_offset_seconds = seconds; }

}  // namespace factord
