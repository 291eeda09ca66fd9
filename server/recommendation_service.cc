#include "server/recommendation_service.h"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/str_format.h"

namespace factord {
namespace {

// What is left of a deadline for the answer, after waiting for a sequence.
constexpr std::chrono::milliseconds kDeadlineMargin(20);

// Unique, not secret: 16 random bytes.
std::string NewRecommendationId() {
  thread_local absl::BitGen random;
  return absl::StrFormat("%016x%016x", absl::Uniform<uint64_t>(random),
                         absl::Uniform<uint64_t>(random));
}

absl::Status ReadRecommendation(const Engine& engine, const v1::RecommendItemsRequest& request,
                                const std::function<bool()>& keep_going,
                                v1::RecommendItemsResponse* response) {
  RecommendQuery query;
  query.user_id = request.user_id();
  query.max_items = request.has_max_items() ? request.max_items() : kDefaultMaxItems;
  query.exclude_rated = request.has_exclude_rated() ? request.exclude_rated() : true;
  query.deny_item_ids.assign(request.deny_item_ids().begin(), request.deny_item_ids().end());
  query.strict = request.strict();
  query.view_token = request.view_token();
  query.include_user_factors = request.include_user_factors();
  query.keep_going = keep_going;
  FACTORD_ASSIGN_OR_RETURN(const Recommendation answer, engine.Recommend(query));
  if (answer.sequence < request.min_sequence()) {
    return absl::FailedPreconditionError(absl::StrCat("view_token: the pinned view is at sequence ",
                                                      answer.sequence, ", before min_sequence ",
                                                      request.min_sequence()));
  }
  response->mutable_items()->Reserve(static_cast<int>(answer.items.size()));
  for (const Recommendation::Item& item : answer.items) {
    v1::ScoredItem* const scored = response->add_items();
    scored->set_item_id(item.item_id.data(), item.item_id.size());
    scored->set_score(item.score);
  }
  response->set_sequence(answer.sequence);
  response->set_cold_start(answer.cold_start);
  response->set_recommendation_id(NewRecommendationId());
  response->mutable_user_factors()->Add(answer.user_factors.begin(), answer.user_factors.end());
  return absl::OkStatus();
}

absl::Status ReadPredictions(const Engine& engine, const v1::PredictRatingsRequest& request,
                             v1::PredictRatingsResponse* response) {
  std::vector<UserItem> pairs;
  pairs.reserve(request.pairs_size());
  for (const v1::UserItemPair& pair : request.pairs()) {
    pairs.push_back({pair.user_id(), pair.item_id()});
  }
  FACTORD_ASSIGN_OR_RETURN(const Predictions answer, engine.Predict(pairs, request.strict()));
  response->mutable_predictions()->Reserve(static_cast<int>(answer.ratings.size()));
  for (const PredictedRating& rating : answer.ratings) {
    v1::Prediction* const prediction = response->add_predictions();
    prediction->set_rating(rating.rating);
    prediction->set_cold_start(rating.cold_start);
  }
  response->set_sequence(answer.sequence);
  return absl::OkStatus();
}

}  // namespace

RecommendationService::RecommendationService(const EngineHolder* engines, CallGate* gate,
                                             const Limits& limits,
                                             std::chrono::milliseconds max_sequence_wait,
                                             WorkerPool* waiters)
    : engines_(engines), limits_(limits), max_sequence_wait_(max_sequence_wait), waiters_(waiters) {
  AddUnary(gate, Rpc::kRecommendItems, this, &RecommendationService::Recommend,
           limits_.deny_item_ids());
  AddUnary(gate, Rpc::kPredictRatings, this, &RecommendationService::Predict, limits_.pairs());
}

template <typename Call, typename Read>
void RecommendationService::ReadAtSequence(Engine* engine, Call* call, Read read) const {
  auto finish = [call, read = std::move(read)] {
    call->Finish(call->IsCancelled() ? absl::CancelledError("") : read());
  };
  const int64_t sequence = call->request().min_sequence();
  if (sequence <= engine->visible_sequence()) return finish();
  const auto now = std::chrono::system_clock::now();
  const auto wait = std::min<std::chrono::system_clock::duration>(
      call->deadline() - kDeadlineMargin - now, max_sequence_wait_);
  engine->WhenVisible(
      sequence, std::chrono::steady_clock::now() + wait,
      [waiters = waiters_, call, finish = std::move(finish)](const absl::Status& status) {
        if (!status.ok()) return call->Finish(status);
        waiters->Run(finish);
      });
}

absl::Status RecommendationService::Recommend(RecommendCall* call) const {
  FACTORD_ASSIGN_OR_RETURN(const EngineHolder::Serving* serving,
                           engines_->Get(call->request().model()));
  const Violations violations = ValidateRecommendItems(call->request(), limits_);
  if (!violations.empty()) return BadRequest(violations);
  ReadAtSequence(serving->engine, call, [engine = serving->engine, call] {
    return ReadRecommendation(
        *engine, call->request(), [call] { return !call->IsCancelled(); }, call->response());
  });
  return absl::OkStatus();
}

absl::Status RecommendationService::Predict(PredictCall* call) const {
  FACTORD_ASSIGN_OR_RETURN(const EngineHolder::Serving* serving,
                           engines_->Get(call->request().model()));
  const Violations violations = ValidatePredictRatings(call->request(), limits_);
  if (!violations.empty()) return BadRequest(violations);
  ReadAtSequence(serving->engine, call, [engine = serving->engine, call] {
    return ReadPredictions(*engine, call->request(), call->response());
  });
  return absl::OkStatus();
}

}  // namespace factord
