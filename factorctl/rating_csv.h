// Ratings as the lines of a CSV file that `factorctl import` reads.
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "factord/v1/rating.pb.h"

namespace factord {

// user,item,rating,time without the end of the line. Time: seconds since 1970, with a fraction only
// where there is one; empty if there is none.
std::string RatingAsCsv(absl::string_view user_id, absl::string_view item_id, float rating,
                        std::optional<int64_t> time_micros);

// A new file of ratings. Thread-compatible.
class RatingCsvFile {
 public:
  RatingCsvFile() = default;
  ~RatingCsvFile();
  RatingCsvFile(const RatingCsvFile&) = delete;
  RatingCsvFile& operator=(const RatingCsvFile&) = delete;

  // ALREADY_EXISTS: nothing is overwritten.
  absl::Status Create(const std::string& path);
  // Nothing before Create. An event without a rating is written with 0.
  void Add(const v1::Rating& rating);
  // The first failure of all, naming the file.
  absl::Status Close();

 private:
  std::string path_;
  std::FILE* file_ = nullptr;
};

}  // namespace factord
