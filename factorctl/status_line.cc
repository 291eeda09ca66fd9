#include "factorctl/status_line.h"

namespace factord {

void StatusLine::Show(absl::string_view text) {
  MutexLock lock(&mu_);
  if (is_terminal_) {
    out_ << kClearLine << text << std::flush;
    shown_ = std::string(text);
  } else {
    out_ << text << std::endl;
  }
}

void StatusLine::PrintAbove(absl::string_view message) {
  MutexLock lock(&mu_);
  if (!shown_.empty()) out_ << kClearLine;
  out_ << message << "\n" << shown_ << std::flush;
}

void StatusLine::Finish() {
  MutexLock lock(&mu_);
  if (!shown_.empty()) out_ << "\n" << std::flush;
  shown_.clear();
}

}  // namespace factord
