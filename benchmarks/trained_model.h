// A model that has learned a generated stream, and what its users ask for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "benchmarks/rating_stream.h"
#include "engine/model_state.h"
#include "model/item_matrix.h"

namespace factord {

// Each item once, so that there are as many as the shape says, then the stream; published.
void Train(const RatingShape& shape, uint64_t seed, ModelState* state);

// The ranking queries of `n` users drawn at random, view.stride() floats each.
std::vector<std::vector<float>> RankingQueries(const ModelState& state, const ItemView& view,
                                               size_t n);

}  // namespace factord
