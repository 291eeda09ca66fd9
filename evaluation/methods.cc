#include "evaluation/methods.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/further_passes.h"
#include "engine/model_state.h"
#include "engine/query.h"
#include "evaluation/baselines.h"
#include "evaluation/training_counts.h"
#include "model/update.h"

namespace factord {
namespace {

// --- The online model

class OnlineMethod final : public Method {
 public:
  OnlineMethod(const ModelConfig& config, const MethodOptions& options, const DataSet* set)
      : set_(set),
        options_(options),
        state_(config),
        counts_(set->users.size(), set->items.size()) {
    for (uint32_t i = 0; i < set->items.size(); ++i) index_of_[set->items[i]] = i;
  }

  absl::Status Pass(absl::Span<const Interaction> train) override {
    ++passes_;
    if (passes_ > 1 && options_.over_histories) {
      PassOverHistories();
      return absl::OkStatus();
    }
    const bool is_rating = state_.config().event_types.empty();
    const size_t half = train.size() / 2;
    for (size_t i = 0; i < train.size(); ++i) {
      const Interaction& interaction = train[i];
      const std::string& user = set_->users[interaction.user];
      const std::string& item = set_->items[interaction.item];
      if (passes_ == 1 && options_.rank_by == RankBy::kRating) counts_.Add(interaction);
      const bool is_kept = passes_ == 1 && options_.keep_first_predictions;
      double predicted = 0;
      if (is_kept) {
        state_.Publish();
        predicted = Predict(interaction.user, interaction.item);
      }
      const ModelStatistics before = state_.statistics();
      state_.Apply({.sequence = state_.sequence() + 1,
                    .kind = is_rating ? EventKind::kRating : EventKind::kTaken,
                    .user_id = user,
                    .item_id = item,
                    .rating = interaction.rating,
                    .time_micros = interaction.time_micros});
      const bool is_scored = state_.statistics().events > before.events;
      if (passes_ == 1 && is_scored) {
        const double error = state_.statistics().absolute_error_sum - before.absolute_error_sum;
        const auto rating = static_cast<double>(interaction.rating);
        prequential_.Add(rating, rating + error);
        if (i >= half) second_half_.Add(rating, rating + error);
        if (is_kept) first_predictions_.push_back({i, predicted});
      }
      // As the server does after each group.
      if (i % 1024 == 1023) state_.Publish();
    }
    state_.Publish();
    return absl::OkStatus();
  }

  double Predict(uint32_t user, uint32_t item) const override {
    const UserItem pair = {set_->users[user], set_->items[item]};
    const auto predictions = PredictRatings(state_, {&pair, 1}, /*strict=*/false);
    return static_cast<double>(predictions->ratings[0].rating);
  }

  std::vector<uint32_t> Recommend(uint32_t user, size_t k) const override {
    if (options_.rank_by == RankBy::kRating) return RecommendByRating(user, k);
    const auto recommended =
        RecommendItems(state_, state_.items().Pin(),
                       {.user_id = set_->users[user], .max_items = static_cast<int32_t>(k)});
    std::vector<uint32_t> items;
    for (const Recommendation::Item& item : recommended->items) {
      items.push_back(index_of_.at(item.item_id));
    }
    return items;
  }

  const RatingErrors* prequential() const override {
    return prequential_.size() > 0 ? &prequential_ : nullptr;
  }
  const RatingErrors* prequential_second_half() const override {
    return prequential_.size() > 0 ? &second_half_ : nullptr;
  }
  absl::Span<const EventPrediction> first_predictions() const override {
    return first_predictions_;
  }
  std::optional<FactorMatrix> item_factors() const override {
    const ItemView view = state_.items().Pin();
    const auto rank = static_cast<size_t>(state_.config().rank);
    const float offset = FactorOffset(state_.config());
    FactorMatrix factors(set_->items.size(), rank);
    for (uint32_t i = 0; i < view.size(); ++i) {
      float* const row = factors.row(index_of_.at(state_.item_ids().id(i)));
      for (size_t k = 0; k < rank; ++k) row[k] = view.factors(i)[k] + offset;
    }
    return factors;
  }
  std::optional<double> passive_share() const override {
    const ModelStatistics& statistics = state_.statistics();
    return static_cast<double>(statistics.passive_updates) /
           std::max(1.0, static_cast<double>(statistics.events));
  }

 private:
  // PredictRatings clips, and so would make equals of all that are beyond the range.
  std::vector<uint32_t> RecommendByRating(uint32_t user, size_t k) const {
    const std::optional<uint32_t> row = state_.user_ids().Find(set_->users[user]);
    if (!row.has_value()) return {};  // nothing is known of the user
    const ItemView view = state_.items().Pin();
    const UserTable::LockedRow p = state_.users().Lock(*row);
    return counts_.Best(user, k, [&](uint32_t item) {
      const uint32_t q = *state_.item_ids().Find(set_->items[item]);
      return static_cast<double>(factord::Predict(state_.config(), view.globals(),
                                                  {.p = p.factors(),
                                                   .q = view.factors(q),
                                                   .user = &p->state,
                                                   .item = &view.state(q),
                                                   .stride = view.stride()}));
    });
  }

  void PassOverHistories() {
    PartsOfPass parts(&state_, static_cast<uint32_t>(passes_));
    while (const auto part = parts.Next()) {
      state_.Apply({.sequence = state_.sequence() + 1,
                    .kind = EventKind::kRevisit,
                    .revisited = part->revisited});
      state_.Publish();
    }
  }

  const DataSet* const set_;
  const MethodOptions options_;
  ModelState state_;
  TrainingCounts counts_;  // for RankBy::kRating
  int32_t passes_ = 0;
  absl::flat_hash_map<absl::string_view, uint32_t> index_of_;
  RatingErrors prequential_, second_half_;
  std::vector<EventPrediction> first_predictions_;
};

// --- Batch solvers

class BatchSolverMethod final : public Method {
 public:
  BatchSolverMethod(const BatchOptions& options, const MethodOptions& range, const DataSet* set)
      : options_(options),
        range_(range),
        set_(set),
        counts_(set->users.size(), set->items.size()) {}

  absl::Status Pass(absl::Span<const Interaction> train) override {
    if (solver_ == nullptr) {
      std::vector<MatrixEntry> entries;
      entries.reserve(train.size());
      for (const Interaction& event : train) {
        entries.push_back({event.user, event.item, event.rating});
        counts_.Add(event);
      }
      matrix_.emplace(set_->users.size(), set_->items.size(), entries);
      FACTORD_ASSIGN_OR_RETURN(solver_, BatchSolver::Create(options_, &*matrix_));
    }
    solver_->Pass();
    return absl::OkStatus();
  }

  double Predict(uint32_t user, uint32_t item) const override {
    return static_cast<double>(
        std::clamp(solver_->Predict(user, item), range_.min_rating, range_.max_rating));
  }

  std::vector<uint32_t> Recommend(uint32_t user, size_t k) const override {
    return counts_.Best(
        user, k, [&](uint32_t item) { return static_cast<double>(solver_->Predict(user, item)); });
  }

  std::optional<FactorMatrix> item_factors() const override { return solver_->q(); }
  std::optional<double> objective() const override { return solver_->Objective(); }

 private:
  const BatchOptions options_;
  const MethodOptions range_;
  const DataSet* const set_;
  TrainingCounts counts_;
  std::optional<SparseMatrix> matrix_;
  std::unique_ptr<BatchSolver> solver_;
};

constexpr std::pair<absl::string_view, Variant> kOnlineMethods[] = {
    {"online", Variant::kAdaptive},
    {"online-pa", Variant::kPa},
    {"online-pa-1", Variant::kPaI},
    {"online-pa-2", Variant::kPaII},
};

ModelConfig OnlineConfig(const MethodOptions& options) {
  ModelConfig config;
  config.rank = options.rank;
  config.seed = options.seed;
  config.min_rating = options.min_rating;
  config.max_rating = options.max_rating;
  config.initial_rating = DefaultInitialRating(options.max_rating);
  config.solver = options.step_solver;
  config.replay = options.replay;
  if (options.event_type.has_value()) config.event_types = {*options.event_type};
  config.epsilon = options.epsilon.value_or(config.epsilon);
  config.aggressiveness = options.aggressiveness.value_or(config.aggressiveness);
  config.offset = options.offset.value_or(config.offset);
  config.attraction = options.attraction.value_or(config.attraction);
  return config;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Method>> MakeMethod(const MethodOptions& options,
                                                   const DataSet* set) {
  for (const auto& [name, variant] : kOnlineMethods) {
    if (name != options.name) continue;
    if (options.rank_by == RankBy::kRating && options.event_type.has_value()) {
      return absl::InvalidArgumentError("rank_by: with event_type there are no ratings");
    }
    ModelConfig config = OnlineConfig(options);
    config.variant = variant;
    FACTORD_RETURN_IF_ERROR(config.Validate());
    return std::make_unique<OnlineMethod>(config, options, set);
  }
  if (options.rank_by == RankBy::kRating) {
    return absl::InvalidArgumentError("rank_by: rating is for the online methods alone");
  }
  if (options.name == "biases") return MakeBiases(options.min_rating, options.max_rating, set);
  if (options.name == "popularity") return MakePopularity(set);
  const absl::StatusOr<BatchMethod> method = BatchMethodFromName(options.name);
  if (!method.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("method: ", method.status().message(),
                                                   ", online, online-pa, online-pa-1, online-pa-2, "
                                                   "biases, popularity; is '",
                                                   options.name, "'"));
  }
  BatchOptions batch = {.method = *method,
                        .rank = options.rank,
                        .seed = static_cast<uint64_t>(options.seed),
                        .zeros = options.zeros,
                        .variant = options.variant,
                        .step_solver = options.step_solver,
                        .non_negative = options.non_negative};
  batch.l2 = options.l2.value_or(batch.l2);
  batch.aggressiveness = options.aggressiveness.value_or(batch.aggressiveness);
  batch.epsilon = options.epsilon.value_or(batch.epsilon);
  FACTORD_RETURN_IF_ERROR(batch.Validate());
  return std::make_unique<BatchSolverMethod>(batch, options, set);
}

}  // namespace factord
