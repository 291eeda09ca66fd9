// Status vocabulary of the project: absl::Status and absl::StatusOr, plus the two propagation
// macros that Debian's Abseil does not ship.
//
//   absl::StatusOr<Config> ReadConfig(absl::string_view path) {
//     FACTORD_ASSIGN_OR_RETURN(std::string text, ReadFile(path));
//     FACTORD_RETURN_IF_ERROR(Validate(text));
//     return Parse(text);
//   }
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

#define FACTORD_RETURN_IF_ERROR(expr)                                 \
  do {                                                                \
    if (absl::Status factord_status = (expr); !factord_status.ok()) { \
      return factord_status;                                          \
    }                                                                 \
  } while (false)

#define FACTORD_STATUS_CONCAT_INNER(a, b) a##b
#define FACTORD_STATUS_CONCAT(a, b) FACTORD_STATUS_CONCAT_INNER(a, b)

#define FACTORD_ASSIGN_OR_RETURN(lhs, expr) \
  FACTORD_ASSIGN_OR_RETURN_IMPL(FACTORD_STATUS_CONCAT(factord_statusor_, __LINE__), lhs, expr)

#define FACTORD_ASSIGN_OR_RETURN_IMPL(statusor, lhs, expr) \
  auto statusor = (expr);                                  \
  if (!statusor.ok()) return std::move(statusor).status(); \
  lhs = *std::move(statusor)

namespace factord {

// `status` with `prefix` and ": " before its message; code and payloads stay. OK stays OK.
inline absl::Status Annotate(const absl::Status& status, absl::string_view prefix) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(), absl::StrCat(prefix, ": ", status.message()));
  status.ForEachPayload([&annotated](absl::string_view type_url, const absl::Cord& payload) {
    annotated.SetPayload(type_url, payload);
  });
  return annotated;
}

// The payload of RetryAfter. It never travels: it has no type URL that a client could know.
inline constexpr char kRetryAfterPayload[] = "factord/retry-after-ms";

// RESOURCE_EXHAUSTED of what passes: whoever waits for so long, rounded up to a millisecond, may be
// served then. Every other RESOURCE_EXHAUSTED stays until somebody does something about it.
inline absl::Status RetryAfter(std::chrono::steady_clock::duration wait,
                               absl::string_view message) {
  absl::Status status = absl::ResourceExhaustedError(message);
  const auto millis =
      std::max<int64_t>(0, std::chrono::ceil<std::chrono::milliseconds>(wait).count());
  status.SetPayload(kRetryAfterPayload, absl::Cord(absl::StrCat(millis)));
  return status;
}

// How long RetryAfter said; null for any other status.
inline std::optional<std::chrono::milliseconds> RetryAfterOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kRetryAfterPayload);
  int64_t millis = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &millis)) {
    return std::nullopt;
  }
  return std::chrono::milliseconds(millis);
}

}  // namespace factord
