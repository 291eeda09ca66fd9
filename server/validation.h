// The rules that a request must keep, checked before anything is done with it. Every broken rule of
// a request is reported, each with the path of its field:
//
//   Violations bad = ValidateRecordRatings(request, limits, config);
//   if (!bad.empty()) return BadRequest(bad);   // server/status.h
//
//   events[3].rating: must be a finite float, 0 to 5
//   events[4].user_id: must have 1 to 256 bytes, has 260
//
// Strings are known to be UTF-8 here: protobuf refuses others while parsing, before any handler
// runs (server/message.h).
//
// All functions are pure and thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "factord/v1/admin_service.pb.h"
#include "factord/v1/model_service.pb.h"
#include "factord/v1/rating_service.pb.h"
#include "factord/v1/recommendation_service.pb.h"
#include "model/config.h"

namespace factord {

// A list in a request, and how many elements it may have.
struct ListRule {
  absl::string_view field = {};
  int32_t min = 0;
  int32_t max = 0;
};

// What one request may ask for. The defaults are the documented limits of the API.
struct Limits {
  // Events of a RecordRatings request or of a batch of a stream.
  int32_t max_events_per_request = 10'000;
  // Bytes of a user's or an item's id.
  int32_t max_id_bytes = 256;
  int32_t max_event_id_bytes = 64;
  int32_t max_producer_id_bytes = 64;
  int32_t max_recommendation_id_bytes = 64;
  // Items of a recommendation.
  int32_t max_items = 1'000;
  int32_t max_deny_item_ids = 10'000;
  int32_t max_pairs = 10'000;
  int32_t max_items_per_topic = 100;
  int32_t max_page_size = 10'000;

  ListRule events() const { return {"events", 1, max_events_per_request}; }
  ListRule batch_events() const { return {"batch.events", 1, max_events_per_request}; }
  ListRule deny_item_ids() const { return {"deny_item_ids", 0, max_deny_item_ids}; }
  ListRule pairs() const { return {"pairs", 1, max_pairs}; }
};

// Defaults of fields that a request leaves unset.
inline constexpr int32_t kDefaultMaxItems = 10;
inline constexpr int32_t kDefaultItemsPerTopic = 10;
inline constexpr int32_t kDefaultPageSize = 1'000;

// A field, as its path in the request, and the rule that it breaks.
struct Violation {
  std::string field;
  std::string rule;
};
using Violations = std::vector<Violation>;

// "field: rule; field: rule".
std::string ToString(const Violations& violations);

// Whether a list may have so many elements.
Violations ValidateCount(int64_t count, const ListRule& rule);

// What is wrong with one event. The rating must lie in the range of `config`, or its type be one of
// `config`. Fields are named from
// the event on ("rating").
Violations ValidateRating(const v1::Rating& rating, const Limits& limits,
                          const ModelConfig& config);

// With allow_partial, bad events are the caller's business (ValidateRating): only their number is
// checked.
Violations ValidateRecordRatings(const v1::RecordRatingsRequest& request, const Limits& limits,
                                 const ModelConfig& config);

Violations ValidateStreamStart(const v1::StreamStart& start, const Limits& limits);
// The frame of a batch, not its events. `last_number` is the last number that this stream has sent
// (0: none).
Violations ValidateStreamBatch(const v1::StreamBatch& batch, int64_t last_number,
                               const Limits& limits);

Violations ValidateRecommendItems(const v1::RecommendItemsRequest& request, const Limits& limits);
Violations ValidatePredictRatings(const v1::PredictRatingsRequest& request, const Limits& limits);
Violations ValidateListTopics(const v1::ListTopicsRequest& request, const Limits& limits);
// All but the inside of page_token (server/model_service.cc).
Violations ValidateGetFactors(const v1::GetFactorsRequest& request, const Limits& limits);
Violations ValidateStartPasses(const v1::StartPassesRequest& request);
Violations ValidateBackup(const v1::BackupRequest& request);

}  // namespace factord
