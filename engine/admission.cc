#include "engine/admission.h"

#include "absl/strings/str_cat.h"

namespace factord {
namespace {

// More cannot be numbered.
int64_t RowLimit(int64_t limit) { return limit == 0 ? int64_t{UserTable::kMaxRows} : limit; }

}  // namespace

Admission::Admission(const StateLimits& limits, const ModelState* state, int64_t store_bytes)
    : limits_{.max_users = RowLimit(limits.max_users),
              .max_items = RowLimit(limits.max_items),
              .memory_limit = limits.memory_limit,
              .max_producers = limits.max_producers},
      state_(state) {
  if (limits_.memory_limit > 0) memory_ = state->memory().total() + store_bytes;
}

absl::Status Admission::AdmitNewProducer() const {
  const int64_t producer = state_->producers() + 1;
  if (limits_.max_producers == 0 || producer <= limits_.max_producers) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("start.producer_id: would be producer ",
                                                   producer,
                                                   " of --max_producers=", limits_.max_producers));
}

void Admission::NewIds::Add(absl::string_view id) {
  ids.insert(id);
  bytes += static_cast<int64_t>(id.size());
  of_request.push_back(id);
}

void Admission::NewIds::UndoRequest() {
  for (const absl::string_view id : of_request) {
    ids.erase(id);
    bytes -= static_cast<int64_t>(id.size());
  }
  of_request.clear();
}

bool Admission::IsBeyondALimit(const NewRows& rows) const {
  return state_->users().size() + rows.users > limits_.max_users ||
         state_->item_ids().size() + rows.items > limits_.max_items ||
         (limits_.memory_limit > 0 && memory_ + state_->GrowthFor(rows) > limits_.memory_limit);
}

void Admission::BeginRequest(absl::Span<const Event> events, absl::Span<const Event> taken) {
  users_.of_request.clear();
  items_.of_request.clear();
  if (is_exact_) return;
  at_most_.users += static_cast<int64_t>(events.size());
  at_most_.items += static_cast<int64_t>(events.size());
  if (limits_.memory_limit > 0) {
    for (const Event& event : events) {
      at_most_.user_id_bytes += static_cast<int64_t>(event.user_id.size());
      at_most_.item_id_bytes += static_cast<int64_t>(event.item_id.size());
    }
  }
  if (!IsBeyondALimit(at_most_)) return;
  is_exact_ = true;
  for (const Event& event : taken) {
    if (event.kind == EventKind::kRevisit) continue;
    if (IsNew(state_->user_ids(), users_, event.user_id)) users_.Add(event.user_id);
    if (IsNew(state_->item_ids(), items_, event.item_id)) items_.Add(event.item_id);
  }
  users_.of_request.clear();
  items_.of_request.clear();
}

Admission::Verdict Admission::Admit(const Event& event, std::string* reason) {
  if (!is_exact_) return Verdict::kAdmitted;
  if (event.kind == EventKind::kRevisit) return Verdict::kAdmitted;  // adds no row
  const bool new_user = IsNew(state_->user_ids(), users_, event.user_id);
  const bool new_item = IsNew(state_->item_ids(), items_, event.item_id);
  if (!new_user && !new_item) return Verdict::kAdmitted;

  const int64_t users = state_->users().size() + users_.size() + (new_user ? 1 : 0);
  const int64_t items = state_->item_ids().size() + items_.size() + (new_item ? 1 : 0);
  if (new_user && users > limits_.max_users) {
    *reason = absl::StrCat("user_id: would be user ", users, " of --max_users=", limits_.max_users);
    return Verdict::kTooManyUsers;
  }
  if (new_item && items > limits_.max_items) {
    *reason = absl::StrCat("item_id: would be item ", items, " of --max_items=", limits_.max_items);
    return Verdict::kTooManyItems;
  }
  if (limits_.memory_limit > 0) {
    NewRows rows{users_.size(), users_.bytes, items_.size(), items_.bytes};
    if (new_user) {
      ++rows.users;
      rows.user_id_bytes += static_cast<int64_t>(event.user_id.size());
    }
    if (new_item) {
      ++rows.items;
      rows.item_id_bytes += static_cast<int64_t>(event.item_id.size());
    }
    const int64_t memory = memory_ + state_->GrowthFor(rows);
    if (memory > limits_.memory_limit) {
      *reason =
          absl::StrCat(new_user ? "user_id" : "item_id", ": is new, and would bring memory to ",
                       memory, " bytes of --memory_limit=", limits_.memory_limit);
      return Verdict::kTooMuchMemory;
    }
  }
  if (new_user) users_.Add(event.user_id);
  if (new_item) items_.Add(event.item_id);
  return Verdict::kAdmitted;
}

void Admission::UndoRequest() {
  users_.UndoRequest();
  items_.UndoRequest();
}

}  // namespace factord
