// The requests that share one append, and what becomes of each of their events.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "base/hash128.h"
#include "base/hash_index.h"
#include "base/status.h"
#include "engine/admission.h"
#include "engine/engine.h"
#include "engine/model_state.h"
#include "storage/records.h"

namespace factord {

// Decides for each event, against the state and against what the group has taken so far, whether it
// is new and may be taken. Lives on the writer thread; nothing is applied meanwhile.
class EventGroup {
 public:
  struct Tally {
    // Of requests that go in, but for conflicts, which may be what refused one.
    int64_t duplicates = 0;
    int64_t conflicts = 0;
    // See EngineMetrics; `queue` stays 0.
    EngineMetrics::Refusals refusals;
  };

  // `disk_is_full`: no new event is taken.
  EventGroup(const ModelState* state, bool disk_is_full, Admission admission)
      : state_(state),
        disk_is_full_(disk_is_full),
        admission_(std::move(admission)),
        next_sequence_(state->sequence() + 1) {}

  void Add(RecordRequest request);
  // `done` gets the producer's last number as of here in the group.
  void AddQuery(const std::string& producer_id, std::function<void(absl::StatusOr<int64_t>)> done);

  bool empty() const { return answers_.empty(); }
  // What is to be appended and applied. They borrow from the requests, which the answers hold.
  const std::vector<Event>& events() const { return events_; }
  // Of their ids (DedupeWindow::KeyOf); nothing of those without one.
  const std::vector<Hash128>& keys() const { return keys_; }
  const Tally& tally() const { return tally_; }

  // To be called for each, once, with the outcome of the append.
  using Answer = std::function<void(const absl::Status&)>;
  std::vector<Answer> TakeAnswers() { return std::move(answers_); }

 private:
  // Producers' numbers as they were before the request, which takes them back if it is refused.
  using FormerNumbers = std::vector<std::pair<std::string, int64_t>>;

  // Fills result->events and takes the new events; on an error takes none of them.
  absl::Status Plan(RecordRequest& request, RecordResult* result);
  // Takes the event or says why not: an outcome other than kApplied and, in *count, what counts it.
  EventResult PlanEvent(Event& event, const Hash128& key, FormerNumbers* former, int64_t** count);
  void Take(Event& event, const Hash128& key, FormerNumbers* former);
  // The event that has taken this id, if any.
  std::optional<DedupeEntry> FindId(const Hash128& key) const;
  int64_t LastNumber(absl::string_view producer_id) const;

  const ModelState* const state_;
  const bool disk_is_full_;
  Admission admission_;
  int64_t next_sequence_;
  int64_t request_micros_ = 0;  // the time stamped in this request; 0: not asked for yet
  std::vector<Event> events_;
  std::vector<Hash128> keys_;
  std::vector<Hash128> request_keys_;  // of the ids of the request's events
  // What this group will add to the state: places in events_ by their ids, and numbers of
  // producers.
  HashIndex by_key_;
  absl::flat_hash_map<std::string, int64_t> numbers_;
  Tally tally_;
  std::vector<Answer> answers_;
};

}  // namespace factord
