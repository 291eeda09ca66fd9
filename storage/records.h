// What the store keeps, and its byte formats: events of the log, rows of factors, dedupe slots,
// producers, and the record that closes a snapshot. docs/storage-format.md describes every byte.
//
// Encoders append a payload to a string. Payloads are canonical (equal values, equal bytes), so the
// state hash is computed over them. Seal() puts a checksum behind a payload before it goes to disk,
// Unseal() checks and strips it. Decoders accept exactly what the encoders write and return
// DATA_LOSS for anything else; they never read out of bounds, whatever the bytes.
//
// All functions are pure and thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/hash128.h"
#include "base/status.h"

namespace factord {

enum class EventKind : uint8_t {
  kRating,   // a user rated an item
  kTaken,    // a user took an item up without rating it: a click, a purchase
  kRevisit,  // part of a further pass over the histories: no user's event, it has no ids
};

// Which part of the histories a revisit learns once more, and in which pass.
struct RevisitedPart {
  uint32_t first_user = 0;  // index
  uint32_t users = 0;       // so many from there on
  uint32_t position = 0;    // in each of their histories, where it begins
  uint32_t pass = 0;        // 2, 3, ...

  // Whether it is of a further pass, and of any user.
  bool is_valid() const { return users > 0 && pass >= 2; }

  friend bool operator==(const RevisitedPart& a, const RevisitedPart& b) = default;
};

// An event as the log holds it. The strings are borrowed.
struct Event {
  // From 1, without gaps; not part of the payload (the record's key and the event's place tell it).
  int64_t sequence = 0;
  EventKind kind = EventKind::kRating;
  absl::string_view user_id;            // 1 to 256 bytes
  absl::string_view item_id;            // 1 to 256 bytes
  float rating = 0;                     // kRating: finite
  uint8_t type = 0;                     // kTaken: place in the model's event types
  RevisitedPart revisited = {};         // kRevisit
  int64_t time_micros = 0;              // since 1970-01-01 UTC
  bool time_is_servers = false;         // stamped by the server: not part of the event's content
  absl::string_view event_id;           // empty: none
  absl::string_view recommendation_id;  // empty: none
  absl::string_view producer_id;        // empty: none
  int64_t producer_number = 0;          // only with a producer_id
};

// Hash of what the client said (user, item, rating or type, its own time, recommendation): a retry
// with the same event_id must agree in it.
uint64_t ContentHash(const Event& event);

// A log record holds consecutive events. REQUIRES: not empty.
void EncodeLogRecord(absl::Span<const Event> events, std::string* payload);
// Appends the record's events, whose sequences begin with `first_sequence`, to *events. They borrow
// from `payload`.
absl::Status DecodeLogRecord(absl::string_view payload, int64_t first_sequence,
                             std::vector<Event>* events);

// The two sides of the factorisation.
enum class Side : uint8_t { kUser = 0, kItem = 1 };

// One row of P or Q with all that belongs to it.
struct Row {
  uint32_t index = 0;  // order of creation on its side, from 0, without gaps; the record's key
  absl::string_view id;
  uint64_t count = 0;  // ratings learned from
  float bias = 0;
  float bias_variance = 0;
  float confidence = 0;
  float mood = 0;
  float quality_taste = 0;
  float popularity_taste = 0;
  std::vector<float> factors;    // rank values
  std::vector<float> auxiliary;  // empty, or rank values
  // Users: what they have rated, oldest first, each item once, with its latest value (or a NaN, as
  // the model says).
  std::vector<uint32_t> history_items;
  std::vector<float> history_ratings;
};

// The same, borrowed: what EncodeRow reads, so that a row need not be copied to be written.
struct RowRef {
  uint32_t index = 0;
  absl::string_view id;
  uint64_t count = 0;
  float bias = 0;
  float bias_variance = 0;
  float confidence = 0;
  float mood = 0;
  float quality_taste = 0;
  float popularity_taste = 0;
  absl::Span<const float> factors;
  absl::Span<const float> auxiliary;
  absl::Span<const uint32_t> history_items;
  absl::Span<const float> history_ratings;
};

void EncodeRow(const RowRef& row, std::string* payload);
// Fills *row, whose id borrows from `payload`. *row's vectors are reused.
absl::Status DecodeRow(absl::string_view payload, uint32_t index, Row* row);

// One remembered event id. It lies in slot sequence % window, where the next one overwrites it.
struct DedupeEntry {
  int64_t sequence = 0;
  Hash128 key;           // of the event id
  uint64_t content = 0;  // ContentHash
};

void EncodeDedupeEntry(const DedupeEntry& entry, std::string* payload);
absl::Status DecodeDedupeEntry(absl::string_view payload, DedupeEntry* entry);

// The last number taken from a producer.
struct Producer {
  absl::string_view id;
  int64_t last_number = 0;
};

void EncodeProducer(const Producer& producer, std::string* payload);
absl::Status DecodeProducer(absl::string_view payload, absl::string_view id, Producer* producer);

// What a snapshot says of itself. It is written with the rows, atomically.
struct SnapshotMeta {
  int64_t sequence = 0;  // the rows hold the state after this event; 0: nothing yet
  Hash128 hash;          // of the whole state
  uint64_t users = 0;
  uint64_t items = 0;
  uint64_t producers = 0;
  // Running statistics, carried over restarts. They are no part of the hash.
  uint64_t scored_events = 0;
  double absolute_error_sum = 0;
  double squared_error_sum = 0;
  double fading_absolute_error = 0;
  double fading_squared_error = 0;
  double fading_weight = 0;
  uint64_t passive_updates = 0;
  uint64_t clipped_updates = 0;
  // What the model knows of all ratings together, as the model writes it.
  std::string globals;
};

void EncodeSnapshotMeta(const SnapshotMeta& meta, std::string* payload);
absl::Status DecodeSnapshotMeta(absl::string_view payload, SnapshotMeta* meta);

// Payload <-> what lies on disk: the payload, then eight bytes XXH3-64 of key and payload, so that
// neither a flipped bit nor a value under another key goes unnoticed.
void Seal(absl::string_view key, std::string* payload);
// The payload within `value`, or DATA_LOSS.
absl::StatusOr<absl::string_view> Unseal(absl::string_view key, absl::string_view value);

}  // namespace factord
