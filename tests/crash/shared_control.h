// A struct of atomics that a test shares with what is preloaded into a server.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <new>
#include <string>

#include "base/temp_folder.h"

namespace factord {

// Thread-compatible; *this is as T is.
template <typename T>
class SharedControl {
 public:
  SharedControl() {
    const int fd = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    EXPECT_EQ(ftruncate(fd, sizeof(T)), 0);
    void* const memory = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    EXPECT_NE(memory, MAP_FAILED);
    control_ = new (memory) T;
  }
  ~SharedControl() { munmap(control_, sizeof(T)); }
  SharedControl(const SharedControl&) = delete;
  SharedControl& operator=(const SharedControl&) = delete;

  // All as at first; no process may have it open.
  void Reset() { control_ = new (control_) T; }

  // The file to map.
  const std::string& path() const { return path_; }
  T* operator->() const { return control_; }

 private:
  const TempFolder folder_{TempFolder::Place::kMemory};
  const std::string path_ = folder_ / "control";
  T* control_ = nullptr;
};

}  // namespace factord
