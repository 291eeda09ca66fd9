#include "engine/recovery.h"

#include <memory>

#include "base/kill_point.h"
#include "model/update.h"

namespace factord {
namespace {

absl::Status CheckHash(absl::string_view what, int64_t sequence, const Hash128& expected,
                       const Hash128& actual) {
  if (expected == actual) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(what, " at sequence ", sequence, ": the hash is ",
                                          actual.ToHex(), ", not ", expected.ToHex(),
                                          " as recorded"));
}

absl::Status LoadAndReplay(Store& store, ModelState& state, RecoveryProgress* progress) {
  const SnapshotMeta snapshot = store.snapshot();
  const int64_t last = store.log()->range().last;
  if (progress != nullptr) {
    progress->Begin(static_cast<int64_t>(snapshot.users + snapshot.items) + last -
                    snapshot.sequence);
  }
  KillPoint("recovery.begin");
  FACTORD_RETURN_IF_ERROR(LoadSnapshot(store, state, progress));
  KillPoint("recovery.loaded");
  FACTORD_RETURN_IF_ERROR(Replay(*store.log(), last, state, progress));
  const std::optional<StateEvidence> evidence = store.evidence();
  if (!evidence.has_value()) return absl::OkStatus();
  // The store has checked the evidence's sequence.
  return CheckHash("the folder", evidence->sequence, evidence->hash, state.RunningHash());
}

}  // namespace

absl::Status LoadSnapshot(Store& store, ModelState& state, RecoveryProgress* progress) {
  const SnapshotMeta& meta = store.snapshot();
  if (meta.sequence == 0) return absl::OkStatus();
  const auto rank = static_cast<size_t>(state.config().rank);
  const auto load = [&](Side side, const Row& row) {
    if (row.factors.size() != rank) {
      return absl::DataLossError(
          absl::StrCat("row ", row.index, " has ", row.factors.size(), " factors, not ", rank));
    }
    const size_t ranking = side == Side::kItem && HasRanking(state.config()) ? rank : 0;
    if (row.auxiliary.size() != ranking) {
      return absl::DataLossError(absl::StrCat("row ", row.index, " has ", row.auxiliary.size(),
                                              " ranking factors, not ", ranking));
    }
    if (side == Side::kUser) {
      for (const uint32_t item : row.history_items) {
        if (item >= meta.items) {
          return absl::DataLossError(
              absl::StrCat("row ", row.index, " names item ", item, " of ", meta.items));
        }
      }
      state.LoadUser(row);
    } else {
      state.LoadItem(row);
    }
    if (progress != nullptr) progress->Advance(1);
    return absl::OkStatus();
  };
  FACTORD_RETURN_IF_ERROR(
      store.ReadRows(Side::kItem, [&](const Row& row) { return load(Side::kItem, row); }));
  FACTORD_RETURN_IF_ERROR(
      store.ReadRows(Side::kUser, [&](const Row& row) { return load(Side::kUser, row); }));
  const int64_t forgotten = meta.sequence - state.config().dedupe_window;
  FACTORD_RETURN_IF_ERROR(store.ReadDedupe([&](uint64_t slot, const DedupeEntry& entry) {
    if (entry.sequence < 1 || entry.sequence > meta.sequence ||
        slot != state.dedupe().SlotOf(entry.sequence)) {
      return absl::DataLossError(absl::StrCat("slot ", slot, " of the event ids holds sequence ",
                                              entry.sequence, " of ", meta.sequence));
    }
    // A slot keeps its old entry until another event with an id comes to it.
    if (entry.sequence > forgotten) state.LoadDedupeEntry(entry);
    return absl::OkStatus();
  }));
  FACTORD_RETURN_IF_ERROR(store.ReadProducers([&](const Producer& producer) {
    state.LoadProducer(producer);
    return absl::OkStatus();
  }));
  const ModelStatistics statistics = {.events = meta.scored_events,
                                      .absolute_error_sum = meta.absolute_error_sum,
                                      .squared_error_sum = meta.squared_error_sum,
                                      .fading_absolute_error = meta.fading_absolute_error,
                                      .fading_squared_error = meta.fading_squared_error,
                                      .fading_weight = meta.fading_weight,
                                      .passive_updates = meta.passive_updates,
                                      .clipped_updates = meta.clipped_updates};
  FACTORD_RETURN_IF_ERROR(state.FinishLoad(meta.sequence, statistics, meta.globals));
  return CheckHash("the snapshot", meta.sequence, meta.hash, state.RunningHash());
}

absl::Status Replay(EventLog& log, int64_t last, ModelState& state, RecoveryProgress* progress) {
  // Publishing now and then lets copied rows be taken back; nobody reads yet.
  constexpr size_t kPublishEvery = 4096;
  if (state.sequence() >= last) return absl::OkStatus();
  FACTORD_ASSIGN_OR_RETURN(std::unique_ptr<LogCursor> cursor, log.ReadFrom(state.sequence() + 1));
  while (state.sequence() < last) {
    FACTORD_ASSIGN_OR_RETURN(const absl::Span<const Event> events, cursor->Next());
    if (events.empty()) {
      return absl::DataLossError(
          absl::StrCat("the log ends at sequence ", state.sequence(), ", before ", last));
    }
    const int64_t before = state.sequence();
    size_t n = 0;
    for (; n < events.size() && before + static_cast<int64_t>(n) < last; ++n) {
      const Event& event = events[n];
      const int64_t expected = before + static_cast<int64_t>(n) + 1;
      if (event.sequence != expected) {
        return absl::DataLossError(absl::StrCat("the log has a hole: sequence ", event.sequence,
                                                " follows ", expected - 1));
      }
      if (event.kind == EventKind::kTaken && event.type >= state.config().event_types.size()) {
        return absl::DataLossError(absl::StrCat("event ", event.sequence, " is of type ",
                                                event.type, " of ",
                                                state.config().event_types.size()));
      }
    }
    for (size_t i = 0; i < n; i += kPublishEvery) {
      state.ApplyAll(events.subspan(i, std::min(kPublishEvery, n - i)));
      state.Publish();
      KillPoint("recovery.replayed");
    }
    if (progress != nullptr) progress->Advance(state.sequence() - before);
  }
  return absl::OkStatus();
}

absl::Status Recover(Store& store, ModelState& state, RecoveryProgress* progress) {
  return store.NameDamage(LoadAndReplay(store, state, progress));
}

}  // namespace factord
