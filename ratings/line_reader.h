// Lines of a file or of standard input, one at a time, in bounded memory.
//
//   FACTORD_ASSIGN_OR_RETURN(auto lines, LineReader::Open("ratings.csv"));
//   while (true) {
//     absl::StatusOr<absl::string_view> line = lines->Next();
//     if (absl::IsOutOfRange(line.status())) break;  // the end
//     FACTORD_RETURN_IF_ERROR(line.status());
//     ... *line, lines->line_number() ...
//   }
//
// Thread-compatible.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace factord {

class LineReader {
 public:
  // Fills at most `size` bytes at `data` and returns how many; 0 at the end.
  using ByteSource = std::function<absl::StatusOr<size_t>(char* data, size_t size)>;

  // The file at `path`, or standard input for "-". NOT_FOUND, PERMISSION_DENIED, or
  // FAILED_PRECONDITION for a folder.
  static absl::StatusOr<std::unique_ptr<LineReader>> Open(const std::string& path);

  // For tests and fuzzers: a copy of `text`, handed out at most `chunk` bytes at a time.
  static std::unique_ptr<LineReader> FromText(absl::string_view text, std::string name,
                                              size_t chunk = 1 << 16);

  LineReader(ByteSource source, std::string name);

  // The next line without its end ("\n" or "\r\n"; the last line may lack one), valid until the
  // next call. A byte order mark at the start of the file is skipped. Empty lines are returned.
  //
  // OUT_OF_RANGE: the end, for good. RESOURCE_EXHAUSTED: the line is longer than kMaxLineBytes; the
  // next call goes on behind it. Anything else: the source failed, for good.
  absl::StatusOr<absl::string_view> Next();

  // Longer than any line of sense, short enough that a binary file does not fill the memory.
  static constexpr size_t kMaxLineBytes = size_t{64} << 10;

  // The number, from 1, of the line that Next() returned last.
  int64_t line_number() const { return line_number_; }
  // How many bytes of the file the lines returned so far make up.
  int64_t bytes_read() const { return bytes_read_; }
  // What messages call the file: its path, or "<stdin>".
  const std::string& name() const { return name_; }

 private:
  // Reads more into the buffer. False at the end of the file.
  absl::StatusOr<bool> Fill();
  // Takes `size` bytes off the front of the buffer.
  absl::string_view Take(size_t size);

  const ByteSource source_;
  const std::string name_;
  std::vector<char> buffer_;
  size_t begin_ = 0;  // what is in the buffer and not yet returned: [begin_, end_)
  size_t end_ = 0;
  bool at_end_ = false;
  int64_t line_number_ = 0;
  int64_t bytes_read_ = 0;
};

}  // namespace factord
