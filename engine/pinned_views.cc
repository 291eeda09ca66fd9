#include "engine/pinned_views.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_format.h"

namespace factord {

absl::StatusOr<std::string> PinnedViews::Add(ItemView view) {
  Expire();
  // Tokens survive no restart, so they need only be hard to hit by chance.
  std::random_device random;
  std::string token = absl::StrFormat("%08x%08x%08x%08x", random(), random(), random(), random());
  MutexLock lock(&mu_);
  if (views_.size() >= static_cast<size_t>(max_views_)) {
    const auto next = std::min_element(
        views_.begin(), views_.end(),
        [](const auto& a, const auto& b) { return a.second.expiry < b.second.expiry; });
    return RetryAfter(
        next == views_.end() ? ttl_ : next->second.expiry - Clock::now(),
        absl::StrCat(max_views_, " views are pinned already: read on with one of them, or wait"));
  }
  views_[token] = Entry{std::make_shared<const ItemView>(std::move(view)), Clock::now() + ttl_};
  return token;
}

absl::StatusOr<std::shared_ptr<const ItemView>> PinnedViews::Get(absl::string_view token) {
  Expire();
  MutexLock lock(&mu_);
  const auto it = views_.find(token);
  if (it == views_.end()) {
    return absl::FailedPreconditionError("view_token: unknown or expired");
  }
  it->second.expiry = Clock::now() + ttl_;
  return it->second.view;
}

void PinnedViews::Expire() {
  const Clock::time_point now = Clock::now();
  MutexLock lock(&mu_);
  absl::erase_if(views_, [now](const auto& entry) { return entry.second.expiry <= now; });
}

}  // namespace factord
