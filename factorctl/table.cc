#include "factorctl/table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace factord {
namespace {

// Characters of UTF-8: every byte but the continuations.
size_t Width(absl::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::string Pad(absl::string_view text, size_t width, Table::Align align) {
  const std::string blanks(width - std::min(width, Width(text)), ' ');
  return align == Table::kLeft ? absl::StrCat(text, blanks) : absl::StrCat(blanks, text);
}

}  // namespace

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {
  std::vector<std::string> names;
  for (const Column& column : columns_) names.push_back(column.name);
  rows_.push_back(std::move(names));
}

void Table::AddRow(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

std::string Table::ToString() const {
  std::vector<size_t> widths(columns_.size(), 0);
  for (const auto& row : rows_) {
    for (size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < widths.size(); ++i) {
      absl::StrAppend(&line, i == 0 ? "" : "  ", Pad(row[i], widths[i], columns_[i].align));
    }
    absl::StripTrailingAsciiWhitespace(&line);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

std::string WithCommas(int64_t number) {
  std::string digits = absl::StrCat(number);
  const size_t first = number < 0 ? 1 : 0;
  for (size_t i = digits.size(); i > first + 3;) {
    i -= 3;
    digits.insert(i, 1, ',');
  }
  return digits;
}

std::string NamedValues(const std::vector<std::pair<std::string, std::string>>& values) {
  size_t width = 0;
  for (const auto& [name, value] : values) width = std::max(width, Width(name));
  std::string text;
  for (const auto& [name, value] : values) {
    absl::StrAppend(&text, Pad(name, width + 2, Table::kLeft), value, "\n");
  }
  return text;
}

}  // namespace factord
