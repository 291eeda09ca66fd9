// For tests: a file system of their own, so that it can be full or read-only.
//
//   const TestMount disk(folder, "size=8m");
//   if (!disk.ok()) GTEST_SKIP() << "this process may not mount";
#pragma once

#include <sched.h>
#include <sys/mount.h>

#include <string>

namespace factord {

class TestMount {
 public:
  // A tmpfs on the folder `target`, until this is destroyed.
  TestMount(const std::string& target, const std::string& options)
      : TestMount("tmpfs", target, "tmpfs", 0, options.c_str()) {}
  // As mount(2).
  TestMount(const char* source, const std::string& target, const char* type, unsigned long flags,
            const char* data)
      : target_(target), ok_(kOwnMounts && Mount(source, type, flags, data)) {}
  ~TestMount() {
    if (ok_) umount2(target_.c_str(), MNT_DETACH);
  }
  TestMount(const TestMount&) = delete;
  TestMount& operator=(const TestMount&) = delete;

  // False where the process may not mount.
  bool ok() const { return ok_; }
  // Gives it other flags and options.
  bool Remount(unsigned long flags, const char* data = nullptr) const {
    return Mount(nullptr, nullptr, flags | MS_REMOUNT, data);
  }

 private:
  bool Mount(const char* source, const char* type, unsigned long flags, const char* data) const {
    return mount(source, target_.c_str(), type, flags, data) == 0;
  }

  // In a namespace of this process and its children, made before it has threads, so that no mount
  // outlives them, whatever ends them.
  static inline const bool kOwnMounts =
      unshare(CLONE_NEWNS) == 0 && mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;

  const std::string target_;
  const bool ok_;
};

}  // namespace factord
