// The one writer: takes requests from a queue, decides what is new, makes it durable, applies it,
// lets readers see it, and answers.
//
// Everything that waits is taken as one group: one log append (one fsync), then one publication. So
// the log's latency is shared by all clients that wait for it (group commit).
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/histogram.h"
#include "base/mutex.h"
#include "base/status.h"
#include "engine/admission.h"
#include "engine/completions.h"
#include "engine/engine.h"
#include "engine/event_group.h"
#include "engine/model_state.h"
#include "engine/sequence_waiters.h"
#include "storage/store.h"

namespace factord {

class Ingest {
 public:
  struct Options {
    int64_t max_queued_events;
    int64_t max_queued_bytes;
    int32_t max_group_events;
    int64_t min_free_bytes;
    StateLimits limits;
    // Called on the writer thread after each group with the bytes of events logged.
    std::function<void(int64_t bytes)> on_logged;
    // Called on the writer thread after each publication.
    std::function<void()> on_published;
  };

  // The borrowed objects outlive this one. The writer thread is the only one that touches `state`'s
  // writer side.
  Ingest(Options options, Store* store, ModelState* state, SequenceWaiters* waiters);
  ~Ingest();

  // Thread-safe; see Engine.
  void Record(RecordRequest request);
  void LastProducerNumber(std::string producer_id,
                          std::function<void(absl::StatusOr<int64_t>)> done);

  // Runs `task` on the writer thread between groups, with everything before it applied and
  // published, and waits for it. UNAVAILABLE, without running it, after Stop.
  absl::Status RunOnWriter(const std::function<void()>& task);

  // Settles what is queued, refuses what comes later, and joins the thread.
  void Stop();

  // The last sequence that was given to an event; at most the log's append ahead of what is
  // visible.
  int64_t assigned_sequence() const { return assigned_.load(std::memory_order_acquire); }
  int64_t duplicates() const { return counts_.duplicates.load(std::memory_order_relaxed); }
  // OK, or why the log takes nothing any more.
  absl::Status write_health() const;
  // Fills in what is said of the queue, of events, refusals and groups.
  void AddMetrics(EngineMetrics* metrics) const;

 private:
  struct Write {
    RecordRequest request;
    int64_t bytes = 0;  // of the queue
  };
  struct ProducerQuery {
    std::string producer_id;
    std::function<void(absl::StatusOr<int64_t>)> done;
  };
  struct Task {
    std::function<void()> run;
  };
  using Job = std::variant<Write, ProducerQuery, Task>;
  // What a job takes of the queue.
  struct Load {
    int64_t events = 0;
    int64_t bytes = 0;
  };
  struct Counts {
    std::atomic<int64_t> applied{0};
    std::atomic<int64_t> duplicates{0};
    std::atomic<int64_t> conflicts{0};
    std::atomic<int64_t> refused_by_queue{0};
    std::atomic<int64_t> refused_by_users{0};
    std::atomic<int64_t> refused_by_items{0};
    std::atomic<int64_t> refused_by_memory{0};
    std::atomic<int64_t> refused_by_disk{0};
  };

  // Refuses a job that may not enter.
  absl::Status Enqueue(Job job, Load load);
  absl::Status CheckRoomInQueue(const Load& load) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Loop();
  void Process(std::vector<Job> jobs);
  // `taken`: what the group took of the queue.
  void Commit(EventGroup& group, const Load& taken);
  // Looks at the disk and at the store's memory, now and then.
  void CheckResources();

  const Options options_;
  Store* const store_;
  ModelState* const state_;
  SequenceWaiters* const waiters_;
  std::unique_ptr<Completions> completions_ = std::make_unique<Completions>();
  std::atomic<int64_t> assigned_;
  Counts counts_;
  Histogram group_events_{kSizeBounds};

  mutable Mutex mu_;
  CondVar changed_;
  std::vector<Job> queue_ ABSL_GUARDED_BY(mu_);
  Load queued_ ABSL_GUARDED_BY(mu_);
  bool sleeps_ ABSL_GUARDED_BY(mu_) = false;  // the writer, until it has been told
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;

  // The writer's.
  std::chrono::steady_clock::time_point next_check_;
  bool disk_nearly_full_ = false;
  int64_t store_bytes_ = 0;

  std::thread thread_;
};

}  // namespace factord
