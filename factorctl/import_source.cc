#include "factorctl/import_source.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <utility>

#include "base/coding.h"

namespace factord {
namespace {

constexpr int64_t kMicros = 1'000'000;

bool IsRegularFile(const std::string& path) {
  struct stat info;
  return path != "-" && stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

// A hash of the content, block by block: each block's hash goes into the next one.
absl::StatusOr<Hash128> HashFile(const std::string& path) {
  constexpr size_t kBlockBytes = size_t{1} << 20;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (file == nullptr) return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot open"));
  Hash128 hash;
  std::string block;
  while (true) {
    block = hash.ToHex();
    const size_t head = block.size();
    block.resize(head + kBlockBytes);
    const size_t n = std::fread(block.data() + head, 1, kBlockBytes, file.get());
    if (n == 0) break;
    block.resize(head + n);
    hash = HashBytes128(block);
  }
  if (std::ferror(file.get()) != 0) {
    return absl::DataLossError(absl::StrCat(path, ": cannot be read to its end"));
  }
  return hash;
}

void SetTime(int64_t micros, v1::Rating* rating) {
  int64_t seconds = micros / kMicros;
  int64_t rest = micros % kMicros;
  if (rest < 0) {
    rest += kMicros;
    --seconds;
  }
  rating->mutable_event_time()->set_seconds(seconds);
  rating->mutable_event_time()->set_nanos(static_cast<int32_t>(rest * 1'000));
}

void Fill(absl::string_view user, absl::string_view item, float value,
          std::optional<int64_t> time_micros, v1::Rating* rating) {
  rating->Clear();
  rating->set_user_id(user.data(), user.size());
  rating->set_item_id(item.data(), item.size());
  rating->set_rating(value);
  if (time_micros.has_value()) SetTime(*time_micros, rating);
}

// What besides the content decides which event has which number.
std::string NumberingOptions(const ImportSource::Options& options) {
  std::string text;
  PutVarint(&text, static_cast<uint64_t>(options.format));
  PutVarint(&text, options.sort_by_time ? 1 : 0);
  PutDouble(&text, options.min_rating.value_or(-std::numeric_limits<double>::infinity()));
  PutDouble(&text, options.max_rating.value_or(std::numeric_limits<double>::infinity()));
  text += options.event_type;
  return text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ImportSource>> ImportSource::Open(const Options& options,
                                                                 ErrorBudget* errors) {
  std::unique_ptr<ImportSource> source(new ImportSource(options, errors));
  const bool is_file = IsRegularFile(options.path);
  if (is_file) {
    FACTORD_ASSIGN_OR_RETURN(const Hash128 content, HashFile(options.path));
    source->fingerprint_ =
        HashBytes128(absl::StrCat(content.ToHex(), NumberingOptions(options))).ToHex();
  }
  FACTORD_RETURN_IF_ERROR(source->OpenReader());
  if (is_file || options.sort_by_time) FACTORD_RETURN_IF_ERROR(source->CheckAll());
  if (is_file && !options.sort_by_time) FACTORD_RETURN_IF_ERROR(source->OpenReader());
  return source;
}

absl::Status ImportSource::OpenReader() {
  FACTORD_ASSIGN_OR_RETURN(reader_, RatingReader::Open(options_.path, {.format = options_.format}));
  return absl::OkStatus();
}

absl::Status ImportSource::CheckAll() {
  int64_t count = 0;
  RatingRecord record;
  while (true) {
    FACTORD_ASSIGN_OR_RETURN(const bool more, Read(&record));
    if (!more) break;
    ++count;
    if (options_.sort_by_time) Keep(record);
  }
  std::stable_sort(sorted_.begin(), sorted_.end(),
                   [](const Sorted& a, const Sorted& b) { return a.time_micros < b.time_micros; });
  total_ = std::min(count, options_.limit.value_or(count));
  checked_ = true;
  return absl::OkStatus();
}

absl::StatusOr<bool> ImportSource::Read(RatingRecord* record) {
  while (true) {
    absl::Status status = reader_->Next(record);
    if (absl::IsOutOfRange(status)) return false;
    if (status.ok() && options_.sort_by_time && !record->time_micros.has_value()) {
      status = absl::InvalidArgumentError(
          absl::StrCat(options_.path, ":", record->line,
                       ": has no time, by which the ratings are to be sorted"));
    }
    if (absl::IsInvalidArgument(status)) {
      if (checked_) continue;
      ++malformed_;
      FACTORD_RETURN_IF_ERROR(errors_->Note(status));
      continue;
    }
    FACTORD_RETURN_IF_ERROR(status);
    if (IsWanted(*record)) return true;
    if (!checked_) ++filtered_;
  }
}

bool ImportSource::IsWanted(const RatingRecord& record) {
  return !(options_.min_rating.has_value() && record.rating < *options_.min_rating) &&
         !(options_.max_rating.has_value() && record.rating > *options_.max_rating);
}

void ImportSource::Keep(const RatingRecord& record) {
  sorted_.push_back({*record.time_micros, ids_.size(), static_cast<uint16_t>(record.user_id.size()),
                     static_cast<uint16_t>(record.item_id.size()), record.rating});
  absl::StrAppend(&ids_, record.user_id, record.item_id);
}

absl::StatusOr<bool> ImportSource::Next(int64_t* number, v1::Rating* rating) {
  if (given_ == total_ || given_ == options_.limit) return false;
  if (options_.sort_by_time) {
    NextSorted(number, rating);
  } else {
    RatingRecord record;
    FACTORD_ASSIGN_OR_RETURN(const bool more, Read(&record));
    if (!more) return false;
    *number = record.line;
    Fill(record.user_id, record.item_id, record.rating, record.time_micros, rating);
  }
  if (!options_.event_type.empty()) {
    rating->clear_rating();
    rating->set_event_type(options_.event_type);
  }
  ++given_;
  return true;
}

void ImportSource::NextSorted(int64_t* number, v1::Rating* rating) {
  const Sorted& sorted = sorted_[static_cast<size_t>(given_)];
  const absl::string_view ids(ids_);
  *number = given_ + 1;
  Fill(ids.substr(sorted.ids_offset, sorted.user_bytes),
       ids.substr(sorted.ids_offset + sorted.user_bytes, sorted.item_bytes), sorted.rating,
       sorted.time_micros, rating);
}

}  // namespace factord
