#include "storage/file_util.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace factord {
namespace {

constexpr size_t kLargestSmallFile = size_t{1} << 20;

// A file descriptor that is closed at the end of its scope.
class Descriptor {
 public:
  Descriptor(const std::string& path, int flags)
      : fd_(open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  bool ok() const { return fd_ >= 0; }
  int get() const { return fd_; }

 private:
  const int fd_;
};

std::string Join(const std::string& folder, const std::string& name) {
  return absl::StrCat(folder, "/", name);
}

}  // namespace

absl::Status ErrnoStatus(int error, absl::string_view what, absl::string_view path) {
  const std::string message =
      absl::StrCat(what, " ", path, ": ", std::generic_category().message(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
      return absl::FailedPreconditionError(message);
    default:
      return absl::UnavailableError(message);
  }
}

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  const Descriptor file(path, O_RDONLY);
  if (!file.ok()) return ErrnoStatus(errno, "open", path);
  std::string contents;
  char buffer[4096];
  while (true) {
    const ssize_t n = read(file.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "read", path);
    if (n == 0) return contents;
    contents.append(buffer, static_cast<size_t>(n));
    if (contents.size() > kLargestSmallFile) {
      return absl::DataLossError(absl::StrCat(path, ": larger than it can be"));
    }
  }
}

absl::Status WriteAndSync(const std::string& path, absl::string_view contents) {
  const Descriptor file(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (!file.ok()) return ErrnoStatus(errno, "create", path);
  while (!contents.empty()) {
    const ssize_t n = write(file.get(), contents.data(), contents.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "write", path);
    contents.remove_prefix(static_cast<size_t>(n));
  }
  if (fsync(file.get()) != 0) return ErrnoStatus(errno, "sync", path);
  return absl::OkStatus();
}

absl::Status SyncFolder(const std::string& path) {
  const Descriptor folder(path, O_RDONLY | O_DIRECTORY);
  if (!folder.ok()) return ErrnoStatus(errno, "open", path);
  if (fsync(folder.get()) != 0) return ErrnoStatus(errno, "sync", path);
  return absl::OkStatus();
}

absl::Status RenameDurably(const std::string& folder, const std::string& from,
                           const std::string& to) {
  if (rename(Join(folder, from).c_str(), Join(folder, to).c_str()) != 0) {
    return ErrnoStatus(errno, "rename", Join(folder, from));
  }
  return SyncFolder(folder);
}

absl::Status WriteFileDurably(const std::string& folder, const std::string& name,
                              absl::string_view contents) {
  const std::string unfinished = absl::StrCat(name, ".new");
  FACTORD_RETURN_IF_ERROR(WriteAndSync(Join(folder, unfinished), contents));
  return RenameDurably(folder, unfinished, name);
}

absl::Status RemoveDurably(const std::string& folder, const std::string& name) {
  const std::string path = Join(folder, name);
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoStatus(errno, "remove", path);
  // Also if it is gone already: whoever removed it may have ended before this.
  return SyncFolder(folder);
}

absl::Status MakeFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0755) == 0 || errno == EEXIST) return absl::OkStatus();
  return ErrnoStatus(errno, "make folder", path);
}

absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator entry(path, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error) return ErrnoStatus(error.value(), "list", path);
  return names;
}

absl::Status RemoveTree(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return ErrnoStatus(error.value(), "remove", path);
  return absl::OkStatus();
}

bool PathExists(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0;
}

std::string ParentFolder(const std::string& path) {
  std::filesystem::path p(path);
  if (!p.has_filename()) p = p.parent_path();  // "/data/" is "/data"
  const std::string parent = p.parent_path().string();
  return parent.empty() ? "." : parent;
}

absl::StatusOr<FolderLock> FolderLock::Acquire(const std::string& folder, Mode mode) {
  const std::string path = Join(folder, "LOCK");
  const int flags = mode == Mode::kCreate ? O_RDWR | O_CREAT : O_RDONLY;
  const int fd = open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (fd < 0) {
    if (mode == Mode::kReadOnly && errno == ENOENT) return FolderLock();
    return ErrnoStatus(errno, "open", path);
  }
  FolderLock lock(fd);
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK) {
    return absl::FailedPreconditionError(absl::StrCat(folder, " is in use by another process"));
  }
  return ErrnoStatus(errno, "lock", path);
}

FolderLock::~FolderLock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace factord
