#include "server/model_service.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace factord {
namespace {

// A page stays below the 4 MiB that a gRPC client accepts by default.
constexpr int64_t kMaxPageBytes = 3 << 20;

void Convert(const ModelConfig& config, v1::ModelConfig* out) {
  out->set_rank(config.rank);
  out->set_seed(config.seed);
  out->set_min_rating(config.min_rating);
  out->set_max_rating(config.max_rating);
  // The numbers of both enums are the same on the wire and in the model.
  static_assert(static_cast<int>(Variant::kPaII) == v1::ModelConfig::VARIANT_PA_II);
  static_assert(static_cast<int>(Variant::kAdaptive) == v1::ModelConfig::VARIANT_ADAPTIVE);
  static_assert(static_cast<int>(Solver::kApproximate) == v1::ModelConfig::SOLVER_APPROXIMATE);
  out->set_variant(static_cast<v1::ModelConfig::Variant>(config.variant));
  out->set_solver(static_cast<v1::ModelConfig::Solver>(config.solver));
  out->set_aggressiveness(config.aggressiveness);
  out->set_epsilon(config.epsilon);
  out->set_bisection_tolerance(config.bisection_tolerance);
  out->set_initial_rating(config.initial_rating);
  out->set_dedupe_window(config.dedupe_window);
  out->set_update_version(config.update_version);
  out->set_offset(config.offset);
  out->set_attraction(config.attraction);
  out->set_replay(config.replay);
  for (const EventType& type : config.event_types) {
    v1::EventType* const added = out->add_event_types();
    added->set_name(type.name);
    added->set_value(type.value);
    added->set_weight(type.weight);
  }
}

void Convert(const FactorHealth& health, v1::FactorHealth* out) {
  out->set_user_zeros(health.user_zeros);
  out->set_item_zeros(health.item_zeros);
  out->set_dead_user_rows(health.dead_user_rows);
  out->set_dead_item_rows(health.dead_item_rows);
  out->set_dead_coordinates(health.dead_coordinates);
}

void Convert(const ModelInfo& info, v1::GetModelResponse* out) {
  Convert(info.config, out->mutable_config());
  out->set_sequence(info.sequence);
  out->set_log_start_sequence(info.log_start_sequence);
  out->set_snapshot_sequence(info.snapshot_sequence);
  out->set_users(info.users);
  out->set_items(info.items);
  v1::PrequentialError* const error = out->mutable_prequential_error();
  error->set_events(info.prequential_error.events);
  error->set_mae(info.prequential_error.mae);
  error->set_rmse(info.prequential_error.rmse);
  error->set_fading_mae(info.prequential_error.fading_mae);
  error->set_fading_rmse(info.prequential_error.fading_rmse);
  out->set_passive_updates(info.passive_updates);
  out->set_clipped_updates(info.clipped_updates);
  out->set_duplicates(info.duplicates);
  out->set_accepts_writes(info.write_health.ok());
}

void Convert(const Topics& topics, v1::ListTopicsResponse* out) {
  out->set_sequence(topics.sequence);
  for (const Topic& topic : topics.topics) {
    const int factor = out->topics_size();
    v1::Topic* const converted = out->add_topics();
    converted->set_factor(factor);
    for (const Topic::Item& item : topic.items) {
      v1::TopicItem* const converted_item = converted->add_items();
      converted_item->set_item_id(item.item_id.data(), item.item_id.size());
      converted_item->set_weight(item.weight);
      converted_item->set_ratings(item.ratings);
    }
  }
}

void Convert(const FactorPage& page, v1::GetFactorsResponse* out) {
  out->set_sequence(page.sequence);
  out->mutable_rows()->Reserve(static_cast<int>(page.rows.size()));
  for (const FactorPage::Row& row : page.rows) {
    v1::FactorRow* const converted = out->add_rows();
    converted->set_id(row.id.data(), row.id.size());
    converted->mutable_factors()->Add(row.factors.begin(), row.factors.end());
    converted->set_ratings(row.ratings);
    converted->set_bias(row.bias);
    converted->mutable_ranking_factors()->Add(row.ranking_factors.begin(),
                                              row.ranking_factors.end());
    converted->set_ranking_bias(row.ranking_bias);
  }
}

// Where a page begins. As text "items/1000/VIEW" or "users/1000".
struct PageToken {
  int64_t first = 0;
  std::string view;

  std::string ToString() const {
    return view.empty() ? absl::StrCat("users/", first) : absl::StrCat("items/", first, "/", view);
  }

  static absl::StatusOr<PageToken> FromRequest(const v1::GetFactorsRequest& request) {
    PageToken token{.view = request.view_token()};
    if (request.page_token().empty()) return token;
    const bool items = request.side() == v1::GetFactorsRequest::SIDE_ITEMS;
    const std::vector<std::string> parts =
        absl::StrSplit(request.page_token(), absl::MaxSplits('/', 2));
    if (parts.size() != (items ? 3 : 2) || parts[0] != (items ? "items" : "users") ||
        !absl::SimpleAtoi(parts[1], &token.first) || token.first < 0) {
      return BadRequest({{"page_token", "must come from the response before, for the same side"}});
    }
    if (items && !token.view.empty() && token.view != parts[2]) {
      return BadRequest({{"view_token", "must be the one that page_token belongs to, or empty"}});
    }
    if (items) token.view = parts[2];
    return token;
  }
};

absl::Status GetPage(const EngineHolder::Serving& serving, const v1::GetFactorsRequest& request,
                     const Limits& limits, v1::GetFactorsResponse* response) {
  FACTORD_ASSIGN_OR_RETURN(PageToken token, PageToken::FromRequest(request));
  const int64_t row_bytes =
      int64_t{8} * serving.config.rank + limits.max_id_bytes + 48;  // both rows; id, counts, tags
  const int64_t asked = request.has_page_size() ? request.page_size() : kDefaultPageSize;
  const auto limit = static_cast<int32_t>(std::min(asked, kMaxPageBytes / row_bytes));
  FactorPage page;
  if (request.side() == v1::GetFactorsRequest::SIDE_USERS) {
    page = serving.engine->UserFactors(token.first, limit);
  } else {
    if (token.view.empty()) {
      FACTORD_ASSIGN_OR_RETURN(token.view, serving.engine->PinItems());
    }
    FACTORD_ASSIGN_OR_RETURN(page, serving.engine->ItemFactors(token.view, token.first, limit));
    response->set_view_token(token.view);
  }
  Convert(page, response);
  token.first += static_cast<int64_t>(page.rows.size());
  if (!page.last_page) response->set_next_page_token(token.ToString());
  return absl::OkStatus();
}

}  // namespace

ModelService::ModelService(const EngineHolder* engines, CallGate* gate, const Limits& limits,
                           WorkerPool* workers)
    : engines_(engines), limits_(limits), workers_(workers) {
  AddUnary(gate, Rpc::kGetModel, this, &ModelService::ReadModel);
  AddUnary(gate, Rpc::kListTopics, this, &ModelService::ReadTopics);
  AddUnary(gate, Rpc::kGetFactors, this, &ModelService::ReadFactors);
}

absl::Status ModelService::ReadModel(ModelCall* call) const {
  FACTORD_ASSIGN_OR_RETURN(const EngineHolder::Serving* serving,
                           engines_->Get(call->request().model()));
  Convert(serving->engine->Info(), call->response());
  Convert(serving->engine->MeasureFactors(), call->response()->mutable_factor_health());
  call->Finish(absl::OkStatus());
  return absl::OkStatus();
}

absl::Status ModelService::ReadTopics(TopicsCall* call) const {
  const v1::ListTopicsRequest& request = call->request();
  FACTORD_ASSIGN_OR_RETURN(const EngineHolder::Serving* serving, engines_->Get(request.model()));
  const Violations violations = ValidateListTopics(request, limits_);
  if (!violations.empty()) return BadRequest(violations);
  workers_->Run([call, &request, engine = serving->engine] {
    const int32_t items =
        request.has_items_per_topic() ? request.items_per_topic() : kDefaultItemsPerTopic;
    Convert(engine->ListTopics(items, request.min_ratings()), call->response());
    call->Finish(absl::OkStatus());
  });
  return absl::OkStatus();
}

absl::Status ModelService::ReadFactors(FactorsCall* call) const {
  const v1::GetFactorsRequest& request = call->request();
  FACTORD_ASSIGN_OR_RETURN(const EngineHolder::Serving* serving, engines_->Get(request.model()));
  const Violations violations = ValidateGetFactors(request, limits_);
  if (!violations.empty()) return BadRequest(violations);
  workers_->Run([this, call, &request, serving] {
    call->Finish(GetPage(*serving, request, limits_, call->response()));
  });
  return absl::OkStatus();
}

}  // namespace factord
