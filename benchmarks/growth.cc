#include "benchmarks/growth.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "benchmarks/event_list.h"
#include "engine/model_state.h"
#include "model/mix.h"

namespace factord {
namespace {

// Lines that an event looks at: of its user's row, id and history, of its item's row, and of the
// ranking rows of the items beside it: four that the user has rated, some time ago, and three of
// what anybody has rated lately.
constexpr size_t kLine = 64;
constexpr size_t kUserLines = 10, kItemLines = 11, kRankingLines = 5;
constexpr size_t kOldItems = 4, kRecentItems = 3, kRecent = 1024;

constexpr size_t kGroup = 1024;

// By this name tools/count_misses.sh finds what it costs.
[[gnu::noinline]] void LearnGroups(absl::Span<const Event> events, ModelState* state) {
  for (size_t i = 0; i < events.size(); i += kGroup) {
    state->ApplyAll(events.subspan(i, kGroup));
    state->Publish();
  }
}

int TouchLines(const std::vector<GeneratedRating>& events, const std::vector<char>& users,
               const std::vector<char>& items) {
  int sum = 0;
  const auto touch = [&sum](const std::vector<char>& table, size_t row, size_t row_lines,
                            size_t lines) {
    for (size_t l = 0; l < lines; ++l) sum += table[(row * row_lines + l) * kLine];
  };
  for (size_t i = kRecent; i < events.size(); ++i) {
    touch(users, events[i].user, kUserLines, kUserLines);
    touch(items, events[i].item, kItemLines, kItemLines);
    for (size_t other = 0; other < kOldItems + kRecentItems; ++other) {
      const size_t ago = 1 + Below(other < kOldItems ? i : kRecent, Mix64(8 * i + other));
      touch(items, events[i - ago].item, kItemLines, kRankingLines);
    }
  }
  return sum;
}

}  // namespace

double LearnNanos(const RatingShape& shape, uint64_t seed, uint64_t events) {
  ModelState state(BenchConfig());
  for (uint32_t i = 0; i < std::max(shape.users, shape.items); ++i) {
    const std::string user = UserId(i % shape.users), item = ItemId(i % shape.items);
    state.Apply({.sequence = state.sequence() + 1, .user_id = user, .item_id = item, .rating = 3});
    if (i % kGroup == 0) state.Publish();
  }
  const EventList list(shape, seed, events);
  std::vector<Event> later = list.events();
  for (Event& event : later) event.sequence += state.sequence();
  const auto start = Clock::now();
  LearnGroups(later, &state);
  return 1e9 * Seconds(start) / static_cast<double>(events);
}

double TouchNanos(const RatingShape& shape, uint64_t seed, uint64_t events) {
  const std::vector<char> users(shape.users * kUserLines * kLine, 1);
  const std::vector<char> items(shape.items * kItemLines * kLine, 1);
  GeneratedRatings ratings(shape, seed);
  std::vector<GeneratedRating> touched;
  for (uint64_t i = 0; i < events; ++i) touched.push_back(ratings.Next());
  double best = std::numeric_limits<double>::max();
  for (int round = 0; round < 3; ++round) {
    const auto start = Clock::now();
    volatile int kept = TouchLines(touched, users, items);
    (void)kept;
    best = std::min(best, Seconds(start));
  }
  return 1e9 * best / static_cast<double>(events);
}

}  // namespace factord
