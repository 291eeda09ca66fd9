#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmarks/event_list.h"
#include "benchmarks/rating_stream.h"
#include "benchmarks/row.h"
#include "benchmarks/trained_model.h"
#include "engine/model_state.h"
#include "model/top_k.h"

namespace factord {
namespace {

constexpr uint64_t kEvents = 1'000'000;

// Cache lines that an event looks at: of its user's row, id and history, of its item's row, and of
// the ranking rows of the items beside it (four last ones and three counterexamples).
constexpr size_t kLine = 64;
constexpr size_t kUserLines = 10, kItemLines = 11, kRankingLines = 5, kOtherItems = 7;

// Nanoseconds an event for looking at as many lines of tables as large, and nothing else: what the
// misses of the caches explain.
double TouchNanos(const RatingShape& shape, uint64_t seed) {
  std::vector<char> users(shape.users * kUserLines * kLine, 1);
  std::vector<char> items(shape.items * kItemLines * kLine, 1);
  GeneratedRatings ratings(shape, seed);
  std::vector<GeneratedRating> events;
  for (uint64_t i = 0; i < kEvents; ++i) events.push_back(ratings.Next());
  volatile int kept = 0;
  const auto start = Clock::now();
  for (uint64_t i = kOtherItems; i < kEvents; ++i) {
    int sum = 0;
    const auto touch = [&sum](const std::vector<char>& table, size_t row, size_t row_lines,
                              size_t lines) {
      for (size_t l = 0; l < lines; ++l) sum += table[(row * row_lines + l) * kLine];
    };
    touch(users, events[i].user, kUserLines, kUserLines);
    touch(items, events[i].item, kItemLines, kItemLines);
    for (size_t other = 1; other <= kOtherItems; ++other) {
      touch(items, events[i - other].item, kItemLines, kRankingLines);
    }
    kept = kept + sum;
  }
  return 1e9 * Seconds(start) / static_cast<double>(kEvents);
}

// Nanoseconds an event, once every user and item is there.
double ApplyNanos(const RatingShape& shape, uint64_t seed) {
  constexpr size_t kGroup = 1024;
  ModelState state(BenchConfig());
  for (uint32_t i = 0; i < std::max(shape.users, shape.items); ++i) {
    const std::string user = UserId(i % shape.users), item = ItemId(i % shape.items);
    state.Apply({.sequence = state.sequence() + 1, .user_id = user, .item_id = item, .rating = 3});
    if (i % kGroup == 0) state.Publish();
  }
  const EventList list(shape, seed, kEvents);
  std::vector<Event> events = list.events();
  for (Event& event : events) event.sequence += state.sequence();
  const absl::Span<const Event> all(events);
  const auto start = Clock::now();
  for (size_t i = 0; i < all.size(); i += kGroup) {
    state.ApplyAll(all.subspan(i, kGroup));
    state.Publish();
  }
  return 1e9 * Seconds(start) / static_cast<double>(kEvents);
}

double TopKMicros(uint32_t items, uint64_t seed) {
  RatingShape shape = Scaled(MovieLens10M(), items, items);
  shape.ratings = uint64_t{5} * items;
  ModelState state(BenchConfig());
  Train(shape, seed, &state);
  const ItemView view = state.items().Pin();
  const auto queries = RankingQueries(state, view, 200);
  const auto start = Clock::now();
  for (const auto& query : queries) TopK(view, state.item_ids(), query.data(), {}, 10, {});
  return 1e6 * Seconds(start) / static_cast<double>(queries.size());
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
      const double apply = ApplyNanos(shape, options.seed), touch = TouchNanos(shape, options.seed);
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
