#include "engine/query.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <queue>
#include <utility>
#include <vector>

#include "model/next_item.h"
#include "model/top_k.h"
#include "model/update.h"

namespace factord {
namespace {

// A row with the tables' padding.
struct CopiedRow {
  std::vector<float> factors;
  RowState state;
};

CopiedRow CopyUser(const ModelState& state, uint32_t user) {
  CopiedRow row = {std::vector<float>(state.users().stride()), {}};
  const UserTable::LockedRow locked = state.users().Lock(user);
  std::copy_n(locked.factors(), row.factors.size(), row.factors.begin());
  row.state = locked->state;
  return row;
}

CopiedRow StartOf(const ModelState& state, Side side, absl::string_view id) {
  CopiedRow row = {std::vector<float>(state.users().stride()), {}};
  StartRow(state.config(), static_cast<int>(side), id, row.factors.size(), row.factors.data(),
           &row.state);
  return row;
}

// The last items of a history, newest first, as far as a view has them.
std::vector<uint32_t> LastItems(absl::Span<const uint32_t> history, uint32_t view_size) {
  std::vector<uint32_t> last;
  for (size_t i = history.size(); i > 0 && last.size() < kContextItems; --i) {
    if (history[i - 1] < view_size) last.push_back(history[i - 1]);
  }
  return last;
}

bool Stopped(const RecommendQuery& query) { return query.keep_going && !query.keep_going(); }

// The items with the most ratings, for users of whom nothing is known.
std::vector<ScoredIndex> MostRated(const ModelState& state, const ItemView& view,
                                   absl::Span<const uint32_t> excluded, size_t k) {
  const IdMap& ids = state.item_ids();
  const auto better = [&ids](const ScoredIndex& a, const ScoredIndex& b) {
    if (a.score != b.score) return a.score > b.score;
    return ids.id(a.item) < ids.id(b.item);
  };
  // The worst of the best is on top.
  std::priority_queue<ScoredIndex, std::vector<ScoredIndex>, decltype(better)> best(better);
  for (uint32_t item = 0; item < view.size(); ++item) {
    const ScoredIndex candidate{item, static_cast<float>(view.state(item).count)};
    if (best.size() == k && !better(candidate, best.top())) continue;
    if (std::binary_search(excluded.begin(), excluded.end(), item)) continue;
    if (best.size() == k) best.pop();
    best.push(candidate);
  }
  std::vector<ScoredIndex> items(best.size());
  for (size_t i = items.size(); i > 0; --i) {
    items[i - 1] = best.top();
    best.pop();
  }
  return items;
}

// Counts factors that are 0 in rows of one side.
class ZeroCount {
 public:
  // `zero`: what 0 is in memory.
  ZeroCount(size_t rank, float zero) : zero_(zero), zeros_of_(rank) {}

  void Add(const float* row) {
    size_t zeros = 0;
    for (size_t k = 0; k < zeros_of_.size(); ++k) {
      if (row[k] > zero_) continue;
      ++zeros;
      ++zeros_of_[k];
    }
    ++rows_;
    zeros_ += zeros;
    dead_rows_ += zeros == zeros_of_.size() ? 1 : 0;
  }
  double zeros() const { return Share(zeros_, rows_ * zeros_of_.size()); }
  double dead_rows() const { return Share(dead_rows_, rows_); }
  bool IsDead(size_t coordinate) const { return rows_ > 0 && zeros_of_[coordinate] == rows_; }

 private:
  static double Share(size_t part, size_t all) {
    return all == 0 ? 0 : static_cast<double>(part) / static_cast<double>(all);
  }
  const float zero_;
  std::vector<size_t> zeros_of_;  // by coordinate
  size_t rows_ = 0, zeros_ = 0, dead_rows_ = 0;
};

template <typename Visit>
void ForSomeRows(uint32_t rows, Visit visit) {
  constexpr uint32_t kRows = 4096;
  const uint32_t step = (rows + kRows - 1) / kRows;
  for (uint32_t i = 0; i < rows; i += step) visit(i);
}

}  // namespace

absl::StatusOr<Recommendation> RecommendItems(const ModelState& state, const ItemView& view,
                                              const RecommendQuery& query) {
  const std::optional<uint32_t> user = state.user_ids().Find(query.user_id);
  if (!user.has_value() && query.strict) {
    return absl::NotFoundError(absl::StrCat("user_id: unknown user '", query.user_id, "'"));
  }
  std::vector<uint32_t> excluded;
  std::vector<float> vector(view.stride());
  if (user.has_value()) {
    std::vector<uint32_t> last;
    {
      const UserTable::LockedRow row = state.users().Lock(*user);
      const absl::Span<const uint32_t> rated = row->history.items();
      if (query.exclude_rated) excluded.assign(rated.begin(), rated.end());
      if (view.has_ranking()) {
        last = LastItems(rated, view.size());
      } else {
        std::copy_n(row.factors(), vector.size(), vector.begin());
      }
    }
    if (view.has_ranking()) {
      RankingQuery(
          last, [&view](uint32_t i) { return view.ranking(i); }, vector.size(), vector.data());
    }
  }
  for (const absl::string_view id : query.deny_item_ids) {
    if (const std::optional<uint32_t> item = state.item_ids().Find(id)) excluded.push_back(*item);
  }
  std::sort(excluded.begin(), excluded.end());

  const auto k = static_cast<size_t>(query.max_items);
  const std::vector<ScoredIndex> best =
      user.has_value() ? TopK(view, state.item_ids(), vector.data(), excluded, k, query.keep_going)
                       : MostRated(state, view, excluded, k);
  if (Stopped(query)) return absl::CancelledError("the caller has gone away");

  Recommendation result;
  result.sequence = view.sequence();
  result.cold_start = !user.has_value();
  result.items.reserve(best.size());
  for (const ScoredIndex& item : best) {
    result.items.push_back({state.item_ids().id(item.item), item.score});
  }
  if (query.include_user_factors && user.has_value()) {
    result.user_factors.assign(vector.begin(), vector.begin() + state.config().rank);
  }
  return result;
}

absl::StatusOr<Predictions> PredictRatings(const ModelState& state,
                                           absl::Span<const UserItem> pairs, bool strict) {
  const ItemView view = state.items().Pin();
  const ModelConfig& config = state.config();
  Predictions result;
  result.sequence = view.sequence();
  result.ratings.reserve(pairs.size());
  for (size_t i = 0; i < pairs.size(); ++i) {
    const std::optional<uint32_t> user = state.user_ids().Find(pairs[i].user_id);
    const std::optional<uint32_t> item = state.item_ids().Find(pairs[i].item_id);
    const bool known_item = item.has_value() && *item < view.size();  // else newer than the view
    if (strict && !user.has_value()) {
      return absl::NotFoundError(
          absl::StrCat("pairs[", i, "].user_id: unknown user '", pairs[i].user_id, "'"));
    }
    if (strict && !known_item) {
      return absl::NotFoundError(
          absl::StrCat("pairs[", i, "].item_id: unknown item '", pairs[i].item_id, "'"));
    }
    // An unknown row would begin with its start values, so that is what predicts for it.
    const CopiedRow p =
        user.has_value() ? CopyUser(state, *user) : StartOf(state, Side::kUser, pairs[i].user_id);
    CopiedRow start;
    if (!known_item) start = StartOf(state, Side::kItem, pairs[i].item_id);
    const float rating = Predict(config, view.globals(),
                                 {.p = p.factors.data(),
                                  .q = known_item ? view.factors(*item) : start.factors.data(),
                                  .user = &p.state,
                                  .item = known_item ? &view.state(*item) : &start.state,
                                  .stride = view.stride()});
    result.ratings.push_back({std::clamp(rating, config.min_rating, config.max_rating),
                              !user.has_value() || !known_item});
  }
  return result;
}

FactorHealth MeasureFactors(const ModelState& state) {
  const float zero = -FactorOffset(state.config());
  const ItemView view = state.items().Pin();
  const auto rank = static_cast<size_t>(state.config().rank);
  ZeroCount users(rank, zero), items(rank, zero);
  // Ids come last when a user is created, so they say how many are complete.
  ForSomeRows(static_cast<uint32_t>(state.user_ids().size()),
              [&](uint32_t i) { users.Add(state.users().Lock(i).factors()); });
  ForSomeRows(view.size(), [&](uint32_t i) { items.Add(view.factors(i)); });
  FactorHealth health;
  health.user_zeros = users.zeros();
  health.item_zeros = items.zeros();
  health.dead_user_rows = users.dead_rows();
  health.dead_item_rows = items.dead_rows();
  for (size_t k = 0; k < rank; ++k) {
    if (users.IsDead(k) || items.IsDead(k)) ++health.dead_coordinates;
  }
  return health;
}

HistoryError MeasureHistories(const ModelState& state, const std::function<bool()>& keep_going) {
  const ItemView view = state.items().Pin();
  const ModelConfig& config = state.config();
  HistoryError result;
  double absolute = 0, squared = 0;
  const uint32_t users = state.users().size();
  std::vector<uint32_t> items;
  std::vector<float> ratings;
  for (uint32_t user = 0; user < users && keep_going(); ++user) {
    {
      const UserTable::LockedRow row = state.users().Lock(user);
      items.assign(row->history.items().begin(), row->history.items().end());
      ratings.assign(row->history.ratings().begin(), row->history.ratings().end());
    }
    const CopiedRow p = CopyUser(state, user);
    result.events += static_cast<int64_t>(items.size());
    for (size_t i = 0; i < items.size(); ++i) {
      if (!IsRating(ratings[i]) || items[i] >= view.size()) continue;  // or newer than the view
      const float prediction = Predict(config, view.globals(),
                                       {.p = p.factors.data(),
                                        .q = view.factors(items[i]),
                                        .user = &p.state,
                                        .item = &view.state(items[i]),
                                        .stride = view.stride()});
      const auto error = static_cast<double>(
          ratings[i] - std::clamp(prediction, config.min_rating, config.max_rating));
      ++result.ratings;
      absolute += std::abs(error);
      squared += error * error;
    }
  }
  if (result.ratings > 0) {
    result.mae = absolute / static_cast<double>(result.ratings);
    result.rmse = std::sqrt(squared / static_cast<double>(result.ratings));
  }
  return result;
}

Topics FindTopics(const ModelState& state, int32_t items_per_topic, int64_t min_ratings) {
  const ItemView view = state.items().Pin();
  const IdMap& ids = state.item_ids();
  std::vector<uint32_t> candidates;
  for (uint32_t item = 0; item < view.size(); ++item) {
    if (view.state(item).count >= min_ratings) candidates.push_back(item);
  }
  const size_t k = std::min(candidates.size(), static_cast<size_t>(items_per_topic));
  Topics result;
  result.sequence = view.sequence();
  for (int32_t factor = 0; factor < state.config().rank; ++factor) {
    const auto heavier = [&](uint32_t a, uint32_t b) {
      const float weight_a = view.factors(a)[factor], weight_b = view.factors(b)[factor];
      if (weight_a != weight_b) return weight_a > weight_b;
      return ids.id(a) < ids.id(b);
    };
    std::partial_sort(candidates.begin(), candidates.begin() + static_cast<ptrdiff_t>(k),
                      candidates.end(), heavier);
    Topic topic;
    for (size_t i = 0; i < k; ++i) {
      const uint32_t item = candidates[i];
      topic.items.push_back({ids.id(item), view.factors(item)[factor], view.state(item).count});
    }
    result.topics.push_back(std::move(topic));
  }
  return result;
}

FactorPage ReadItemFactors(const ModelState& state, const ItemView& view, int64_t first,
                           int32_t limit) {
  FactorPage page;
  page.sequence = view.sequence();
  const int32_t rank = state.config().rank;
  first = std::min<int64_t>(first, view.size());
  const int64_t end = std::min<int64_t>(view.size(), first + limit);
  for (int64_t i = first; i < end; ++i) {
    const auto item = static_cast<uint32_t>(i);
    const float* const factors = view.factors(item);
    const RowState& row = view.state(item);
    page.rows.push_back({.id = state.item_ids().id(item),
                         .factors = std::vector<float>(factors, factors + rank),
                         .ratings = row.count,
                         .bias = BiasInRatingUnits(state.config(), row)});
    if (!view.has_ranking()) continue;
    page.rows.back().ranking_factors.assign(view.ranking(item), view.ranking(item) + rank);
    page.rows.back().ranking_bias = view.ranking_bias(item);
  }
  page.last_page = end >= view.size();
  return page;
}

FactorPage ReadUserFactors(const ModelState& state, int64_t first, int32_t limit) {
  FactorPage page;
  const ItemView view = state.items().Pin();
  page.sequence = view.sequence();
  const int32_t rank = state.config().rank;
  // Ids come last when a user is created, so they say how many are complete.
  const int64_t users = state.user_ids().size();
  first = std::min(first, users);
  const int64_t end = std::min<int64_t>(users, first + limit);
  std::vector<float> vector(view.stride());
  for (int64_t i = first; i < end; ++i) {
    const auto user = static_cast<uint32_t>(i);
    std::vector<uint32_t> last;
    {
      const UserTable::LockedRow row = state.users().Lock(user);
      page.rows.push_back({.id = state.user_ids().id(user),
                           .factors = std::vector<float>(row.factors(), row.factors() + rank),
                           .ratings = row->state.count,
                           .bias = BiasInRatingUnits(state.config(), row->state)});
      if (view.has_ranking()) last = LastItems(row->history.items(), view.size());
    }
    if (!view.has_ranking()) continue;
    RankingQuery(
        last, [&view](uint32_t item) { return view.ranking(item); }, vector.size(), vector.data());
    page.rows.back().ranking_factors.assign(vector.begin(), vector.begin() + rank);
  }
  page.last_page = end >= users;
  return page;
}

}  // namespace factord
