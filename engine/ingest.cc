#include "engine/ingest.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <utility>

#include "base/kill_point.h"

namespace factord {
namespace {

// How often the free disk space, and the store's memory, is looked up.
constexpr std::chrono::milliseconds kCheckInterval{100};

int64_t LoggedBytes(const Event& event) {
  // Near enough to say when the log has grown: the fixed fields of a record take some ten bytes.
  return static_cast<int64_t>(event.user_id.size() + event.item_id.size() + event.event_id.size() +
                              event.recommendation_id.size() + 16);
}

// How long to wait where the queue is full: enough to work off some ten thousand events.
constexpr std::chrono::milliseconds kQueuePushback{100};

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
  MutexLock lock(&mu_);
  if (stopping_) return absl::UnavailableError("the server is shutting down");
  FACTORD_RETURN_IF_ERROR(CheckRoomInQueue(load));
  queued_.events += load.events;
  queued_.bytes += load.bytes;
  queue_.push_back(std::move(job));
  // Under the lock: once the job is settled all this may be gone. And whoever comes while the
  // writer still sleeps wakes it: another that was to may be kept from it, being of low priority.
  if (sleeps_) changed_.NotifyOne();
  return absl::OkStatus();
}

absl::Status Ingest::CheckRoomInQueue(const Load& load) {
  // A request larger than the whole queue is let in when the queue is empty.
  if (queued_.events == 0 || load.events == 0) return absl::OkStatus();
  absl::Status status;
  if (queued_.events + load.events > options_.max_queued_events) {
    status = RetryAfter(kQueuePushback,
                        absl::StrCat(queued_.events, " events wait already (--max_queued_events)"));
  } else if (queued_.bytes + load.bytes > options_.max_queued_bytes) {
    status = RetryAfter(
        kQueuePushback,
        absl::StrCat(queued_.bytes, " bytes of events wait already (--max_queued_bytes)"));
  }
  if (!status.ok()) Add(1, &counts_.refused_by_queue);
  return status;
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
      sleeps_ = true;
      while (queue_.empty() && !stopping_) changed_.Wait(&mu_);
      sleeps_ = false;
      if (queue_.empty()) return;
      jobs.swap(queue_);
    }
    Process(std::move(jobs));
  }
}

void Ingest::Process(std::vector<Job> jobs) {
  auto job = jobs.begin();
  while (job != jobs.end()) {
    CheckResources();
    EventGroup group(state_, disk_nearly_full_, Admission(options_.limits, state_, store_bytes_));
    Load taken;
    for (; job != jobs.end() && taken.events < options_.max_group_events; ++job) {
      if (auto* write = std::get_if<Write>(&*job)) {
        taken.events += static_cast<int64_t>(write->request.events.size());
        taken.bytes += write->bytes;
        group.Add(std::move(write->request));
      } else if (auto* query = std::get_if<ProducerQuery>(&*job)) {
        group.AddQuery(query->producer_id, std::move(query->done));
      } else {
        break;  // a task wants everything before it settled
      }
    }
    Commit(group, taken);
    if (job != jobs.end() && std::holds_alternative<Task>(*job)) {
      std::get<Task>(*job).run();
      ++job;
    }
  }
}

void Ingest::Commit(EventGroup& group, const Load& taken) {
  if (group.empty()) return;
  const std::vector<Event>& events = group.events();
  absl::Status status = store_->log()->health();
  if (status.ok() && !events.empty()) {
    assigned_.store(events.back().sequence, std::memory_order_release);
    KillPoint("append.before");
    status = store_->log()->Append(events);
    if (status.ok()) {
      KillPoint("append.after");
      int64_t bytes = 0;
      for (const Event& event : events) bytes += LoggedBytes(event);
      state_->ApplyAll(events, group.keys());
      KillPoint("apply.after");
      state_->Publish();
      KillPoint("publish.after");
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
    Add(group.tally().duplicates, &counts_.duplicates);
    Add(group.tally().conflicts, &counts_.conflicts);
  }
  const EngineMetrics::Refusals& refusals = group.tally().refusals;
  Add(refusals.users, &counts_.refused_by_users);
  Add(refusals.items, &counts_.refused_by_items);
  Add(refusals.memory, &counts_.refused_by_memory);
  Add(refusals.disk, &counts_.refused_by_disk);
  std::vector<std::function<void()>> callbacks;
  for (EventGroup::Answer& answer : group.TakeAnswers()) {
    callbacks.push_back([answer = std::move(answer), status] { answer(status); });
  }
  {
    // Before the answers: who has got one may send the next at once.
    MutexLock lock(&mu_);
    queued_.events -= taken.events;
    queued_.bytes -= taken.bytes;
  }
  KillPoint("answer.before");
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
  metrics->refusals.users = get(counts_.refused_by_users);
  metrics->refusals.items = get(counts_.refused_by_items);
  metrics->refusals.memory = get(counts_.refused_by_memory);
  metrics->refusals.disk = get(counts_.refused_by_disk);
  metrics->group_events = group_events_.Snapshot();
  MutexLock lock(&mu_);
  metrics->queue_events = queued_.events;
  metrics->queue_bytes = queued_.bytes;
}

void Ingest::CheckResources() {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_check_) return;
  next_check_ = now + kCheckInterval;
  const absl::StatusOr<int64_t> free = store_->FreeBytes();
  disk_nearly_full_ = free.ok() && *free < options_.min_free_bytes;
  if (options_.limits.memory_limit > 0) store_bytes_ = store_->MemoryBytes();
}

}  // namespace factord
