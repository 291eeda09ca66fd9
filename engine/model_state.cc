#include "engine/model_state.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <limits>
#include <utility>

#include "base/coding.h"
#include "base/prefetch.h"
#include "engine/hash_seeds.h"
#include "model/mix.h"
#include "model/update.h"

namespace factord {
namespace {

// Half of the fading errors' weight lies in the last 6,931 events.
constexpr double kFading = 0.9999;

Hash128 HashProducer(absl::string_view id, int64_t number) {
  std::string bytes;
  PutString(&bytes, id);
  PutFixed64(&bytes, static_cast<uint64_t>(number));
  return HashBytes128(bytes, kProducerHashSeed);
}

// All but the count, in the order in which they are kept.
std::array<float*, 12> FloatsOf(ModelGlobals* g) {
  return {&g->mean,          &g->quality_mean,     &g->popularity_mean,
          &g->rarity_mean,   &g->rarity_deviation, &g->mood_covariance,
          &g->mood_variance, &g->quality_base,     &g->popularity_base,
          &g->rarity_base,   &g->rarity_scale,     &g->mood_weight};
}

Hash128 HashConfig(const ModelConfig& config) {
  std::string bytes;
  for (const auto& [name, value] : ToFields(config)) {
    PutString(&bytes, name);
    PutString(&bytes, value);
  }
  return HashBytes128(bytes, kConfigHashSeed);
}

}  // namespace

ModelState::ModelState(const ModelConfig& config)
    : config_(config),
      config_hash_(HashConfig(config)),
      users_(static_cast<size_t>(config.rank)),
      items_(static_cast<size_t>(config.rank), HasRanking(config)),
      dedupe_(config.dedupe_window) {
  Publish();
}

// --- Apply
// -------------------------------------------------------------------------------------------

uint32_t ModelState::UserIndex(absl::string_view id) {
  if (const std::optional<uint32_t> index = user_ids_.FindAsWriter(id)) return *index;
  // The row is complete before its id can be found.
  const uint32_t index = users_.Add();
  UserTable::LockedRow row = users_.Lock(index);
  StartRow(config_, static_cast<int>(Side::kUser), id, users_.stride(), row.factors(), &row->state);
  row->dirty_cut = cut_number_;
  dirty_users_.push_back(index);
  user_ids_.Add(id);
  return index;
}

uint32_t ModelState::ItemIndex(absl::string_view id) {
  if (const std::optional<uint32_t> index = item_ids_.FindAsWriter(id)) return *index;
  const uint32_t index = items_.size();
  const ItemRow row = items_.Add();
  StartRow(config_, static_cast<int>(Side::kItem), id, items_.stride(), row.factors, row.state);
  if (items_.has_ranking()) {
    StartRankingRow(config_, id, items_.stride(), items_.MutableRanking(index));
  }
  item_dirty_cut_.push_back(cut_number_);
  dirty_items_.push_back(index);
  item_ids_.Add(id);
  return index;
}

void ModelState::ApplyAll(absl::Span<const Event> events, absl::Span<const Hash128> keys) {
  assert(keys.empty() || keys.size() == events.size());
  // How many events ahead each step is taken.
  constexpr size_t kProbe = 16, kFindIds = 15, kPrefetchIds = 14, kFindRows = 12, kHistory = 8,
                   kContext = 4;
  // Before the first step the ids are asked for, and before them the events that say where they
  // are.
  constexpr size_t kEvent = 16, kIds = 8;
  std::array<Prepared, kProbe> ring;
  const size_t n = events.size();
  for (size_t i = 0; i < n + kProbe; ++i) {
    if (i >= kProbe) Apply(events[i - kProbe], ring[i % kProbe]);
    if (i + kEvent < n) PrefetchLine(&events[i + kEvent]);
    if (i + kIds < n) {
      PrefetchLine(events[i + kIds].user_id.data());
      PrefetchLine(events[i + kIds].item_id.data());
    }
    if (i < n) Probe(events[i], keys.empty() ? nullptr : &keys[i], &ring[i % kProbe]);
    // The event of which a step is taken now; "negative" ones are beyond n, too.
    const auto at = [i](size_t ahead) { return i - (kProbe - ahead); };
    if (at(kFindIds) < n) FindIds(&ring[at(kFindIds) % kProbe]);
    if (at(kPrefetchIds) < n) PrefetchIds(ring[at(kPrefetchIds) % kProbe]);
    if (at(kFindRows) < n) FindRows(&ring[at(kFindRows) % kProbe]);
    if (at(kHistory) < n) PrefetchHistory(ring[at(kHistory) % kProbe]);
    if (at(kContext) < n) PrefetchContext(ring[at(kContext) % kProbe]);
  }
}

void ModelState::Probe(const Event& event, const Hash128* event_key, Prepared* prepared) const {
  if (!event.event_id.empty()) {
    prepared->event_key = event_key != nullptr ? *event_key : DedupeWindow::KeyOf(event.event_id);
    dedupe_.Prefetch(event.sequence, prepared->event_key);
  }
  prepared->user.reset();
  prepared->item.reset();
  if (event.kind == EventKind::kRevisit) {
    prepared->user_probe = prepared->item_probe = {};
    return;
  }
  prepared->user_probe = user_ids_.PrefetchAsWriter(event.user_id);
  prepared->item_probe = item_ids_.PrefetchAsWriter(event.item_id);
}

void ModelState::FindIds(Prepared* prepared) const {
  user_ids_.FindCandidateAsWriter(&prepared->user_probe);
  item_ids_.FindCandidateAsWriter(&prepared->item_probe);
}

void ModelState::PrefetchIds(const Prepared& prepared) const {
  user_ids_.PrefetchTextAsWriter(prepared.user_probe);
  item_ids_.PrefetchTextAsWriter(prepared.item_probe);
}

void ModelState::FindRows(Prepared* prepared) const {
  if (prepared->user_probe.id.empty()) return;
  prepared->user = user_ids_.FindAsWriter(prepared->user_probe);
  prepared->item = item_ids_.FindAsWriter(prepared->item_probe);
  if (prepared->user.has_value()) users_.Prefetch(*prepared->user);
  if (prepared->item.has_value()) items_.Prefetch(*prepared->item);
}

void ModelState::PrefetchHistory(const Prepared& prepared) const {
  if (prepared.user.has_value()) users_.PrefetchHistory(*prepared.user);
}

void ModelState::PrefetchContext(const Prepared& prepared) const {
  if (!prepared.user.has_value() || !HasRanking(config_)) return;
  const absl::Span<const uint32_t> history = users_.HistoryAsWriter(*prepared.user);
  for (size_t i = 0; i < std::min(history.size(), kLearnedContextItems); ++i) {
    items_.PrefetchRanking(history[history.size() - 1 - i]);
  }
}

void ModelState::Apply(const Event& event, const Prepared& prepared) {
  if (event.kind == EventKind::kRevisit) {
    ApplyRevisit(event);
  } else {
    ApplyUsersEvent(event, prepared);
    Replay(event.sequence);
  }

  if (event.event_id.empty()) {
    dedupe_.AddWithoutId(event.sequence);
  } else {
    const DedupeEntry entry{event.sequence, prepared.event_key, ContentHash(event)};
    dedupe_.Add(entry);
    RememberForSnapshot(entry);
  }
  if (!event.producer_id.empty()) {
    int64_t& number = producers_[event.producer_id];
    if (number != 0) producer_hash_ -= HashProducer(event.producer_id, number);
    number = event.producer_number;
    producer_hash_ += HashProducer(event.producer_id, number);
    dirty_producers_[event.producer_id] = number;
  }
  sequence_ = event.sequence;
}

void ModelState::ApplyUsersEvent(const Event& event, const Prepared& prepared) {
  const uint32_t user = prepared.user.has_value() ? *prepared.user : UserIndex(event.user_id);
  const uint32_t item = prepared.item.has_value() ? *prepared.item : ItemIndex(event.item_id);
  const bool is_rating = event.kind == EventKind::kRating;
  std::array<uint32_t, kLearnedContextItems> context;  // the user's last items, newest first
  size_t context_size = 0;
  {
    UserTable::LockedRow row = users_.Lock(user);
    TouchUser(user, row);
    TouchItem(item);
    const ItemRow item_row = items_.Mutable(item);
    RatingHistory& history = row->history;
    context_size = std::min(history.items().size(), context.size());
    std::copy_n(history.items().rbegin(), context_size, context.begin());

    const size_t events_before = row->state.count++;
    ++item_row.state->count;
    history_bytes_ -= static_cast<int64_t>(history.MemoryBytes());
    const std::optional<float> former = history.Record(item, is_rating ? event.rating : kUnrated);
    history_bytes_ += static_cast<int64_t>(history.MemoryBytes());
    if (config_.replay > 0 && !former.has_value()) history_sizes_.Add(user, 1);
    if (is_rating) {
      const PairOfRows rows = {row.factors(), item_row.factors, &row->state, item_row.state,
                               users_.stride()};
      if (former == event.rating) {
        // How often the user has gone through the history, with this event.
        constexpr size_t kManyPasses = 1'000'000;
        const size_t pass = std::min(1 + events_before / history.items().size(), kManyPasses);
        LearnAgain(config_, event.rating, event.sequence,
                   PassSize(config_, static_cast<int32_t>(pass)), &globals_, rows);
      } else {
        CountError(event.rating, Learn(config_, event.rating, event.sequence, &globals_, rows));
      }
    }
  }
  if (HasRanking(config_)) LearnOrder(event, item, {context.data(), context_size});
}

void ModelState::LearnOrder(const Event& event, uint32_t item, absl::Span<const uint32_t> context) {
  const ItemRow row = items_.Mutable(item);
  *row.ranking_bias = RankingBias(row.state->count);
  if (!context.empty()) {
    TakenItem taken = {.item = item, .context = context, .stream = Stream(event.sequence)};
    if (event.kind == EventKind::kTaken) {
      taken.value = config_.event_types[event.type].value;
      taken.weight = config_.event_types[event.type].weight;
    }
    LearnNextItem(
        taken, recent_, [this](uint32_t index) { TouchItem(index); }, &items_);
  }
  recent_.Add(item);
}

void ModelState::ApplyRevisit(const Event& event) {
  const RevisitedPart& part = event.revisited;
  const float size = PassSize(config_, static_cast<int32_t>(part.pass));
  const uint64_t end = std::min<uint64_t>(uint64_t{part.first_user} + part.users, users_.size());
  for (uint32_t user = part.first_user; user < end; ++user) {
    const size_t last = std::min(size_t{part.position} + kRevisitedPositions,
                                 users_.Lock(user)->history.items().size());
    for (size_t i = part.position; i < last; ++i) Relearn(user, i, size, event.sequence);
  }
}

void ModelState::Replay(int64_t sequence) {
  for (int32_t i = 1; i <= config_.replay; ++i) {
    const uint64_t random = Mix64(Stream(sequence) + (static_cast<uint64_t>(i) << 32));
    const CountTree::Unit unit = history_sizes_.Find(random % history_sizes_.total());
    Relearn(static_cast<uint32_t>(unit.index), unit.rest, ReplaySize(config_.replay), sequence);
  }
}

void ModelState::Relearn(uint32_t user, size_t position, float size, int64_t sequence) {
  UserTable::LockedRow row = users_.Lock(user);
  const uint32_t item = row->history.items()[position];
  const float rating = row->history.ratings()[position];
  if (!IsRating(rating)) return;
  TouchUser(user, row);
  TouchItem(item);
  const ItemRow item_row = items_.Mutable(item);
  LearnAgain(config_, rating, sequence, size, &globals_,
             {row.factors(), item_row.factors, &row->state, item_row.state, users_.stride()});
}

uint64_t ModelState::Stream(int64_t sequence) const {
  return Mix64(Mix64(static_cast<uint64_t>(config_.seed)) ^ static_cast<uint64_t>(sequence));
}

void ModelState::RememberForSnapshot(const DedupeEntry& entry) {
  new_dedupe_entries_.push_back(entry);
  // Without a snapshot for long, what has left the window need not be written any more.
  if (new_dedupe_entries_.size() > 2 * static_cast<size_t>(dedupe_.window())) {
    const int64_t oldest = entry.sequence - dedupe_.window() + 1;
    std::erase_if(new_dedupe_entries_,
                  [oldest](const DedupeEntry& e) { return e.sequence < oldest; });
  }
}

void ModelState::CountError(float rating, const UpdateOutcome& outcome) {
  const double clipped = std::clamp(outcome.prediction, config_.min_rating, config_.max_rating);
  const double error = std::abs(static_cast<double>(rating) - clipped);
  ++statistics_.events;
  statistics_.absolute_error_sum += error;
  statistics_.squared_error_sum += error * error;
  statistics_.fading_absolute_error = statistics_.fading_absolute_error * kFading + error;
  statistics_.fading_squared_error = statistics_.fading_squared_error * kFading + error * error;
  statistics_.fading_weight = statistics_.fading_weight * kFading + 1;
  statistics_.passive_updates += outcome.passive ? 1 : 0;
  statistics_.clipped_updates += outcome.clipped ? 1 : 0;
}

void ModelState::Publish() {
  items_.Publish(sequence_, globals_);
  const auto set = [](std::atomic<int64_t>& to, int64_t value) {
    to.store(value, std::memory_order_relaxed);
  };
  set(published_history_bytes_, history_bytes_);
  set(dedupe_bytes_, static_cast<int64_t>(dedupe_.MemoryBytes() +
                                          new_dedupe_entries_.capacity() * sizeof(DedupeEntry)));
  set(dedupe_entries_, static_cast<int64_t>(dedupe_.size()));
  set(dedupe_evictions_, dedupe_.evictions());
  set(producer_count_, static_cast<int64_t>(producers_.size()));
  visible_.store(sequence_, std::memory_order_release);
}

MemoryUsage ModelState::memory() const {
  MemoryUsage memory;
  memory.users = static_cast<int64_t>(users_.MemoryBytes());
  memory.histories = published_history_bytes_.load(std::memory_order_relaxed);
  memory.user_ids = static_cast<int64_t>(user_ids_.MemoryBytes());
  memory.items = static_cast<int64_t>(items_.MemoryBytes());
  memory.item_ids = static_cast<int64_t>(item_ids_.MemoryBytes());
  memory.dedupe = dedupe_bytes_.load(std::memory_order_relaxed);
  return memory;
}

int64_t ModelState::GrowthFor(const NewRows& rows) const {
  const uint32_t users = users_.size();
  size_t bytes =
      users_.MemoryBytes(users + static_cast<uint32_t>(rows.users)) - users_.MemoryBytes(users);
  bytes += items_.RowBytes(static_cast<size_t>(rows.items));
  bytes +=
      user_ids_.GrowthFor(static_cast<size_t>(rows.users), static_cast<size_t>(rows.user_id_bytes));
  bytes +=
      item_ids_.GrowthFor(static_cast<size_t>(rows.items), static_cast<size_t>(rows.item_id_bytes));
  return static_cast<int64_t>(bytes);
}

int64_t ModelState::LastProducerNumber(absl::string_view producer_id) const {
  const auto it = producers_.find(producer_id);
  return it == producers_.end() ? 0 : it->second;
}

// --- Dirty rows
// --------------------------------------------------------------------------------------

void ModelState::TouchUser(uint32_t index, UserTable::LockedRow& row) {
  if (row->dirty_cut == cut_number_) return;
  scratch_.clear();
  EncodeUser(index, row, &scratch_);
  clean_hash_ -= HashRow(Side::kUser, scratch_);
  if (row->dirty_cut != 0) {
    // The snapshot that is being written has not come to this row yet.
    MutexLock lock(&preimages_mu_);
    preimages_[index] = scratch_;
  }
  row->dirty_cut = cut_number_;
  dirty_users_.push_back(index);
}

void ModelState::TouchItem(uint32_t index) {
  if (item_dirty_cut_[index] == cut_number_) return;
  scratch_.clear();
  EncodePresentItem(index, &scratch_);
  clean_hash_ -= HashRow(Side::kItem, scratch_);
  item_dirty_cut_[index] = cut_number_;
  dirty_items_.push_back(index);
}

void ModelState::EncodeUser(uint32_t index, const UserTable::LockedRow& row,
                            std::string* payload) const {
  RowRef ref;
  ref.index = index;
  ref.id = user_ids_.id(index);
  ref.count = row->state.count;
  ref.bias = row->state.bias;
  ref.bias_variance = row->state.bias_variance;
  ref.confidence = row->state.confidence;
  ref.mood = row->state.mood;
  ref.quality_taste = row->state.quality_taste;
  ref.popularity_taste = row->state.popularity_taste;
  ref.factors = absl::MakeConstSpan(row.factors(), users_.rank());
  ref.history_items = row->history.items();
  ref.history_ratings = row->history.ratings();
  EncodeRow(ref, payload);
}

void ModelState::EncodePresentItem(uint32_t index, std::string* payload) const {
  EncodeItem(index, items_.factors(index), items_.ranking(index), items_.state(index), payload);
}

void ModelState::EncodeItem(uint32_t index, const float* factors, const float* ranking,
                            const RowState& state, std::string* payload) const {
  RowRef ref;
  ref.index = index;
  ref.id = item_ids_.id(index);
  ref.count = state.count;
  ref.bias = state.bias;
  ref.bias_variance = state.bias_variance;
  ref.confidence = state.confidence;
  ref.factors = absl::MakeConstSpan(factors, items_.rank());
  if (ranking != nullptr) ref.auxiliary = absl::MakeConstSpan(ranking, items_.rank());
  EncodeRow(ref, payload);
}

// --- Cuts
// --------------------------------------------------------------------------------------------

Cut ModelState::BeginCut() {
  Cut cut;
  cut.sequence = sequence_;
  cut.number = cut_number_;
  cut.users = users_.size();
  cut.items = items_.size();
  cut.dirty_users = std::exchange(dirty_users_, {});
  cut.dirty_items = std::exchange(dirty_items_, {});
  cut.dedupe_entries = std::exchange(new_dedupe_entries_, {});
  cut.producers = std::exchange(dirty_producers_, {});
  cut.producer_count = producers_.size();
  cut.statistics = statistics_;
  cut.globals = EncodeGlobals();
  cut.hash_without_dirty_rows = clean_hash_ + dedupe_.hash() + producer_hash_ + HashSmallParts();
  cut.item_view = items_.Pin();
  ++cut_number_;
  return cut;
}

void ModelState::EncodeCutUser(const Cut& cut, uint32_t index, std::string* payload) {
  {
    UserTable::LockedRow row = users_.Lock(index);
    if (row->dirty_cut == cut.number) {
      EncodeUser(index, row, payload);
      row->dirty_cut = 0;
      return;
    }
  }
  // Changed since the cut: the writer saved it then.
  MutexLock lock(&preimages_mu_);
  const auto it = preimages_.find(index);
  payload->append(it->second);
  preimages_.erase(it);
}

void ModelState::EncodeCutItem(const Cut& cut, uint32_t index, std::string* payload) const {
  const ItemView& view = *cut.item_view;
  EncodeItem(index, view.factors(index), view.ranking(index), view.state(index), payload);
}

void ModelState::EndCut(Cut cut, const Hash128& row_hash, bool saved) {
  clean_hash_ += row_hash;
  for (const uint32_t index : cut.dirty_items) {
    if (item_dirty_cut_[index] == cut.number) item_dirty_cut_[index] = 0;
  }
  if (saved) return;
  for (const uint32_t index : cut.dirty_users) {
    UserTable::LockedRow row = users_.Lock(index);
    TouchUser(index, row);
  }
  for (const uint32_t index : cut.dirty_items) TouchItem(index);
  new_dedupe_entries_.insert(new_dedupe_entries_.begin(), cut.dedupe_entries.begin(),
                             cut.dedupe_entries.end());
  // A newer number stays.
  for (const auto& [id, number] : cut.producers) dirty_producers_.emplace(id, number);
}

// --- Loading
// -----------------------------------------------------------------------------------------

void ModelState::LoadUser(const Row& row) {
  const uint32_t index = users_.Add();
  UserTable::LockedRow locked = users_.Lock(index);
  std::copy(row.factors.begin(), row.factors.end(), locked.factors());
  locked->state = {.count = static_cast<uint32_t>(row.count),
                   .bias = row.bias,
                   .bias_variance = row.bias_variance,
                   .confidence = row.confidence,
                   .mood = row.mood,
                   .quality_taste = row.quality_taste,
                   .popularity_taste = row.popularity_taste};
  locked->history.Assign(row.history_items, row.history_ratings);
  history_bytes_ += static_cast<int64_t>(locked->history.MemoryBytes());
  if (config_.replay > 0) history_sizes_.Add(index, row.history_items.size());
  user_ids_.Add(row.id);
  scratch_.clear();
  EncodeUser(index, locked, &scratch_);
  clean_hash_ += HashRow(Side::kUser, scratch_);
}

void ModelState::LoadItem(const Row& row) {
  const uint32_t index = items_.size();
  const ItemRow item = items_.Add();
  std::copy(row.factors.begin(), row.factors.end(), item.factors);
  *item.state = {.count = static_cast<uint32_t>(row.count),
                 .bias = row.bias,
                 .bias_variance = row.bias_variance,
                 .confidence = row.confidence,
                 .rarity = RarityOf(row.bias_variance)};
  if (items_.has_ranking()) {
    std::copy(row.auxiliary.begin(), row.auxiliary.end(), items_.MutableRanking(index));
    *item.ranking_bias = RankingBias(item.state->count);
  }
  item_dirty_cut_.push_back(0);
  item_ids_.Add(row.id);
  scratch_.clear();
  EncodePresentItem(index, &scratch_);
  clean_hash_ += HashRow(Side::kItem, scratch_);
}

void ModelState::LoadDedupeEntry(const DedupeEntry& entry) { dedupe_.Add(entry); }

void ModelState::LoadProducer(const Producer& producer) {
  producers_[producer.id] = producer.last_number;
  producer_hash_ += HashProducer(producer.id, producer.last_number);
}

absl::Status ModelState::FinishLoad(int64_t sequence, const ModelStatistics& statistics,
                                    absl::string_view globals) {
  sequence_ = sequence;
  statistics_ = statistics;
  if (!DecodeGlobals(globals)) {
    return absl::DataLossError("the snapshot's globals are malformed");
  }
  Publish();
  return absl::OkStatus();
}

// --- Hash
// --------------------------------------------------------------------------------------------

std::string ModelState::EncodeGlobals() const {
  std::string bytes;
  PutFixed64(&bytes, static_cast<uint64_t>(globals_.events));
  ModelGlobals globals = globals_;
  for (const float* const value : FloatsOf(&globals)) PutFloat(&bytes, *value);
  if (HasRanking(config_)) recent_.AppendTo(&bytes);
  return bytes;
}

bool ModelState::DecodeGlobals(absl::string_view bytes) {
  Reader reader(bytes);
  globals_.events = static_cast<int64_t>(reader.Fixed64());
  for (float* const value : FloatsOf(&globals_)) *value = reader.Float();
  if (!HasRanking(config_)) return reader.Done();
  return reader.ok() && recent_.ReadFrom(reader.Bytes(reader.remaining()), items_.size());
}

Hash128 ModelState::HashRow(Side side, absl::string_view payload) {
  return HashBytes128(payload, side == Side::kUser ? kUserHashSeed : kItemHashSeed);
}

Hash128 ModelState::HashSmallParts() const {
  std::string bytes;
  PutFixed64(&bytes, config_hash_.high);
  PutFixed64(&bytes, config_hash_.low);
  PutFixed64(&bytes, static_cast<uint64_t>(sequence_));
  bytes += EncodeGlobals();
  return HashBytes128(bytes, kConfigHashSeed);
}

Hash128 ModelState::ComputeHash() const {
  Hash128 sum = HashSmallParts() + dedupe_.ComputeHash();
  for (const auto& [id, number] : producers_) sum += HashProducer(id, number);
  std::string payload;
  for (uint32_t i = 0; i < users_.size(); ++i) {
    payload.clear();
    EncodeUser(i, users_.Lock(i), &payload);
    sum += HashRow(Side::kUser, payload);
  }
  for (uint32_t i = 0; i < items_.size(); ++i) {
    payload.clear();
    EncodePresentItem(i, &payload);
    sum += HashRow(Side::kItem, payload);
  }
  return sum;
}

Hash128 ModelState::HashDirtyRows() const {
  Hash128 sum;
  std::string payload;
  for (const uint32_t i : dirty_users_) {
    payload.clear();
    EncodeUser(i, users_.Lock(i), &payload);
    sum += HashRow(Side::kUser, payload);
  }
  for (const uint32_t i : dirty_items_) {
    payload.clear();
    EncodePresentItem(i, &payload);
    sum += HashRow(Side::kItem, payload);
  }
  return sum;
}

Hash128 ModelState::RunningHash() const {
  return clean_hash_ + HashDirtyRows() + dedupe_.hash() + producer_hash_ + HashSmallParts();
}

}  // namespace factord
