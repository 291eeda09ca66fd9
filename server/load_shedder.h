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
    Adapt(now);
    due_ += share_;
    if (due_ < 1) return false;
    due_ -= 1;
    return true;
  }

  // One that was let in has waited for its request so long.
  void Waited(Clock::duration time) { ++(time > kLate ? late_ : prompt_); }

  // To be called now and then, too, since there may be no calls.
  void Adapt(Clock::time_point now) {
    if (!is_on_ || now < interval_end_) return;
    const auto intervals = static_cast<double>(1 + (now - interval_end_) / kInterval);
    const auto late = static_cast<double>(late_), all = late + static_cast<double>(prompt_);
    const double factor = all == 0
                              ? std::pow(kMore, std::min(intervals, kMostIntervals))
                              : std::clamp(1 + kSlope * (kEnoughLate - late / all), kLess, kMore);
    share_ = std::clamp(share_ * factor, kLeastShare, 1.0);
    if (share_ == 1) is_on_ = false;
    Begin(now);
  }

  // Of calls, how many are let in; 1 where there is no need to refuse any.
  double share() const { return share_; }

 private:
  static constexpr std::chrono::milliseconds kInterval{10};
  // A call that waits longer is late. In gRPC it takes some 10 us where nothing is to be waited
  // for, so that nearly none is.
  static constexpr std::chrono::microseconds kLate{250};
  // The share stays where so many are late, of those that were let in. Some clients' requests come
  // later than their headers: as long as they are fewer, nothing is refused for them.
  static constexpr double kEnoughLate = 0.6;
  // How much it moves in an interval in which all or none are.
  static constexpr double kSlope = 0.5, kLess = 0.8, kMore = 1.05;
  // Where no call has told anything, it is as if none were late; for so many intervals, since that
  // may be due to a pause of the machine.
  static constexpr double kMostIntervals = 14;
  static constexpr double kLeastShare = 0.01;

  // An interval.
  void Begin(Clock::time_point now) {
    late_ = prompt_ = 0;
    interval_end_ = now + kInterval;
  }

  bool is_on_ = false;
  double share_ = 1;
  double due_ = 0;  // calls that may be let in
  // In this interval.
  int64_t late_ = 0, prompt_ = 0;
  Clock::time_point interval_end_;
};

}  // namespace factord
