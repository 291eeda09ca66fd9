// Reads rating files, one rating at a time, in bounded memory: what MovieLens ships and what people
// export from their own tables.
//
//   FACTORD_ASSIGN_OR_RETURN(auto reader, RatingReader::Open("ratings.csv", {}));
//   RatingRecord record;
//   while (true) {
//     const absl::Status status = reader->Next(&record);
//     if (absl::IsOutOfRange(status)) break;                       // the end
//     if (absl::IsInvalidArgument(status)) { ++errors; continue; } // "ratings.csv:7: rating 'x' is
//     not a number" FACTORD_RETURN_IF_ERROR(status);                             // the file cannot
//     be read Use(record.user_id, record.item_id, record.rating);
//   }
//
// Formats, told apart by the first line that splits into three fields or more:
//
//   kCsv          1,31,2.5,1260759144      ratings.csv; fields may be quoted
//   kDoubleColon  1::31::5::1260759144     ratings.dat of MovieLens 1M and 10M
//   kTab          1<TAB>31<TAB>5<TAB>1260759144    u.data of MovieLens 100K
//
// The columns are user, item, rating and, if there is one, time in seconds since 1970 (a fraction
// is kept to the microsecond; an empty field is no time). In each format the first line may be a
// header; then its names decide which column is which, in any order, and other columns are ignored.
// Known names, whatever their case and punctuation: user, userId, uid; item, itemId, iid, movie,
// movieId, product, productId; rating, score, value; time, timestamp, ts, date.
//
// Empty lines are skipped; "\r\n", a byte order mark and a missing end of the last line are
// accepted. Ids are taken byte for byte; blanks around numbers are ignored.
//
// Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "ratings/line_reader.h"
#include "ratings/text.h"

namespace factord {

// One rating. The ids borrow from the reader until its next call.
struct RatingRecord {
  absl::string_view user_id;           // 1 to 256 bytes of UTF-8
  absl::string_view item_id;           // 1 to 256 bytes of UTF-8
  float rating = 0;                    // finite
  std::optional<int64_t> time_micros;  // since 1970-01-01 UTC, within the years 1 to 9999
  int64_t line = 0;                    // from 1
};

enum class RatingFormat { kAuto, kCsv, kDoubleColon, kTab };

// "auto", "csv", "dat" or "tab"; INVALID_ARGUMENT, naming them, for anything else.
absl::StatusOr<RatingFormat> ParseRatingFormat(absl::string_view name);

class RatingReader {
 public:
  struct Options {
    // kAuto: from the content.
    RatingFormat format = RatingFormat::kAuto;
  };

  // `path` may be "-" for standard input. Errors are LineReader::Open's.
  static absl::StatusOr<std::unique_ptr<RatingReader>> Open(const std::string& path,
                                                            const Options& options);
  RatingReader(std::unique_ptr<LineReader> lines, const Options& options);

  // Fills *record with the next rating.
  //
  // OUT_OF_RANGE: the end. INVALID_ARGUMENT: a malformed line; the message gives file, line and
  // reason; the next call goes on behind it, and the caller decides how many of them are too many.
  // Any other: the file cannot be read further (FAILED_PRECONDITION: its header names no user, item
  // or rating).
  absl::Status Next(RatingRecord* record);

  // How many bytes of the input have been dealt with.
  int64_t bytes_read() const { return lines_->bytes_read(); }

  static constexpr size_t kMaxIdBytes = 256;

 private:
  // Which field is which; -1: there is none.
  struct Columns {
    int user = 0;
    int item = 1;
    int rating = 2;
    int time = 3;
    bool from_header = false;
  };

  // Settles format and columns; *is_header tells whether `line` was a header.
  absl::Status ReadFirstLine(absl::string_view line, bool* is_header);
  absl::Status ParseHeader(const std::vector<absl::string_view>& fields, bool* is_header);
  absl::Status ParseLine(absl::string_view line, RatingRecord* record);
  absl::Status CheckFieldCount(size_t count) const;

  const std::unique_ptr<LineReader> lines_;
  RatingFormat format_;
  std::optional<FieldSplitter> splitter_;  // set once the format is known
  bool first_line_done_ = false;
  Columns columns_;
};

}  // namespace factord
