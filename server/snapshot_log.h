// What the log says of snapshots.
#pragma once

#include "engine/engine.h"

namespace factord {

// For EngineOptions::on_snapshot. Thread-safe.
void LogSnapshot(const absl::StatusOr<SnapshotInfo>& info, double seconds);

}  // namespace factord
