// Counts the bad ratings of an import against --max_errors. Thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "base/mutex.h"
#include "base/status.h"
#include "factorctl/status_line.h"

namespace factord {

class ErrorBudget {
 public:
  // The first few of the errors within the budget are printed on `line`, which must outlive this.
  ErrorBudget(int64_t max_errors, StatusLine* line) : max_errors_(max_errors), line_(line) {}

  // OK while there are at most max_errors; then this error, from now on also from status().
  absl::Status Note(const absl::Status& error);
  absl::Status status() const;

 private:
  const int64_t max_errors_;
  StatusLine* const line_;
  mutable Mutex mu_;
  int64_t errors_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace factord
