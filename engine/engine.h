// The engine: one model in one data folder. It takes rating events in, keeps the log and the factor
// rows, and answers queries. No gRPC, no protobuf: the server translates.
//
//   FACTORD_ASSIGN_OR_RETURN(auto engine, Engine::Open(options));   // recovers what is there
//   engine->Record({.events = {event}, .done = [](RecordResult result) { ... }});
//   auto answer = engine->Recommend({.user_id = "u1", .max_items = 10});
//   engine->Close();                                                // final snapshot
//
// The life of an event (engine/ingest.h): queue -> dedupe -> log append (group commit) -> apply ->
// publish
// -> done. `done` with OK means durable, visible to every later read, and applied exactly once.
//
// Invariants:
//  1. The state is a function of (configuration, log prefix): recovery applies the log with the
//  very same
//     function as ingest (engine/model_state.h), and the state's hash says so.
//  2. Nothing is visible that is not logged; nothing is acknowledged that is not visible.
//  3. After a failed append or sync nothing more is written, applied or acknowledged until a
//  restart.
//     Queries go on.
//
// Thread-safe, except that Close must come after every other call has returned.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "base/hash128.h"
#include "base/status.h"
#include "engine/metrics.h"
#include "engine/recovery_progress.h"
#include "model/config.h"
#include "storage/records.h"
#include "storage/store.h"

namespace factord {

// What becomes of log records once a snapshot covers them.
enum class LogRetention {
  kSnapshot,  // trimmed
  kAll        // kept: the folder can be replayed from empty and verified
};

struct SnapshotInfo {
  int64_t sequence = 0;
  Hash128 hash;
  int64_t rows_written = 0;
};

struct EngineOptions {
  std::string data_dir;
  // For a new folder: what it is created with. For an existing one: must be equal to its own.
  ModelConfig config;
  // False: a missing folder is NOT_FOUND.
  bool create_if_missing = true;
  Durability durability = Durability::kSync;
  LogRetention log_retention = LogRetention::kSnapshot;
  // A snapshot is begun when this much time has passed, or this many bytes of events were logged
  // since the last one, and something has changed. 0: not for this reason.
  std::chrono::milliseconds snapshot_interval = std::chrono::minutes(5);
  int64_t snapshot_log_bytes = int64_t{256} << 20;
  // See Store::Options. 0: no limit.
  int64_t snapshot_bytes_per_second = int64_t{100} << 20;
  // Below this much free disk, events are refused before anything is written.
  int64_t min_free_bytes = int64_t{256} << 20;
  // Events that may wait for the writer, and their bytes (strings, and 256 for all else of an
  // event); beyond, RESOURCE_EXHAUSTED. A request larger than that is let in when none waits.
  int64_t max_queued_events = 1'000'000;
  int64_t max_queued_bytes = int64_t{256} << 20;
  // Limits of the state. 0: none (but 268,435,456 users or items are the most there can be). An
  // event that would create a user or an item beyond one is refused; events of known users and
  // items go on. Not part of the model: a folder that holds more opens, and only grows no further.
  int64_t max_users = 0;
  int64_t max_items = 0;
  // Bytes of EngineMetrics::memory. Only new users and items are held to it: histories of known
  // users, copies of items' rows for readers, the dedupe window up to its size and RocksDB's
  // buffers still grow. So leave room beside it, and for what MemoryUsage does not count. While the
  // table of ids grows, the old one is there for a moment as well.
  int64_t memory_limit = 0;
  // Producers are remembered for good, with their last number. Beyond so many a new one is refused
  // (LastProducerNumber), known ones go on. 0: no limit.
  int64_t max_producers = 100'000;
  // Events applied and made durable together at the most. A single larger request is its own group.
  int32_t max_group_events = 8'192;
  // Where Backup puts its folders; made when first needed. Empty: no backups.
  std::string backup_dir;
  // Pinned views (see PinItems): how many at once, 1 to 128, and for how long after their last use.
  int32_t max_pinned_views = 16;
  std::chrono::milliseconds pinned_view_ttl = std::chrono::minutes(1);
  // Kept up to date by Open, for whoever watches it. May be null.
  std::shared_ptr<RecoveryProgress> recovery_progress = nullptr;
  // Told of every snapshot that was tried, also those of Backup and Close, and of the seconds it
  // took; on the thread that took it. May be null.
  std::function<void(const absl::StatusOr<SnapshotInfo>&, double seconds)> on_snapshot = nullptr;

  // INVALID_ARGUMENT naming every bad field.
  absl::Status Validate() const;
};

// What became of one event of a request.
struct EventResult {
  enum class Outcome {
    kApplied,    // `sequence` is the event's
    kDuplicate,  // `sequence` is the original's; 0 for a producer's number that was taken before
    kConflict,   // same event_id, other content: not applied
    kRefused     // a new user or item beyond a limit: not applied; see `reason`
  };
  Outcome outcome = Outcome::kApplied;
  int64_t sequence = 0;
  std::string reason = {};  // e.g. "user_id: would be user 1001 of --max_users=1000"
};

struct RecordResult {
  // OK: every event is settled as `events` says. ALREADY_EXISTS: a conflict without allow_partial;
  // nothing was applied; the message names the event's place ("events[3].event_id").
  // RESOURCE_EXHAUSTED: the queue is full, or, without allow_partial, an event would create a user
  // or item beyond a limit; the message names the flag and the event's place. FAILED_PRECONDITION:
  // the disk is nearly full. In these nothing was written. UNAVAILABLE: closing, or the store
  // failed; then the outcome is unknown.
  absl::Status status;
  int64_t last_sequence = 0;  // the largest in `events`
  std::vector<EventResult> events;
};

struct RecordRequest {
  // Valid by the rules of the API (the caller has checked); `sequence` is ignored. time_micros is
  // stamped where time_is_servers is set. The strings must live until `done` is called.
  std::vector<Event> events;
  // True: conflicts and what is beyond a limit are left out, the rest is applied. False: one of
  // them refuses the whole request.
  bool allow_partial = false;
  // Shared by requests that make up a series, of which nothing may be taken after a request that
  // was refused: the batches of a stream. The writer sets it, and refuses the later ones ABORTED.
  // A request for which the queue has no room is not the writer's: its refusal is told before
  // Record returns.
  std::shared_ptr<bool> refused_before = nullptr;
  // Called exactly once, on an engine thread (or, for a refusal, on the caller's): must not block.
  std::function<void(RecordResult)> done = nullptr;
};

struct RecommendQuery {
  absl::string_view user_id = {};
  int32_t max_items = 10;  // >= 1
  bool exclude_rated = true;
  std::vector<absl::string_view> deny_item_ids = {};
  bool strict = false;          // NOT_FOUND for an unknown user
  std::string view_token = {};  // empty: the newest view
  bool include_user_factors = false;
  std::function<bool()> keep_going = nullptr;  // empty, or false once the caller has gone away
};

struct Recommendation {
  struct Item {
    absl::string_view item_id;  // lives as long as the engine
    float score = 0;
  };
  std::vector<Item> items;
  int64_t sequence = 0;
  bool cold_start = false;
  std::vector<float> user_factors;
};

struct UserItem {
  absl::string_view user_id;
  absl::string_view item_id;
};

struct PredictedRating {
  float rating = 0;  // clipped to the range
  bool cold_start = false;
};

struct Predictions {
  std::vector<PredictedRating> ratings;
  int64_t sequence = 0;
};

struct PrequentialError {
  int64_t events = 0;
  double mae = 0;
  double rmse = 0;
  double fading_mae = 0;  // weight 0.9999 an event
  double fading_rmse = 0;
};

struct ModelInfo {
  ModelConfig config;
  int64_t sequence = 0;
  int64_t log_start_sequence = 1;
  int64_t snapshot_sequence = 0;
  int64_t users = 0;
  int64_t items = 0;
  PrequentialError prequential_error;
  int64_t passive_updates = 0;
  int64_t clipped_updates = 0;
  int64_t duplicates = 0;  // since start
  // OK, or why writes are refused until a restart.
  absl::Status write_health;
};

struct Topic {
  struct Item {
    absl::string_view item_id;
    float weight = 0;
    int64_t ratings = 0;
  };
  std::vector<Item> items;
};

struct Topics {
  std::vector<Topic> topics;  // one a factor
  int64_t sequence = 0;
};

// Factors that have come to 0, where truncation puts them: a few are what makes topics readable,
// many are capacity that nothing uses.
struct FactorHealth {
  // The share of a side's factors that are 0, and how many of its rows have no other, of the rows
  // that were looked at: some 4,000 of each side, evenly spread, or all.
  double user_zeros = 0;
  double item_zeros = 0;
  double dead_user_rows = 0;  // a share, too
  double dead_item_rows = 0;
  // Coordinates that are 0 in all of those rows of a side, so that neither side can learn them.
  int64_t dead_coordinates = 0;
};

// How well the ratings that the histories hold are predicted now. They were learned, so this is
// less than the error on new ones, which PrequentialError tells.
struct HistoryError {
  int64_t events = 0;   // in all histories
  int64_t ratings = 0;  // of these: the others have no rating
  double mae = 0;
  double rmse = 0;
};

// Of the last StartPasses since the server started.
struct PassesProgress {
  enum class State { kNone, kRunning, kDone, kStopped, kFailed };
  State state = State::kNone;
  int32_t passes = 0;  // asked for
  // Events of the histories that were gone through, and how many there were at the start, times
  // `passes`. 0 while `before` is being measured.
  int64_t events_done = 0;
  int64_t events_total = 0;
  HistoryError before = {};
  std::optional<HistoryError> after = {};  // kDone
  absl::Status failure = {};               // kFailed
};

struct FactorPage {
  struct Row {
    absl::string_view id;
    std::vector<float> factors;  // rank values, as they lie in memory (see FactorOffset)
    int64_t ratings = 0;
    float bias = 0;  // rating units
    // Of items: the row that ranks them and what is added to their score; of users: the query
    // vector. Empty and 0 where p . q ranks.
    std::vector<float> ranking_factors = {};
    float ranking_bias = 0;
  };
  std::vector<Row> rows;
  bool last_page = false;
  int64_t sequence = 0;
};

struct StateHash {
  int64_t sequence = 0;
  Hash128 hash;
};

struct BackupInfo {
  std::string path;
  int64_t sequence = 0;
  Hash128 hash;
};

class Engine {
 public:
  // Opens or creates the folder and recovers: snapshot rows, then the log after them. Takes as long
  // as that takes. FAILED_PRECONDITION: the folder is in use, of another version, not ours, or has
  // another configuration (every differing field is named with both values). DATA_LOSS: damaged;
  // the message names the file or record.
  static absl::StatusOr<std::unique_ptr<Engine>> Open(const EngineOptions& options);

  // Closes if Close was not called.
  virtual ~Engine() = default;

  // --- Writes -----------------------------------------------------------------------------------
  virtual void Record(RecordRequest request) = 0;
  // The last number taken from `producer_id` (0: none), after everything that was handed to Record
  // before this call has been settled. RESOURCE_EXHAUSTED: it would be one too many. `done` as in
  // RecordRequest.
  virtual void LastProducerNumber(std::string producer_id,
                                  std::function<void(absl::StatusOr<int64_t>)> done) = 0;

  // --- Reads: no lock is held while scoring
  // --------------------------------------------------------- The last sequence that reads see.
  virtual int64_t visible_sequence() const = 0;
  // Calls `done` with OK once `sequence` is visible, at once if it is; with UNAVAILABLE at
  // `deadline` or when the engine closes; with OUT_OF_RANGE, at once, if it was never assigned.
  // `done` must not block.
  virtual void WhenVisible(int64_t sequence, std::chrono::steady_clock::time_point deadline,
                           std::function<void(absl::Status)> done) = 0;
  virtual absl::StatusOr<Recommendation> Recommend(const RecommendQuery& query) const = 0;
  // `strict`: NOT_FOUND naming the first unknown id, e.g. "pairs[2].item_id".
  virtual absl::StatusOr<Predictions> Predict(absl::Span<const UserItem> pairs,
                                              bool strict) const = 0;
  virtual ModelInfo Info() const = 0;
  // For monitoring: cheap, but it asks the file system and RocksDB, so not for every call.
  virtual EngineMetrics Metrics() const = 0;
  // Reads some thousand rows.
  virtual FactorHealth MeasureFactors() const = 0;
  virtual Topics ListTopics(int32_t items_per_topic, int64_t min_ratings) const = 0;

  // Pins the newest view of the items and returns its token, for ItemFactors and RecommendQuery.
  // RESOURCE_EXHAUSTED when too many are pinned.
  virtual absl::StatusOr<std::string> PinItems() = 0;
  // `limit` rows from index `first` on. FAILED_PRECONDITION: the token is unknown or has expired.
  virtual absl::StatusOr<FactorPage> ItemFactors(absl::string_view view_token, int64_t first,
                                                 int32_t limit) const = 0;
  virtual FactorPage UserFactors(int64_t first, int32_t limit) const = 0;
  // Lets go of views whose time is over, and so of the old rows that they hold. To be called now
  // and then.
  virtual void ReleaseExpiredViews() = 0;

  // --- Further passes
  // Begins to go `passes` times over the ratings of all histories, in the
  // background. Each part is logged and made durable like an event, and takes a sequence. A restart
  // ends them where they are. FAILED_PRECONDITION: some are under way.
  virtual absl::Status StartPasses(int32_t passes) = 0;
  // Ends them where they are.
  virtual void StopPasses() = 0;
  virtual PassesProgress Passes() const = 0;

  // --- Operations: block until done
  // ---------------------------------------------------------------
  virtual absl::StatusOr<SnapshotInfo> CreateSnapshot() = 0;
  virtual absl::StatusOr<StateHash> ComputeHash() = 0;
  virtual absl::StatusOr<BackupInfo> Backup(const std::string& name) = 0;

  // Settles what was accepted, takes a final snapshot and closes the folder cleanly. Later calls
  // are refused.
  virtual absl::Status Close() = 0;
};

}  // namespace factord
