// Which calls to refuse when more come than can be answered.
//
// A server that answers as many as it can and refuses the rest is busy all the time: whatever comes
// waits in the network and in gRPC behind all that came before, and so do the answers. So once
// there have been too many calls at once, only a share of them is let in, which is adapted to how
// long calls wait in gRPC: from their headers, when it is decided, to their requests, which mostly
// come with them. What is let in is answered as if no more had come.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>

namespace factord {

// Not thread-safe.
class LoadShedder {
 public:
  using Clock = std::chrono::steady_clock;

  // There are too many calls at once.
  void TooMany(Clock::time_point now) {
    if (!is_on_) Begin(now);
    is_on_ = true;
  }

  // Whether one more call may be let in. `now` may fall a little.
  bool MayBegin(Clock::time_point now) {
    if (!is_on_) return true;
    if (now >= interval_end_) Adapt(now);
    due_ += share_;
    if (due_ < 1) return false;
    due_ -= 1;
    return true;
  }

  // One that was let in has waited for its request so long.
  void Waited(Clock::duration time) { ++(time > kLate ? late_ : prompt_); }

  // Of calls, how many are let in; 1 where there is no need to refuse any.
  double share() const { return share_; }

 private:
  static constexpr std::chrono::milliseconds kInterval{10};
  // A call that waits longer is late. In gRPC it takes some 10 us where nothing is to be waited
  // for.
  static constexpr std::chrono::milliseconds kLate{1};
  // In each interval the share is multiplied by kMore - kSlope times the share of late calls, and
  // by kLess at the least: it stays where a tenth is late. So does who has slow clients beside.
  static constexpr double kMore = 1.05, kSlope = 0.5, kLess = 0.8;
  static constexpr double kLeastShare = 0.01;

  // An interval.
  void Begin(Clock::time_point now) {
    late_ = prompt_ = 0;
    interval_end_ = now + kInterval;
  }

  void Adapt(Clock::time_point now) {
    const auto intervals = 1 + (now - interval_end_) / kInterval;
    const auto late = static_cast<double>(late_), all = late + static_cast<double>(prompt_);
    const double factor = late_ == 0 ? std::pow(kMore, std::min<int64_t>(intervals, 1'000))
                                     : std::max(kLess, kMore - kSlope * late / all);
    share_ = std::clamp(share_ * factor, kLeastShare, 1.0);
    if (share_ == 1) is_on_ = false;
    Begin(now);
  }

  bool is_on_ = false;
  double share_ = 1;
  double due_ = 0;  // calls that may be let in
  // In this interval.
  int64_t late_ = 0, prompt_ = 0;
  Clock::time_point interval_end_;
};

}  // namespace factord
