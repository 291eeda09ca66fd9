// Which items a user is likely to turn to next: what recommendations are ranked by.
//
// A predicted rating ranks badly: items that few have rated, and those few liked, win. What a user
// takes up next follows from what he took up last, and from what many take up. So each item has a
// ranking row r beside its row of factors, kept less an offset as those are (r >= -kOffset in
// memory), and
//
//   score(u, i) = x_u . r_i + kPopularityWeight ln(1 + n_i)      x_u = sum_b w_b r_{l_b}
//
// with l_0, l_1, ... the items that the user has rated last, newest first, w_b = g (1 - g)^b, and
// n_i the number of i's ratings. It is learned from each event, whatever the rating: the item shall
// score above items that others took up lately, by a margin
// (1 for a rating; EventType::value). That is a passive-aggressive
// update (NN-PA-II, all rows of the event at once) whose C falls with each row's own ratings.
// docs/algorithm.md has the formulas, docs/adr/0009-next-item-ranking.md the trials.
//
// The arithmetic is the kernels' and + - * / sqrt: the same bits on every CPU.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/config.h"
#include "model/item_matrix.h"
#include "model/mix.h"

namespace factord {

// How many of a user's last items a recommendation looks at, and how many an update does.
inline constexpr size_t kContextItems = 8;
inline constexpr size_t kLearnedContextItems = 4;

// The items of the last events: where an update takes its counterexamples from. A part of the
// state.
class RecentItems {
 public:
  static constexpr size_t kCapacity = 1024;

  void Add(uint32_t item) { items_[static_cast<size_t>(added_++) % kCapacity] = item; }
  // One of them. REQUIRES: size() > 0.
  uint32_t Draw(uint64_t random) const { return items_[Below(size(), random)]; }
  size_t size() const {
    return added_ < static_cast<int64_t>(kCapacity) ? static_cast<size_t>(added_) : kCapacity;
  }

  // For the hash and the snapshot.
  void AppendTo(std::string* bytes) const;
  // Reads what AppendTo wrote; false: malformed, or an item that is not below `items`.
  bool ReadFrom(absl::string_view bytes, uint32_t items);

 private:
  int64_t added_ = 0;
  std::array<uint32_t, kCapacity> items_ = {};
};

// The start of an item's ranking row: a function of (config.seed, id) alone, the padding 0.
void StartRankingRow(const ModelConfig& config, absl::string_view id, size_t stride, float* row);

// kPopularityWeight ln(1 + ratings), ItemRow::ranking_bias.
float RankingBias(uint32_t ratings);

// x_u, from `stride` floats a row. `row` gives the row of one of the items; `context` has the
// newest item first.
void RankingQuery(absl::Span<const uint32_t> context, absl::FunctionRef<const float*(uint32_t)> row,
                  size_t stride, float* query);

// A user took up an item: what the ranking learns from.
struct TakenItem {
  uint32_t item;
  // The user's items before, newest first; only the first kLearnedContextItems are looked at.
  absl::Span<const uint32_t> context;
  // See EventType.
  float value = 1;
  float weight = 1;
  // Draws the counterexamples: another one for each event.
  uint64_t stream = 0;
};

// Learns from an event. `touch` is told of each item before its row changes. REQUIRES: the item's
// state counts the event already; recent.size() > 0.
void LearnNextItem(const TakenItem& taken, const RecentItems& recent,
                   absl::FunctionRef<void(uint32_t)> touch, ItemMatrix* items);

}  // namespace factord
