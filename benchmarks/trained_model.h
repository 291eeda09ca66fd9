// A model that has learned a generated stream, and what its users ask for.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "benchmarks/rating_stream.h"
#include "engine/model_state.h"
#include "model/item_matrix.h"

namespace factord {

// Each item once, so that there are as many as the shape says, then the stream; published.
void Train(const RatingShape& shape, uint64_t seed, ModelState* state);

// Learns `n` ratings of a stream, in groups that are published.
void Learn(GeneratedRatings* ratings, uint64_t n, ModelState* state);

// Learns a stream, on a thread of its own, for as long as it lives: the one writer beside readers.
class Learner {
 public:
  // `state` outlives it, and is changed by nobody else meanwhile.
  Learner(const RatingShape& shape, uint64_t seed, ModelState* state);
  ~Learner();
  Learner(const Learner&) = delete;
  Learner& operator=(const Learner&) = delete;

  // Events learned so far.
  uint64_t learned() const { return learned_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> learned_{0};
  std::thread thread_;
};

// What RecommendItems searches for.
struct Question {
  std::vector<float> query;     // view.stride() floats
  std::vector<uint32_t> rated;  // what is left out, sorted
};
// Those of `n` users drawn at random.
std::vector<Question> DrawQuestions(const ModelState& state, const ItemView& view, size_t n);

}  // namespace factord
