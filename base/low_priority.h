// Work that shall not hold up anybody who waits: a snapshot beside queries.
//
//   AtLowPriority([&] { result = Work(); });
#pragma once

#include "absl/functional/function_ref.h"

namespace factord {

// Calls `work` on a thread of its own, which gets a processor less soon than others (nice 10), and
// waits for its end. On the calling thread where there can be no other. Any thread.
void AtLowPriority(absl::FunctionRef<void()> work);

}  // namespace factord
