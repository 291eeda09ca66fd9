#include "server/recommendation_service.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/str_format.h"
#include "server/status.h"

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

absl::Status Recommend(const Engine& engine, grpc::CallbackServerContext* context,
                       const v1::RecommendItemsRequest& request,
                       v1::RecommendItemsResponse* response) {
  RecommendQuery query;
  query.user_id = request.user_id();
  query.max_items = request.has_max_items() ? request.max_items() : kDefaultMaxItems;
  query.exclude_rated = request.has_exclude_rated() ? request.exclude_rated() : true;
  query.deny_item_ids.assign(request.deny_item_ids().begin(), request.deny_item_ids().end());
  query.strict = request.strict();
  query.view_token = request.view_token();
  query.include_user_factors = request.include_user_factors();
  query.keep_going = [context] { return !context->IsCancelled(); };
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

absl::Status Predict(const Engine& engine, const v1::PredictRatingsRequest& request,
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

void RecommendationService::ReadAt(int64_t sequence, Engine* engine,
                                   grpc::CallbackServerContext* context,
                                   grpc::ServerUnaryReactor* reactor,
                                   std::function<absl::Status()> read) const {
  if (sequence <= engine->visible_sequence()) {
    reactor->Finish(ToGrpc(context, context->IsCancelled() ? absl::CancelledError("") : read()));
    return;
  }
  const auto now = std::chrono::system_clock::now();
  const auto wait = std::min<std::chrono::system_clock::duration>(
      context->deadline() - kDeadlineMargin - now, max_sequence_wait_);
  engine->WhenVisible(sequence, std::chrono::steady_clock::now() + wait,
                      [this, context, reactor, read = std::move(read)](const absl::Status& status) {
                        if (!status.ok()) return reactor->Finish(ToGrpc(context, status));
                        waiters_->Run([context, reactor, read] {
                          reactor->Finish(ToGrpc(
                              context, context->IsCancelled() ? absl::CancelledError("") : read()));
                        });
                      });
}

grpc::ServerUnaryReactor* RecommendationService::RecommendItems(
    grpc::CallbackServerContext* context, const v1::RecommendItemsRequest* request,
    v1::RecommendItemsResponse* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const auto serving = engines_->Get(request->model());
  if (!serving.ok()) {
    reactor->Finish(ToGrpc(context, serving.status()));
    return reactor;
  }
  const Violations violations = ValidateRecommendItems(*request, limits_);
  if (!violations.empty()) {
    reactor->Finish(ToGrpc(context, BadRequest(violations)));
    return reactor;
  }
  Engine* const engine = (*serving)->engine;
  ReadAt(request->min_sequence(), engine, context, reactor, [engine, context, request, response] {
    return Recommend(*engine, context, *request, response);
  });
  return reactor;
}

grpc::ServerUnaryReactor* RecommendationService::PredictRatings(
    grpc::CallbackServerContext* context, const v1::PredictRatingsRequest* request,
    v1::PredictRatingsResponse* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const auto serving = engines_->Get(request->model());
  if (!serving.ok()) {
    reactor->Finish(ToGrpc(context, serving.status()));
    return reactor;
  }
  const Violations violations = ValidatePredictRatings(*request, limits_);
  if (!violations.empty()) {
    reactor->Finish(ToGrpc(context, BadRequest(violations)));
    return reactor;
  }
  Engine* const engine = (*serving)->engine;
  ReadAt(request->min_sequence(), engine, context, reactor,
         [engine, request, response] { return Predict(*engine, *request, response); });
  return reactor;
}

}  // namespace factord
