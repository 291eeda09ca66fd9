// Preloaded into a server: ends it, as SIGKILL does, where KillControl says, and sets its clock.
//
// The points in the code (base/kill_point.h) call a function that is set here. Those around system
// calls are found here too, for the dynamic linker takes this library's functions in place of the C
// library's.
#include "tests/crash/kill_points.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/crash/next_function.h"

namespace factord {
namespace {

KillControl* Control() {
  static KillControl* const control = []() -> KillControl* {
    const char* const path = getenv(kKillControlVariable);
    const int fd = path != nullptr ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return nullptr;
    void* const memory =
        mmap(nullptr, sizeof(KillControl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return memory != MAP_FAILED ? static_cast<KillControl*>(memory) : nullptr;
  }();
  return control;
}

void Pass(const char* name) {
  KillControl* const control = Control();
  if (control == nullptr) return;
  const int32_t armed = control->armed;
  if (armed < 0 || strcmp(name, kKillPoints[armed].name) != 0) return;
  if (control->countdown.fetch_sub(1) != 1) return;
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  control->killed_nanos = now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
  control->killed_at = armed;
  kill(getpid(), SIGKILL);
  pause();
}

// Null: of no interest.
const char* KindOf(const char* path) {
  const size_t length = strlen(path);
  const auto ends_with = [&](const char* end) {
    const size_t n = strlen(end);
    return length >= n && strcmp(path + length - n, end) == 0;
  };
  if (strstr(path, "/tmp/users-") || strstr(path, "/tmp/items-") || strstr(path, "/tmp/dedupe-") ||
      strstr(path, "/tmp/producers-") || strstr(path, "/tmp/meta-")) {
    return "staged";
  }
  if (strstr(path, "/EVIDENCE")) return "evidence";
  if (strstr(path, "/db/") == nullptr) return ends_with("/db") ? "folder" : nullptr;
  if (ends_with(".log")) return "wal";
  if (ends_with(".sst")) return "table";
  if (strstr(path, "/MANIFEST-")) return "manifest";
  if (ends_with("/CURRENT")) return "current";
  return nullptr;
}

const char* KindOf(int fd) {
  char link[32], path[PATH_MAX];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, path, sizeof(path) - 1);
  if (n <= 0) return nullptr;
  path[n] = '\0';
  return KindOf(path);
}

bool IsArmed() {
  const KillControl* const control = Control();
  return control != nullptr && control->armed >= 0;
}

// Passes the points before and after a call.
class Around {
 public:
  // `kind` may be null.
  Around(const char* kind, const char* operation) : kind_(kind), operation_(operation) {
    PassOne("before");
  }
  ~Around() { PassOne("after"); }

 private:
  void PassOne(const char* when) const {
    if (kind_ == nullptr) return;
    char name[64];
    snprintf(name, sizeof(name), "%s.%s.%s", kind_, operation_, when);
    Pass(name);
  }
  const char* const kind_;
  const char* const operation_;
};

void PassInCode(const char* name) {
  if (KillControl* const control = Control()) {
    if (strcmp(name, "snapshot.begin") == 0) ++control->snapshots_begun;
    if (strcmp(name, "snapshot.end") == 0) ++control->snapshots_ended;
  }
  Pass(name);
}

[[gnu::constructor]] void HookIntoTheCode() {
  using Hook = void (*)(const char*);
  // Of the server; another program that the library is preloaded into has none.
  if (auto* const hook = static_cast<Hook*>(dlsym(RTLD_DEFAULT, "factord_kill_point"))) {
    *hook = PassInCode;
    if (KillControl* const control = Control()) control->hooked = true;
  }
}

// Looked at only when something is armed.
template <typename FdOrPath>
const char* ArmedKindOf(FdOrPath file) {
  return IsArmed() ? KindOf(file) : nullptr;
}

}  // namespace
}  // namespace factord

using factord::ArmedKindOf;
using factord::Around;
using factord::NextFunction;

extern "C" {

ssize_t write(int fd, const void* data, size_t size) {
  static const auto next = NextFunction<ssize_t (*)(int, const void*, size_t)>("write");
  const Around around(ArmedKindOf(fd), "write");
  return next(fd, data, size);
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  static const auto next = NextFunction<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite");
  const Around around(ArmedKindOf(fd), "write");
  return next(fd, data, size, offset);
}

int fsync(int fd) {
  static const auto next = NextFunction<int (*)(int)>("fsync");
  const Around around(ArmedKindOf(fd), "sync");
  return next(fd);
}

int fdatasync(int fd) {
  static const auto next = NextFunction<int (*)(int)>("fdatasync");
  const Around around(ArmedKindOf(fd), "sync");
  return next(fd);
}

int rename(const char* from, const char* to) noexcept {
  static const auto next = NextFunction<int (*)(const char*, const char*)>("rename");
  const Around around(ArmedKindOf(to), "rename");
  return next(from, to);
}

int link(const char* from, const char* to) noexcept {
  static const auto next = NextFunction<int (*)(const char*, const char*)>("link");
  const Around around(ArmedKindOf(from), "link");
  return next(from, to);
}

int unlink(const char* path) noexcept {
  static const auto next = NextFunction<int (*)(const char*)>("unlink");
  const Around around(ArmedKindOf(path), "unlink");
  return next(path);
}

ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  static const auto next = NextFunction<ssize_t (*)(int, const msghdr*, int)>("sendmsg");
  const Around around(factord::IsArmed() ? "socket" : nullptr, "send");
  return next(fd, message, flags);
}

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  static const auto next = NextFunction<int (*)(clockid_t, timespec*)>("clock_gettime");
  const int result = next(clock, time);
  const factord::KillControl* const control = factord::Control();
  if (clock == CLOCK_REALTIME && control != nullptr) {
    time->tv_sec += control->clock_offset_seconds;
  }
  return result;
}

}  // extern "C"
