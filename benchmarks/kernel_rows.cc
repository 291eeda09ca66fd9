#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/prefetch.h"
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

// Rows that begin with a cache line, as the server's do.
class IndexedRows {
 public:
  IndexedRows(const ModelConfig& config, int side, uint32_t rows)
      : stride_(RowStride(static_cast<size_t>(config.rank))),
        lanes_(rows * stride_ / kLanes),
        states_(rows) {
    for (uint32_t i = 0; i < rows; ++i) {
      StartRow(config, side, side == 0 ? UserId(i) : ItemId(i), stride_, row(i), state(i));
    }
  }
  size_t stride() const { return stride_; }
  float* row(uint32_t i) { return lanes_[i * (stride_ / kLanes)].values; }
  RowState* state(uint32_t i) { return &states_[i]; }

  void Prefetch(uint32_t i, bool has_state) {
    for (size_t k = 0; k < stride_; k += kLanes) PrefetchLine(row(i) + k);
    if (has_state) PrefetchLine(state(i));
  }

 private:
  struct alignas(64) Lanes {
    float values[kLanes];
  };
  const size_t stride_;
  std::vector<Lanes> lanes_;
  std::vector<RowState> states_;
};

// Events a second of update(i) for each of them; the best of three passes.
template <typename Update>
double Rate(size_t events, const Update& update) {
  double best = 0;
  for (int round = 0; round < 3; ++round) {
    const auto start = Clock::now();
    for (size_t i = 0; i < events; ++i) update(i);
    best = std::max(best, static_cast<double>(events) / Seconds(start));
  }
  return best;
}

double RateOfModel(const ModelConfig& config, const RatingShape& shape,
                   const std::vector<GeneratedRating>& ratings) {
  constexpr size_t kAhead = 8;  // the server asks for rows in advance, too
  IndexedRows users(config, 0, shape.users), items(config, 1, shape.items);
  ModelGlobals globals;
  int64_t sequence = 0;
  const bool has_state = config.variant == Variant::kAdaptive;  // the others look at factors alone
  return Rate(ratings.size(), [&](size_t i) {
    const GeneratedRating& later = ratings[std::min(i + kAhead, ratings.size() - 1)];
    users.Prefetch(later.user, has_state);
    items.Prefetch(later.item, has_state);
    const GeneratedRating& r = ratings[i];
    Learn(config, r.value, ++sequence, &globals,
          {users.row(r.user), items.row(r.item), users.state(r.user), items.state(r.item),
           users.stride()});
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
      plain = Rate(ratings.size(), [&](size_t i) {
        const GeneratedRating& r = ratings[i];
        PlainUpdate(r.value, config.aggressiveness, users.stride(), users.row(r.user),
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
