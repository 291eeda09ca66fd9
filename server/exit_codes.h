// Why `factord` ended: its exit codes, for scripts and supervisors.
//
//   code  meaning                                                            restart it?
//   0     stopped by SIGTERM or SIGINT: drained, final snapshot taken         as you like
//   1     failed in a way that has no code of its own; the log says how       yes
//   2     bad flags, certificates or tokens: every mistake is told            after mending them
//   3     the data folder was refused: in use, of another version or          after mending it
//         configuration, not a data folder, read-only, or missing
//   4     the data folder is damaged: the log names the file or record        from a backup
//   5     stopped as asked, but --drain_timeout ended before the final        as you like: the next
//         snapshot. Nothing acknowledged is lost                              start replays the log
//   6     cannot listen on --listen, --health_listen or --metrics_listen:     after mending it
//         in use, or no such address
#pragma once

#include "base/status.h"

namespace factord {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,
  kExitUsage = 2,
  kExitDataRefused = 3,
  kExitDataLoss = 4,
  kExitDrainTimeout = 5,
  kExitCannotListen = 6,
};

// The code for a server that could not be started.
inline ExitCode ExitCodeForStart(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return kExitUsage;
    case absl::StatusCode::kUnavailable:
      return kExitCannotListen;
    default:
      return kExitFailed;
  }
}

// The code for a data folder that could not be opened or closed.
inline ExitCode ExitCodeForData(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kInvalidArgument:
      return kExitUsage;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kNotFound:
      return kExitDataRefused;
    case absl::StatusCode::kDataLoss:
      return kExitDataLoss;
    default:
      return kExitFailed;
  }
}

}  // namespace factord
