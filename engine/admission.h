// Decides whether a group of events may add users and items: the limits of EngineOptions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "engine/model_state.h"
#include "storage/records.h"

namespace factord {

// See EngineOptions. 0: none.
struct StateLimits {
  int64_t max_users = 0;
  int64_t max_items = 0;
  int64_t memory_limit = 0;
  int64_t max_producers = 0;
};

// For one group, on the writer thread, before anything of it is logged: what has been logged is
// applied, whatever the limits are by then.
//
// While no limit is near it costs a few comparisons a request. Ids are looked up only when the
// events of the group, were every id in them new, would go beyond a limit.
class Admission {
 public:
  enum class Verdict { kAdmitted, kTooManyUsers, kTooManyItems, kTooMuchMemory };

  // `store_bytes` is the store's share of memory. `state` outlives the object, and no event is
  // applied to it meanwhile.
  Admission(const StateLimits& limits, const ModelState* state, int64_t store_bytes);

  // Before the first Admit of a request with these events. `taken` is what the group has taken of
  // former requests. The strings of both live as long as the object.
  void BeginRequest(absl::Span<const Event> events, absl::Span<const Event> taken);

  // Whether the event may be taken. What it adds then counts from here on; otherwise *reason names
  // the field and the limit.
  Verdict Admit(const Event& event, std::string* reason);

  // Whether a producer may come that no event is from yet. RESOURCE_EXHAUSTED: there are too many.
  absl::Status AdmitNewProducer() const;

  // Nothing of the request is taken after all.
  void UndoRequest();

 private:
  // New ids of one side.
  struct NewIds {
    absl::flat_hash_set<absl::string_view> ids;
    int64_t bytes = 0;
    std::vector<absl::string_view> of_request;

    int64_t size() const { return static_cast<int64_t>(ids.size()); }
    void Add(absl::string_view id);
    void UndoRequest();
  };

  bool IsNew(const IdMap& known, const NewIds& added, absl::string_view id) const {
    return !added.ids.contains(id) && !known.FindAsWriter(id).has_value();
  }
  bool IsBeyondALimit(const NewRows& rows) const;

  const StateLimits limits_;  // a side always has one
  const ModelState* const state_;
  int64_t memory_ = 0;  // in use; not known without a limit
  // What the group's requests would add if every id in them were new.
  NewRows at_most_;
  // Whether ids are looked up: from then on `users_` and `items_` are what the group adds.
  bool is_exact_ = false;
  NewIds users_;
  NewIds items_;
};

}  // namespace factord
