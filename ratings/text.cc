#include "ratings/text.h"

#include <cstdint>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_replace.h"

namespace factord {

std::string Latin1ToUtf8(absl::string_view text) {
  std::string utf8;
  utf8.reserve(text.size() + 8);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      utf8.push_back(c);
    } else {
      utf8.push_back(static_cast<char>(0xC0 | (byte >> 6)));
      utf8.push_back(static_cast<char>(0x80 | (byte & 0x3F)));
    }
  }
  return utf8;
}

std::string QuoteForMessage(absl::string_view text) {
  constexpr size_t kLongest = 40;
  if (text.size() <= kLongest) return absl::StrCat("'", absl::CHexEscape(text), "'");
  return absl::StrCat("'", absl::CHexEscape(text.substr(0, kLongest)), "...'");
}

std::string CsvField(absl::string_view text) {
  if (text.find_first_of(",\"\r\n") == absl::string_view::npos) return std::string(text);
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

absl::StatusOr<const std::vector<absl::string_view>*> FieldSplitter::Split(absl::string_view line) {
  fields_.clear();
  unquoted_.clear();
  if (separator_ == "," && line.find('"') != absl::string_view::npos) {
    FACTORD_RETURN_IF_ERROR(SplitQuoted(line));
    return &fields_;
  }
  while (true) {
    const size_t at = line.find(separator_);
    fields_.push_back(line.substr(0, at));
    if (at == absl::string_view::npos) return &fields_;
    line.remove_prefix(at + separator_.size());
  }
}

absl::Status FieldSplitter::SplitQuoted(absl::string_view line) {
  while (true) {
    if (line.empty() || line.front() != '"') {
      const size_t comma = line.find(',');
      fields_.push_back(line.substr(0, comma));
      if (comma == absl::string_view::npos) return absl::OkStatus();
      line.remove_prefix(comma + 1);
      continue;
    }
    line.remove_prefix(1);
    std::string field;
    while (true) {
      const size_t quote = line.find('"');
      if (quote == absl::string_view::npos) {
        return absl::InvalidArgumentError("a quoted field does not end");
      }
      field.append(line.data(), quote);
      line.remove_prefix(quote + 1);
      if (line.empty() || line.front() != '"') break;
      field.push_back('"');
      line.remove_prefix(1);
    }
    fields_.push_back(unquoted_.emplace_back(std::move(field)));
    if (line.empty()) return absl::OkStatus();
    if (line.front() != ',') {
      return absl::InvalidArgumentError("text stands behind a quoted field");
    }
    line.remove_prefix(1);
  }
}

}  // namespace factord
