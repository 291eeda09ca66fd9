// For tests and benchmarks: a folder of their own, since tests run beside each other.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace factord {

// A new folder, removed at the end.
class TempFolder {
 public:
  enum class Place {
    kDisk,
    // Many short-lived folders are much faster there; only for what a real disk makes no difference
    // to.
    kMemory,
  };
  explicit TempFolder(Place place = Place::kDisk) {
    std::filesystem::path base = std::filesystem::temp_directory_path();
    if (place == Place::kMemory && access("/dev/shm", W_OK) == 0) base = "/dev/shm";
    std::string pattern = (base / "factord-test-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(absl::string_view name) const { return absl::StrCat(path_, "/", name); }
  // Returns the path.
  std::string Write(absl::string_view name, absl::string_view content) const {
    std::string path = *this / name;
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
    return path;
  }

 private:
  std::string path_;
};

}  // namespace factord
