#include "server/rate_limiter.h"

#include <gtest/gtest.h>

#include <string>

namespace factord {
namespace {

using std::chrono::milliseconds;
using Clock = RateLimiter::Clock;

const Clock::time_point kStart = Clock::time_point() + std::chrono::hours(1);

// How many of `tries` calls, evenly over `time`, may go.
int Taken(RateLimiter* limiter, const std::string& client, Clock::time_point start,
          milliseconds time, int tries) {
  int taken = 0;
  for (int i = 0; i < tries; ++i) {
    if (limiter->TryTake(client, 1, start + time * i / tries) == Clock::duration::zero()) ++taken;
  }
  return taken;
}

TEST(RateLimiterTest, HoldsTheRateOverTime) {
  RateLimiter limiter(100);
  EXPECT_NEAR(Taken(&limiter, "a", kStart, std::chrono::seconds(10), 10'000), 1'100, 5);
  // A second client has a rate of its own.
  EXPECT_NEAR(Taken(&limiter, "b", kStart, std::chrono::seconds(1), 1'000), 200, 5);
}

TEST(RateLimiterTest, ALargeRequestPassesAndIsPaidForAfterwards) {
  RateLimiter limiter(10);
  EXPECT_EQ(limiter.TryTake("a", 1'000, kStart), Clock::duration::zero());
  const auto wait = limiter.TryTake("a", 1, kStart);
  EXPECT_NEAR(std::chrono::duration<double>(wait).count(), 99, 0.1);
  // Waiting for as long as it says is enough.
  EXPECT_EQ(limiter.TryTake("a", 1, kStart + wait), Clock::duration::zero());
}

TEST(RateLimiterTest, TakeTellsHowLongToWait) {
  RateLimiter limiter(10);
  EXPECT_EQ(limiter.Take("a", 9, kStart), Clock::duration::zero());
  EXPECT_NEAR(std::chrono::duration<double>(limiter.Take("a", 11, kStart)).count(), 1, 0.1);
}

TEST(RateLimiterTest, ZeroIsNoLimit) {
  RateLimiter limiter(0);
  EXPECT_FALSE(limiter.is_on());
  EXPECT_EQ(Taken(&limiter, "a", kStart, milliseconds(1), 10'000), 10'000);
}

TEST(RateLimiterTest, ManyClientsDoNotForgetTheOneInDebt) {
  RateLimiter limiter(10);
  limiter.Take("in debt", 1'000, kStart);
  for (int i = 0; i < 250'000; ++i) {
    limiter.TryTake(std::to_string(i), 1, kStart + std::chrono::microseconds(10) * i);
  }
  EXPECT_GT(limiter.TryTake("in debt", 1, kStart + std::chrono::seconds(3)),
            std::chrono::seconds(1));
}

// Every new client went through all the others, once there were as many as are remembered.
TEST(RateLimiterTest, RoomIsMadeForManyClientsAtOnceAndTheyStayWhoOweMost) {
  RateLimiter limiter(10);
  constexpr int kClients = 100'000;
  limiter.Take("in debt", 1'000, kStart);
  limiter.Take("in less", 10, kStart);
  for (int i = 2; i < kClients; ++i) limiter.Take(std::to_string(i), 20, kStart);
  EXPECT_EQ(limiter.clients(), size_t{kClients});
  limiter.Take("one more", 20, kStart);
  EXPECT_EQ(limiter.clients(), size_t{kClients} * 9 / 10 + 1);
  EXPECT_GT(limiter.TryTake("in debt", 1, kStart), std::chrono::seconds(90));
  EXPECT_EQ(limiter.TryTake("in less", 1, kStart), Clock::duration::zero());  // forgotten
}

}  // namespace
}  // namespace factord
