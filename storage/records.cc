#include "storage/records.h"

#include <bit>
#include <cstring>
#include <limits>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/coding.h"

namespace factord {
namespace {

// One version byte for each kind of record, so that one can change without the others.
constexpr uint8_t kLogRecordVersion = 2;
constexpr uint8_t kRowVersion = 2;
constexpr uint8_t kDedupeVersion = 1;
constexpr uint8_t kProducerVersion = 1;
constexpr uint8_t kSnapshotMetaVersion = 3;  // 2 had no fading squared error; it is read, too

// The flags of an event in a log record.
constexpr uint8_t kTimeIsServers = 1;
constexpr uint8_t kHasEventId = 2;
constexpr uint8_t kHasRecommendationId = 4;
constexpr uint8_t kHasProducer = 8;
// The producer of the event before, with the next number: the common case in a stream.
constexpr uint8_t kNextOfProducer = 16;
// In place of the rating there is a type; or, in place of rating and ids, the part that is
// revisited.
constexpr uint8_t kIsTaken = 32;
constexpr uint8_t kIsRevisit = 64;
constexpr uint8_t kEventFlags = 127;

// A revisit: flags, four numbers, time.
constexpr size_t kSmallestEvent = 1 + 4 + 1;

// The flag of a row.
constexpr uint8_t kHasAuxiliary = 1;

constexpr size_t kChecksumBytes = 8;

uint64_t Zigzag(int64_t v) {
  return (static_cast<uint64_t>(v) << 1) ^ static_cast<uint64_t>(v >> 63);
}

int64_t Unzigzag(uint64_t v) { return static_cast<int64_t>((v >> 1) ^ (uint64_t{0} - (v & 1))); }

// Takes values off the front of a payload, as base/coding.h's Reader does. It is inline, because
// replaying a log is bound by it, and refuses a varint that is longer than it needs to be, because
// a payload is canonical.
class PayloadReader {
 public:
  explicit PayloadReader(absl::string_view data)
      : next_(data.data()), end_(data.data() + data.size()) {}

  uint8_t Byte() {
    if (next_ == end_) return Fail();
    return static_cast<uint8_t>(*next_++);
  }

  template <typename T>
  T Fixed() {
    T value{};
    const char* bytes = Take(sizeof(T));
    if (bytes != nullptr) std::memcpy(&value, bytes, sizeof(T));
    return value;
  }

  uint64_t Varint() {
    if (next_ != end_ && static_cast<uint8_t>(*next_) < 0x80) return static_cast<uint8_t>(*next_++);
    return LongVarint();
  }

  absl::string_view String() {
    const uint64_t size = Varint();
    const char* bytes = Take(size);
    return bytes == nullptr ? absl::string_view() : absl::string_view(bytes, size);
  }

  // Null, and a failure, if `size` bytes are not there.
  const char* Take(uint64_t size) {
    if (size > remaining()) {
      Fail();
      return nullptr;
    }
    const char* bytes = next_;
    next_ += size;
    return bytes;
  }

  template <typename T>
  void Array(uint64_t size, std::vector<T>* out) {
    // Before the multiplication, which could wrap around, and before memory is taken for it.
    if (size > remaining() / sizeof(T)) {
      Fail();
      return;
    }
    out->resize(size);
    const char* bytes = Take(size * sizeof(T));
    if (size != 0) std::memcpy(out->data(), bytes, size * sizeof(T));
  }

  uint8_t Fail() {
    ok_ = false;
    next_ = end_;
    return 0;
  }

  bool ok() const { return ok_; }
  size_t remaining() const { return static_cast<size_t>(end_ - next_); }

 private:
  uint64_t LongVarint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t byte = Byte();
      // The tenth byte holds one bit.
      if (!ok_ || (shift == 63 && byte > 1)) break;
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte >= 0x80) continue;
      if (byte == 0 && shift > 0) break;
      return value;
    }
    return Fail();
  }

  const char* next_;
  const char* const end_;
  bool ok_ = true;
};

absl::Status Malformed(absl::string_view kind, absl::string_view what) {
  return absl::DataLossError(absl::StrCat(kind, ": ", what));
}

absl::Status CheckVersion(absl::string_view kind, uint8_t version, absl::string_view payload) {
  if (payload.empty()) return Malformed(kind, "empty");
  const uint8_t found = static_cast<uint8_t>(payload[0]);
  if (found == version) return absl::OkStatus();
  return Malformed(kind,
                   absl::StrCat("has version ", found, ", this program reads version ", version));
}

// To be called when all fields have been read.
absl::Status CheckEnd(absl::string_view kind, const PayloadReader& reader) {
  if (!reader.ok()) return Malformed(kind, "cut off or malformed");
  if (reader.remaining() != 0) {
    return Malformed(kind, absl::StrCat(reader.remaining(), " bytes too many"));
  }
  return absl::OkStatus();
}

void PutByte(std::string* out, uint8_t v) { out->push_back(static_cast<char>(v)); }

void PutHash(std::string* out, const Hash128& hash) {
  PutFixed64(out, hash.high);
  PutFixed64(out, hash.low);
}

Hash128 ReadHash(PayloadReader* reader) {
  Hash128 hash;
  hash.high = reader->Fixed<uint64_t>();
  hash.low = reader->Fixed<uint64_t>();
  return hash;
}

template <typename T>
void PutArray(std::string* out, absl::Span<const T> values) {
  out->append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

// Is `event` the next of the producer of `previous`, the event before it?
bool FollowsProducer(const Event& previous, const Event& event) {
  return !event.producer_id.empty() && event.producer_id == previous.producer_id &&
         static_cast<uint64_t>(event.producer_number) ==
             static_cast<uint64_t>(previous.producer_number) + 1;
}

void EncodeEvent(const Event& previous, const Event& event, std::string* payload) {
  uint8_t flags = 0;
  if (event.time_is_servers) flags |= kTimeIsServers;
  if (!event.event_id.empty()) flags |= kHasEventId;
  if (!event.recommendation_id.empty()) flags |= kHasRecommendationId;
  if (FollowsProducer(previous, event)) {
    flags |= kNextOfProducer;
  } else if (!event.producer_id.empty()) {
    flags |= kHasProducer;
  }
  if (event.kind == EventKind::kTaken) flags |= kIsTaken;
  if (event.kind == EventKind::kRevisit) flags |= kIsRevisit;
  PutByte(payload, flags);
  if (event.kind == EventKind::kRevisit) {
    const RevisitedPart& part = event.revisited;
    for (const uint32_t number : {part.first_user, part.users, part.position, part.pass}) {
      PutVarint(payload, number);
    }
  } else {
    PutString(payload, event.user_id);
    PutString(payload, event.item_id);
    if (event.kind == EventKind::kTaken) {
      PutByte(payload, event.type);
    } else {
      PutFloat(payload, event.rating);
    }
  }
  // Unsigned, so that the difference of any two times wraps around instead of overflowing.
  PutVarint(payload, Zigzag(static_cast<int64_t>(static_cast<uint64_t>(event.time_micros) -
                                                 static_cast<uint64_t>(previous.time_micros))));
  if (flags & kHasEventId) PutString(payload, event.event_id);
  if (flags & kHasRecommendationId) PutString(payload, event.recommendation_id);
  if (flags & kHasProducer) {
    PutString(payload, event.producer_id);
    PutVarint(payload, Zigzag(event.producer_number));
  }
}

// Fills *event, which is new but for its sequence. False: malformed.
bool DecodeEvent(PayloadReader* reader, const Event& previous, Event* event) {
  const uint8_t flags = reader->Byte();
  if ((flags & ~kEventFlags) != 0) return false;
  if ((flags & kHasProducer) && (flags & kNextOfProducer)) return false;
  event->time_is_servers = (flags & kTimeIsServers) != 0;
  if (flags & kIsRevisit) {
    // Not a client's, so that it has nothing of a client's event.
    if ((flags & ~kTimeIsServers) != kIsRevisit) return false;
    event->kind = EventKind::kRevisit;
    RevisitedPart& part = event->revisited;
    for (uint32_t* const number : {&part.first_user, &part.users, &part.position, &part.pass}) {
      const uint64_t value = reader->Varint();
      if (value > std::numeric_limits<uint32_t>::max()) return false;
      *number = static_cast<uint32_t>(value);
    }
    if (!part.is_valid()) return false;
  } else {
    event->user_id = reader->String();
    event->item_id = reader->String();
    if (event->user_id.empty() || event->item_id.empty()) return false;
    if (flags & kIsTaken) {
      event->kind = EventKind::kTaken;
      event->type = reader->Byte();
    } else {
      event->rating = reader->Fixed<float>();
    }
  }
  event->time_micros = static_cast<int64_t>(static_cast<uint64_t>(previous.time_micros) +
                                            static_cast<uint64_t>(Unzigzag(reader->Varint())));
  if (flags & kHasEventId) {
    event->event_id = reader->String();
    if (event->event_id.empty()) return false;
  }
  if (flags & kHasRecommendationId) {
    event->recommendation_id = reader->String();
    if (event->recommendation_id.empty()) return false;
  }
  if (flags & kNextOfProducer) {
    if (previous.producer_id.empty()) return false;
    event->producer_id = previous.producer_id;
    event->producer_number =
        static_cast<int64_t>(static_cast<uint64_t>(previous.producer_number) + 1);
  } else if (flags & kHasProducer) {
    event->producer_id = reader->String();
    event->producer_number = Unzigzag(reader->Varint());
    if (event->producer_id.empty() || FollowsProducer(previous, *event)) return false;
  }
  return reader->ok();
}

}  // namespace

uint64_t ContentHash(const Event& event) {
  // Each part is the seed of the next: no buffer, and no two events share a hash because their
  // strings are cut differently.
  const int64_t time = event.time_is_servers ? 0 : event.time_micros;
  const uint32_t rating = event.kind == EventKind::kTaken ? uint32_t{event.type}
                                                          : std::bit_cast<uint32_t>(event.rating);
  char fixed[1 + sizeof(time) + sizeof(rating)];
  fixed[0] = static_cast<char>((event.time_is_servers ? 1 : 0) |
                               (event.kind == EventKind::kTaken ? 2 : 0));
  std::memcpy(fixed + 1, &time, sizeof(time));
  std::memcpy(fixed + 1 + sizeof(time), &rating, sizeof(rating));
  uint64_t hash = HashBytes64(absl::string_view(fixed, sizeof(fixed)));
  hash = HashBytes64(event.user_id, hash);
  hash = HashBytes64(event.item_id, hash);
  return HashBytes64(event.recommendation_id, hash);
}

void EncodeLogRecord(absl::Span<const Event> events, std::string* payload) {
  PutByte(payload, kLogRecordVersion);
  PutVarint(payload, events.size());
  const Event none;
  const Event* previous = &none;
  for (const Event& event : events) {
    EncodeEvent(*previous, event, payload);
    previous = &event;
  }
}

absl::Status DecodeLogRecord(absl::string_view payload, int64_t first_sequence,
                             std::vector<Event>* events) {
  constexpr absl::string_view kKind = "log record";
  FACTORD_RETURN_IF_ERROR(CheckVersion(kKind, kLogRecordVersion, payload));
  PayloadReader reader(payload.substr(1));
  const uint64_t count = reader.Varint();
  // The bound keeps a damaged count from taking memory for events that cannot be there.
  if (!reader.ok() || count == 0 || count > reader.remaining() / kSmallestEvent) {
    return Malformed(kKind, "bad number of events");
  }
  const size_t before = events->size();
  events->resize(before + count);
  const Event none;
  const Event* previous = &none;
  for (uint64_t i = 0; i < count; ++i) {
    Event* event = &(*events)[before + i];
    event->sequence = first_sequence + static_cast<int64_t>(i);
    if (!DecodeEvent(&reader, *previous, event)) {
      events->resize(before);
      return Malformed(kKind, absl::StrCat("cut off or malformed at its event ", i));
    }
    previous = event;
  }
  const absl::Status end = CheckEnd(kKind, reader);
  if (!end.ok()) events->resize(before);
  return end;
}

void EncodeRow(const RowRef& row, std::string* payload) {
  // Ten bytes are the longest varint; there are four of them.
  payload->reserve(payload->size() + 64 + row.id.size() +
                   4 * (row.factors.size() + row.auxiliary.size() + row.history_items.size() +
                        row.history_ratings.size()));
  PutByte(payload, kRowVersion);
  PutByte(payload, row.auxiliary.empty() ? 0 : kHasAuxiliary);
  PutString(payload, row.id);
  PutVarint(payload, row.count);
  PutFloat(payload, row.bias);
  PutFloat(payload, row.bias_variance);
  PutFloat(payload, row.confidence);
  PutFloat(payload, row.mood);
  PutFloat(payload, row.quality_taste);
  PutFloat(payload, row.popularity_taste);
  PutVarint(payload, row.factors.size());
  PutVarint(payload, row.history_items.size());
  PutArray(payload, row.factors);
  PutArray(payload, row.auxiliary);
  PutArray(payload, row.history_items);
  PutArray(payload, row.history_ratings);
}

absl::Status DecodeRow(absl::string_view payload, uint32_t index, Row* row) {
  constexpr absl::string_view kKind = "row";
  FACTORD_RETURN_IF_ERROR(CheckVersion(kKind, kRowVersion, payload));
  PayloadReader reader(payload.substr(1));
  const uint8_t flags = reader.Byte();
  row->index = index;
  row->id = reader.String();
  row->count = reader.Varint();
  row->bias = reader.Fixed<float>();
  row->bias_variance = reader.Fixed<float>();
  row->confidence = reader.Fixed<float>();
  row->mood = reader.Fixed<float>();
  row->quality_taste = reader.Fixed<float>();
  row->popularity_taste = reader.Fixed<float>();
  const uint64_t rank = reader.Varint();
  const uint64_t history = reader.Varint();
  reader.Array(rank, &row->factors);
  reader.Array(flags == kHasAuxiliary ? rank : 0, &row->auxiliary);
  reader.Array(history, &row->history_items);
  reader.Array(history, &row->history_ratings);
  if (flags > kHasAuxiliary || (flags == kHasAuxiliary && rank == 0)) reader.Fail();
  if (row->id.empty()) reader.Fail();
  return CheckEnd(kKind, reader);
}

void EncodeDedupeEntry(const DedupeEntry& entry, std::string* payload) {
  PutByte(payload, kDedupeVersion);
  PutFixed64(payload, static_cast<uint64_t>(entry.sequence));
  PutHash(payload, entry.key);
  PutFixed64(payload, entry.content);
}

absl::Status DecodeDedupeEntry(absl::string_view payload, DedupeEntry* entry) {
  constexpr absl::string_view kKind = "dedupe entry";
  FACTORD_RETURN_IF_ERROR(CheckVersion(kKind, kDedupeVersion, payload));
  PayloadReader reader(payload.substr(1));
  entry->sequence = reader.Fixed<int64_t>();
  entry->key = ReadHash(&reader);
  entry->content = reader.Fixed<uint64_t>();
  return CheckEnd(kKind, reader);
}

void EncodeProducer(const Producer& producer, std::string* payload) {
  PutByte(payload, kProducerVersion);
  PutFixed64(payload, static_cast<uint64_t>(producer.last_number));
}

absl::Status DecodeProducer(absl::string_view payload, absl::string_view id, Producer* producer) {
  constexpr absl::string_view kKind = "producer";
  FACTORD_RETURN_IF_ERROR(CheckVersion(kKind, kProducerVersion, payload));
  PayloadReader reader(payload.substr(1));
  producer->id = id;
  producer->last_number = reader.Fixed<int64_t>();
  return CheckEnd(kKind, reader);
}

void EncodeSnapshotMeta(const SnapshotMeta& meta, std::string* payload) {
  PutByte(payload, kSnapshotMetaVersion);
  PutFixed64(payload, static_cast<uint64_t>(meta.sequence));
  PutHash(payload, meta.hash);
  PutFixed64(payload, meta.users);
  PutFixed64(payload, meta.items);
  PutFixed64(payload, meta.producers);
  PutFixed64(payload, meta.scored_events);
  PutDouble(payload, meta.absolute_error_sum);
  PutDouble(payload, meta.squared_error_sum);
  PutDouble(payload, meta.fading_absolute_error);
  PutDouble(payload, meta.fading_squared_error);
  PutDouble(payload, meta.fading_weight);
  PutFixed64(payload, meta.passive_updates);
  PutFixed64(payload, meta.clipped_updates);
  PutString(payload, meta.globals);
}

absl::Status DecodeSnapshotMeta(absl::string_view payload, SnapshotMeta* meta) {
  constexpr absl::string_view kKind = "snapshot record";
  const bool is_version_2 = !payload.empty() && payload[0] == 2;
  if (!is_version_2) FACTORD_RETURN_IF_ERROR(CheckVersion(kKind, kSnapshotMetaVersion, payload));
  PayloadReader reader(payload.substr(1));
  meta->sequence = reader.Fixed<int64_t>();
  meta->hash = ReadHash(&reader);
  meta->users = reader.Fixed<uint64_t>();
  meta->items = reader.Fixed<uint64_t>();
  meta->producers = reader.Fixed<uint64_t>();
  meta->scored_events = reader.Fixed<uint64_t>();
  meta->absolute_error_sum = reader.Fixed<double>();
  meta->squared_error_sum = reader.Fixed<double>();
  meta->fading_absolute_error = reader.Fixed<double>();
  if (!is_version_2) meta->fading_squared_error = reader.Fixed<double>();
  meta->fading_weight = reader.Fixed<double>();
  if (is_version_2) {  // as if the last errors had been like all
    meta->fading_squared_error = meta->scored_events == 0
                                     ? 0
                                     : meta->fading_weight * meta->squared_error_sum /
                                           static_cast<double>(meta->scored_events);
  }
  meta->passive_updates = reader.Fixed<uint64_t>();
  meta->clipped_updates = reader.Fixed<uint64_t>();
  meta->globals = std::string(reader.String());
  return CheckEnd(kKind, reader);
}

void Seal(absl::string_view key, std::string* payload) {
  PutFixed64(payload, HashBytes64(*payload, HashBytes64(key)));
}

absl::StatusOr<absl::string_view> Unseal(absl::string_view key, absl::string_view value) {
  if (value.size() < kChecksumBytes) {
    return absl::DataLossError(absl::StrCat("record of ", value.size(), " bytes is too short"));
  }
  const absl::string_view payload = value.substr(0, value.size() - kChecksumBytes);
  uint64_t checksum;
  std::memcpy(&checksum, value.data() + payload.size(), sizeof(checksum));
  if (checksum != HashBytes64(payload, HashBytes64(key))) {
    return absl::DataLossError(
        absl::StrCat("checksum of record ", absl::CHexEscape(key), " does not match"));
  }
  return payload;
}

}  // namespace factord
