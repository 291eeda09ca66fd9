// The disk under a server's folder, as a test wants it: it fails where it is told to, and loses
// what was not synced.
//
//   FaultyDisk disk(folder / "data");
//   std::vector<std::string> environment;
//   disk.Prepare(&environment);
//   disk.Fail(kDiskSync, 3, EIO, /*stays=*/false);
//   ServerProcess server(flags, environment);
//   ...
//   server.Kill();
//   disk.LosePower(&random);
#pragma once

#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/crash/disk_faults.h"
#include "tests/crash/shared_control.h"

namespace factord {

// Thread-compatible. For one server after the other.
class FaultyDisk {
 public:
  // `folder` is an absolute path, and need not be there yet. What a power loss would bring back is
  // kept beside it, in FOLDER.journal.
  explicit FaultyDisk(std::string folder);

  // False where nothing can be preloaded (a sanitizer's runtime wants to be first).
  static bool IsPossible();

  // For the next server, which finds no fault. Adds to "NAME=value". `all_is_on_disk`: all that is
  // there is; otherwise what was, and what the servers since have synced. REQUIRES: true the first
  // time, and after LosePower.
  void Prepare(std::vector<std::string>* environment, bool all_is_on_disk = true);

  // The `nth` operation of a kind, from 1, fails with this errno; `stays`: later ones as well.
  void Fail(DiskOperation operation, int nth, int error, bool stays);
  // The server is killed in place of the `nth` operation of a kind.
  void KillAt(DiskOperation operation, int nth) { Fail(operation, nth, 0, false); }
  // How often one failed, or the server was killed.
  int failed() const { return control_->failed; }
  int passed(DiskOperation operation) const { return control_->passed[operation]; }

  // Leaves in the folder what a power loss would have left at the moment that the server ended: of
  // each file what was synced and some of the rest, where a part of a WAL or a table may be zeros;
  // of the names in each folder those of its last sync, and some of the changes since, in their
  // order. REQUIRES: the server has ended.
  void LosePower(std::mt19937_64* random);

 private:
  // A change of a name, of the journal.
  struct Change {
    std::string kind, path, target, saved;
  };

  void BeginJournal();
  void CutJournal();  // to whole lines, after a kill
  static void Undo(const Change& change);

  const std::filesystem::path folder_;
  const std::filesystem::path journal_folder_;
  SharedControl<DiskControl> control_;
};

}  // namespace factord
