#include "evaluation/data_set.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <utility>

#include "model/mix.h"
#include "ratings/rating_reader.h"

namespace factord {
namespace {

// Indices of the events of each user, in their order.
std::vector<std::vector<size_t>> EventsOfUsers(const std::vector<Interaction>& events) {
  std::vector<std::vector<size_t>> of_user;
  for (size_t i = 0; i < events.size(); ++i) {
    if (events[i].user >= of_user.size()) of_user.resize(events[i].user + 1);
    of_user[events[i].user].push_back(i);
  }
  return of_user;
}

Split Divide(const std::vector<Interaction>& events, const std::vector<bool>& in_test) {
  Split split;
  for (size_t i = 0; i < events.size(); ++i) {
    (in_test[i] ? split.test : split.train).push_back(events[i]);
  }
  return split;
}

}  // namespace

uint32_t Names::Add(absl::string_view name) {
  const auto [found, is_new] = index_of_.try_emplace(name, size());
  if (is_new) names_.emplace_back(name);
  return found->second;
}

absl::StatusOr<std::vector<Interaction>> ReadInteractions(const std::string& path, DataSet* set) {
  FACTORD_ASSIGN_OR_RETURN(const std::unique_ptr<RatingReader> reader,
                           RatingReader::Open(path, {}));
  std::vector<Interaction> events;
  RatingRecord record;
  while (true) {
    const absl::Status status = reader->Next(&record);
    if (absl::IsOutOfRange(status)) return events;
    FACTORD_RETURN_IF_ERROR(status);
    events.push_back({set->users.Add(record.user_id), set->items.Add(record.item_id), record.rating,
                      record.time_micros.value_or(0)});
  }
}

std::vector<Interaction> SortedByTime(std::vector<Interaction> events) {
  std::stable_sort(events.begin(), events.end(), [](const Interaction& a, const Interaction& b) {
    return a.time_micros < b.time_micros;
  });
  return events;
}

std::vector<Interaction> Shuffled(std::vector<Interaction> events, uint64_t seed) {
  Shuffle(Mix64(seed), &events);
  return events;
}

Split SplitAtRandom(const std::vector<Interaction>& events, double test_share, uint64_t seed) {
  std::vector<bool> in_test(events.size());
  const uint64_t stream = Mix64(~seed);
  for (std::vector<size_t>& of_user : EventsOfUsers(events)) {
    if (of_user.empty()) continue;
    Shuffle(Mix64(stream + events[of_user.front()].user), &of_user);
    const auto size = static_cast<double>(of_user.size());
    const auto wanted = static_cast<size_t>(std::lround(test_share * size));
    for (size_t i = 0; i < wanted; ++i) in_test[of_user[i]] = true;
  }
  Split split = Divide(events, in_test);
  split.train = Shuffled(std::move(split.train), seed);
  return split;
}

Split SplitAtEnd(const std::vector<Interaction>& events, double test_share) {
  const auto size = static_cast<double>(events.size());
  const auto first = events.begin() + std::lround((1 - test_share) * size);
  return {.train = {events.begin(), first}, .test = {first, events.end()}};
}

Split SplitByTime(const std::vector<Interaction>& events, double test_share) {
  return SplitAtEnd(SortedByTime(events), test_share);
}

Split SplitLastOut(const std::vector<Interaction>& events) {
  const std::vector<Interaction> sorted = SortedByTime(events);
  std::vector<bool> in_test(sorted.size());
  for (const std::vector<size_t>& of_user : EventsOfUsers(sorted)) {
    if (of_user.size() >= 2) in_test[of_user.back()] = true;
  }
  return Divide(sorted, in_test);
}

}  // namespace factord
