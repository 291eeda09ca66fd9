// How long to wait between attempts: doubled each time up to a maximum, times a random factor from
// 0.5 to 1, so that many clients do not come back together. Thread-compatible.
#pragma once

#include <algorithm>

#include "absl/random/random.h"
#include "absl/time/time.h"

namespace factord {

class Backoff {
 public:
  Backoff(absl::Duration first, absl::Duration last) : first_(first), last_(last) {}

  absl::Duration Next() {
    current_ = std::clamp(2 * current_, first_, last_);
    return current_ * absl::Uniform(random_, 0.5, 1.0);
  }
  // The next one is the first one again.
  void Reset() { current_ = absl::ZeroDuration(); }

 private:
  const absl::Duration first_;
  const absl::Duration last_;
  absl::Duration current_ = absl::ZeroDuration();
  absl::InsecureBitGen random_;
};

}  // namespace factord
