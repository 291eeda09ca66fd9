#include "engine/sequence_waiters.h"

#include <future>
#include <thread>

#include "gtest/gtest.h"

namespace factord {
namespace {

using std::chrono::milliseconds;

std::future<absl::Status> Wait(SequenceWaiters& waiters, int64_t sequence, milliseconds timeout) {
  auto promise = std::make_shared<std::promise<absl::Status>>();
  waiters.Add(sequence, SequenceWaiters::Clock::now() + timeout,
              [promise](absl::Status status) { promise->set_value(status); });
  return promise->get_future();
}

TEST(SequenceWaitersTest, WakesThoseWhoseSequenceIsVisible) {
  SequenceWaiters waiters;
  auto five = Wait(waiters, 5, std::chrono::hours(1));
  auto nine = Wait(waiters, 9, std::chrono::hours(1));
  waiters.Advance(5);
  EXPECT_TRUE(five.get().ok());
  EXPECT_EQ(nine.wait_for(milliseconds(0)), std::future_status::timeout);
  waiters.Advance(10);
  EXPECT_TRUE(nine.get().ok());
}

TEST(SequenceWaitersTest, SeesWhatBecameVisibleBeforeItWasAdded) {
  SequenceWaiters waiters;
  waiters.Advance(7);
  EXPECT_TRUE(Wait(waiters, 7, std::chrono::hours(1)).get().ok());
}

TEST(SequenceWaitersTest, GivesUpAtTheDeadlineAndAtTheEnd) {
  std::future<absl::Status> left;
  {
    SequenceWaiters waiters;
    EXPECT_EQ(Wait(waiters, 1, milliseconds(1)).get().code(), absl::StatusCode::kUnavailable);
    left = Wait(waiters, 1, std::chrono::hours(1));
  }
  EXPECT_EQ(left.get().code(), absl::StatusCode::kUnavailable);
}

// Many waits race with many advances: none is lost.
TEST(SequenceWaitersTest, NoWaitIsLost) {
  SequenceWaiters waiters;
  constexpr int64_t kLast = 2000;
  std::thread writer([&] {
    for (int64_t s = 1; s <= kLast; ++s) waiters.Advance(s);
  });
  std::vector<std::future<absl::Status>> waits;
  for (int64_t s = 1; s <= kLast; ++s) waits.push_back(Wait(waiters, s, std::chrono::hours(1)));
  writer.join();
  for (auto& wait : waits) EXPECT_TRUE(wait.get().ok());
}

}  // namespace
}  // namespace factord
