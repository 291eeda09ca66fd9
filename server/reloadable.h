// Something read from files that may change while the server runs: certificates, tokens.
//
//   Reloadable<TokenTable> tokens("tokens", [=] { return ReadTokens(path); });
//   FACTORD_RETURN_IF_ERROR(tokens.Load());   // at start: must be good
//   tokens.Reload();                          // now and then: keeps the old where the new is bad
//   std::shared_ptr<const TokenTable> now = tokens.Get();
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"
#include "server/log.h"

namespace factord {

// T has ==. Thread-safe, but for Load and Reload, which one thread at a time may call.
template <typename T>
class Reloadable {
 public:
  // `name` is what the log and the metrics call it. `read` reads the files afresh.
  Reloadable(const char* name, std::function<absl::StatusOr<T>()> read)
      : name_(name), read_(std::move(read)) {}

  absl::Status Load() {
    FACTORD_ASSIGN_OR_RETURN(T value, read_());
    Set(std::move(value));
    return absl::OkStatus();
  }

  // Takes what is in the files if it is good and differs. A failure is logged once for each reason,
  // and its end.
  // REQUIRES: Load has succeeded.
  void Reload() {
    absl::StatusOr<T> value = read_();
    if (!value.ok()) {
      failures_.fetch_add(1, std::memory_order_relaxed);
      if (std::exchange(last_error_, value.status()) == value.status()) return;
      log::Error("not reloaded, the former ones stay",
                 {{"what", name_}, {"reason", std::string(value.status().message())}});
      return;
    }
    const bool was_bad = !std::exchange(last_error_, absl::OkStatus()).ok();
    if (*value == *Get()) {
      if (was_bad) log::Info("good again, and as before", {{"what", name_}});
      return;
    }
    Set(*std::move(value));
    reloads_.fetch_add(1, std::memory_order_relaxed);
    log::Info("reloaded", {{"what", name_}});
  }

  // Null before Load.
  std::shared_ptr<const T> Get() const {
    MutexLock lock(&mu_);
    return value_;
  }

  int64_t reloads() const { return reloads_.load(std::memory_order_relaxed); }
  int64_t failures() const { return failures_.load(std::memory_order_relaxed); }

 private:
  void Set(T value) {
    auto fresh = std::make_shared<const T>(std::move(value));
    MutexLock lock(&mu_);
    value_ = std::move(fresh);
  }

  const char* const name_;
  const std::function<absl::StatusOr<T>()> read_;
  absl::Status last_error_;
  std::atomic<int64_t> reloads_{0};
  std::atomic<int64_t> failures_{0};
  mutable Mutex mu_;
  std::shared_ptr<const T> value_ ABSL_GUARDED_BY(mu_);
};

}  // namespace factord
