// Ends a server at a point of kill_points.h, or tells what it was doing when it ended.
//
//   KillSwitch kill_switch;
//   ServerProcess server(flags, kill_switch.Environment());
//   kill_switch.Arm(point, 3);  // the third time it comes by
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "tests/crash/kill_points.h"
#include "tests/crash/shared_control.h"

namespace factord {

// Thread-compatible. For one server after the other.
class KillSwitch {
 public:
  // "NAME=value", for the server to come; empty where nothing can be preloaded (a sanitizer's
  // runtime wants to be first), so that no point is ever passed.
  std::vector<std::string> Environment() const;
  // For the next server: nothing armed, nothing counted.
  void Reset() { control_.Reset(); }
  // `point` is an index of kKillPoints, `passes` from 1.
  void Arm(int point, int passes);
  void Disarm();
  // What the server's wall clock is ahead of the true one.
  void SetClockOffset(int64_t seconds);

  // Whether the server has points to be killed at.
  bool is_hooked() const { return control_->hooked; }
  // The point at which the server was killed, or -1.
  int killed_at() const { return control_->killed_at; }
  // And when.
  std::chrono::steady_clock::time_point killed_time() const {
    return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(control_->killed_nanos));
  }
  // Whether it was writing a snapshot, or trimming the log after one.
  bool in_snapshot() const { return control_->snapshots_begun > control_->snapshots_ended; }

 private:
  SharedControl<KillControl> control_;
};

}  // namespace factord
