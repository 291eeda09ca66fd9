// The state that the log determines: rows of both sides, histories, counts, the dedupe window,
// producers.
//
// Apply is the one function that changes it. Ingest, recovery and the offline check all call it,
// with the same events in the same order, and so arrive at the same bits; ComputeHash says whether
// they did.
//
// Thread contract: one thread (the writer) calls everything not marked otherwise. Queries read ids,
// users and item views at any time. Between BeginCut and EndCut a snapshot thread walks the cut
// beside the writer.
//
// What changed since the last cut is tracked row by row. A row's `dirty_cut` is the number of the
// cut period in which it was last changed, 0 if a snapshot has taken it since. The first change in
// a period subtracts the row's old hash from `clean_hash_`, so that
//    hash of all rows = clean_hash_ + hashes of the rows dirty in this period
// costs no walk over all rows. While a snapshot walks the period before, a first change also saves
// the old row for it (a pre-image); items need none, since the cut holds a pinned view.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/hash128.h"
#include "base/mutex.h"
#include "engine/dedupe_window.h"
#include "engine/metrics.h"
#include "model/config.h"
#include "model/count_tree.h"
#include "model/globals.h"
#include "model/id_map.h"
#include "model/item_matrix.h"
#include "model/next_item.h"
#include "model/update.h"
#include "model/user_table.h"
#include "storage/records.h"

namespace factord {

// Running statistics of ratings; no part of the hash.
struct ModelStatistics {
  uint64_t events = 0;
  double absolute_error_sum = 0;
  double squared_error_sum = 0;
  double fading_absolute_error = 0;
  double fading_squared_error = 0;
  double fading_weight = 0;
  uint64_t passive_updates = 0;
  uint64_t clipped_updates = 0;
};

// One consistent state, as the rows that changed since the cut before.
struct Cut {
  int64_t sequence = 0;
  uint32_t number = 0;
  uint32_t users = 0;
  uint32_t items = 0;
  std::vector<uint32_t> dirty_users;
  std::vector<uint32_t> dirty_items;
  std::vector<DedupeEntry> dedupe_entries;  // in order of their sequences
  absl::flat_hash_map<std::string, int64_t> producers;
  uint64_t producer_count = 0;
  ModelStatistics statistics;
  std::string globals;  // as SnapshotMeta keeps them
  // Hash of everything but the dirty rows. The whole state's is this plus theirs.
  Hash128 hash_without_dirty_rows;
  std::optional<ItemView> item_view;
};

// Users and items that may be added.
struct NewRows {
  int64_t users = 0;
  int64_t user_id_bytes = 0;
  int64_t items = 0;
  int64_t item_id_bytes = 0;
};

// How much of a user's history one revisit learns (Event::revisited).
inline constexpr size_t kRevisitedPositions = 1024;

class ModelState {
 public:
  explicit ModelState(const ModelConfig& config);
  ModelState(const ModelState&) = delete;
  ModelState& operator=(const ModelState&) = delete;

  // Learns from one event. REQUIRES: event.sequence == sequence() + 1; ids within their limits; the
  // type of kTaken is one of the configuration's.
  void Apply(const Event& event) { ApplyAll({&event, 1}); }
  // The same for one after the other, faster: asks memory early for what they will need. `keys`:
  // DedupeWindow::KeyOf each one's id, by whoever has them already; otherwise empty.
  void ApplyAll(absl::Span<const Event> events, absl::Span<const Hash128> keys = {});
  // Lets readers see everything applied so far.
  void Publish();

  int64_t sequence() const { return sequence_; }
  const DedupeWindow& dedupe() const { return dedupe_; }
  // 0 for a producer never seen.
  int64_t LastProducerNumber(absl::string_view producer_id) const;
  const ModelStatistics& statistics() const { return statistics_; }
  const ModelGlobals& globals() const { return globals_; }
  // By how much memory() would grow with these rows, to some 1 MiB: what a table takes ahead when
  // it is full counts.
  int64_t GrowthFor(const NewRows& rows) const;

  // --- Loading, before the first Apply
  // ------------------------------------------------------------
  void LoadUser(const Row& row);
  void LoadItem(const Row& row);
  void LoadDedupeEntry(const DedupeEntry& entry);
  void LoadProducer(const Producer& producer);
  // After the rows: the sequence they stand for. DATA_LOSS: malformed globals.
  absl::Status FinishLoad(int64_t sequence, const ModelStatistics& statistics,
                          absl::string_view globals);

  // --- Hash
  // --------------------------------------------------------------------------------------- Of the
  // whole state, computed afresh: O(all rows).
  Hash128 ComputeHash() const;
  // The same from the running sums: O(rows dirty in this period). REQUIRES: no cut is open.
  Hash128 RunningHash() const;

  // --- Cuts
  // --------------------------------------------------------------------------------------- Fixes
  // the present, published state as a cut. REQUIRES: no cut is open.
  Cut BeginCut();
  // Snapshot thread: appends the row as it was at the cut to *payload and counts it as clean. For
  // each dirty row exactly once.
  void EncodeCutUser(const Cut& cut, uint32_t index, std::string* payload);
  void EncodeCutItem(const Cut& cut, uint32_t index, std::string* payload) const;
  // The cut's rows were walked; `row_hash` is the sum of their hashes. `saved` false: they did not
  // reach the disk and belong to the next cut as well.
  void EndCut(Cut cut, const Hash128& row_hash, bool saved);

  // --- Any thread
  // ---------------------------------------------------------------------------------
  const ModelConfig& config() const { return config_; }
  const IdMap& user_ids() const { return user_ids_; }
  const IdMap& item_ids() const { return item_ids_; }
  const UserTable& users() const { return users_; }
  const ItemMatrix& items() const { return items_; }
  int64_t visible_sequence() const { return visible_.load(std::memory_order_acquire); }
  // As of the last Publish; `store` is left out.
  MemoryUsage memory() const;
  int64_t producers() const { return producer_count_.load(std::memory_order_relaxed); }
  int64_t dedupe_entries() const { return dedupe_entries_.load(std::memory_order_relaxed); }
  int64_t dedupe_evictions() const { return dedupe_evictions_.load(std::memory_order_relaxed); }

  // Hash of an encoded row.
  static Hash128 HashRow(Side side, absl::string_view payload);

 private:
  // What is found out about an event before it is applied, in these steps. Each asks memory for
  // what the next one reads.
  struct Prepared {
    Hash128 event_key;  // DedupeWindow::KeyOf, if it has an id
    IdMap::Probe user_probe, item_probe;
    std::optional<uint32_t> user, item;  // rows, if there are any yet
  };
  // `event_key`: see ApplyAll; null if it is not known.
  void Probe(const Event& event, const Hash128* event_key, Prepared* prepared) const;
  void FindIds(Prepared* prepared) const;
  void PrefetchIds(const Prepared& prepared) const;
  void FindRows(Prepared* prepared) const;
  void PrefetchHistory(const Prepared& prepared) const;
  void PrefetchContext(const Prepared& prepared) const;
  void Apply(const Event& event, const Prepared& prepared);
  // Learns what a user did.
  void ApplyUsersEvent(const Event& event, const Prepared& prepared);
  // Learns the order in which users take items up. `context`: the user's items before the event,
  // newest first.
  void LearnOrder(const Event& event, uint32_t item, absl::Span<const uint32_t> context);
  // Learns ratings of the histories once more: a part of a pass over them, and some that are drawn
  // beside an event (ModelConfig::replay).
  void ApplyRevisit(const Event& event);
  void Replay(int64_t sequence);
  void Relearn(uint32_t user, size_t position, float size, int64_t sequence);
  // Numbers an event's random draws begin with.
  uint64_t Stream(int64_t sequence) const;
  // Of an id: a new row if it has none.
  uint32_t UserIndex(absl::string_view id);
  uint32_t ItemIndex(absl::string_view id);
  void TouchUser(uint32_t index, UserTable::LockedRow& row);
  void TouchItem(uint32_t index);
  void EncodeUser(uint32_t index, const UserTable::LockedRow& row, std::string* payload) const;
  // `ranking`: null where items have none.
  void EncodeItem(uint32_t index, const float* factors, const float* ranking, const RowState& state,
                  std::string* payload) const;
  void EncodePresentItem(uint32_t index, std::string* payload) const;
  void RememberForSnapshot(const DedupeEntry& entry);
  void CountError(float rating, const UpdateOutcome& outcome);
  // Globals and recent items, as SnapshotMeta keeps them.
  std::string EncodeGlobals() const;
  bool DecodeGlobals(absl::string_view bytes);
  Hash128 HashSmallParts() const;
  Hash128 HashDirtyRows() const;

  const ModelConfig config_;
  const Hash128 config_hash_;
  int64_t sequence_ = 0;
  std::atomic<int64_t> visible_{0};
  IdMap user_ids_;
  IdMap item_ids_;
  UserTable users_;
  ItemMatrix items_;
  DedupeWindow dedupe_;
  absl::flat_hash_map<std::string, int64_t> producers_;
  Hash128 producer_hash_;
  ModelStatistics statistics_;
  ModelGlobals globals_;
  RecentItems recent_;
  int64_t history_bytes_ = 0;
  // How much each user's history holds; kept only for replay.
  CountTree history_sizes_;

  // Set by Publish, for other threads.
  std::atomic<int64_t> published_history_bytes_{0};
  std::atomic<int64_t> dedupe_bytes_{0};
  std::atomic<int64_t> dedupe_entries_{0};
  std::atomic<int64_t> dedupe_evictions_{0};
  std::atomic<int64_t> producer_count_{0};

  // The current period, from 1.
  uint32_t cut_number_ = 1;
  Hash128 clean_hash_;
  std::vector<uint32_t> dirty_users_;
  std::vector<uint32_t> dirty_items_;
  std::vector<uint32_t> item_dirty_cut_;
  std::vector<DedupeEntry> new_dedupe_entries_;
  absl::flat_hash_map<std::string, int64_t> dirty_producers_;
  std::string scratch_;

  Mutex preimages_mu_;
  absl::flat_hash_map<uint32_t, std::string> preimages_ ABSL_GUARDED_BY(preimages_mu_);
};

}  // namespace factord
