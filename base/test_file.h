// For tests: whole files at once.
#pragma once

#include <cstddef>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/string_view.h"

namespace factord {

inline std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream contents;
  contents << in.rdbuf();
  return contents.str();
}

inline void WriteAll(const std::string& path, absl::string_view contents) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(contents.data(), static_cast<std::streamsize>(contents.size()));
}

// In the file; a byte's lowest bit is its first.
inline void FlipBit(const std::string& path, size_t bit) {
  std::string contents = ReadAll(path);
  contents[bit / 8] = static_cast<char>(contents[bit / 8] ^ (1 << (bit % 8)));
  WriteAll(path, contents);
}

}  // namespace factord
