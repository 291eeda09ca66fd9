// For tests: a small, cleanly closed folder, damaged in one place after the other.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/coding.h"
#include "base/status.h"
#include "base/temp_folder.h"
#include "base/test_file.h"

namespace factord {

// A table file ends in its footer: the kind of its checksums, where the block is that lists its
// other blocks, and more; the version of its format and RocksDB's magic number are the last.
inline constexpr size_t kTableFooterBytes = 53;

// Where the block of a table's properties ends: before the block that the footer names, with a
// trailer between them.
inline size_t EndOfProperties(absl::string_view table) {
  constexpr size_t kTrailerBytes = 5;
  return Reader(table.substr(table.size() - kTableFooterBytes + 1)).Varint() - kTrailerBytes;
}

class DamageTest : public ::testing::Test {
 protected:
  using Damage = std::function<void(const std::string& path)>;

  // OK: all that was in the undamaged folder is in `folder`. May change it.
  virtual absl::Status Check(const std::string& folder) = 0;

  // To be called when original() has been made.
  void FindFiles() {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(original_)) {
      if (entry.is_regular_file()) {
        files_.push_back(std::filesystem::relative(entry.path(), original_).string());
      }
    }
    std::sort(files_.begin(), files_.end());
  }

  // Damages a copy of the folder's `file` and looks at what comes of it: everything is there, or it
  // is called DATA_LOSS.
  absl::Status TryUnnamed(const std::string& file, const std::string& what, const Damage& damage) {
    SCOPED_TRACE(absl::StrCat(file, ": ", what));
    std::filesystem::remove_all(copy_);
    std::filesystem::copy(original_, copy_, std::filesystem::copy_options::recursive);
    damage(absl::StrCat(copy_, "/", file));
    const absl::Status status = Check(copy_);
    EXPECT_TRUE(status.ok() || absl::IsDataLoss(status)) << status;
    ++(status.ok() ? harmless_ : noticed_);
    return status;
  }

  // And the file is named.
  void Try(const std::string& file, const std::string& what, const Damage& damage) {
    const absl::Status status = TryUnnamed(file, what, damage);
    std::string name = std::filesystem::path(file).filename().string();
    // Which of the two has lost its end cannot be told.
    if (absl::StrContains(status.message(), "the database's MANIFEST or of its log")) {
      name = name.substr(0, name.find('-'));
    }
    EXPECT_TRUE(status.ok() || absl::StrContains(status.message(), name))
        << file << ": " << what << ": " << status;
  }

  void TryEachFileDeleted() {
    for (const std::string& file : files_) {
      Try(file, "deleted", [](const std::string& path) { std::filesystem::remove(path); });
    }
  }

  // At each `every`th of its bytes; 0: at some.
  void TryEachFileTruncated(uint64_t every) {
    for (const std::string& file : files_) {
      const uint64_t size = SizeOf(file);
      if (size == 0) continue;
      if (every > 0) {
        TryTruncated(file, every);
      } else {
        for (const uint64_t length : {uint64_t{0}, size / 2, size - 1})
          TryTruncatedTo(file, length);
      }
    }
  }

  // At each `every`th of its bytes.
  void TryTruncated(const std::string& file, uint64_t every) {
    const uint64_t size = SizeOf(file);
    for (uint64_t length = 0; length < size; length += every) TryTruncatedTo(file, length);
  }

  // A bit of each `every`th byte; 0: of some.
  void TryBitsFlippedInEachFile(uint64_t every) {
    constexpr uint32_t kSeed = 7;
    constexpr size_t kFlipsAFile = 12;
    std::mt19937 random(kSeed);
    for (const std::string& file : files_) {
      const uint64_t size = SizeOf(file);
      if (size == 0) continue;
      std::vector<uint64_t> bits;
      for (uint64_t byte = 0; every > 0 && byte < size; byte += every) {
        bits.push_back(byte * 8 + random() % 8);
      }
      while (every == 0 && bits.size() < kFlipsAFile) bits.push_back(random() % (size * 8));
      for (const uint64_t bit : bits) TryBitFlipped(file, bit);
    }
  }

  void TryBitFlipped(const std::string& file, uint64_t bit) {
    Try(file, absl::StrCat("bit ", bit, " flipped"),
        [bit](const std::string& path) { FlipBit(path, bit); });
  }

  // Every bit of what a table's end says of it, the kind of its checksums and the first byte of the
  // version of its format, and one of each byte of the rest and of RocksDB's magic number behind
  // that. RocksDB says what is wrong with it, and not of which file.
  void TryBitsFlippedInTheFormatOfEachTable() {
    constexpr uint64_t kVersionAndMagicBytes = 12;
    for (const std::string& file : files_) {
      if (std::filesystem::path(file).extension() != ".sst") continue;
      const uint64_t size = SizeOf(file);
      const uint64_t version = size - kVersionAndMagicBytes;
      for (const uint64_t byte : {size - kTableFooterBytes, version}) {
        for (uint64_t bit = 0; bit < 8; ++bit) TryBitFlipped(file, byte * 8 + bit);
      }
      for (uint64_t byte = version + 1; byte < size; ++byte) {
        TryBitFlipped(file, byte * 8 + byte % 8);
      }
    }
  }

  void TryBytesAppendedToEachFile() {
    for (const std::string& file : files_) {
      Try(file, "longer",
          [](const std::string& path) { WriteAll(path, ReadAll(path) + std::string(100, 'x')); });
    }
  }

  void TryEachFileSwappedWithTheNext() {
    for (size_t i = 0; i + 1 < files_.size(); ++i) {
      TryUnnamed(files_[i], "swapped with " + files_[i + 1], [&](const std::string& path) {
        const std::string other = absl::StrCat(copy_, "/", files_[i + 1]);
        std::filesystem::rename(path, path + "_");
        std::filesystem::rename(other, path);
        std::filesystem::rename(path + "_", other);
      }).IgnoreError();
    }
  }

  void TearDown() override {
    std::cout << noticed_ << " noticed, " << harmless_ << " harmless" << std::endl;
    EXPECT_GT(noticed_, 0);
  }

  uint64_t SizeOf(const std::string& file) const {
    return std::filesystem::file_size(absl::StrCat(original_, "/", file));
  }

  const std::string& original() const { return original_; }
  const std::vector<std::string>& files() const { return files_; }
  int harmless() const { return harmless_; }

 private:
  void TryTruncatedTo(const std::string& file, uint64_t length) {
    Try(file, absl::StrCat("truncated to ", length),
        [length](const std::string& path) { std::filesystem::resize_file(path, length); });
  }

  const TempFolder folder_{TempFolder::Place::kMemory};
  const std::string original_ = folder_ / "original";
  const std::string copy_ = folder_ / "copy";
  std::vector<std::string> files_;
  int noticed_ = 0;
  int harmless_ = 0;
};

}  // namespace factord
