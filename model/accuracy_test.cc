// What the default configuration learns from real ratings: the committed MovieLens sample, once, in
// the order of time, each rating predicted before it is learned.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "model/id_map.h"
#include "model/row.h"
#include "model/update.h"
#include "ratings/rating_reader.h"

namespace factord {
namespace {

struct Rating {
  std::string user;
  std::string item;
  float value;
  int64_t time;
};

std::vector<Rating> ReadInOrderOfTime(const std::string& path) {
  std::vector<Rating> ratings;
  absl::StatusOr<std::unique_ptr<RatingReader>> reader = RatingReader::Open(path, {});
  EXPECT_TRUE(reader.ok()) << reader.status();
  if (!reader.ok()) return ratings;
  RatingRecord record;
  while ((*reader)->Next(&record).ok()) {
    ratings.push_back({std::string(record.user_id), std::string(record.item_id), record.rating,
                       record.time_micros.value_or(0)});
  }
  std::stable_sort(ratings.begin(), ratings.end(),
                   [](const Rating& a, const Rating& b) { return a.time < b.time; });
  return ratings;
}

// The rows of one side.
class Rows {
 public:
  Rows(const ModelConfig& config, int side)
      : config_(config), side_(side), stride_(RowStride(config.rank)) {}

  float* Row(const std::string& id) {
    const std::optional<uint32_t> known = ids_.FindAsWriter(id);
    if (known) return rows_[*known].get();
    ids_.Add(id);
    rows_.push_back(std::make_unique<float[]>(stride_));
    StartRow(config_, side_, id, stride_, rows_.back().get());
    return rows_.back().get();
  }

 private:
  const ModelConfig config_;
  const int side_;
  const size_t stride_;
  IdMap ids_;
  std::vector<std::unique_ptr<float[]>> rows_;
};

double PrequentialError(const ModelConfig& config, const std::vector<Rating>& ratings) {
  Rows users(config, 0), items(config, 1);
  double sum = 0;
  int64_t sequence = 0;
  for (const Rating& rating : ratings) {
    const UpdateOutcome outcome =
        UpdatePair(config, rating.value, ++sequence, RowStride(config.rank), users.Row(rating.user),
                   items.Row(rating.item));
    const float clipped = std::clamp(outcome.prediction, config.min_rating, config.max_rating);
    sum += std::fabs(clipped - rating.value);
  }
  return sum / static_cast<double>(sequence);
}

TEST(AccuracyTest, OnePassInOrderOfTime) {
  const std::vector<Rating> ratings =
      ReadInOrderOfTime(FACTORD_SOURCE_DIR "/data/ml-latest-small/ratings.csv");
  ASSERT_GT(ratings.size(), 90'000u);
  const ModelConfig defaults;
  const double mae = PrequentialError(defaults, ratings);
  std::printf("prequential MAE of the default: %.4f\n", mae);
  EXPECT_NEAR(mae, 0.6843, 0.0005);

  // The default is tuned: half and double the aggressiveness are worse.
  for (const float factor : {0.5f, 2.0f}) {
    ModelConfig other = defaults;
    other.aggressiveness *= factor;
    EXPECT_GT(PrequentialError(other, ratings), mae + 0.005);
  }
  // Nearly all steps end at C, so the exact solver learns the same.
  ModelConfig exact = defaults;
  exact.solver = Solver::kExact;
  EXPECT_NEAR(PrequentialError(exact, ratings), mae, 0.001);
}

}  // namespace
}  // namespace factord
