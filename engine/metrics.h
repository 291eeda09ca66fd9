// What monitoring asks of an engine, beside ModelInfo. Counts are since the engine was opened;
// nothing here is kept on disk.
#pragma once

#include <cstdint>

#include "base/histogram.h"

namespace factord {

// Bytes that an engine has taken for its state. They grow with the model: rows and tables are taken
// in steps and never given back.
//
// Not in it, since it is bounded or passes: the queue (EngineOptions::max_queued_bytes), old rows
// that a pinned view or a snapshot in the making still needs (those of users; those of items are
// counted), lists of changed rows (four bytes each), producers (max_producers), network buffers,
// threads, code.
struct MemoryUsage {
  int64_t users = 0;      // rows
  int64_t histories = 0;  // what each user has rated
  int64_t user_ids = 0;
  int64_t items = 0;  // rows, with the old ones that views hold
  int64_t item_ids = 0;
  int64_t dedupe = 0;  // event ids, with those that wait for a snapshot
  int64_t store = 0;   // RocksDB: newest records (up to some 130 MB, in waves), cache, file indices

  int64_t total() const { return users + histories + user_ids + items + item_ids + dedupe + store; }
};

struct EngineMetrics {
  // The queue: what was handed to Record and is not settled yet.
  int64_t queue_events = 0;
  int64_t queue_bytes = 0;  // as EngineOptions::max_queued_bytes counts them

  // What became of events.
  int64_t applied = 0;
  int64_t duplicates = 0;
  int64_t conflicts = 0;

  // How often something was refused, by what stood against it: a whole request, or, with
  // allow_partial, a single event.
  struct Refusals {
    int64_t queue = 0;   // max_queued_events or max_queued_bytes
    int64_t users = 0;   // max_users
    int64_t items = 0;   // max_items
    int64_t memory = 0;  // memory_limit
    int64_t disk = 0;    // min_free_bytes
  };
  Refusals refusals;

  // Groups that shared one append and publication, by their number of events.
  HistogramSnapshot group_events;
  // The log. See LogMetrics.
  HistogramSnapshot log_append_seconds;
  HistogramSnapshot log_sync_seconds;
  int64_t log_events = 0;
  int64_t log_bytes = 0;

  bool snapshot_running = false;
  int64_t snapshot_failures = 0;
  HistogramSnapshot snapshot_seconds;  // of those that succeeded
  // When the last one was committed, in seconds since 1970; 0: there is none. See Store.
  int64_t snapshot_unix_seconds = 0;

  int64_t producers = 0;
  int64_t dedupe_entries = 0;
  int64_t dedupe_evictions = 0;  // ids forgotten because the window went on, with those of recovery
  MemoryUsage memory;
  int64_t disk_free_bytes = 0;
};

}  // namespace factord
