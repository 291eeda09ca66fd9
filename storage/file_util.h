// Small durable files, folders and the lock of a data folder, over POSIX. Internal to storage.
//
// Errors name the path and carry the code that fits the cause: NOT_FOUND, PERMISSION_DENIED (also a
// read-only file system), RESOURCE_EXHAUSTED (full disk), else UNAVAILABLE. All functions are
// thread-safe.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace factord {

// The status for an errno value; its message is "WHAT PATH: strerror".
absl::Status ErrnoStatus(int error, absl::string_view what, absl::string_view path);

// DATA_LOSS if the file is larger than a text file of ours can be (1 MiB).
absl::StatusOr<std::string> ReadSmallFile(const std::string& path);

// Replaces folder/name, so that a crash leaves the old or the new file whole; durable on return.
absl::Status WriteFileDurably(const std::string& folder, const std::string& name,
                              absl::string_view contents);

// Creates or overwrites a file in place and syncs it; its folder is not synced.
absl::Status WriteAndSync(const std::string& path, absl::string_view contents);

// Renames within a folder, durably.
absl::Status RenameDurably(const std::string& folder, const std::string& from,
                           const std::string& to);

// Removes folder/name, durably. OK if it is not there.
absl::Status RemoveDurably(const std::string& folder, const std::string& name);

// Makes created, renamed and removed entries of a folder durable.
absl::Status SyncFolder(const std::string& path);

// Makes a folder. OK if it is there. Does not sync its parent.
absl::Status MakeFolder(const std::string& path);

// The names in a folder, but for "." and "..", unordered.
absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path);

// Removes a file, or a folder with all that is in it. OK if it is not there.
absl::Status RemoveTree(const std::string& path);

bool PathExists(const std::string& path);

// The folder that holds `path`.
std::string ParentFolder(const std::string& path);

// An exclusive lock on a data folder, held while the object lives and given up by the kernel when
// the process ends in whatever way. Movable; thread-compatible.
class FolderLock {
 public:
  enum class Mode {
    kCreate,  // makes the lock file if it is missing
    // Writes nothing. Without a lock file nobody can have the folder open for writing, and nothing
    // is locked.
    kReadOnly,
  };

  // FAILED_PRECONDITION: another process, or another lock of this one, holds it.
  static absl::StatusOr<FolderLock> Acquire(const std::string& folder, Mode mode);

  FolderLock() = default;
  ~FolderLock();
  FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FolderLock& operator=(FolderLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace factord
