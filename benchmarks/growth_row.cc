#include <algorithm>
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

constexpr uint64_t kEvents = 1'000'000;

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
                        .reference = name == "topk-items" ? "linear" : "the same lines touched",
                        .reference_value = expected,
                        .at_most = 1});
  };
  const std::vector<uint32_t> users =
      options.smoke ? std::vector<uint32_t>{10'000, 20'000}
                    : std::vector<uint32_t>{10'000, 100'000, 1'000'000, 10'000'000};
  const std::vector<uint32_t> items =
      options.smoke ? std::vector<uint32_t>{1'000, 2'000}
                    : std::vector<uint32_t>{1'000, 10'000, 100'000, 1'000'000};
  for (const bool by_users : {true, false}) {
    double first_apply = 0, first_touch = 0;
    for (const uint32_t n : by_users ? users : items) {
      const RatingShape shape = by_users ? Scaled(MovieLens10M(), n, MovieLens10M().items)
                                         : Scaled(MovieLens10M(), MovieLens10M().users, n);
      const double apply = LearnNanos(shape, options.seed, kEvents);
      const double touch = TouchNanos(shape, options.seed, kEvents);
      if (first_apply == 0) {
        first_apply = apply;
        first_touch = touch;
        continue;
      }
      add(by_users ? "apply-users" : "apply-items", n, apply / first_apply, touch / first_touch);
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
