#include "base/histogram.h"

#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using testing::ElementsAre;

TEST(HistogramTest, IsEmptyAtFirst) {
  const double bounds[] = {1, 2};
  const HistogramSnapshot snapshot = Histogram(bounds).Snapshot();
  EXPECT_THAT(snapshot.bounds, ElementsAre(1, 2));
  EXPECT_THAT(snapshot.counts, ElementsAre(0, 0, 0));
  EXPECT_EQ(snapshot.sum, 0);
  EXPECT_EQ(snapshot.count, 0);
}

TEST(HistogramTest, ABoundBelongsToItsBucketAndWhatIsBeyondAllToTheLast) {
  const double bounds[] = {1, 2, 4};
  Histogram histogram(bounds);
  for (const double value : {-1.0, 1.0, 1.5, 2.0, 2.5, 4.5, 100.0}) histogram.Observe(value);
  const HistogramSnapshot snapshot = histogram.Snapshot();
  EXPECT_THAT(snapshot.counts, ElementsAre(2, 2, 1, 2));
  EXPECT_EQ(snapshot.count, 7);
  EXPECT_DOUBLE_EQ(snapshot.sum, 110.5);
}

TEST(HistogramTest, TheReadyMadeBoundsAscend) {
  EXPECT_THAT(kSecondsBounds, testing::WhenSorted(testing::ElementsAreArray(kSecondsBounds)));
  EXPECT_THAT(kLongSecondsBounds,
              testing::WhenSorted(testing::ElementsAreArray(kLongSecondsBounds)));
  EXPECT_THAT(kSizeBounds, testing::WhenSorted(testing::ElementsAreArray(kSizeBounds)));
}

TEST(HistogramTest, LosesNothingBetweenThreads) {
  constexpr int kThreads = 4;
  constexpr int kValues = 20'000;
  const double bounds[] = {0.5};
  Histogram histogram(bounds);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&histogram] {
      for (int i = 0; i < kValues; ++i) histogram.Observe(i % 2);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const HistogramSnapshot snapshot = histogram.Snapshot();
  EXPECT_THAT(snapshot.counts, ElementsAre(kThreads * kValues / 2, kThreads * kValues / 2));
  EXPECT_EQ(snapshot.sum, kThreads * kValues / 2);
}

}  // namespace
}  // namespace factord
