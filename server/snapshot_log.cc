#include "server/snapshot_log.h"

#include "server/log.h"

namespace factord {

void LogSnapshot(const absl::StatusOr<SnapshotInfo>& info, double seconds) {
  if (!info.ok()) {
    log::Error("a snapshot failed, the former one stays", {{"reason", info.status().ToString()}});
    return;
  }
  log::Info("snapshot", {{"sequence", info->sequence},
                         {"hash", info->hash.ToHex()},
                         {"rows", info->rows_written},
                         {"seconds", seconds}});
}

}  // namespace factord
