#include "model/next_item.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/coding.h"
#include "base/hash128.h"
#include "model/kernels.h"
#include "model/mix.h"

namespace factord {
namespace {

constexpr float kOffset = 0.4f;    // rows start there; lower ones cannot tell items apart as well
constexpr float kSpread = 0.2f;    // around it, at most
constexpr float kRecency = 0.35f;  // g
constexpr size_t kCounterexamples = 3;
constexpr float kPopularityWeight = 0.25f;
// The last items of the user that move, too.
constexpr size_t kMovedContextItems = 2;
// A row's step falls with its ratings up to so many, so that it can always follow a change.
constexpr uint32_t kMaxCertainty = 400;

// Scratch space for a row, aligned like one.
struct alignas(64) RowBuffer {
  float values[kMaxRank];
};

// Rows of more factors start with smaller ones, so that the products of two that know nothing yet
// are no larger.
float SpreadOf(size_t rank) {
  constexpr float kRank = 32;
  return kSpread * std::sqrt(kRank / std::max(kRank, static_cast<float>(rank)));
}

// w_b, newest first.
constexpr std::array<float, kContextItems> kWeights = [] {
  std::array<float, kContextItems> weights = {};
  float weight = kRecency;
  for (float& w : weights) {
    w = weight;
    weight *= 1 - kRecency;
  }
  return weights;
}();

absl::Span<const uint32_t> FirstOf(absl::Span<const uint32_t> items, size_t n) {
  return items.first(std::min(items.size(), n));
}

// How much of a step a row takes: 1 / sqrt(its ratings). From a table, since an event asks for six.
float StepSize(const RowState& state) {
  static const std::array<float, kMaxCertainty + 1> kSizes = [] {
    std::array<float, kMaxCertainty + 1> sizes;
    for (uint32_t n = 0; n < sizes.size(); ++n) {
      sizes[n] = 1 / std::sqrt(static_cast<float>(std::max(n, 1u)));
    }
    return sizes;
  }();
  return kSizes[std::min(state.count, kMaxCertainty)];
}

// ln(x) for x >= 1, by x = m 2^e and the series of artanh: the same bits everywhere, which a
// library's need not be.
double Log(double x) {
  constexpr double kLn2 = 0.693147180559945309;
  const auto bits = std::bit_cast<uint64_t>(x);
  const auto exponent = static_cast<double>(static_cast<int64_t>(bits >> 52) - 1023);
  const double m =
      std::bit_cast<double>((bits & ((uint64_t{1} << 52) - 1)) | (uint64_t{1023} << 52));
  const double y = (m - 1) / (m + 1), y2 = y * y;
  double sum = 0;
  for (int n = 15; n >= 1; n -= 2) sum = sum * y2 + 1.0 / n;
  return exponent * kLn2 + 2 * y * sum;
}

}  // namespace

void RecentItems::AppendTo(std::string* bytes) const {
  PutFixed64(bytes, static_cast<uint64_t>(added_));
  for (size_t i = 0; i < size(); ++i) PutFixed32(bytes, items_[i]);
}

bool RecentItems::ReadFrom(absl::string_view bytes, uint32_t items) {
  Reader reader(bytes);
  added_ = static_cast<int64_t>(reader.Fixed64());
  if (added_ < 0) return false;
  for (size_t i = 0; i < size(); ++i) {
    items_[i] = reader.Fixed32();
    if (!reader.ok() || items_[i] >= items) return false;
  }
  return reader.Done();
}

void StartRankingRow(const ModelConfig& config, absl::string_view id, size_t stride, float* row) {
  constexpr uint64_t kSide = 2;  // after those of users and items
  const uint64_t stream = Mix64(Mix64(static_cast<uint64_t>(config.seed)) + kSide);
  const uint64_t id_hash = HashBytes64(id, stream);
  const auto rank = static_cast<size_t>(config.rank);
  const float spread = SpreadOf(rank);
  for (size_t k = 0; k < rank; ++k) {
    const float uniform = UnitFloat(Mix64(id_hash + k));
    row[k] = spread * (2 * uniform - 1);
  }
  std::fill(row + rank, row + stride, 0.0f);
}

float RankingBias(uint32_t ratings) {
  const auto compute = [](uint32_t n) {
    return kPopularityWeight * static_cast<float>(Log(1.0 + n));
  };
  // Most items of most events have fewer; the others are computed each time.
  static const std::array<float, 4096> kBiases = [&compute] {
    std::array<float, 4096> biases;
    for (uint32_t n = 0; n < biases.size(); ++n) biases[n] = compute(n);
    return biases;
  }();
  return ratings < kBiases.size() ? kBiases[ratings] : compute(ratings);
}

void RankingQuery(absl::Span<const uint32_t> context, absl::FunctionRef<const float*(uint32_t)> row,
                  size_t stride, float* query) {
  std::array<const float*, kContextItems> rows;
  const size_t n = std::min(context.size(), kContextItems);
  for (size_t b = 0; b < n; ++b) rows[b] = row(context[b]);
  ActiveKernels().combine(rows.data(), kWeights.data(), n, stride, query);
}

void LearnNextItem(const TakenItem& taken, const RecentItems& recent,
                   absl::FunctionRef<void(uint32_t)> touch, ItemMatrix* items) {
  const Kernels& kernels = ActiveKernels();
  const size_t stride = items->stride();
  const uint32_t item = taken.item;
  const absl::Span<const uint32_t> context = FirstOf(taken.context, kLearnedContextItems);
  const absl::Span<const uint32_t> moved = FirstOf(context, kMovedContextItems);
  const float slack = 1 / taken.weight;

  RowBuffer query, pull;
  RankingQuery(
      context, [items](uint32_t i) { return items->ranking(i); }, stride, query.values);
  std::fill(pull.values, pull.values + stride, 0.0f);
  const float query_norm = kernels.dot(query.values, query.values, stride);
  float moved_weight = 0;
  for (size_t b = 0; b < moved.size(); ++b) {
    moved_weight += kWeights[b] * kWeights[b] * StepSize(items->state(moved[b]));
  }
  const float item_size = StepSize(items->state(item));

  std::array<uint32_t, 1 + kCounterexamples> drawn = {item};
  std::array<const float*, 1 + kCounterexamples> rows = {items->ranking(item)};
  for (size_t s = 1; s < drawn.size(); ++s) {
    drawn[s] = recent.Draw(Mix64(taken.stream + (s - 1)));
    rows[s] = items->ranking(drawn[s]);
  }
  std::array<float, 1 + kCounterexamples> scores;
  kernels.score_rows(rows.data(), rows.size(), query.values, stride, scores.data());

  float up = 0;
  for (size_t s = 1; s < drawn.size(); ++s) {
    const uint32_t other = drawn[s];
    if (other == item) continue;
    if (std::find(&drawn[1], &drawn[s], other) != &drawn[s]) {  // it may have moved since
      rows[s] = items->ranking(other);
      scores[s] = kernels.dot(query.values, rows[s], stride);
    }
    const float loss = taken.value - (scores[0] - scores[s]);
    if (!(loss > 0)) continue;  // passive
    const float other_size = StepSize(items->state(other));
    const float distance = kernels.squared_distance(rows[0], rows[s], stride);
    const float step = loss /
                       (query_norm * (item_size + other_size) + moved_weight * distance + slack) /
                       static_cast<float>(kCounterexamples);
    up += step;
    touch(other);
    kernels.push_away(rows[0], query.values,
                      {.pull = step, .add = -step * other_size, .floor = -kOffset}, pull.values,
                      items->MutableRanking(other), stride);
  }
  if (!(up > 0)) return;
  touch(item);
  kernels.add(items->MutableRanking(item), query.values, up * item_size, -kOffset, stride);
  for (size_t b = 0; b < moved.size(); ++b) {
    if (moved[b] == item) continue;
    touch(moved[b]);
    const float size = kWeights[b] * StepSize(items->state(moved[b]));
    kernels.add(items->MutableRanking(moved[b]), pull.values, size, -kOffset, stride);
  }
}

}  // namespace factord
