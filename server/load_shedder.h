// Which calls to refuse when more come than can be answered.
//
// A server that answers as many as it can and refuses the rest is busy all the time: whatever comes
// waits in the network and in gRPC behind all that came before, and so do the answers. So once
// there have been too many calls at once, only a share of them is let in, which is adapted to how
// long calls wait in gRPC: from their headers, when it is decided, to their requests, which mostly
// come with them. What is let in is answered soon.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
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

  // One that was let in has waited so long for its request, of so many bytes.
  void Waited(Clock::duration time, size_t bytes) {
    if (bytes <= kSmall) ++(time > kLate ? late_ : prompt_);
  }

  // To be called now and then, too, since there may be no calls.
  void Adapt(Clock::time_point now) {
    const Clock::duration passed = now - begin_;
    if (!is_on_ || passed < kInterval) return;
    const int64_t all = late_ + prompt_;
    if (all < kEnough && passed < kMostPatience) return;
    double factor = kIdle;
    if (all >= kEnough) {
      const double late = static_cast<double>(late_) / static_cast<double>(all);
      factor = std::clamp(1 + kSlope * (kEnoughLate - late), kLess, kMore);
    }
    share_ = std::clamp(share_ * factor, kLeastShare, 1.0);
    if (share_ == 1) is_on_ = false;
    Begin(now);
  }

  // Of calls, how many are let in; 1 where there is no need to refuse any.
  double share() const { return share_; }

 private:
  static constexpr std::chrono::milliseconds kInterval{10};
  // Requests that are larger take a while to come, whatever the server does.
  static constexpr size_t kSmall = 14'000;
  // A call that waits longer is late. In gRPC it takes some 10 us where nothing is to be waited
  // for, so that nearly none is.
  static constexpr std::chrono::microseconds kLate{250};
  // The share stays where so many are late, of those that were let in. Some clients' requests come
  // later than their headers: while they are no more than half, nothing is refused for them.
  static constexpr double kEnoughLate = 0.6;
  // By how much it changes with what is late, and in an interval at the most.
  static constexpr double kSlope = 0.5, kLess = 0.8, kMore = 1.05;
  // An interval lasts until so many have told, or so long: then hardly any calls are let in, and
  // the share doubles.
  static constexpr int64_t kEnough = 10;
  static constexpr std::chrono::milliseconds kMostPatience{200};
  static constexpr double kIdle = 2;
  static constexpr double kLeastShare = 0.01;

  void Begin(Clock::time_point now) {
    late_ = prompt_ = 0;
    begin_ = now;
  }

  bool is_on_ = false;
  double share_ = 1;
  double due_ = 0;  // calls that may be let in
  // Of this interval.
  Clock::time_point begin_;
  int64_t late_ = 0, prompt_ = 0;
};

}  // namespace factord
