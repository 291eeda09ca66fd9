#include <malloc.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "benchmarks/event_list.h"
#include "benchmarks/rating_stream.h"
#include "benchmarks/row.h"
#include "engine/model_state.h"

namespace factord {
namespace {

// Of this process, as the kernel counts it.
double ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  double total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

}  // namespace

absl::Status BenchMemory(const BenchOptions& options, std::vector<Measurement>* results) {
  const uint32_t users = options.smoke ? 50'000 : 5'000'000;
  const uint32_t items = users / 10;
  malloc_trim(0);
  const double before = ResidentBytes();
  const ModelConfig config = BenchConfig();
  auto state = std::make_unique<ModelState>(config);
  const auto rank = static_cast<double>(config.rank);
  double raw = (users + 2.0 * items) * rank * sizeof(float);  // an item has two rows
  for (uint32_t i = 0; i < users; ++i) {
    const std::string user = UserId(i), item = ItemId(i % items), event_id = absl::StrCat("e", i);
    state->Apply({.sequence = state->sequence() + 1,
                  .user_id = user,
                  .item_id = item,
                  .rating = static_cast<float>(1 + i % 5),
                  .event_id = event_id});
    if (i % 1024 == 0) state->Publish();
    raw += static_cast<double>(user.size()) + (i < items ? static_cast<double>(item.size()) : 0);
    raw += sizeof(uint32_t) + sizeof(float);  // of the history
  }
  state->Publish();
  // As a snapshot leaves it: what has changed since the last one is kept in lists.
  Cut cut = state->BeginCut();
  Hash128 row_hash;
  std::string payload;
  for (const uint32_t user : cut.dirty_users) {
    payload.clear();
    state->EncodeCutUser(cut, user, &payload);
    row_hash += ModelState::HashRow(Side::kUser, payload);
  }
  for (const uint32_t item : cut.dirty_items) {
    payload.clear();
    state->EncodeCutItem(cut, item, &payload);
    row_hash += ModelState::HashRow(Side::kItem, payload);
  }
  state->EndCut(std::move(cut), row_hash, /*saved=*/true);
  malloc_trim(0);
  results->push_back({.name = "memory",
                      .value = ResidentBytes() - before,
                      .unit = "bytes",
                      .reference = "factors, ids and histories",
                      .reference_value = raw,
                      .at_most = 1.3});
  return absl::OkStatus();
}

}  // namespace factord
