#include "benchmarks/growth.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "benchmarks/event_list.h"
#include "model/mix.h"

namespace factord {
namespace {

constexpr EventCost kCounted[] = {
#include "benchmarks/misses.inc"
};

constexpr size_t kGroup = 1024;
constexpr size_t kLine = 64;
constexpr size_t kRow = 64 * sizeof(float);

// By this name tools/count_misses.sh finds what it costs.
[[gnu::noinline]] void LearnGroups(absl::Span<const Event> events, ModelState* state) {
  for (size_t i = 0; i < events.size(); i += kGroup) {
    state->ApplyAll(events.subspan(i, kGroup));
    state->Publish();
  }
}

// Nanoseconds a line for looking at so many rows, which lie anywhere in the table: in no order, and
// none waits for another.
double RowLineNanos(const std::vector<char>& table, size_t rows) {
  constexpr uint64_t kLooks = 500'000;
  double best = std::numeric_limits<double>::max();
  for (uint64_t round = 0; round < 4; ++round) {  // the first fills the caches
    const auto start = Clock::now();
    int sum = 0;
    for (uint64_t i = 0; i < kLooks; ++i) {
      const size_t row = Below(table.size() / kRow, Mix64(Below(rows, Mix64(round * kLooks + i))));
      for (size_t at = 0; at < kRow; at += kLine) sum += table[row * kRow + at];
    }
    volatile int kept = sum;
    (void)kept;
    best = std::min(best, Seconds(start));
  }
  return 1e9 * best / (kLooks * kRow / kLine);
}

double MissTime(const EventCost& cost, const MissNanos& misses) {
  return (cost.first_level_misses - cost.last_level_misses) * misses.first_level +
         cost.last_level_misses * misses.last_level;
}

}  // namespace

GrownModel::GrownModel(const RatingShape& shape, uint64_t seed)
    : shape_(shape), seed_(seed), state_(BenchConfig()) {
  for (uint32_t i = 0; i < std::max(shape.users, shape.items); ++i) {
    const std::string user = UserId(i % shape.users), item = ItemId(i % shape.items);
    state_.Apply(
        {.sequence = state_.sequence() + 1, .user_id = user, .item_id = item, .rating = 3});
    if (i % kGroup == 0) state_.Publish();
  }
}

double GrownModel::Learn(uint64_t events) {
  const EventList list(shape_, seed_++, events);
  std::vector<Event> later = list.events();
  for (Event& event : later) event.sequence += state_.sequence();
  const auto start = Clock::now();
  LearnGroups(later, &state_);
  return 1e9 * Seconds(start) / static_cast<double>(events);
}

absl::StatusOr<EventCost> CountedCost(uint32_t users, uint32_t items) {
  for (const EventCost& cost : kCounted) {
    if (cost.users == users && cost.items == items) return cost;
  }
  return absl::NotFoundError(
      absl::StrCat("benchmarks/misses.inc has no ", users, " users and ", items, " items"));
}

MissNanos MeasureMisses(const RatingShape& shape) {
  // Beyond the second level of any machine, and well within 32 MiB.
  constexpr size_t kWithinLastLevel = (size_t{8} << 20) / kRow;
  constexpr size_t kBeyondLastLevel = size_t{128} << 20;
  // Of rank 64, about.
  constexpr size_t kUserBytes = 330, kItemBytes = 720;
  const size_t bytes = shape.users * kUserBytes + shape.items * kItemBytes;
  const std::vector<char> rows(bytes, 1);
  const std::vector<char> more(bytes < kBeyondLastLevel ? kBeyondLastLevel : 0, 1);
  const std::vector<char>& table = more.empty() ? rows : more;
  return {.first_level = RowLineNanos(rows, kWithinLastLevel),
          .last_level = RowLineNanos(table, table.size() / kRow)};
}

MissModel::MissModel(const EventCost& cost, const MissNanos& misses, double nanos)
    : nanos_an_instruction_(std::max(0.0, nanos - MissTime(cost, misses)) / cost.instructions) {}

double MissModel::Nanos(const EventCost& cost, const MissNanos& misses) const {
  return cost.instructions * nanos_an_instruction_ + MissTime(cost, misses);
}

}  // namespace factord
