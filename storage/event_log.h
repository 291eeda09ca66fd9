// The event log: the truth from which the model is computed. A narrow interface, so that another
// log (a distributed one) can take RocksDB's place.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/types/span.h"
#include "base/histogram.h"
#include "base/status.h"
#include "storage/records.h"

namespace factord {

// The sequences that can be read. Empty when first > last.
struct LogRange {
  int64_t first = 1;
  int64_t last = 0;
  bool empty() const { return first > last; }
};

// For monitoring. Times are since the log was opened.
struct LogMetrics {
  HistogramSnapshot append_seconds;  // of Append as a whole
  HistogramSnapshot sync_seconds;    // of fsync alone, inside Append (sync) or Sync (async)
  int64_t bytes = 0;                 // on disk
};

// Reads forward from a sequence. Thread-compatible; must not outlive its log. It sees what was
// appended before it was made.
class LogCursor {
 public:
  virtual ~LogCursor() = default;
  // The next events, at least one, in order and without a hole; empty at the end. They borrow from
  // the cursor until the next call. DATA_LOSS, naming the sequence, for a damaged record or a hole.
  virtual absl::StatusOr<absl::Span<const Event>> Next() = 0;
};

// One thread appends; any thread may read, and call everything else.
class EventLog {
 public:
  virtual ~EventLog() = default;

  // Appends `events`, whose sequences continue range().last, as one atomic unit: after a crash all
  // or none of them is there. Returns when they are durable in the store's mode (sync: on disk;
  // async: handed to the operating system). After an error the outcome is unknown and the log
  // refuses every later append (UNAVAILABLE). Nothing was written, and appending may go on, after
  // INVALID_ARGUMENT (no events, another sequence, an empty user or item id) and
  // FAILED_PRECONDITION (read-only, or the folder's evidence has not been cleared).
  virtual absl::Status Append(absl::Span<const Event> events) = 0;

  // Makes everything appended so far durable on disk.
  virtual absl::Status Sync() = 0;

  // Starts reading at `sequence` (range().first to range().last + 1). OUT_OF_RANGE: it was trimmed
  // away, or lies beyond the end.
  virtual absl::StatusOr<std::unique_ptr<LogCursor>> ReadFrom(int64_t sequence) = 0;

  virtual LogRange range() const = 0;

  // Forgets events up to `sequence`, durably, and frees their space. May keep some of them (whole
  // records are dropped). FAILED_PRECONDITION: beyond the store's snapshot, where the log is all
  // there is.
  virtual absl::Status TrimThrough(int64_t sequence) = 0;

  // OK, or the first failed append or sync.
  virtual absl::Status health() const = 0;

  virtual LogMetrics metrics() const = 0;
};

}  // namespace factord
