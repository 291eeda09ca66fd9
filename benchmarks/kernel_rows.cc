#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmarks/event_list.h"
#include "benchmarks/plain_update.h"
#include "benchmarks/rating_stream.h"
#include "benchmarks/row.h"
#include "model/config.h"
#include "model/mix.h"
#include "model/row.h"
#include "model/update.h"

namespace factord {
namespace {

struct IndexedRows {
  IndexedRows(const ModelConfig& config, int side, uint32_t rows)
      : stride(RowStride(static_cast<size_t>(config.rank))), factors(rows * stride), states(rows) {
    for (uint32_t i = 0; i < rows; ++i) {
      StartRow(config, side, side == 0 ? UserId(i) : ItemId(i), stride, row(i), &states[i]);
    }
  }
  float* row(uint32_t i) { return &factors[i * stride]; }

  const size_t stride;
  std::vector<float> factors;
  std::vector<RowState> states;
};

// Events a second; the best of three passes, each over all of them.
template <typename Update>
double Rate(const std::vector<GeneratedRating>& ratings, const Update& update) {
  double best = 0;
  for (int round = 0; round < 3; ++round) {
    const auto start = Clock::now();
    for (const GeneratedRating& rating : ratings) update(rating);
    best = std::max(best, static_cast<double>(ratings.size()) / Seconds(start));
  }
  return best;
}

double RateOfModel(const ModelConfig& config, const RatingShape& shape,
                   const std::vector<GeneratedRating>& ratings) {
  IndexedRows users(config, 0, shape.users), items(config, 1, shape.items);
  ModelGlobals globals;
  int64_t sequence = 0;
  return Rate(ratings, [&](const GeneratedRating& r) {
    Learn(config, r.value, ++sequence, &globals,
          {users.row(r.user), items.row(r.item), &users.states[r.user], &items.states[r.item],
           users.stride});
  });
}

}  // namespace

absl::Status BenchKernel(const BenchOptions& options, std::vector<Measurement>* results) {
  RatingShape shape = MovieLens10M();
  if (options.smoke) shape.ratings = 100'000;
  std::vector<GeneratedRating> ratings;
  ratings.reserve(shape.ratings);
  GeneratedRatings stream(shape, options.seed);
  for (uint64_t i = 0; i < shape.ratings; ++i) ratings.push_back(stream.Next());

  for (const int32_t rank : {30, 32, 64}) {
    ModelConfig config;
    config.rank = rank;
    config.variant = Variant::kPaI;
    double plain;
    {
      IndexedRows users(config, 0, shape.users), items(config, 1, shape.items);
      plain = Rate(ratings, [&](const GeneratedRating& r) {
        PlainUpdate(r.value, config.aggressiveness, users.stride, users.row(r.user),
                    items.row(r.item));
      });
    }
    const bool has_target = rank <= 32;
    results->push_back({.name = absl::StrCat("kernel/pa-1-m", rank),
                        .value = RateOfModel(config, shape, ratings),
                        .unit = "updates/s",
                        .reference = "plain loop",
                        .reference_value = plain,
                        .at_least = has_target ? std::optional<double>(0.9) : std::nullopt});
    config.variant = Variant::kAdaptive;
    results->push_back({.name = absl::StrCat("kernel/adaptive-m", rank),
                        .value = RateOfModel(config, shape, ratings),
                        .unit = "updates/s",
                        .reference = "plain loop of PA-I",
                        .reference_value = plain});
  }
  return absl::OkStatus();
}

}  // namespace factord
