#include "engine/verify.h"

#include <memory>

#include "engine/model_state.h"
#include "engine/recovery.h"
#include "storage/store.h"

namespace factord {
namespace {

absl::Status Compare(absl::string_view what, int64_t sequence, const Hash128& recorded,
                     const Hash128& replayed) {
  if (recorded == replayed) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("replaying the log gives hash ", replayed.ToHex(),
                                          " at sequence ", sequence, ", but ", what, " says ",
                                          recorded.ToHex()));
}

absl::StatusOr<VerifyResult> VerifyStore(Store& store) {
  FACTORD_ASSIGN_OR_RETURN(const ModelConfig config, FromFields(store.config()));
  const LogRange range = store.log()->range();
  if (range.first != 1) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the log begins at sequence ", range.first,
        ": only a folder that had --log_retention=all from the first event on can be verified"));
  }
  const SnapshotMeta& snapshot = store.snapshot();
  VerifyResult result;
  result.events = range.last;
  result.snapshot_sequence = snapshot.sequence;
  result.snapshot_hash = snapshot.hash;

  ModelState replayed(config);
  if (snapshot.sequence > 0) {
    FACTORD_RETURN_IF_ERROR(Replay(*store.log(), snapshot.sequence, replayed));
    result.replayed_hash_at_snapshot = replayed.ComputeHash();
    FACTORD_RETURN_IF_ERROR(Compare("the snapshot", snapshot.sequence, snapshot.hash,
                                    result.replayed_hash_at_snapshot));
    // The stored rows, too, and not only what the snapshot says of them.
    ModelState loaded(config);
    FACTORD_RETURN_IF_ERROR(LoadSnapshot(store, loaded));
  }
  FACTORD_RETURN_IF_ERROR(Replay(*store.log(), range.last, replayed));
  result.hash = replayed.ComputeHash();
  if (const auto evidence = store.evidence(); evidence.has_value()) {
    FACTORD_RETURN_IF_ERROR(
        Compare("the clean close", evidence->sequence, evidence->hash, result.hash));
  }
  return result;
}

}  // namespace

absl::StatusOr<VerifyResult> VerifyFolder(const std::string& path) {
  FACTORD_ASSIGN_OR_RETURN(const std::unique_ptr<Store> store,
                           Store::Open({.path = path, .read_only = true}));
  absl::StatusOr<VerifyResult> result = VerifyStore(*store);
  if (!result.ok()) return store->NameDamage(result.status());
  return result;
}

}  // namespace factord
