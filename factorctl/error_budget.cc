#include "factorctl/error_budget.h"

namespace factord {
namespace {

// Enough to see what is wrong with a file.
constexpr int64_t kMostPrinted = 20;

}  // namespace

absl::Status ErrorBudget::Note(const absl::Status& error) {
  MutexLock lock(&mu_);
  ++errors_;
  if (errors_ > max_errors_) {
    if (status_.ok()) {
      status_ = absl::Status(error.code(), absl::StrCat(error.message(), " (error ", errors_,
                                                        "; --max_errors is ", max_errors_, ")"));
    }
    return status_;
  }
  if (errors_ <= kMostPrinted) line_->PrintAbove(error.message());
  if (errors_ == kMostPrinted + 1) line_->PrintAbove("further errors are only counted");
  return absl::OkStatus();
}

absl::Status ErrorBudget::status() const {
  MutexLock lock(&mu_);
  return status_;
}

}  // namespace factord
