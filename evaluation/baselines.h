// What a method has to beat: means and popularity.
#pragma once

#include <memory>

#include "evaluation/methods.h"

namespace factord {

// Global mean, and what a user and an item deviate from it, each learned event by event with a
// step that shrinks with the certainty: the biases of the online update (docs/algorithm.md), alone.
std::unique_ptr<Method> MakeBiases(float min_rating, float max_rating, const DataSet* set);

// Ranks items by their number of training events; predicts the mean rating.
std::unique_ptr<Method> MakePopularity(const DataSet* set);

}  // namespace factord
