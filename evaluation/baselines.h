// What a method has to beat: means and popularity.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "evaluation/methods.h"

namespace factord {

// Global mean, and what a user and an item deviate from it, each learned event by event with a
// step that shrinks with the certainty: the biases of the online update (docs/algorithm.md), alone.
std::unique_ptr<Method> MakeBiases(float min_rating, float max_rating, const DataSet* set);

// Ranks items by their number of training events; predicts the mean rating.
std::unique_ptr<Method> MakePopularity(const DataSet* set);

// The k items with the largest score, ties by index, without those in `excluded`.
std::vector<uint32_t> BestItems(uint32_t items, size_t k, absl::Span<const uint32_t> excluded,
                                const std::function<double(uint32_t)>& score);

}  // namespace factord
