// The ratings of an import, each with the number under which it is sent.
//
// A file is read twice: the first time it is checked as a whole, so that nothing is sent of a file
// with too many malformed lines, its ratings are counted, and its fingerprint is taken. Standard
// input (and anything else that can be read only once) is checked as it is sent.
//
// A rating's number is its line or, in order of time, its place: the same in every run over the
// same input with the same options, which is what lets a second run go on where the first one
// stopped.
//
// Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/hash128.h"
#include "base/status.h"
#include "factorctl/error_budget.h"
#include "factord/v1/rating.pb.h"
#include "ratings/rating_reader.h"

namespace factord {

class ImportSource {
 public:
  struct Options {
    std::string path;  // "-": standard input
    RatingFormat format = RatingFormat::kAuto;
    // Oldest first, ratings of equal time in the order of the input; every rating must have a time.
    // Holds all of them in memory.
    bool sort_by_time = false;
    // Ratings below or above are left out.
    std::optional<double> min_rating = std::nullopt;
    std::optional<double> max_rating = std::nullopt;
    // Not empty: what is given are events of this type, without the rating.
    std::string event_type = {};
    // At most so many ratings.
    std::optional<int64_t> limit = std::nullopt;
  };

  // `errors`, which must outlive this, is told of each malformed line; when it has had enough its
  // status is returned, here or from Next.
  static absl::StatusOr<std::unique_ptr<ImportSource>> Open(const Options& options,
                                                            ErrorBudget* errors);

  // False: the end.
  absl::StatusOr<bool> Next(int64_t* number, v1::Rating* rating);

  // How many ratings Next will give in all; unknown for what is read only once and not sorted.
  std::optional<int64_t> total() const { return total_; }
  // 32 hexadecimal digits that stand for the input and the options on which numbers depend. Empty:
  // unknown.
  const std::string& fingerprint() const { return fingerprint_; }

  int64_t malformed() const { return malformed_; }
  int64_t filtered() const { return filtered_; }  // left out because of min_rating, max_rating

 private:
  // A rating of a sorted import; its ids lie in ids_, one behind the other.
  struct Sorted {
    int64_t time_micros;
    size_t ids_offset;
    uint16_t user_bytes;
    uint16_t item_bytes;
    float rating;
  };

  ImportSource(const Options& options, ErrorBudget* errors) : options_(options), errors_(errors) {}

  absl::Status OpenReader();
  // Reads the whole input once; keeps its ratings if they are to be sorted.
  absl::Status CheckAll();
  // The next good rating of reader_ that is not left out; false: the end.
  absl::StatusOr<bool> Read(RatingRecord* record);
  bool IsWanted(const RatingRecord& record);
  void Keep(const RatingRecord& record);
  void NextSorted(int64_t* number, v1::Rating* rating);

  const Options options_;
  ErrorBudget* const errors_;
  std::unique_ptr<RatingReader> reader_;
  // The input was checked before: what is malformed has been counted and reported.
  bool checked_ = false;
  std::optional<int64_t> total_;
  std::string fingerprint_;
  int64_t malformed_ = 0;
  int64_t filtered_ = 0;
  int64_t given_ = 0;  // by Next
  std::vector<Sorted> sorted_;
  std::string ids_;
};

}  // namespace factord
