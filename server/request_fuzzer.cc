// Any bytes at all as a request: parsed, checked and, where they keep the rules, done by a real
// engine, as the services do. The first byte says which request.
#include <grpcpp/support/byte_buffer.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "base/temp_folder.h"
#include "engine/engine.h"
#include "server/event_conversion.h"
#include "server/message.h"
#include "server/validation.h"

namespace factord {
namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

// A new one now and then: nothing it keeps grows without end.
class EngineUnderTest {
 public:
  Engine& Get() {
    constexpr int kUses = 20'000;
    if (uses_++ % kUses == 0) Open();
    return *engine_;
  }
  const ModelConfig& config() const { return options_.config; }

 private:
  void Open() {
    delete engine_;
    folder_ = std::make_unique<TempFolder>(TempFolder::Place::kMemory);
    options_.data_dir = *folder_ / "data";
    options_.durability = Durability::kAsync;
    options_.config.rank = 4;
    options_.config.event_types = {{"click", 0.5F, 1}};
    options_.min_free_bytes = 0;
    options_.max_users = 100;
    options_.max_items = 100;
    auto engine = Engine::Open(options_);
    Check(engine.ok());
    engine_ = engine->release();
  }

  EngineOptions options_;
  std::unique_ptr<TempFolder> folder_;
  Engine* engine_ = nullptr;  // not closed at exit, where RocksDB is half gone already
  int uses_ = 0;
};

EngineUnderTest& TheEngine() {
  static EngineUnderTest engine;
  return engine;
}

void RecordAll(std::vector<Event> events) {
  RecordRequest record;
  const size_t count = events.size();
  record.events = std::move(events);
  record.allow_partial = true;
  std::promise<RecordResult> promise;
  record.done = [&promise](RecordResult result) { promise.set_value(std::move(result)); };
  TheEngine().Get().Record(std::move(record));
  const RecordResult result = promise.get_future().get();
  Check(result.status.ok() && result.events.size() == count);
}

void TryRecordRatings(const grpc::ByteBuffer& bytes, const Limits& limits) {
  v1::RecordRatingsRequest request;
  if (!ParseRequest(bytes, limits.events(), &request).ok()) return;
  TheEngine().Get();  // for its configuration
  const ModelConfig& config = TheEngine().config();
  const bool all_good = ValidateRecordRatings(request, limits, config).empty();
  std::vector<Event> events;
  for (const v1::Rating& rating : request.events()) {
    if (!ValidateRating(rating, limits, config).empty()) {
      Check(!all_good || request.allow_partial());
      continue;
    }
    events.push_back(ToEvent(rating, config));
  }
  if (all_good && !events.empty()) RecordAll(std::move(events));
}

void TryRecommendItems(const grpc::ByteBuffer& bytes, const Limits& limits) {
  v1::RecommendItemsRequest request;
  if (!ParseRequest(bytes, limits.deny_item_ids(), &request).ok()) return;
  if (!ValidateRecommendItems(request, limits).empty()) return;
  RecommendQuery query;
  query.user_id = request.user_id();
  query.max_items = request.max_items() == 0 ? kDefaultMaxItems : request.max_items();
  query.deny_item_ids.assign(request.deny_item_ids().begin(), request.deny_item_ids().end());
  query.strict = request.strict();
  query.view_token = request.view_token();
  const auto answer = TheEngine().Get().Recommend(query);
  if (!answer.ok()) return;
  Check(answer->items.size() <= static_cast<size_t>(query.max_items));
  for (size_t i = 0; i < answer->items.size(); ++i) {
    Check(std::isfinite(answer->items[i].score));
    Check(i == 0 || answer->items[i - 1].score >= answer->items[i].score);
  }
}

void TryPredictRatings(const grpc::ByteBuffer& bytes, const Limits& limits) {
  v1::PredictRatingsRequest request;
  if (!ParseRequest(bytes, limits.pairs(), &request).ok()) return;
  if (!ValidatePredictRatings(request, limits).empty()) return;
  std::vector<UserItem> pairs;
  for (const auto& pair : request.pairs()) pairs.push_back({pair.user_id(), pair.item_id()});
  Engine& engine = TheEngine().Get();
  const auto answer = engine.Predict(pairs, request.strict());
  if (!answer.ok()) return;
  Check(answer->ratings.size() == pairs.size());
  const ModelConfig& config = TheEngine().config();
  for (const PredictedRating& prediction : answer->ratings) {
    Check(prediction.rating >= config.min_rating && prediction.rating <= config.max_rating);
  }
}

void TryStreamMessage(const grpc::ByteBuffer& bytes, const Limits& limits) {
  v1::StreamRatingsRequest request;
  if (!ParseRequest(bytes, limits.batch_events(), &request).ok()) return;
  if (request.has_start()) (void)ValidateStreamStart(request.start(), limits);
  if (!request.has_batch()) return;
  if (!ValidateStreamBatch(request.batch(), 0, limits).empty()) return;
  TheEngine().Get();
  std::vector<Event> events;
  for (int i = 0; i < request.batch().events_size(); ++i) {
    const v1::Rating& rating = request.batch().events(i);
    if (!ValidateRating(rating, limits, TheEngine().config()).empty()) continue;
    events.push_back(ToEvent(rating, TheEngine().config()));
    events.back().producer_id = "producer";
    events.back().producer_number = request.batch().first_number() + i;
  }
  if (!events.empty()) RecordAll(std::move(events));
}

template <typename Request, Violations (*kValidate)(const Request&, const Limits&)>
void TryToValidate(const grpc::ByteBuffer& bytes, const Limits& limits) {
  Request request;
  if (Parse(bytes, &request).ok()) (void)kValidate(request, limits);
}

void TryTheOthers(const grpc::ByteBuffer& bytes, const Limits&) {
  v1::StartPassesRequest passes;
  if (Parse(bytes, &passes).ok()) (void)ValidateStartPasses(passes);
  v1::BackupRequest backup;
  if (Parse(bytes, &backup).ok()) (void)ValidateBackup(backup);
}

}  // namespace
}  // namespace factord

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace factord;  // NOLINT: of one function
  constexpr void (*kRequests[])(const grpc::ByteBuffer&, const Limits&) = {
      TryRecordRatings,
      TryRecommendItems,
      TryPredictRatings,
      TryStreamMessage,
      TryToValidate<v1::ListTopicsRequest, ValidateListTopics>,
      TryToValidate<v1::GetFactorsRequest, ValidateGetFactors>,
      TryTheOthers};
  if (size == 0) return 0;
  const grpc::Slice slice(data + 1, size - 1);
  const grpc::ByteBuffer bytes(&slice, 1);
  kRequests[data[0] % (sizeof(kRequests) / sizeof(kRequests[0]))](bytes, Limits());
  return 0;
}
