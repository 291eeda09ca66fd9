// One experiment: divide, learn pass by pass, measure after each.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "evaluation/data_set.h"
#include "evaluation/methods.h"

namespace factord {

enum class SplitKind { kRandom, kTime, kLastOut, kNone };
// "random", "time", "last-out", "none".
absl::StatusOr<SplitKind> SplitKindFromName(absl::string_view name);

// Test: a fifth, each user's last event, or nothing (and all is learned in order of time).
Split Divide(const std::vector<Interaction>& events, SplitKind kind, uint64_t seed);

// Whether there are events, and no user has two: then each has one item to be found.
bool HasOneItemAUser(const std::vector<Interaction>& test);

struct PassResult {
  double seconds = 0;  // of learning, in all passes so far
  RatingErrors test;
  std::optional<double> objective;
};

struct Evaluation {
  std::vector<PassResult> passes;
  size_t train_events = 0;
  // See Method.
  std::optional<RatingErrors> prequential, prequential_second_half;
  std::optional<double> passive_share;
  // Of k recommended items, where the split has one item a user to be found. An item that is not
  // in the training events is not found, nor anything for a user who is not.
  std::optional<RankingQuality> ranking;
  // The lists that it is of, best first: one a test event, in order.
  std::vector<std::vector<uint32_t>> recommended;
  // Of each test event, in order.
  std::vector<double> predictions;
  // As learned: what topics and pictures are made of. May be null.
  std::shared_ptr<const Method> method;
};

// `k`: how many items to recommend; 0 leaves ranking out. REQUIRES: passes >= 1.
absl::StatusOr<Evaluation> Evaluate(const MethodOptions& options, const DataSet& set,
                                    const Split& split, int32_t passes, size_t k);

// Which quarter of the training events Tune holds out: one that the seed draws, the rest learned in
// random order; or the last one in their order, for events that come in an order of their own.
enum class TuneOn { kRandom, kLast };

// The candidate with the smallest error after `passes` passes on a quarter of the training events
// that it has not learned: aggressiveness of the passive-aggressive methods, l2 of the others.
// INVALID_ARGUMENT: the method has neither.
absl::StatusOr<MethodOptions> Tune(const MethodOptions& options, const DataSet& set,
                                   const Split& split, int32_t passes, TuneOn quarter,
                                   uint64_t seed);

}  // namespace factord
