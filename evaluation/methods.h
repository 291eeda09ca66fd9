// Everything that can be measured, behind one interface: the online model as the server runs it,
// the batch solvers, and baselines that know less.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "evaluation/data_set.h"
#include "evaluation/measures.h"
#include "model/config.h"
#include "solvers/batch_solver.h"

namespace factord {

// What recommends items: the score that the server ranks by, or the predicted rating, not clipped.
// With a pure update they are the same.
enum class RankBy { kScore, kRating };

struct MethodOptions {
  // "online": the update with ModelConfig's defaults, through the very code that the server applies
  // events with. "online-pa", "online-pa-1", "online-pa-2": the same with a pure update of the
  // paper. "biases": running means of users and items. "popularity": items by their number of
  // ratings (it predicts the mean rating). Otherwise a batch solver (BatchMethodFromName).
  std::string name = "online";
  int32_t rank = 32;
  int64_t seed = 1;
  // The range of ratings, to which predictions are clipped.
  float min_rating = 0;
  float max_rating = 5;
  // Unset: the method's default.
  std::optional<float> aggressiveness = std::nullopt;
  std::optional<float> l2 = std::nullopt;
  std::optional<float> epsilon = std::nullopt;
  std::optional<float> offset = std::nullopt;  // this and the next: of "online" alone
  std::optional<float> attraction = std::nullopt;
  // The next three are of "online" alone. ModelConfig::replay.
  int32_t replay = 0;
  // What is learned are no ratings, but events of this type.
  std::optional<EventType> event_type = std::nullopt;
  // Later passes go over the histories, as Engine::StartPasses does, instead of sending the events
  // again.
  bool over_histories = false;
  RankBy rank_by = RankBy::kScore;  // kRating: of the online methods, with ratings, alone
  // Of the online methods: keeps Method::first_predictions, which makes learning slower.
  bool keep_first_predictions = false;
  Solver step_solver = Solver::kApproximate;
  bool non_negative = true;
  Variant variant = Variant::kPaI;  // of the batch solver "pa"
  Zeros zeros = Zeros::kMissing;
};

// What was predicted for the rating of an event.
struct EventPrediction {
  size_t event;  // index in the training events
  double rating;
};

// Thread-compatible.
class Method {
 public:
  virtual ~Method() = default;

  // One more pass over the training events, in their order. The first call's events are those of
  // the later calls.
  virtual absl::Status Pass(absl::Span<const Interaction> train) = 0;
  // Clipped to the range of ratings.
  virtual double Predict(uint32_t user, uint32_t item) const = 0;
  // The k best items of the training events, without those that the user has rated there.
  virtual std::vector<uint32_t> Recommend(uint32_t user, size_t k) const = 0;

  // Of methods that learn event by event: how each event of the first pass was predicted just
  // before it was learned, of all of them and of the second half.
  virtual const RatingErrors* prequential() const { return nullptr; }
  virtual const RatingErrors* prequential_second_half() const { return nullptr; }
  // What prequential() is the errors of, where it is kept (MethodOptions::keep_first_predictions).
  // An event that came again as it was is left out.
  virtual absl::Span<const EventPrediction> first_predictions() const { return {}; }
  // The non-negative factors of the items, for pictures and topics, where there are any. Rows of
  // items that are not in the training events are 0 or where they started.
  virtual std::optional<FactorMatrix> item_factors() const { return std::nullopt; }
  // The share of passive updates, where there are any.
  virtual std::optional<double> passive_share() const { return std::nullopt; }
  // What a batch solver makes small.
  virtual std::optional<double> objective() const { return std::nullopt; }
};

// `set` must outlive the method. INVALID_ARGUMENT: an unknown name, bad options.
absl::StatusOr<std::unique_ptr<Method>> MakeMethod(const MethodOptions& options,
                                                   const DataSet* set);

}  // namespace factord
