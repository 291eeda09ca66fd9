// The last line of a terminal, which is written over and over, with messages that scroll by above
// it. Where there is no terminal, each state of the line is a line of its own. Thread-safe.
#pragma once

#include <ostream>
#include <string>

#include "absl/strings/string_view.h"
#include "base/mutex.h"

namespace factord {

class StatusLine {
 public:
  // `out` must outlive this.
  StatusLine(std::ostream& out, bool is_terminal) : out_(out), is_terminal_(is_terminal) {}

  bool is_terminal() const { return is_terminal_; }
  // Replaces the line.
  void Show(absl::string_view text);
  // Prints a line above it.
  void PrintAbove(absl::string_view message);
  // Leaves the line as it is and goes on below it.
  void Finish();

 private:
  static constexpr char kClearLine[] = "\r\x1b[K";

  std::ostream& out_ ABSL_GUARDED_BY(mu_);
  const bool is_terminal_;
  Mutex mu_;
  std::string shown_ ABSL_GUARDED_BY(mu_);
};

}  // namespace factord
