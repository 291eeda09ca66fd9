#include "engine/ingest.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <utility>

namespace factord {
namespace {

// How often the free disk space is looked up.
constexpr std::chrono::milliseconds kDiskCheckInterval{100};
// How far ahead of the event being applied rows are hinted into the cache.
constexpr size_t kPrefetchDistance = 8;

int64_t NowMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

int64_t LoggedBytes(const Event& event) {
  // Near enough to say when the log has grown: the fixed fields of a record take some ten bytes.
  return static_cast<int64_t>(event.user_id.size() + event.item_id.size() + event.event_id.size() +
                              event.recommendation_id.size() + 16);
}

// What an event that waits takes: its strings, and about as much as the fixed fields of the event,
// of its result and of the message that it came in.
constexpr int64_t kQueuedEventBytes = 256;

int64_t QueuedBytes(const RecordRequest& request) {
  int64_t bytes = 0;
  for (const Event& event : request.events) {
    bytes +=
        kQueuedEventBytes +
        static_cast<int64_t>(event.user_id.size() + event.item_id.size() + event.event_id.size() +
                             event.recommendation_id.size() + event.producer_id.size());
  }
  return bytes;
}

void Add(int64_t n, std::atomic<int64_t>* to) { to->fetch_add(n, std::memory_order_relaxed); }

RecordResult Refusal(const absl::Status& status) {
  RecordResult result;
  result.status = status;
  return result;
}

}  // namespace

// The requests that share one append. Decides for each event, against the state and against what
// the group has taken so far, whether it is new.
class Ingest::Group {
 public:
  Group(const ModelState* state, bool refuse_new)
      : state_(state), refuse_new_(refuse_new), next_sequence_(state->sequence() + 1) {}

  void Add(RecordRequest request) {
    RecordResult result;
    result.status = Plan(request, &result);
    answers_.push_back([request = std::move(request),
                        result = std::move(result)](const absl::Status& commit) mutable {
      if (result.status.ok() && !commit.ok()) result = Refusal(commit);
      request.done(std::move(result));
    });
  }

  void Add(ProducerQuery query) {
    const int64_t number = LastNumber(query.producer_id);
    answers_.push_back([query = std::move(query), number](const absl::Status& commit) {
      if (commit.ok()) {
        query.done(number);
      } else {
        query.done(commit);
      }
    });
  }

  bool empty() const { return answers_.empty(); }
  const std::vector<Event>& events() const { return events_; }
  int64_t duplicates() const { return tally_.duplicates; }
  int64_t conflicts() const { return tally_.conflicts + conflicts_that_refused_; }
  int64_t refused_by_disk() const { return refused_by_disk_; }

  // To be called for each, with the outcome of the append.
  using Answer = std::function<void(const absl::Status&)>;
  std::vector<Answer> TakeAnswers() { return std::move(answers_); }

 private:
  // Fills result->events and takes the new events; on an error takes none of them.
  absl::Status Plan(RecordRequest& request, RecordResult* result) {
    const size_t events_before = events_.size();
    const Tally tally_before = tally_;
    Undo undo;
    absl::Status status;
    int64_t now = 0;
    for (size_t i = 0; i < request.events.size(); ++i) {
      Event& event = request.events[i];
      EventResult event_result;
      if (!event.producer_id.empty() && event.producer_number <= LastNumber(event.producer_id)) {
        event_result.outcome = EventResult::Outcome::kDuplicate;
        ++tally_.duplicates;
      } else if (const DedupeEntry* original = FindId(event)) {
        if (original->content == ContentHash(event)) {
          event_result = {EventResult::Outcome::kDuplicate, original->sequence};
          ++tally_.duplicates;
        } else if (request.allow_partial) {
          event_result.outcome = EventResult::Outcome::kConflict;
          ++tally_.conflicts;
        } else {
          ++conflicts_that_refused_;
          status = absl::AlreadyExistsError(
              absl::StrCat("events[", i, "].event_id: was used for another rating, at sequence ",
                           original->sequence));
          break;
        }
      } else if (refuse_new_) {
        ++refused_by_disk_;
        status = absl::FailedPreconditionError(
            "the disk is nearly full (--min_free_bytes): nothing was written");
        break;
      } else {
        if (event.time_is_servers) {
          if (now == 0) now = NowMicros();
          event.time_micros = now;
        }
        event.sequence = next_sequence_++;
        event_result.sequence = event.sequence;
        Remember(event, &undo);
        events_.push_back(event);
      }
      result->last_sequence = std::max(result->last_sequence, event_result.sequence);
      result->events.push_back(event_result);
    }
    if (status.ok()) return status;

    for (const Hash128& key : undo.keys) ids_.erase(key);
    for (auto it = undo.numbers.rbegin(); it != undo.numbers.rend(); ++it) {
      numbers_[it->first] = it->second;
    }
    events_.resize(events_before);
    next_sequence_ = state_->sequence() + 1 + static_cast<int64_t>(events_.size());
    tally_ = tally_before;
    *result = RecordResult();
    return status;
  }

  // Events of requests that were not refused.
  struct Tally {
    int64_t duplicates = 0;
    int64_t conflicts = 0;
  };

  // What a refused request takes back.
  struct Undo {
    std::vector<Hash128> keys;
    std::vector<std::pair<std::string, int64_t>> numbers;  // as they were before
  };

  void Remember(const Event& event, Undo* undo) {
    if (!event.producer_id.empty()) {
      undo->numbers.emplace_back(std::string(event.producer_id), LastNumber(event.producer_id));
      numbers_[event.producer_id] = event.producer_number;
    }
    if (event.event_id.empty()) return;
    const Hash128 key = DedupeWindow::KeyOf(event.event_id);
    ids_[key] = DedupeEntry{event.sequence, key, ContentHash(event)};
    undo->keys.push_back(key);
  }

  const DedupeEntry* FindId(const Event& event) const {
    if (event.event_id.empty()) return nullptr;
    const Hash128 key = DedupeWindow::KeyOf(event.event_id);
    if (const auto it = ids_.find(key); it != ids_.end()) return &it->second;
    return state_->dedupe().Find(key, next_sequence_);
  }

  int64_t LastNumber(absl::string_view producer_id) const {
    const auto it = numbers_.find(producer_id);
    return it != numbers_.end() ? it->second : state_->LastProducerNumber(producer_id);
  }

  struct KeyHash {
    size_t operator()(const Hash128& key) const { return key.low; }
  };

  const ModelState* const state_;
  const bool refuse_new_;
  int64_t next_sequence_;
  std::vector<Event> events_;
  // What this group will add to the state.
  absl::flat_hash_map<Hash128, DedupeEntry, KeyHash> ids_;
  absl::flat_hash_map<std::string, int64_t> numbers_;
  Tally tally_;
  int64_t conflicts_that_refused_ = 0;
  int64_t refused_by_disk_ = 0;
  std::vector<Answer> answers_;
};

Ingest::Ingest(Options options, Store* store, ModelState* state, SequenceWaiters* waiters)
    : options_(std::move(options)),
      store_(store),
      state_(state),
      waiters_(waiters),
      assigned_(state->sequence()),
      thread_([this] { Loop(); }) {}

Ingest::~Ingest() { Stop(); }

void Ingest::Stop() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
  }
  changed_.NotifyOne();
  if (thread_.joinable()) thread_.join();
  completions_.reset();  // answers everybody
}

absl::Status Ingest::write_health() const { return store_->log()->health(); }

absl::Status Ingest::Enqueue(Job job, Load load) {
  {
    MutexLock lock(&mu_);
    if (stopping_) return absl::UnavailableError("the server is shutting down");
    // A request larger than the whole queue is let in when the queue is empty.
    if (queued_.events > 0 && queued_.events + load.events > options_.max_queued_events) {
      Add(1, &counts_.refused_by_queue);
      return absl::ResourceExhaustedError(
          absl::StrCat(queued_.events, " events wait already (--max_queued_events)"));
    }
    queued_.events += load.events;
    queued_.bytes += load.bytes;
    queue_.push_back(std::move(job));
    if (queue_.size() > 1) return absl::OkStatus();  // the writer has been told
  }
  changed_.NotifyOne();
  return absl::OkStatus();
}

void Ingest::Record(RecordRequest request) {
  const Load load{static_cast<int64_t>(request.events.size()), QueuedBytes(request)};
  // Kept outside the job for the case that it is refused.
  const std::function<void(RecordResult)> done = request.done;
  const absl::Status status = Enqueue(Write{std::move(request), load.bytes}, load);
  if (!status.ok()) done(Refusal(status));
}

void Ingest::LastProducerNumber(std::string producer_id,
                                std::function<void(absl::StatusOr<int64_t>)> done) {
  const absl::Status status = Enqueue(ProducerQuery{std::move(producer_id), done}, {});
  if (!status.ok()) done(status);
}

absl::Status Ingest::RunOnWriter(const std::function<void()>& task) {
  std::promise<void> finished;
  FACTORD_RETURN_IF_ERROR(Enqueue(Task{[&] {
                                    task();
                                    finished.set_value();
                                  }},
                                  {}));
  finished.get_future().wait();
  return absl::OkStatus();
}

void Ingest::Loop() {
  while (true) {
    std::vector<Job> jobs;
    {
      MutexLock lock(&mu_);
      while (queue_.empty() && !stopping_) changed_.Wait(&mu_);
      if (queue_.empty()) return;
      jobs.swap(queue_);
    }
    Process(std::move(jobs));
  }
}

void Ingest::Process(std::vector<Job> jobs) {
  auto job = jobs.begin();
  while (job != jobs.end()) {
    Group group(state_, DiskIsNearlyFull());
    Load taken;
    for (; job != jobs.end() && taken.events < options_.max_group_events; ++job) {
      if (auto* write = std::get_if<Write>(&*job)) {
        taken.events += static_cast<int64_t>(write->request.events.size());
        taken.bytes += write->bytes;
        group.Add(std::move(write->request));
      } else if (auto* query = std::get_if<ProducerQuery>(&*job)) {
        group.Add(std::move(*query));
      } else {
        break;  // a task wants everything before it settled
      }
    }
    Commit(group);
    {
      MutexLock lock(&mu_);
      queued_.events -= taken.events;
      queued_.bytes -= taken.bytes;
    }
    if (job != jobs.end() && std::holds_alternative<Task>(*job)) {
      std::get<Task>(*job).run();
      ++job;
    }
  }
}

void Ingest::Commit(Group& group) {
  if (group.empty()) return;
  const std::vector<Event>& events = group.events();
  absl::Status status = store_->log()->health();
  if (status.ok() && !events.empty()) {
    assigned_.store(events.back().sequence, std::memory_order_release);
    status = store_->log()->Append(events);
    if (status.ok()) {
      int64_t bytes = 0;
      for (size_t i = 0; i < events.size(); ++i) {
        if (i + kPrefetchDistance < events.size()) {
          state_->Prefetch(events[i + kPrefetchDistance]);
        }
        state_->Apply(events[i]);
        bytes += LoggedBytes(events[i]);
      }
      state_->Publish();
      options_.on_published();
      waiters_->Advance(state_->sequence());
      options_.on_logged(bytes);
      group_events_.Observe(static_cast<double>(events.size()));
      Add(static_cast<int64_t>(events.size()), &counts_.applied);
    }
  }
  if (!status.ok()) {
    status = absl::UnavailableError(
        absl::StrCat("the store has failed, the outcome is unknown: ", status.message()));
  } else {
    Add(group.duplicates(), &counts_.duplicates);
    Add(group.conflicts(), &counts_.conflicts);
  }
  Add(group.refused_by_disk(), &counts_.refused_by_disk);
  std::vector<std::function<void()>> callbacks;
  for (Group::Answer& answer : group.TakeAnswers()) {
    callbacks.push_back([answer = std::move(answer), status] { answer(status); });
  }
  completions_->Run(std::move(callbacks));
}

void Ingest::AddMetrics(EngineMetrics* metrics) const {
  const auto get = [](const std::atomic<int64_t>& count) {
    return count.load(std::memory_order_relaxed);
  };
  metrics->applied = get(counts_.applied);
  metrics->duplicates = get(counts_.duplicates);
  metrics->conflicts = get(counts_.conflicts);
  metrics->refusals.queue = get(counts_.refused_by_queue);
  metrics->refusals.disk = get(counts_.refused_by_disk);
  metrics->group_events = group_events_.Snapshot();
  MutexLock lock(&mu_);
  metrics->queue_events = queued_.events;
  metrics->queue_bytes = queued_.bytes;
}

bool Ingest::DiskIsNearlyFull() {
  const auto now = std::chrono::steady_clock::now();
  if (now >= next_disk_check_) {
    next_disk_check_ = now + kDiskCheckInterval;
    const absl::StatusOr<int64_t> free = store_->FreeBytes();
    disk_nearly_full_ = free.ok() && *free < options_.min_free_bytes;
  }
  return disk_nearly_full_;
}

}  // namespace factord
