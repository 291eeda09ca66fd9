// Tables and numbers for people.
//
//   Table table({{"item"}, {"score", Table::kRight}});
//   table.AddRow({"casablanca", "4.71"});
//   out << table.ToString();
//
// Thread-compatible.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace factord {

class Table {
 public:
  enum Align { kLeft, kRight };
  struct Column {
    std::string name;
    Align align = kLeft;
  };

  explicit Table(std::vector<Column> columns);
  // REQUIRES: as many cells as columns.
  void AddRow(std::vector<std::string> cells);
  // Columns as wide as their widest cell, in characters; two blanks between them.
  std::string ToString() const;

 private:
  const std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;  // the first one holds the names
};

// 1234567 -> "1,234,567".
std::string WithCommas(int64_t number);

// "name:    value" lines, the values under each other.
std::string NamedValues(const std::vector<std::pair<std::string, std::string>>& values);

}  // namespace factord
