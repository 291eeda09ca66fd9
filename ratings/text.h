// Text as rating files hold it: UTF-8, in older sets ISO-8859-1 (latin-1), fields between
// separators.
//
// All functions are thread-safe.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace factord {

// The same characters in UTF-8: each byte of latin-1 is the code point of the same number.
std::string Latin1ToUtf8(absl::string_view text);

// `text` for a message: quoted, bytes that do not print escaped, cut to a readable length.
std::string QuoteForMessage(absl::string_view text);

// `text` as a field of a CSV file: in double quotes where it holds a comma, a quote or a line end
// (RFC 4180).
std::string CsvField(absl::string_view text);

// Cuts lines into fields. Thread-compatible.
class FieldSplitter {
 public:
  // `separator` is "," or "::" or "\t" or "|". With ",", a field may stand in double quotes, in
  // which a doubled quote stands for one and commas are text (RFC 4180, but without line ends in
  // fields).
  explicit FieldSplitter(absl::string_view separator) : separator_(separator) {}

  // The fields of `line`, at least one. They borrow from `line` and from the splitter, until its
  // next call. INVALID_ARGUMENT for a quote that is not closed or has text behind it.
  absl::StatusOr<const std::vector<absl::string_view>*> Split(absl::string_view line);

 private:
  absl::Status SplitQuoted(absl::string_view line);

  const std::string separator_;
  std::vector<absl::string_view> fields_;
  std::deque<std::string> unquoted_;  // a deque: views into its strings stay valid as it grows
};

}  // namespace factord
