#include "evaluation/evaluate.h"

#include <chrono>
#include <limits>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"

namespace factord {
namespace {

constexpr double kTestShare = 0.2;
constexpr double kTuneShare = 0.25;

}  // namespace

absl::StatusOr<SplitKind> SplitKindFromName(absl::string_view name) {
  if (name == "random") return SplitKind::kRandom;
  if (name == "time") return SplitKind::kTime;
  if (name == "last-out") return SplitKind::kLastOut;
  if (name == "none") return SplitKind::kNone;
  return absl::InvalidArgumentError(
      absl::StrCat("split: must be random, time, last-out or none, is ", name));
}

Split Divide(const std::vector<Interaction>& events, SplitKind kind, uint64_t seed) {
  switch (kind) {
    case SplitKind::kRandom:
      return SplitAtRandom(events, kTestShare, seed);
    case SplitKind::kTime:
      return SplitByTime(events, kTestShare);
    case SplitKind::kLastOut:
      return SplitLastOut(events);
    case SplitKind::kNone:
      break;
  }
  return {.train = SortedByTime(events), .test = {}};
}

bool HasOneItemAUser(const std::vector<Interaction>& test) {
  absl::flat_hash_set<uint32_t> users;
  for (const Interaction& event : test) {
    if (!users.insert(event.user).second) return false;
  }
  return !test.empty();
}

absl::StatusOr<Evaluation> Evaluate(const MethodOptions& options, const DataSet& set,
                                    const Split& split, int32_t passes, size_t k) {
  using Clock = std::chrono::steady_clock;
  FACTORD_ASSIGN_OR_RETURN(std::unique_ptr<Method> made, MakeMethod(options, &set));
  const std::shared_ptr<Method> method = std::move(made);
  Evaluation result;
  result.train_events = split.train.size();
  double seconds = 0;
  for (int32_t pass = 0; pass < passes; ++pass) {
    const Clock::time_point start = Clock::now();
    FACTORD_RETURN_IF_ERROR(method->Pass(split.train));
    seconds += std::chrono::duration<double>(Clock::now() - start).count();
    PassResult after = {.seconds = seconds, .test = {}, .objective = method->objective()};
    result.predictions.clear();
    for (const Interaction& event : split.test) {
      const double predicted = method->Predict(event.user, event.item);
      after.test.Add(static_cast<double>(event.rating), predicted);
      result.predictions.push_back(predicted);
    }
    result.passes.push_back(std::move(after));
  }
  if (method->prequential() != nullptr) {
    result.prequential = *method->prequential();
    result.prequential_second_half = *method->prequential_second_half();
  }
  result.passive_share = method->passive_share();
  if (k > 0) {
    std::vector<bool> is_known(set.users.size());
    for (const Interaction& event : split.train) is_known[event.user] = true;
    result.ranking.emplace(set.items.size());
    for (const Interaction& event : split.test) {
      std::vector<uint32_t> recommended;
      if (is_known[event.user]) recommended = method->Recommend(event.user, k);
      result.ranking->Add(recommended, event.item);
      result.recommended.push_back(std::move(recommended));
    }
  }
  result.method = method;
  return result;
}

absl::StatusOr<MethodOptions> Tune(const MethodOptions& options, const DataSet& set,
                                   const Split& split, int32_t passes, TuneOn quarter,
                                   uint64_t seed) {
  const bool is_pa = options.name == "pa" || absl::StartsWith(options.name, "online-pa");
  if (!is_pa && !BatchMethodFromName(options.name).ok()) {
    return absl::InvalidArgumentError(absl::StrCat("tune: ", options.name, " has nothing to tune"));
  }
  const std::vector<float> candidates =
      is_pa ? std::vector<float>{0.003f, 0.005f, 0.007f, 0.01f, 0.014f, 0.02f, 0.03f, 0.1f, 0.3f}
            : std::vector<float>{0.001f, 0.01f, 0.03f, 0.1f, 0.3f, 1.0f, 3.0f, 10.0f, 30.0f};
  const Split inner = quarter == TuneOn::kLast ? SplitAtEnd(split.train, kTuneShare)
                                               : SplitAtRandom(split.train, kTuneShare, seed);
  MethodOptions best = options;
  double best_error = std::numeric_limits<double>::infinity();
  for (const float candidate : candidates) {
    MethodOptions tried = options;
    (is_pa ? tried.aggressiveness : tried.l2) = candidate;
    FACTORD_ASSIGN_OR_RETURN(const Evaluation evaluation, Evaluate(tried, set, inner, passes, 0));
    const double error = evaluation.passes.back().test.error_percent();
    if (!(error < best_error)) continue;
    best_error = error;
    best = tried;
  }
  return best;
}

}  // namespace factord
