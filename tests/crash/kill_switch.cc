#include "tests/crash/kill_switch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <new>

namespace factord {

KillSwitch::KillSwitch() {
  const int fd = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  EXPECT_EQ(ftruncate(fd, sizeof(KillControl)), 0);
  void* const memory =
      mmap(nullptr, sizeof(KillControl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  EXPECT_NE(memory, MAP_FAILED);
  control_ = new (memory) KillControl;
}

KillSwitch::~KillSwitch() { munmap(control_, sizeof(KillControl)); }

std::vector<std::string> KillSwitch::Environment() const {
#ifdef FACTORD_KILL_POINTS_LIBRARY
  return {std::string("LD_PRELOAD=") + FACTORD_KILL_POINTS_LIBRARY,
          std::string(kKillControlVariable) + "=" + path_};
#else
  return {};
#endif
}

void KillSwitch::Reset() {
  control_->armed = -1;
  control_->countdown = 0;
  control_->killed_at = -1;
  control_->hooked = false;
  control_->snapshots_begun = 0;
  control_->snapshots_ended = 0;
  control_->clock_offset_seconds = 0;
}

void KillSwitch::Arm(int point, int passes) {
  control_->countdown = passes;
  control_->armed = point;
}

void KillSwitch::Disarm() { control_->armed = -1; }

void KillSwitch::SetClockOffset(int64_t seconds) { control_->clock_offset_seconds = seconds; }

}  // namespace factord
