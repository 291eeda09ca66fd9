#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmarks/event_list.h"
#include "benchmarks/growth.h"
#include "benchmarks/rating_stream.h"
#include "benchmarks/row.h"
#include "benchmarks/trained_model.h"
#include "engine/model_state.h"
#include "model/top_k.h"

namespace factord {
namespace {

// Of the events that tools/count_misses.sh counts; the best of several models.
double EventNanos(const RatingShape& shape, const BenchOptions& options) {
  double best = std::numeric_limits<double>::max();
  for (int round = 0; round < (options.smoke ? 1 : 3); ++round) {
    GrownModel model(shape, options.seed);
    model.Learn(100'000);  // fills the caches
    best = std::min(best, model.Learn(50'000));
  }
  return best;
}

double TopKMicros(uint32_t items, uint64_t seed) {
  RatingShape shape = Scaled(MovieLens10M(), items, items);
  shape.ratings = uint64_t{5} * items;
  ModelState state(BenchConfig());
  Train(shape, seed, &state);
  const ItemView view = state.items().Pin();
  const auto questions = DrawQuestions(state, view, 200);
  const auto start = Clock::now();
  for (const Question& question : questions) {
    TopK(view, state.item_ids(), question.query.data(), question.rated, 10, {});
  }
  return 1e6 * Seconds(start) / static_cast<double>(questions.size());
}

}  // namespace

absl::Status BenchGrowth(const BenchOptions& options, std::vector<Measurement>* results) {
  const auto add = [&](const std::string& name, uint32_t n, double time, double expected) {
    results->push_back({.name = absl::StrCat("growth/", name, "-", n),
                        .value = time,
                        .unit = "times as long",
                        .reference = name == "topk-items" ? "linear" : "what misses explain",
                        .reference_value = expected,
                        .at_most = 1});
  };
  std::vector<uint32_t> users = {10'000, 100'000, 1'000'000, 10'000'000};
  std::vector<uint32_t> items = {1'000, 10'000, 100'000, 1'000'000};
  if (options.smoke) {
    users.resize(2);
    items.resize(2);
  }
  for (const bool by_users : {true, false}) {
    std::optional<MissModel> model;
    double first_nanos = 0;
    for (const uint32_t n : by_users ? users : items) {
      const RatingShape shape = by_users ? Scaled(MovieLens10M(), n, MovieLens10M().items)
                                         : Scaled(MovieLens10M(), MovieLens10M().users, n);
      FACTORD_ASSIGN_OR_RETURN(const EventCost cost, CountedCost(shape.users, shape.items));
      const double nanos = EventNanos(shape, options);
      const MissNanos misses = MeasureMisses(shape);
      if (!model.has_value()) {
        model.emplace(cost, misses, nanos);
        first_nanos = nanos;
        continue;
      }
      add(by_users ? "apply-users" : "apply-items", n, nanos / first_nanos,
          model->Nanos(cost, misses) / first_nanos);
    }
  }
  double first = 0;
  for (const uint32_t n : items) {
    const double micros = TopKMicros(n, options.seed);
    if (first == 0) {
      first = micros;
    } else {
      add("topk-items", n, micros / first, static_cast<double>(n) / items.front());
    }
  }
  return absl::OkStatus();
}

}  // namespace factord
