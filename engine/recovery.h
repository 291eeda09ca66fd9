// Brings a model back from its folder: the snapshot's rows, then the log after them.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "engine/model_state.h"
#include "engine/recovery_progress.h"
#include "storage/store.h"

namespace factord {

// Loads the snapshot into `state`, which is fresh, and checks its hash. DATA_LOSS: damaged, or not
// the hash. Rows are counted in `progress`, here as below, unless it is null.
absl::Status LoadSnapshot(Store& store, ModelState& state, RecoveryProgress* progress = nullptr);

// Applies the events after state.sequence() up to `last` and publishes. DATA_LOSS: a damaged record
// or a hole.
absl::Status Replay(EventLog& log, int64_t last, ModelState& state,
                    RecoveryProgress* progress = nullptr);

// Both, to the end of the log, and the check of what the folder vouches for (a clean close or a
// backup).
absl::Status Recover(Store& store, ModelState& state, RecoveryProgress* progress);

}  // namespace factord
