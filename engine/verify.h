// Offline check of a data folder that keeps its whole log.
#pragma once

#include <cstdint>
#include <string>

#include "base/hash128.h"
#include "base/status.h"

namespace factord {

struct VerifyResult {
  int64_t events = 0;                 // in the log
  int64_t snapshot_sequence = 0;      // 0: no snapshot
  Hash128 snapshot_hash;              // as stored
  Hash128 replayed_hash_at_snapshot;  // of the log replayed from empty up to snapshot_sequence
  Hash128 hash;                       // of the log replayed to its end
};

// Replays the folder's log from empty through the same apply function as the server's and compares
// with the stored snapshot, row by row through the hash, and with the evidence of a clean close.
// Writes nothing. OK: they agree. FAILED_PRECONDITION: the log was trimmed, or the folder is in
// use. DATA_LOSS: damaged, or the hashes differ (both are named).
absl::StatusOr<VerifyResult> VerifyFolder(const std::string& path);

}  // namespace factord
