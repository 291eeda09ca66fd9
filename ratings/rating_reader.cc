#include "ratings/rating_reader.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <initializer_list>
#include <utility>

#include "absl/strings/ascii.h"
#include "base/utf8.h"

namespace factord {
namespace {

constexpr int64_t kMicros = 1'000'000;
constexpr int64_t kFirstSecond = -62'135'596'800;  // 0001-01-01T00:00:00Z
constexpr int64_t kLastSecond = 253'402'300'799;   // 9999-12-31T23:59:59Z

// In the order in which the content is tried: from the separator that ids hold least to the one
// that they hold most.
struct FormatInfo {
  RatingFormat format;
  absl::string_view name;
  absl::string_view separator;
};
constexpr FormatInfo kFormats[] = {
    {RatingFormat::kTab, "tab", "\t"},
    {RatingFormat::kDoubleColon, "dat", "::"},
    {RatingFormat::kCsv, "csv", ","},
};

absl::string_view SeparatorOf(RatingFormat format) {
  for (const FormatInfo& info : kFormats) {
    if (info.format == format) return info.separator;
  }
  return ",";
}

// kAuto when the line splits into three fields in no format.
RatingFormat DetectFormat(absl::string_view line) {
  for (const FormatInfo& info : kFormats) {
    const size_t first = line.find(info.separator);
    if (first == absl::string_view::npos) continue;
    if (line.find(info.separator, first + info.separator.size()) != absl::string_view::npos) {
      return info.format;
    }
  }
  return RatingFormat::kAuto;
}

bool ParseFloat(absl::string_view text, float* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

absl::Status ParseRating(absl::string_view field, float* rating) {
  const absl::string_view text = absl::StripAsciiWhitespace(field);
  if (text.empty()) return absl::InvalidArgumentError("the rating is empty");
  if (!ParseFloat(text, rating)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rating ", QuoteForMessage(text), " is not a number"));
  }
  if (!std::isfinite(*rating)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rating ", QuoteForMessage(text), " is not finite"));
  }
  return absl::OkStatus();
}

// "-12.5" -> -12,500,000. Digits beyond the sixth are dropped: a double would not hold them either.
bool ParseDecimalMicros(absl::string_view text, int64_t* micros) {
  const bool negative = !text.empty() && text.front() == '-';
  if (negative) text.remove_prefix(1);
  const size_t point = text.find('.');
  const absl::string_view whole = text.substr(0, point);
  absl::string_view fraction =
      point == absl::string_view::npos ? absl::string_view() : text.substr(point + 1);
  // Twelve digits reach the year 9999 and, times a million, fit into 64 bits.
  if (whole.empty() || whole.size() > 12) return false;
  int64_t value = 0;
  for (const char c : whole) {
    if (!absl::ascii_isdigit(c)) return false;
    value = value * 10 + (c - '0') * kMicros;
  }
  int64_t unit = kMicros / 10;
  for (const char c : fraction) {
    if (!absl::ascii_isdigit(c)) return false;
    value += (c - '0') * unit;
    unit /= 10;
  }
  *micros = negative ? -value : value;
  return true;
}

absl::Status ParseTime(absl::string_view field, std::optional<int64_t>* time_micros) {
  const absl::string_view text = absl::StripAsciiWhitespace(field);
  time_micros->reset();
  if (text.empty()) return absl::OkStatus();
  int64_t micros = 0;
  if (!ParseDecimalMicros(text, &micros) || micros < kFirstSecond * kMicros ||
      micros >= (kLastSecond + 1) * kMicros) {
    return absl::InvalidArgumentError(
        absl::StrCat("time ", QuoteForMessage(text), " is not a number of seconds since 1970"));
  }
  *time_micros = micros;
  return absl::OkStatus();
}

absl::Status CheckId(absl::string_view kind, absl::string_view id) {
  if (id.empty()) return absl::InvalidArgumentError(absl::StrCat("the ", kind, " id is empty"));
  if (id.size() > RatingReader::kMaxIdBytes) {
    return absl::InvalidArgumentError(absl::StrCat("the ", kind, " id has ", id.size(),
                                                   " bytes; at most ", RatingReader::kMaxIdBytes,
                                                   " are allowed"));
  }
  if (!IsValidUtf8(id)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", kind, " id ", QuoteForMessage(id), " is not valid UTF-8"));
  }
  return absl::OkStatus();
}

// "movie_id", "Movie ID" and "movieId" are one name.
std::string NormalizeName(absl::string_view name) {
  std::string normalized;
  for (const char c : name) {
    if (absl::ascii_isalnum(c)) normalized.push_back(absl::ascii_tolower(c));
  }
  return normalized;
}

bool IsOneOf(absl::string_view name, std::initializer_list<absl::string_view> names) {
  for (const absl::string_view known : names) {
    if (name == known) return true;
  }
  return false;
}

// The first line may have been meant as a header.
absl::Status HintAtHeader(const absl::Status& status) {
  if (!absl::IsInvalidArgument(status)) return status;
  return absl::InvalidArgumentError(
      absl::StrCat(status.message(), " (nor does a header name user, item and rating)"));
}

bool IsNumber(absl::string_view field) {
  float ignored;
  return ParseFloat(absl::StripAsciiWhitespace(field), &ignored);
}

}  // namespace

absl::StatusOr<RatingFormat> ParseRatingFormat(absl::string_view name) {
  if (name == "auto") return RatingFormat::kAuto;
  for (const FormatInfo& info : kFormats) {
    if (name == info.name) return info.format;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown format ", QuoteForMessage(name), ": must be auto, csv, dat or tab"));
}

absl::StatusOr<std::unique_ptr<RatingReader>> RatingReader::Open(const std::string& path,
                                                                 const Options& options) {
  FACTORD_ASSIGN_OR_RETURN(auto lines, LineReader::Open(path));
  return std::make_unique<RatingReader>(std::move(lines), options);
}

RatingReader::RatingReader(std::unique_ptr<LineReader> lines, const Options& options)
    : lines_(std::move(lines)), format_(options.format) {}

absl::Status RatingReader::Next(RatingRecord* record) {
  while (true) {
    absl::StatusOr<absl::string_view> line = lines_->Next();
    absl::Status status = line.status();
    if (absl::IsResourceExhausted(status)) {  // a line of its own kind of malformed
      status = absl::InvalidArgumentError(status.message());
    } else if (!status.ok()) {
      return status;
    } else {
      if (absl::StripAsciiWhitespace(*line).empty()) continue;
      bool is_header = false;
      const bool is_first = !first_line_done_;
      if (is_first) status = ReadFirstLine(*line, &is_header);
      if (status.ok() && is_header) continue;
      if (status.ok()) status = ParseLine(*line, record);
      if (is_first) status = HintAtHeader(status);
    }
    return Annotate(status, absl::StrCat(lines_->name(), ":", lines_->line_number()));
  }
}

absl::Status RatingReader::ReadFirstLine(absl::string_view line, bool* is_header) {
  if (format_ == RatingFormat::kAuto) format_ = DetectFormat(line);
  if (format_ == RatingFormat::kAuto) {
    return absl::InvalidArgumentError(
        "is no rating: user, item and rating must be separated by ',', '::' or tabs");
  }
  splitter_.emplace(SeparatorOf(format_));
  first_line_done_ = true;
  FACTORD_ASSIGN_OR_RETURN(const std::vector<absl::string_view>* fields, splitter_->Split(line));
  return ParseHeader(*fields, is_header);
}

absl::Status RatingReader::ParseHeader(const std::vector<absl::string_view>& fields,
                                       bool* is_header) {
  Columns found{.user = -1, .item = -1, .rating = -1, .time = -1, .from_header = true};
  for (size_t i = 0; i < fields.size(); ++i) {
    if (IsNumber(fields[i])) return absl::OkStatus();  // a rating, not a header
    const std::string name = NormalizeName(fields[i]);
    int* column =
        IsOneOf(name, {"user", "userid", "uid"}) ? &found.user
        : IsOneOf(name, {"item", "itemid", "iid", "movie", "movieid", "product", "productid"})
            ? &found.item
        : IsOneOf(name, {"rating", "score", "value"})        ? &found.rating
        : IsOneOf(name, {"time", "timestamp", "ts", "date"}) ? &found.time
                                                             : nullptr;
    if (column == nullptr) continue;
    if (*column >= 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("the header names the column ", QuoteForMessage(fields[i]), " twice"));
    }
    *column = static_cast<int>(i);
  }
  const int known = (found.user >= 0) + (found.item >= 0) + (found.rating >= 0);
  // One name alone is more likely a rating whose user is called "user".
  if (known < 2) return absl::OkStatus();
  if (known < 3) {
    return absl::FailedPreconditionError(
        absl::StrCat("the header names no column for the ", found.user < 0   ? "user"
                                                            : found.item < 0 ? "item"
                                                                             : "rating"));
  }
  columns_ = found;
  *is_header = true;
  return absl::OkStatus();
}

absl::Status RatingReader::CheckFieldCount(size_t count) const {
  if (columns_.from_header) {
    const int needed = 1 + std::max({columns_.user, columns_.item, columns_.rating, columns_.time});
    if (count >= static_cast<size_t>(needed)) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("has ", count, " fields; the header asks for ", needed));
  }
  if (count == 3 || count == 4) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("has ", count, count < 3 ? " field(s), too few" : " fields, too many",
                   ": expected user, item, rating and perhaps time"));
}

absl::Status RatingReader::ParseLine(absl::string_view line, RatingRecord* record) {
  FACTORD_ASSIGN_OR_RETURN(const std::vector<absl::string_view>* all, splitter_->Split(line));
  const std::vector<absl::string_view>& fields = *all;
  FACTORD_RETURN_IF_ERROR(CheckFieldCount(fields.size()));
  record->user_id = fields[columns_.user];
  record->item_id = fields[columns_.item];
  record->line = lines_->line_number();
  FACTORD_RETURN_IF_ERROR(CheckId("user", record->user_id));
  FACTORD_RETURN_IF_ERROR(CheckId("item", record->item_id));
  FACTORD_RETURN_IF_ERROR(ParseRating(fields[columns_.rating], &record->rating));
  record->time_micros.reset();
  if (columns_.time < 0 || static_cast<size_t>(columns_.time) >= fields.size()) {
    return absl::OkStatus();
  }
  return ParseTime(fields[columns_.time], &record->time_micros);
}

}  // namespace factord
