// Where the crash tests can end a server, and what they share with the library that is preloaded
// into it (kill_points.cc).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace factord {

// When a server comes by a point.
enum KillPhase : unsigned {
  kUnderLoad = 1,
  kTrimming = 2,  // under load, where the log is trimmed
  kRecovering = 4,
  kClosing = 8,
  kReopening = 16,  // while starting on a folder that was closed cleanly
};

struct KillPointEntry {
  const char* name;
  unsigned phases;  // of KillPhase
};

// "X.before" and "X.after" enclose a call of the operating system, those with a file's kind in the
// name one on such a file: wal, table and manifest are RocksDB's, staged is a snapshot's before it
// is committed, folder a directory. The others are KillPoint (base/kill_point.h) in the code.
inline constexpr KillPointEntry kKillPoints[] = {
    {"append.before", kUnderLoad},
    {"wal.write.before", kUnderLoad},
    {"wal.write.after", kUnderLoad},
    {"wal.sync.before", kUnderLoad},
    {"wal.sync.after", kUnderLoad},
    {"append.after", kUnderLoad},
    {"apply.after", kUnderLoad},
    {"publish.after", kUnderLoad},
    {"answer.before", kUnderLoad},
    {"socket.send.before", kUnderLoad},
    {"socket.send.after", kUnderLoad},

    {"snapshot.begin", kUnderLoad},
    {"snapshot.cut", kUnderLoad},
    {"staged.write.before", kUnderLoad},
    {"staged.write.after", kUnderLoad},
    {"snapshot.written", kUnderLoad},
    {"staged.sync.before", kUnderLoad},
    {"staged.sync.after", kUnderLoad},
    {"snapshot.finished", kUnderLoad},
    {"snapshot.synced", kUnderLoad},
    {"staged.link.before", kUnderLoad},
    {"staged.link.after", kUnderLoad},
    {"manifest.write.before", kUnderLoad},
    {"manifest.write.after", kUnderLoad},
    {"manifest.sync.before", kUnderLoad},
    {"manifest.sync.after", kUnderLoad},
    {"snapshot.committed", kUnderLoad},
    {"staged.unlink.before", kUnderLoad},
    {"staged.unlink.after", kUnderLoad},
    {"snapshot.end", kUnderLoad},

    {"trim.before", kTrimming},
    {"trim.recorded", kTrimming},
    {"trim.dropped", kTrimming},
    {"table.write.before", kTrimming},
    {"table.write.after", kTrimming},
    {"table.sync.before", kTrimming},
    {"table.sync.after", kTrimming},
    {"wal.unlink.before", kTrimming | kRecovering},
    {"wal.unlink.after", kTrimming | kRecovering},
    {"trim.after", kTrimming},

    {"recovery.begin", kRecovering},
    {"recovery.loaded", kRecovering},
    {"recovery.replayed", kRecovering},
    {"recovery.checked", kRecovering},
    {"recovery.end", kRecovering},
    {"table.write.before", kRecovering},
    {"table.write.after", kRecovering},
    {"manifest.write.before", kRecovering},
    {"manifest.sync.after", kRecovering},
    {"current.rename.before", kRecovering},
    {"current.rename.after", kRecovering},
    {"folder.sync.before", kRecovering},
    {"folder.sync.after", kRecovering},

    {"evidence.rename.before", kClosing},
    {"evidence.rename.after", kClosing},

    {"evidence.unlink.before", kReopening},
    {"evidence.unlink.after", kReopening},
};
inline constexpr size_t kKillPointCount = sizeof(kKillPoints) / sizeof(kKillPoints[0]);

// The environment variable that names the file with the KillControl.
inline constexpr char kKillControlVariable[] = "FACTORD_TEST_KILL_CONTROL";

// In a file that both sides map.
struct KillControl {
  // The process is killed where it passes the point of this index for the `countdown`th time; -1:
  // nowhere. To be set after the countdown.
  std::atomic<int32_t> armed{-1};
  std::atomic<int32_t> countdown{0};
  // Where it was killed; -1: not yet.
  std::atomic<int32_t> killed_at{-1};
  // And when, in nanoseconds of CLOCK_MONOTONIC.
  std::atomic<int64_t> killed_nanos{0};
  // Whether the library has found the points in the code.
  std::atomic<bool> hooked{false};
  // Snapshots begun and ended.
  std::atomic<int32_t> snapshots_begun{0};
  std::atomic<int32_t> snapshots_ended{0};
  // What the process's wall clock is ahead of the true one.
  std::atomic<int64_t> clock_offset_seconds{0};
};

}  // namespace factord
