#include "engine/event_group.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/prefetch.h"

namespace factord {
namespace {

using Outcome = EventResult::Outcome;

// How many events ahead.
constexpr size_t kAhead = 8;
// Another thread has just written them.
void PrefetchIds(const Event& event) {
  PrefetchLine(event.event_id.data());
  PrefetchLine(event.user_id.data());
  PrefetchLine(event.item_id.data());
}

int64_t NowMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

void EventGroup::Add(RecordRequest request) {
  RecordResult result;
  bool* const refused_before = request.refused_before.get();
  if (refused_before != nullptr && *refused_before) {
    result.status = absl::AbortedError("a request before this one was refused");
  } else {
    result.status = Plan(request, &result);
    if (refused_before != nullptr) *refused_before = !result.status.ok();
  }
  answers_.push_back([request = std::move(request),
                      result = std::move(result)](const absl::Status& commit) mutable {
    if (result.status.ok() && !commit.ok()) {
      result = RecordResult();
      result.status = commit;
    }
    request.done(std::move(result));
  });
}

void EventGroup::AddQuery(const std::string& producer_id,
                          std::function<void(absl::StatusOr<int64_t>)> done) {
  const int64_t number = LastNumber(producer_id);
  const absl::Status admitted = number == 0 ? admission_.AdmitNewProducer() : absl::OkStatus();
  answers_.push_back([done = std::move(done), number, admitted](const absl::Status& commit) {
    if (!commit.ok() || !admitted.ok()) {
      done(commit.ok() ? admitted : commit);
    } else {
      done(number);
    }
  });
}

absl::Status EventGroup::Plan(RecordRequest& request, RecordResult* result) {
  const size_t events_before = events_.size();
  const Tally tally_before = tally_;
  FormerNumbers former_numbers;
  absl::Status status;
  int64_t* count = nullptr;
  request_micros_ = 0;
  admission_.BeginRequest(request.events, events_);
  result->events.reserve(request.events.size());
  by_key_.Reserve(events_.size() + request.events.size());
  request_keys_.resize(request.events.size());
  for (size_t i = 0; i < request.events.size(); ++i) {
    if (i + 2 * kAhead < request.events.size()) PrefetchLine(&request.events[i + 2 * kAhead]);
    if (i + kAhead < request.events.size()) PrefetchIds(request.events[i + kAhead]);
    // The key of an empty id is never looked at.
    request_keys_[i] = DedupeWindow::KeyOf(request.events[i].event_id);
    state_->dedupe().PrefetchFind(request_keys_[i]);
  }
  for (size_t i = 0; i < request.events.size(); ++i) {
    EventResult planned = PlanEvent(request.events[i], request_keys_[i], &former_numbers, &count);
    if (count == &tally_.refusals.disk) {
      status = absl::FailedPreconditionError(planned.reason);
      break;
    }
    if (!planned.reason.empty() && !request.allow_partial) {
      status =
          absl::Status(planned.outcome == Outcome::kConflict ? absl::StatusCode::kAlreadyExists
                                                             : absl::StatusCode::kResourceExhausted,
                       absl::StrCat("events[", i, "].", planned.reason));
      break;
    }
    if (count != nullptr) ++*count;
    result->last_sequence = std::max(result->last_sequence, planned.sequence);
    result->events.push_back(std::move(planned));
  }
  if (status.ok()) return status;

  for (size_t i = events_before; i < events_.size(); ++i) {
    if (!events_[i].event_id.empty()) {
      by_key_.Erase(DedupeWindow::ShortHash(keys_[i]), static_cast<uint32_t>(i));
    }
  }
  for (auto it = former_numbers.rbegin(); it != former_numbers.rend(); ++it) {
    numbers_[it->first] = it->second;
  }
  admission_.UndoRequest();
  events_.resize(events_before);
  keys_.resize(events_before);
  next_sequence_ = state_->sequence() + 1 + static_cast<int64_t>(events_.size());
  tally_ = tally_before;
  ++*count;  // once for the whole request
  *result = RecordResult();
  return status;
}

EventResult EventGroup::PlanEvent(Event& event, const Hash128& key, FormerNumbers* former,
                                  int64_t** count) {
  if (!event.producer_id.empty() && event.producer_number <= LastNumber(event.producer_id)) {
    *count = &tally_.duplicates;
    return {Outcome::kDuplicate, 0};
  }
  const auto original = event.event_id.empty() ? std::nullopt : FindId(key);
  if (original.has_value()) {
    if (original->content == ContentHash(event)) {
      *count = &tally_.duplicates;
      return {Outcome::kDuplicate, original->sequence};
    }
    *count = &tally_.conflicts;
    return {Outcome::kConflict, 0,
            absl::StrCat("event_id: was used for another event, at sequence ", original->sequence)};
  }
  if (disk_is_full_) {
    *count = &tally_.refusals.disk;
    return {Outcome::kRefused, 0,
            "the disk is nearly full (--min_free_bytes): nothing was written"};
  }
  EventResult result;
  switch (admission_.Admit(event, &result.reason)) {
    case Admission::Verdict::kAdmitted:
      Take(event, key, former);
      *count = nullptr;
      result.sequence = event.sequence;
      return result;
    case Admission::Verdict::kTooManyUsers:
      *count = &tally_.refusals.users;
      break;
    case Admission::Verdict::kTooManyItems:
      *count = &tally_.refusals.items;
      break;
    case Admission::Verdict::kTooMuchMemory:
      *count = &tally_.refusals.memory;
      break;
  }
  result.outcome = Outcome::kRefused;
  return result;
}

void EventGroup::Take(Event& event, const Hash128& key, FormerNumbers* former) {
  if (event.time_is_servers) {
    if (request_micros_ == 0) request_micros_ = NowMicros();
    event.time_micros = request_micros_;
  }
  event.sequence = next_sequence_++;
  events_.push_back(event);
  keys_.push_back(key);
  if (!event.producer_id.empty()) {
    former->emplace_back(std::string(event.producer_id), LastNumber(event.producer_id));
    numbers_[event.producer_id] = event.producer_number;
  }
  if (event.event_id.empty()) return;
  by_key_.Insert(DedupeWindow::ShortHash(key), static_cast<uint32_t>(events_.size() - 1));
}

std::optional<DedupeEntry> EventGroup::FindId(const Hash128& key) const {
  const std::optional<uint32_t> place = by_key_.Find(
      DedupeWindow::ShortHash(key), [&](uint32_t candidate) { return keys_[candidate] == key; });
  if (place.has_value()) {
    const Event& event = events_[*place];
    return DedupeEntry{event.sequence, key, ContentHash(event)};
  }
  const DedupeEntry* const entry = state_->dedupe().Find(key, next_sequence_);
  return entry == nullptr ? std::nullopt : std::optional<DedupeEntry>(*entry);
}

int64_t EventGroup::LastNumber(absl::string_view producer_id) const {
  const auto it = numbers_.find(producer_id);
  return it != numbers_.end() ? it->second : state_->LastProducerNumber(producer_id);
}

}  // namespace factord
