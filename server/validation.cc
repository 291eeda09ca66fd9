#include "server/validation.h"

#include <cmath>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace factord {
namespace {

// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z: the range that google.protobuf.Timestamp allows.
constexpr int64_t kMinSeconds = -62'135'596'800;
constexpr int64_t kMaxSeconds = 253'402'300'799;
constexpr int32_t kMaxNanos = 999'999'999;
constexpr size_t kMaxBackupNameBytes = 64;
constexpr int64_t kMaxPasses = 100;

void CheckId(const std::string& id, absl::string_view field, const Limits& limits,
             Violations* violations) {
  if (id.empty() || id.size() > static_cast<size_t>(limits.max_id_bytes)) {
    violations->push_back({std::string(field), absl::StrCat("must have 1 to ", limits.max_id_bytes,
                                                            " bytes, has ", id.size())});
  }
}

void CheckLength(const std::string& value, absl::string_view field, int32_t max_bytes,
                 Violations* violations) {
  if (value.size() > static_cast<size_t>(max_bytes)) {
    violations->push_back({std::string(field), absl::StrCat("must have at most ", max_bytes,
                                                            " bytes, has ", value.size())});
  }
}

// False when the list itself is wrong; its elements are then not looked at.
bool CheckCount(int64_t count, const ListRule& rule, Violations* violations) {
  if (count >= rule.min && count <= rule.max) return true;
  violations->push_back(
      {std::string(rule.field),
       rule.min == 0
           ? absl::StrCat("must have at most ", rule.max, " elements, has ", count)
           : absl::StrCat("must have ", rule.min, " to ", rule.max, " elements, has ", count)});
  return false;
}

void CheckRange(int64_t value, absl::string_view field, int64_t min, int64_t max,
                Violations* violations) {
  if (value < min || value > max) {
    violations->push_back(
        {std::string(field), absl::StrCat("must be ", min, " to ", max, ", is ", value)});
  }
}

void CheckEventType(const std::string& name, const ModelConfig& config, Violations* violations) {
  if (FindEventType(config, name).has_value()) return;
  std::string rule = "this model has none (--event_types)";
  if (!config.event_types.empty()) {
    rule = absl::StrCat(
        "must be one of ",
        absl::StrJoin(config.event_types, ", ",
                      [](std::string* out, const EventType& type) { out->append(type.name); }));
  }
  violations->push_back({"event_type", std::move(rule)});
}

void CheckNotNegative(int64_t value, absl::string_view field, Violations* violations) {
  if (value < 0) violations->push_back({std::string(field), "must be at least 0"});
}

// Appends what is wrong with element `index` of `list`.
void AddElement(absl::string_view list, int index, Violations element, Violations* violations) {
  for (Violation& violation : element) {
    violation.field = absl::StrCat(list, "[", index, "].", violation.field);
    violations->push_back(std::move(violation));
  }
}

}  // namespace

std::string ToString(const Violations& violations) {
  std::string text;
  for (const Violation& violation : violations) {
    absl::StrAppend(&text, text.empty() ? "" : "; ", violation.field, ": ", violation.rule);
  }
  return text;
}

Violations ValidateCount(int64_t count, const ListRule& rule) {
  Violations violations;
  CheckCount(count, rule, &violations);
  return violations;
}

Violations ValidateRating(const v1::Rating& rating, const Limits& limits,
                          const ModelConfig& config) {
  Violations violations;
  CheckId(rating.user_id(), "user_id", limits, &violations);
  CheckId(rating.item_id(), "item_id", limits, &violations);
  if (!rating.event_type().empty()) {
    CheckEventType(rating.event_type(), config, &violations);
    if (rating.has_rating()) violations.push_back({"rating", "must not be set with event_type"});
  } else if (!rating.has_rating()) {
    violations.push_back({"rating", "must be set"});
  } else if (!std::isfinite(rating.rating())) {
    // A client's double of 1e300, say, is an infinite float.
    violations.push_back({"rating", absl::StrCat("must be a finite float, ", config.min_rating,
                                                 " to ", config.max_rating)});
  } else if (rating.rating() < config.min_rating || rating.rating() > config.max_rating) {
    violations.push_back(
        {"rating", absl::StrCat("must be ", config.min_rating, " to ", config.max_rating)});
  }
  if (rating.has_event_time()) {
    const int64_t seconds = rating.event_time().seconds();
    if (seconds < kMinSeconds || seconds > kMaxSeconds) {
      violations.push_back(
          {"event_time.seconds", "must lie between 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z"});
    }
    const int32_t nanos = rating.event_time().nanos();
    if (nanos < 0 || nanos > kMaxNanos) {
      violations.push_back({"event_time.nanos", absl::StrCat("must be 0 to ", kMaxNanos)});
    }
  }
  CheckLength(rating.event_id(), "event_id", limits.max_event_id_bytes, &violations);
  CheckLength(rating.recommendation_id(), "recommendation_id", limits.max_recommendation_id_bytes,
              &violations);
  return violations;
}

Violations ValidateRecordRatings(const v1::RecordRatingsRequest& request, const Limits& limits,
                                 const ModelConfig& config) {
  Violations violations;
  if (CheckCount(request.events_size(), limits.events(), &violations) && !request.allow_partial()) {
    for (int i = 0; i < request.events_size(); ++i) {
      AddElement("events", i, ValidateRating(request.events(i), limits, config), &violations);
    }
  }
  return violations;
}

Violations ValidateStreamStart(const v1::StreamStart& start, const Limits& limits) {
  Violations violations;
  CheckLength(start.producer_id(), "start.producer_id", limits.max_producer_id_bytes, &violations);
  return violations;
}

Violations ValidateStreamBatch(const v1::StreamBatch& batch, int64_t last_number,
                               const Limits& limits) {
  Violations violations;
  CheckCount(batch.events_size(), limits.batch_events(), &violations);
  if (batch.first_number() < 1) {
    violations.push_back({"batch.first_number", "must be at least 1"});
  } else if (batch.first_number() <= last_number) {
    violations.push_back(
        {"batch.first_number",
         absl::StrCat("must increase: ", batch.first_number(), " after ", last_number)});
  } else if (batch.first_number() >
             std::numeric_limits<int64_t>::max() - static_cast<int64_t>(batch.events_size())) {
    violations.push_back({"batch.first_number", "must leave room for the numbers of the events"});
  }
  return violations;
}

Violations ValidateRecommendItems(const v1::RecommendItemsRequest& request, const Limits& limits) {
  Violations violations;
  CheckId(request.user_id(), "user_id", limits, &violations);
  if (request.has_max_items()) {
    CheckRange(request.max_items(), "max_items", 1, limits.max_items, &violations);
  }
  if (CheckCount(request.deny_item_ids_size(), limits.deny_item_ids(), &violations)) {
    for (int i = 0; i < request.deny_item_ids_size(); ++i) {
      CheckId(request.deny_item_ids(i), absl::StrCat("deny_item_ids[", i, "]"), limits,
              &violations);
    }
  }
  CheckNotNegative(request.min_sequence(), "min_sequence", &violations);
  return violations;
}

Violations ValidatePredictRatings(const v1::PredictRatingsRequest& request, const Limits& limits) {
  Violations violations;
  if (CheckCount(request.pairs_size(), limits.pairs(), &violations)) {
    for (int i = 0; i < request.pairs_size(); ++i) {
      Violations pair;
      CheckId(request.pairs(i).user_id(), "user_id", limits, &pair);
      CheckId(request.pairs(i).item_id(), "item_id", limits, &pair);
      AddElement("pairs", i, std::move(pair), &violations);
    }
  }
  CheckNotNegative(request.min_sequence(), "min_sequence", &violations);
  return violations;
}

Violations ValidateListTopics(const v1::ListTopicsRequest& request, const Limits& limits) {
  Violations violations;
  if (request.has_items_per_topic()) {
    CheckRange(request.items_per_topic(), "items_per_topic", 1, limits.max_items_per_topic,
               &violations);
  }
  CheckNotNegative(request.min_ratings(), "min_ratings", &violations);
  return violations;
}

Violations ValidateGetFactors(const v1::GetFactorsRequest& request, const Limits& limits) {
  Violations violations;
  if (request.side() != v1::GetFactorsRequest::SIDE_ITEMS &&
      request.side() != v1::GetFactorsRequest::SIDE_USERS) {
    violations.push_back({"side", "must be SIDE_ITEMS or SIDE_USERS"});
  }
  if (request.has_page_size()) {
    CheckRange(request.page_size(), "page_size", 1, limits.max_page_size, &violations);
  }
  if (request.side() == v1::GetFactorsRequest::SIDE_USERS && !request.view_token().empty()) {
    violations.push_back({"view_token", "must be empty with SIDE_USERS"});
  }
  return violations;
}

Violations ValidateStartPasses(const v1::StartPassesRequest& request) {
  Violations violations;
  CheckRange(request.passes(), "passes", 1, kMaxPasses, &violations);
  return violations;
}

Violations ValidateBackup(const v1::BackupRequest& request) {
  Violations violations;
  const std::string& name = request.name();
  bool plain = !name.empty() && name.size() <= kMaxBackupNameBytes && name[0] != '.';
  for (const char c : name) {
    plain = plain && (absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-');
  }
  if (!plain) {
    violations.push_back(
        {"name", absl::StrCat("must have 1 to ", kMaxBackupNameBytes,
                              " letters, digits, '.', '_' or '-', and not begin with '.'")});
  }
  return violations;
}

}  // namespace factord
