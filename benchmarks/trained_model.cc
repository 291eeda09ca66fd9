#include "benchmarks/trained_model.h"

#include <algorithm>
#include <string>

#include "absl/types/span.h"
#include "model/mix.h"
#include "model/next_item.h"

namespace factord {
namespace {

constexpr uint64_t kGroup = 1024;

}  // namespace

void Train(const RatingShape& shape, uint64_t seed, ModelState* state) {
  // Every item once, so that there are as many as the shape says.
  for (uint32_t i = 0; i < shape.items; ++i) {
    const std::string user = UserId(i % shape.users), item = ItemId(i);
    state->Apply(
        {.sequence = state->sequence() + 1, .user_id = user, .item_id = item, .rating = 3});
  }
  GeneratedRatings ratings(shape, seed);
  Learn(&ratings, shape.ratings, state);
}

void Learn(GeneratedRatings* ratings, uint64_t n, ModelState* state) {
  for (uint64_t i = 0; i < n; ++i) {
    const GeneratedRating rating = ratings->Next();
    const std::string user = UserId(rating.user), item = ItemId(rating.item);
    state->Apply({.sequence = state->sequence() + 1,
                  .user_id = user,
                  .item_id = item,
                  .rating = rating.value});
    if (i % kGroup == kGroup - 1 || i + 1 == n) state->Publish();
  }
}

Learner::Learner(const RatingShape& shape, uint64_t seed, ModelState* state)
    : thread_([this, ratings = GeneratedRatings(shape, seed), state]() mutable {
        while (!stop_) {
          Learn(&ratings, kGroup, state);
          learned_.fetch_add(kGroup, std::memory_order_relaxed);
        }
      }) {}

Learner::~Learner() {
  stop_ = true;
  thread_.join();
}

std::vector<Question> DrawQuestions(const ModelState& state, const ItemView& view, size_t n) {
  std::vector<Question> questions;
  for (uint64_t draw = 0; questions.size() < n; ++draw) {
    const auto user = static_cast<uint32_t>(Below(state.users().size(), Mix64(draw)));
    Question question;
    {
      const UserTable::LockedRow row = state.users().Lock(user);
      const absl::Span<const uint32_t> items = row->history.items();
      question.rated.assign(items.rbegin(), items.rend());
    }
    question.query.resize(view.stride());
    RankingQuery(
        absl::MakeSpan(question.rated).first(std::min(question.rated.size(), kContextItems)),
        [&view](uint32_t i) { return view.ranking(i); }, view.stride(), question.query.data());
    std::sort(question.rated.begin(), question.rated.end());
    questions.push_back(std::move(question));
  }
  return questions;
}

}  // namespace factord
