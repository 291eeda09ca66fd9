// Preloaded into a server: lets chosen operations on its folder fail, and keeps a journal of what a
// power loss would take. The dynamic linker takes these functions in place of the C library's.
#include "tests/crash/disk_faults.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/crash/next_function.h"

namespace factord {
namespace {

int OpenNext(const char* path, int flags, mode_t mode = 0) {
  static const auto next = NextFunction<int (*)(const char*, int, ...)>("open");
  return next(path, flags, mode);
}

ssize_t WriteNext(int fd, const void* data, size_t size) {
  static const auto next = NextFunction<ssize_t (*)(int, const void*, size_t)>("write");
  return next(fd, data, size);
}

int LinkNext(const char* from, const char* to) {
  static const auto next = NextFunction<int (*)(const char*, const char*)>("link");
  return next(from, to);
}

// What the environment says; all null where it says nothing.
struct Setting {
  DiskControl* control = nullptr;
  const char* folder = nullptr;
  const char* journal = nullptr;  // the folder of it; may be null
  int journal_fd = -1;
};

const Setting& Get() {
  static const Setting setting = [] {
    Setting result;
    const char* const path = getenv(kDiskControlVariable);
    const char* const folder = getenv(kDiskFolderVariable);
    if (path == nullptr || folder == nullptr) return result;
    const int fd = OpenNext(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return result;
    void* const memory =
        mmap(nullptr, sizeof(DiskControl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (memory == MAP_FAILED) return result;
    result.control = static_cast<DiskControl*>(memory);
    result.folder = folder;
    result.journal = getenv(kDiskJournalVariable);
    if (result.journal == nullptr) return result;
    char journal[PATH_MAX];
    snprintf(journal, sizeof(journal), "%s/%s", result.journal, kDiskJournal);
    result.journal_fd = OpenNext(journal, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    return result;
  }();
  return setting;
}

bool IsWatched(const char* path) {
  const char* const folder = Get().folder;
  if (folder == nullptr) return false;
  const size_t length = strlen(folder);
  return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

// False: of no interest.
bool WatchedPath(int fd, char (&path)[PATH_MAX]) {
  if (Get().folder == nullptr) return false;
  char link[32];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, path, sizeof(path) - 1);
  if (n <= 0) return false;
  path[n] = '\0';
  return IsWatched(path);
}

bool IsWatched(int fd) {
  char path[PATH_MAX];
  return WatchedPath(fd, path);
}

// Counts an operation. False, with errno: it shall fail.
bool MayPass(DiskOperation operation) {
  DiskControl* const control = Get().control;
  ++control->passed[operation];
  if (control->operation != operation) return true;
  const int32_t left = control->countdown.fetch_sub(1) - 1;
  if (left > 0 || (left < 0 && !control->stays)) return true;
  ++control->failed;
  if (control->error == 0) {
    kill(getpid(), SIGKILL);
    pause();
  }
  errno = control->error;
  return false;
}

template <typename... Values>
void Note(const char* format, Values... values) {
  if (Get().journal_fd < 0) return;
  char line[2 * PATH_MAX];
  const int size = snprintf(line, sizeof(line), format, values...);
  (void)!WriteNext(Get().journal_fd, line, static_cast<size_t>(size));  // at the end, in one piece
}

// Another name for the file of this one, in the journal's folder; "-": there is none.
const char* Save(const char* path, char (&saved)[PATH_MAX]) {
  static std::atomic<int> last{0};
  if (Get().journal_fd < 0) return "-";
  snprintf(saved, sizeof(saved), "%s/%d-%d", Get().journal, getpid(), ++last);
  return LinkNext(path, saved) == 0 ? saved : "-";
}

// What is there before the sync is on the disk after it, and nothing else is known to be.
int Sync(int fd, int (*sync)(int)) {
  static std::atomic<int> last{0};
  char path[PATH_MAX];
  if (!WatchedPath(fd, path)) return sync(fd);
  if (!MayPass(kDiskSync)) return -1;
  struct stat file;
  if (fstat(fd, &file) != 0) return sync(fd);
  const bool is_folder = S_ISDIR(file.st_mode);
  const int number = ++last;
  if (is_folder) Note("folder %s %d\n", path, number);
  const int result = sync(fd);
  if (result != 0) return result;
  if (is_folder) {
    Note("folder_safe %s %d\n", path, number);
  } else {
    Note("safe %llu %lld\n", static_cast<unsigned long long>(file.st_ino),
         static_cast<long long>(file.st_size));
  }
  return 0;
}

// Before a name is taken away. False, with errno: it shall stay.
bool MayRemove(const char* path, bool is_folder) {
  if (!IsWatched(path) || access(path, F_OK) != 0) return true;
  if (!MayPass(kDiskUnlink)) return false;
  char saved[PATH_MAX];
  if (is_folder) {
    Note("gone_folder %s\n", path);
  } else {
    Note("gone %s %s\n", path, Save(path, saved));
  }
  return true;
}

bool IsFolder(const char* path) {
  struct stat file;
  return stat(path, &file) == 0 && S_ISDIR(file.st_mode);
}

}  // namespace
}  // namespace factord

using factord::IsWatched;
using factord::MayPass;
using factord::MayRemove;
using factord::NextFunction;
using factord::Note;
using factord::Save;

extern "C" {

int open(const char* path, int flags, ...) {
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0) {
    va_list arguments;
    va_start(arguments, flags);
    mode = va_arg(arguments, mode_t);
    va_end(arguments);
    if (IsWatched(path) && access(path, F_OK) != 0) {
      if (!MayPass(factord::kDiskCreate)) return -1;
      Note("new %s\n", path);
    }
  }
  struct stat file;
  if ((flags & O_TRUNC) != 0 && IsWatched(path) && stat(path, &file) == 0) {
    Note("safe %llu 0\n", static_cast<unsigned long long>(file.st_ino));
  }
  return factord::OpenNext(path, flags, mode);
}

int mkdir(const char* path, mode_t mode) noexcept {
  static const auto next = NextFunction<int (*)(const char*, mode_t)>("mkdir");
  if (IsWatched(path) && access(path, F_OK) != 0) {
    if (!MayPass(factord::kDiskCreate)) return -1;
    Note("new %s\n", path);
  }
  return next(path, mode);
}

ssize_t write(int fd, const void* data, size_t size) {
  if (IsWatched(fd) && !MayPass(factord::kDiskWrite)) {
    const int error = errno;
    (void)!factord::WriteNext(fd, data, size / 2);
    errno = error;
    return -1;
  }
  return factord::WriteNext(fd, data, size);
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  static const auto next = NextFunction<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite");
  if (IsWatched(fd) && !MayPass(factord::kDiskWrite)) {
    const int error = errno;
    (void)!next(fd, data, size / 2, offset);
    errno = error;
    return -1;
  }
  return next(fd, data, size, offset);
}

ssize_t read(int fd, void* data, size_t size) {
  static const auto next = NextFunction<ssize_t (*)(int, void*, size_t)>("read");
  if (IsWatched(fd) && !MayPass(factord::kDiskRead)) return -1;
  return next(fd, data, size);
}

ssize_t pread(int fd, void* data, size_t size, off_t offset) {
  static const auto next = NextFunction<ssize_t (*)(int, void*, size_t, off_t)>("pread");
  if (IsWatched(fd) && !MayPass(factord::kDiskRead)) return -1;
  return next(fd, data, size, offset);
}

// As RocksDB reads its logs and manifests.
size_t fread_unlocked(void* data, size_t size, size_t count, FILE* file) {
  static const auto next = NextFunction<size_t (*)(void*, size_t, size_t, FILE*)>("fread_unlocked");
  if (IsWatched(fileno(file)) && !MayPass(factord::kDiskRead)) return 0;
  return next(data, size, count, file);
}

int fsync(int fd) {
  static const auto next = NextFunction<int (*)(int)>("fsync");
  return factord::Sync(fd, next);
}

int fdatasync(int fd) {
  static const auto next = NextFunction<int (*)(int)>("fdatasync");
  return factord::Sync(fd, next);
}

int rename(const char* from, const char* to) noexcept {
  static const auto next = NextFunction<int (*)(const char*, const char*)>("rename");
  if (IsWatched(to)) {
    if (!MayPass(factord::kDiskRename)) return -1;
    char saved[PATH_MAX];
    Note("moved %s %s %s\n", from, to, Save(to, saved));
  }
  return next(from, to);
}

int link(const char* from, const char* to) noexcept {
  if (IsWatched(to)) {
    if (!MayPass(factord::kDiskLink)) return -1;
    Note("new %s\n", to);
  }
  return factord::LinkNext(from, to);
}

int unlink(const char* path) noexcept {
  static const auto next = NextFunction<int (*)(const char*)>("unlink");
  return MayRemove(path, false) ? next(path) : -1;
}

int rmdir(const char* path) noexcept {
  static const auto next = NextFunction<int (*)(const char*)>("rmdir");
  return MayRemove(path, true) ? next(path) : -1;
}

int remove(const char* path) noexcept {
  static const auto next = NextFunction<int (*)(const char*)>("remove");
  return MayRemove(path, factord::IsFolder(path)) ? next(path) : -1;
}

int unlinkat(int folder, const char* path, int flags) noexcept {
  static const auto next = NextFunction<int (*)(int, const char*, int)>("unlinkat");
  char full[PATH_MAX], base[PATH_MAX] = "";
  if (path[0] != '/' && (folder == AT_FDCWD || !factord::WatchedPath(folder, base))) {
    return next(folder, path, flags);
  }
  snprintf(full, sizeof(full), "%s%s%s", base, base[0] != '\0' ? "/" : "", path);
  return MayRemove(full, (flags & AT_REMOVEDIR) != 0) ? next(folder, path, flags) : -1;
}

int sync_file_range(int fd, off_t offset, off_t size, unsigned flags) {
  static const auto next = NextFunction<int (*)(int, off_t, off_t, unsigned)>("sync_file_range");
  // It promises nothing; without flags it does nothing either.
  if (flags != 0 && IsWatched(fd) && !MayPass(factord::kDiskSync)) return -1;
  return next(fd, offset, size, flags);
}

int ftruncate(int fd, off_t size) noexcept {
  static const auto next = NextFunction<int (*)(int, off_t)>("ftruncate");
  if (IsWatched(fd) && !MayPass(factord::kDiskAllocate)) return -1;
  return next(fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size) {
  static const auto next = NextFunction<int (*)(int, int, off_t, off_t)>("fallocate");
  if (IsWatched(fd) && !MayPass(factord::kDiskAllocate)) return -1;
  return next(fd, mode, offset, size);
}

}  // extern "C"
