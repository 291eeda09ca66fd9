#include "base/low_priority.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <thread>

namespace factord {
namespace {

int Nice() { return getpriority(PRIO_PROCESS, 0); }

TEST(LowPriorityTest, WaitsForWorkThatYieldsToOthers) {
  const int before = Nice();
  int during = 0;
  std::thread::id thread;
  AtLowPriority([&] {
    during = Nice();
    thread = std::this_thread::get_id();
  });
  EXPECT_EQ(during, std::max(before, 10));
  EXPECT_NE(thread, std::this_thread::get_id());
  EXPECT_EQ(Nice(), before);
}

}  // namespace
}  // namespace factord
