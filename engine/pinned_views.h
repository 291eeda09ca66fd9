// Views of the items that clients hold by a token, for a limited time.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "base/status.h"
#include "model/item_matrix.h"

namespace factord {

// Thread-safe.
class PinnedViews {
 public:
  using Clock = std::chrono::steady_clock;

  PinnedViews(int32_t max_views, std::chrono::milliseconds ttl)
      : max_views_(max_views), ttl_(ttl) {}

  // Keeps `view` and returns its token. RESOURCE_EXHAUSTED: max_views are kept already.
  absl::StatusOr<std::string> Add(ItemView view);

  // The view, which then lives on while the caller holds it, and whose time starts anew.
  // FAILED_PRECONDITION: unknown or expired.
  absl::StatusOr<std::shared_ptr<const ItemView>> Get(absl::string_view token);

  // Lets go of what has expired. To be called now and then.
  void Expire();

 private:
  struct Entry {
    std::shared_ptr<const ItemView> view;
    Clock::time_point expiry;
  };

  const int32_t max_views_;
  const std::chrono::milliseconds ttl_;
  Mutex mu_;
  absl::flat_hash_map<std::string, Entry> views_ ABSL_GUARDED_BY(mu_);
};

}  // namespace factord
