#include "factorctl/rating_csv.h"

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "factorctl/json.h"
#include "google/protobuf/util/time_util.h"
#include "ratings/text.h"
#include "storage/file_util.h"

namespace factord {
namespace {

std::string Seconds(int64_t micros) {
  const int64_t whole = micros / 1'000'000;
  const int64_t fraction = micros % 1'000'000;
  if (fraction == 0) return absl::StrCat(whole);
  return absl::StrFormat("%s%d.%06d", micros < 0 && whole == 0 ? "-" : "", whole,
                         fraction < 0 ? -fraction : fraction);
}

}  // namespace

std::string RatingAsCsv(absl::string_view user_id, absl::string_view item_id, float rating,
                        std::optional<int64_t> time_micros) {
  return absl::StrCat(CsvField(user_id), ",", CsvField(item_id), ",", FloatToJson(rating).dump(),
                      ",", time_micros.has_value() ? Seconds(*time_micros) : "");
}

RatingCsvFile::~RatingCsvFile() { Close().IgnoreError(); }

absl::Status RatingCsvFile::Create(const std::string& path) {
  path_ = path;
  file_ = std::fopen(path.c_str(), "wxe");
  if (file_ == nullptr) return ErrnoStatus(errno, "make", path);
  std::fputs("user,item,rating,time\n", file_);
  return absl::OkStatus();
}

void RatingCsvFile::Add(const v1::Rating& rating) {
  if (file_ == nullptr) return;
  std::optional<int64_t> time;
  if (rating.has_event_time()) {
    time = google::protobuf::util::TimeUtil::TimestampToMicroseconds(rating.event_time());
  }
  const std::string line =
      absl::StrCat(RatingAsCsv(rating.user_id(), rating.item_id(), rating.rating(), time), "\n");
  std::fwrite(line.data(), 1, line.size(), file_);
}

absl::Status RatingCsvFile::Close() {
  if (file_ == nullptr) return absl::OkStatus();
  const bool has_failed = std::ferror(file_) != 0;
  const bool is_closed = std::fclose(file_) == 0;
  file_ = nullptr;
  if (!has_failed && is_closed) return absl::OkStatus();
  return ErrnoStatus(errno, "write", path_);
}

}  // namespace factord
