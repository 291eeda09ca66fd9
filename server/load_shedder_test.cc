#include "server/load_shedder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

namespace factord {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = LoadShedder::Clock;

constexpr size_t kBytes = 100;

// One processor, to which calls come at even intervals, and wait for those before.
class Processor {
 public:
  static constexpr microseconds kAnswer{80}, kRefusal{25};

  struct Outcome {
    int answered = 0;
    int refused = 0;
    Clock::duration longest_wait{0};
  };

  Clock::time_point now() const { return now_; }

  Outcome Run(LoadShedder* shedder, Clock::duration time, Clock::duration gap) {
    Outcome outcome;
    for (const Clock::time_point end = now_ + time; now_ < end; now_ += gap) {
      free_ = std::max(free_, now_);
      outcome.longest_wait = std::max(outcome.longest_wait, free_ - now_);
      // It is seen, and its request read, by turns of what waits.
      if (shedder->MayBegin(free_)) {
        shedder->Waited((free_ - now_) / 2, kBytes);
        free_ += kAnswer;
        ++outcome.answered;
      } else {
        free_ += kRefusal;
        ++outcome.refused;
      }
    }
    return outcome;
  }

 private:
  Clock::time_point now_ = Clock::time_point() + std::chrono::hours(1);
  Clock::time_point free_;
};

TEST(LoadShedderTest, LetsAllInUntilThereAreTooMany) {
  LoadShedder shedder;
  const auto outcome = Processor().Run(&shedder, seconds(1), microseconds(40));
  EXPECT_EQ(outcome.refused, 0);
  EXPECT_GT(outcome.longest_wait, milliseconds(900));
}

TEST(LoadShedderTest, WhatIsLetInIsAnsweredSoonAtTwiceTheCapacity) {
  LoadShedder shedder;
  Processor processor;
  shedder.TooMany(processor.now());
  processor.Run(&shedder, seconds(2), Processor::kAnswer / 2);
  const auto outcome = processor.Run(&shedder, seconds(2), Processor::kAnswer / 2);
  EXPECT_LT(outcome.longest_wait, milliseconds(15));
  // No more than 27% can be, beside the refusals.
  EXPECT_GT(outcome.answered, 0.2 * (outcome.answered + outcome.refused));
}

TEST(LoadShedderTest, LetsAllInAgainSoonAfterwards) {
  LoadShedder shedder;
  Processor processor;
  shedder.TooMany(processor.now());
  processor.Run(&shedder, seconds(2), Processor::kAnswer / 2);
  ASSERT_LT(shedder.share(), 0.4);
  processor.Run(&shedder, milliseconds(500), Processor::kAnswer * 2);
  EXPECT_EQ(processor.Run(&shedder, seconds(1), Processor::kAnswer * 2).refused, 0);
  EXPECT_EQ(shedder.share(), 1);
  // As long as there are not too many calls at once, they may wait.
  EXPECT_EQ(processor.Run(&shedder, seconds(1), Processor::kAnswer / 2).refused, 0);
}

TEST(LoadShedderTest, LetsAllInAfterAPause) {
  LoadShedder shedder;
  Processor processor;
  shedder.TooMany(processor.now());
  processor.Run(&shedder, seconds(2), Processor::kAnswer / 2);
  processor.Run(&shedder, seconds(10), seconds(1));
  EXPECT_EQ(shedder.share(), 1);
}

TEST(LoadShedderTest, AlwaysLetsAFewIn) {
  LoadShedder shedder;
  Processor processor;
  shedder.TooMany(processor.now());
  // Refusals alone take longer than there is.
  const auto outcome = processor.Run(&shedder, seconds(5), Processor::kRefusal / 2);
  EXPECT_GE(outcome.answered, (outcome.answered + outcome.refused) / 100);
}

// Calls to a server with nothing to do, of which `slow` tell whether one has been slow, for so many
// seconds after an overload.
double ShareAfterOverload(const std::function<bool(int i)>& slow, size_t bytes = kBytes) {
  LoadShedder shedder;
  Processor processor;
  shedder.TooMany(processor.now());
  processor.Run(&shedder, seconds(2), Processor::kAnswer / 2);
  EXPECT_LT(shedder.share(), 0.4);
  Clock::time_point now = processor.now();
  for (int i = 0; i < 10'000; ++i) {
    now += milliseconds(1);
    if (!shedder.MayBegin(now)) continue;
    shedder.Waited(slow(i) ? milliseconds(50) : microseconds(10), bytes);
  }
  return shedder.share();
}

TEST(LoadShedderTest, SlowClientsAreNoReasonToRefuse) {
  std::minstd_rand random;
  EXPECT_EQ(ShareAfterOverload([&](int) { return random() % 2 == 0; }), 1);
}

TEST(LoadShedderTest, LargeRequestsAreNoReasonToRefuse) {
  EXPECT_EQ(ShareAfterOverload([](int) { return true; }, /*bytes=*/100'000), 1);
}

TEST(LoadShedderTest, WhereMostAreLateTheShareStaysLow) {
  EXPECT_LT(ShareAfterOverload([](int i) { return i % 8 != 0; }), 0.3);
}

TEST(LoadShedderTest, APauseOfTheMachineLetsNoFloodIn) {
  LoadShedder shedder;
  Processor processor;
  shedder.TooMany(processor.now());
  processor.Run(&shedder, seconds(2), Processor::kAnswer / 2);
  shedder.Adapt(processor.now() + milliseconds(10));  // what has been told until now
  const double before = shedder.share();
  shedder.Adapt(processor.now() + seconds(1));
  EXPECT_GT(shedder.share(), before);
  EXPECT_LE(shedder.share(), 2 * before);
}

}  // namespace
}  // namespace factord
