#include "storage/records.h"

#include <bit>
#include <deque>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/records_test_util.h"

namespace factord {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kSeed = 20240517;

// Random values with the strings they borrow.
class Values {
 public:
  explicit Values(uint32_t seed) : random_(seed) {}

  uint64_t Number() { return random_() >> (random_() % 64); }
  bool Often() { return random_() % 2 == 0; }
  // Any bits: NaNs, infinities and denormals too.
  float AnyFloat() { return std::bit_cast<float>(static_cast<uint32_t>(random_())); }
  double AnyDouble() { return std::bit_cast<double>(static_cast<uint64_t>(random_())); }

  absl::string_view String(size_t min, size_t max) {
    std::string s(min + random_() % (max - min + 1), '\0');
    for (char& c : s) c = static_cast<char>(random_());
    strings_.push_back(std::move(s));
    return strings_.back();
  }

  std::vector<float> Floats(size_t n) {
    std::vector<float> v(n);
    for (float& f : v) f = AnyFloat();
    return v;
  }

  std::vector<Event> Events(size_t n, int64_t first) {
    std::vector<Event> events(n);
    for (size_t i = 0; i < n; ++i) {
      Event& e = events[i];
      e.sequence = first + static_cast<int64_t>(i);
      if (random_() % 8 == 0) {
        e.kind = EventKind::kRevisit;
        e.revisited = {static_cast<uint32_t>(Number()), 1 + static_cast<uint32_t>(Number() >> 33),
                       static_cast<uint32_t>(Number()), 2 + static_cast<uint32_t>(Number() >> 33)};
        e.time_micros = static_cast<int64_t>(random_());
        continue;
      }
      e.user_id = String(1, 256);
      e.item_id = String(1, Often() ? 4 : 256);
      if (Often()) {
        e.rating = AnyFloat();
      } else {
        e.kind = EventKind::kTaken;
        e.type = static_cast<uint8_t>(random_());
      }
      e.time_micros = static_cast<int64_t>(random_());
      e.time_is_servers = Often();
      if (Often()) e.event_id = String(1, 64);
      if (Often()) e.recommendation_id = String(1, 64);
      if (i > 0 && Often()) {
        e.producer_id = events[i - 1].producer_id;
        if (!e.producer_id.empty()) {
          e.producer_number = static_cast<int64_t>(
              static_cast<uint64_t>(events[i - 1].producer_number) + random_() % 3);
        }
      } else if (Often()) {
        e.producer_id = String(1, 64);
        e.producer_number =
            Often() ? std::numeric_limits<int64_t>::max() : static_cast<int64_t>(Number());
      }
    }
    return events;
  }

 private:
  std::mt19937_64 random_;
  std::deque<std::string> strings_;
};

void ExpectSame(const Event& a, const Event& b) {
  EXPECT_EQ(a.sequence, b.sequence);
  EXPECT_EQ(a.kind, b.kind);
  EXPECT_EQ(a.type, b.type);
  EXPECT_EQ(a.revisited, b.revisited);
  EXPECT_EQ(a.user_id, b.user_id);
  EXPECT_EQ(a.item_id, b.item_id);
  EXPECT_EQ(std::bit_cast<uint32_t>(a.rating), std::bit_cast<uint32_t>(b.rating));
  EXPECT_EQ(a.time_micros, b.time_micros);
  EXPECT_EQ(a.time_is_servers, b.time_is_servers);
  EXPECT_EQ(a.event_id, b.event_id);
  EXPECT_EQ(a.recommendation_id, b.recommendation_id);
  EXPECT_EQ(a.producer_id, b.producer_id);
  EXPECT_EQ(a.producer_number, b.producer_number);
}

std::string Encode(const Row& row) {
  std::string payload;
  EncodeRow(Borrow(row), &payload);
  return payload;
}

Row RandomRow(Values* values) {
  Row row;
  row.index = 7;
  row.id = values->String(1, 256);
  row.count = values->Number();
  row.bias = values->AnyFloat();
  row.bias_variance = values->AnyFloat();
  row.confidence = values->AnyFloat();
  row.mood = values->AnyFloat();
  row.quality_taste = values->AnyFloat();
  row.popularity_taste = values->AnyFloat();
  const size_t rank = values->Number() % 65;
  row.factors = values->Floats(rank);
  if (values->Often()) row.auxiliary = values->Floats(rank);
  row.history_ratings = values->Floats(values->Number() % 50);
  for (size_t i = 0; i < row.history_ratings.size(); ++i) {
    row.history_items.push_back(static_cast<uint32_t>(values->Number()));
  }
  return row;
}

// One small payload of each kind, and its decoder.
struct Kind {
  std::string name;
  std::string payload;
  std::function<absl::Status(absl::string_view)> decode;
};

std::vector<Kind> AllKinds() {
  std::vector<Kind> kinds;
  Event first;
  first.sequence = 41;
  first.user_id = "u1";
  first.item_id = "i1";
  first.rating = 4.5f;
  first.time_micros = 1'700'000'000'000'000;
  first.event_id = "e-1";
  first.recommendation_id = "r-1";
  first.producer_id = "p";
  first.producer_number = 9;
  Event second;
  second.sequence = 42;
  second.user_id = "u2";
  second.item_id = "i1";
  second.rating = 0.5f;
  second.time_micros = 1'699'999'999'999'999;
  second.time_is_servers = true;
  second.producer_id = "p";
  second.producer_number = 10;
  Kind log{"log record", "", [](absl::string_view bytes) {
             std::vector<Event> events;
             return DecodeLogRecord(bytes, 41, &events);
           }};
  Event third;
  third.sequence = 43;
  third.kind = EventKind::kTaken;
  third.user_id = "u2";
  third.item_id = "i3";
  third.type = 5;
  third.time_micros = second.time_micros;
  Event fourth;
  fourth.sequence = 44;
  fourth.kind = EventKind::kRevisit;
  fourth.revisited = {.first_user = 300, .users = 2, .position = 1024, .pass = 3};
  fourth.time_micros = second.time_micros + 1;
  fourth.time_is_servers = true;
  EncodeLogRecord({first, second, third, fourth}, &log.payload);
  kinds.push_back(log);

  Row row;
  row.index = 3;
  row.id = "user";
  row.count = 300;
  row.bias = 0.25f;
  row.bias_variance = 1;
  row.confidence = 2;
  row.factors = {1, -2};
  row.auxiliary = {0.5f, std::bit_cast<float>(0x7fc00123u)};
  row.history_items = {5, 1};
  row.history_ratings = {3, 4.5f};
  kinds.push_back({"row", Encode(row), [](absl::string_view bytes) {
                     Row decoded;
                     return DecodeRow(bytes, 3, &decoded);
                   }});

  Kind dedupe{"dedupe entry", "", [](absl::string_view bytes) {
                DedupeEntry entry;
                return DecodeDedupeEntry(bytes, &entry);
              }};
  EncodeDedupeEntry({77, Hash128{0x1122334455667788, 0x99aabbccddeeff00}, 0x0102030405060708},
                    &dedupe.payload);
  kinds.push_back(dedupe);

  Kind producer{"producer", "", [](absl::string_view bytes) {
                  Producer decoded;
                  return DecodeProducer(bytes, "p", &decoded);
                }};
  EncodeProducer({"p", 123456789}, &producer.payload);
  kinds.push_back(producer);

  Kind meta{"snapshot record", "", [](absl::string_view bytes) {
              SnapshotMeta decoded;
              return DecodeSnapshotMeta(bytes, &decoded);
            }};
  SnapshotMeta values;
  values.sequence = 42;
  values.hash = Hash128{1, 2};
  values.users = 3;
  values.items = 4;
  values.producers = 5;
  values.scored_events = 6;
  values.absolute_error_sum = 0.5;
  values.squared_error_sum = 0.25;
  values.fading_absolute_error = 1.5;
  values.fading_squared_error = 2.25;
  values.fading_weight = 2.5;
  values.passive_updates = 7;
  values.clipped_updates = 8;
  values.globals = "globals";
  EncodeSnapshotMeta(values, &meta.payload);
  kinds.push_back(meta);
  return kinds;
}

TEST(RecordsTest, LogRecordsRoundTrip) {
  SCOPED_TRACE(absl::StrCat("seed ", kSeed));
  Values values(kSeed);
  for (int round = 0; round < 300; ++round) {
    const std::vector<Event> events = values.Events(1 + values.Number() % 40, 1000);
    std::string payload;
    EncodeLogRecord(events, &payload);
    // The record's events are appended to what is there.
    std::vector<Event> decoded(1);
    const absl::Status status = DecodeLogRecord(payload, 1000, &decoded);
    ASSERT_TRUE(status.ok()) << status;
    ASSERT_EQ(decoded.size(), events.size() + 1);
    for (size_t i = 0; i < events.size(); ++i) ExpectSame(decoded[i + 1], events[i]);
  }
}

TEST(RecordsTest, RowsRoundTripToTheBit) {
  SCOPED_TRACE(absl::StrCat("seed ", kSeed));
  Values values(kSeed);
  Row decoded;
  for (int round = 0; round < 300; ++round) {
    const Row row = RandomRow(&values);
    const std::string payload = Encode(row);
    const absl::Status status = DecodeRow(payload, row.index, &decoded);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(decoded.index, row.index);
    EXPECT_EQ(decoded.id, row.id);
    EXPECT_EQ(decoded.count, row.count);
    ASSERT_EQ(decoded.factors.size(), row.factors.size());
    ASSERT_EQ(decoded.auxiliary.size(), row.auxiliary.size());
    ASSERT_EQ(decoded.history_items, row.history_items);
    // Equal bytes are equal bits of every float, NaNs included.
    EXPECT_EQ(Encode(decoded), payload);
    for (size_t i = 0; i < row.factors.size(); ++i) {
      EXPECT_EQ(std::bit_cast<uint32_t>(decoded.factors[i]),
                std::bit_cast<uint32_t>(row.factors[i]));
    }
  }
}

TEST(RecordsTest, SmallRecordsRoundTrip) {
  SCOPED_TRACE(absl::StrCat("seed ", kSeed));
  Values values(kSeed);
  for (int round = 0; round < 100; ++round) {
    const DedupeEntry entry{static_cast<int64_t>(values.Number()),
                            Hash128{values.Number(), values.Number()}, values.Number()};
    std::string payload;
    EncodeDedupeEntry(entry, &payload);
    DedupeEntry entry_back;
    ASSERT_TRUE(DecodeDedupeEntry(payload, &entry_back).ok());
    EXPECT_EQ(entry_back.sequence, entry.sequence);
    EXPECT_EQ(entry_back.key, entry.key);
    EXPECT_EQ(entry_back.content, entry.content);

    const Producer producer{values.String(1, 64), static_cast<int64_t>(values.Number())};
    payload.clear();
    EncodeProducer(producer, &payload);
    Producer producer_back;
    ASSERT_TRUE(DecodeProducer(payload, producer.id, &producer_back).ok());
    EXPECT_EQ(producer_back.id, producer.id);
    EXPECT_EQ(producer_back.last_number, producer.last_number);

    SnapshotMeta meta;
    meta.sequence = static_cast<int64_t>(values.Number());
    meta.hash = Hash128{values.Number(), values.Number()};
    meta.users = values.Number();
    meta.items = values.Number();
    meta.producers = values.Number();
    meta.scored_events = values.Number();
    meta.absolute_error_sum = values.AnyDouble();
    meta.squared_error_sum = values.AnyDouble();
    meta.fading_absolute_error = values.AnyDouble();
    meta.fading_squared_error = values.AnyDouble();
    meta.fading_weight = values.AnyDouble();
    meta.passive_updates = values.Number();
    meta.clipped_updates = values.Number();
    meta.globals = std::string(values.String(0, 100));
    payload.clear();
    EncodeSnapshotMeta(meta, &payload);
    SnapshotMeta meta_back;
    ASSERT_TRUE(DecodeSnapshotMeta(payload, &meta_back).ok());
    std::string again;
    EncodeSnapshotMeta(meta_back, &again);
    EXPECT_EQ(again, payload);
    EXPECT_EQ(meta_back.sequence, meta.sequence);
    EXPECT_EQ(meta_back.passive_updates, meta.passive_updates);
    EXPECT_EQ(meta_back.clipped_updates, meta.clipped_updates);
    EXPECT_EQ(meta_back.globals, meta.globals);
  }
}

// Folders in the field hold these bytes: a change here needs a new version and a reader of the old
// one.
TEST(RecordsTest, BytesOfAVersionNeverChange) {
  const std::vector<std::string> golden = {
      "0204"
      "0e"
      "027531"
      "026931"
      "00009040"
      "8080f28183898506"
      "03652d31"
      "03722d31"
      "0170"
      "12"
      "11"
      "027532"
      "026931"
      "0000003f"
      "01"
      "20"
      "027532"
      "026933"
      "05"
      "00"
      "41"
      "ac02"
      "02"
      "8008"
      "03"
      "02",
      "0201"
      "0475736572"
      "ac02"
      "0000803e"
      "0000803f"
      "00000040"
      "000000000000000000000000"
      "0202"
      "0000803f"
      "000000c0"
      "0000003f"
      "2301c07f"
      "05000000"
      "01000000"
      "00004040"
      "00009040",
      "01"
      "4d00000000000000"
      "8877665544332211"
      "00ffeeddccbbaa99"
      "0807060504030201",
      "01"
      "15cd5b0700000000",
      "03"
      "2a00000000000000"
      "0100000000000000"
      "0200000000000000"
      "0300000000000000"
      "0400000000000000"
      "0500000000000000"
      "0600000000000000"
      "000000000000e03f"
      "000000000000d03f"
      "000000000000f83f"
      "0000000000000240"
      "0000000000000440"
      "0700000000000000"
      "0800000000000000"
      "07676c6f62616c73"};
  const std::vector<Kind> kinds = AllKinds();
  ASSERT_EQ(kinds.size(), golden.size());
  for (size_t i = 0; i < kinds.size(); ++i) {
    EXPECT_EQ(absl::BytesToHexString(kinds[i].payload), golden[i]) << kinds[i].name;
    EXPECT_TRUE(kinds[i].decode(absl::HexStringToBytes(golden[i])).ok()) << kinds[i].name;
  }
  std::string sealed = "payload";
  Seal("key", &sealed);
  EXPECT_EQ(absl::BytesToHexString(sealed),
            "7061796c6f6164"
            "63b8628dfeba7ed9");

  Event event;
  event.user_id = "u";
  event.item_id = "i";
  event.rating = 3;
  event.time_micros = 5;
  event.recommendation_id = "r";
  EXPECT_EQ(ContentHash(event), 11076411675055902157u);
  event.time_is_servers = true;
  EXPECT_EQ(ContentHash(event), 5933713009053982172u);
}

TEST(RecordsTest, ASnapshotRecordOfVersion2IsReadAsIfTheLastErrorsHadBeenLikeAll) {
  const std::string payload = absl::HexStringToBytes(
      "02"
      "2a00000000000000"
      "0100000000000000"
      "0200000000000000"
      "0300000000000000"
      "0400000000000000"
      "0500000000000000"
      "0800000000000000"
      "000000000000e03f"
      "000000000000d03f"
      "000000000000f83f"
      "0000000000000440"
      "0700000000000000"
      "0800000000000000"
      "07676c6f62616c73");
  SnapshotMeta meta;
  ASSERT_TRUE(DecodeSnapshotMeta(payload, &meta).ok());
  EXPECT_EQ(meta.scored_events, 8u);
  EXPECT_EQ(meta.fading_absolute_error, 1.5);
  EXPECT_EQ(meta.fading_weight, 2.5);
  EXPECT_EQ(meta.fading_squared_error, 2.5 * 0.25 / 8);
  EXPECT_EQ(meta.passive_updates, 7u);
  EXPECT_EQ(meta.globals, "globals");
}

TEST(RecordsTest, TruncationAtEveryLengthIsRefused) {
  for (const Kind& kind : AllKinds()) {
    ASSERT_TRUE(kind.decode(kind.payload).ok()) << kind.name;
    for (size_t length = 0; length < kind.payload.size(); ++length) {
      // A copy of its own size, so that AddressSanitizer sees a read past the end.
      const std::vector<char> cut(kind.payload.begin(), kind.payload.begin() + length);
      const absl::Status status = kind.decode(absl::string_view(cut.data(), cut.size()));
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << kind.name << " of " << length;
      EXPECT_THAT(status.message(), HasSubstr(kind.name));
    }
  }
}

TEST(RecordsTest, TrailingBytesAreRefused) {
  for (const Kind& kind : AllKinds()) {
    EXPECT_EQ(kind.decode(kind.payload + '\0').code(), absl::StatusCode::kDataLoss) << kind.name;
  }
}

TEST(RecordsTest, OtherVersionsAreNamed) {
  for (Kind kind : AllKinds()) {
    const std::string own = absl::StrCat("version ", static_cast<int>(kind.payload[0]));
    kind.payload[0] = 9;
    const absl::Status status = kind.decode(kind.payload);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << kind.name;
    EXPECT_THAT(status.message(), HasSubstr("version 9")) << kind.name;
    EXPECT_THAT(status.message(), HasSubstr("reads " + own)) << kind.name;
  }
}

// Whatever the bytes: refused, or the encoding of what was decoded. Without the checksum before it,
// to see what the decoders do alone.
TEST(RecordsTest, DamagedPayloadsAreRefusedOrCanonical) {
  SCOPED_TRACE(absl::StrCat("seed ", kSeed));
  std::mt19937_64 random(kSeed);
  const std::vector<Kind> kinds = AllKinds();
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string log = kinds[0].payload;
    std::string row = kinds[1].payload;
    for (std::string* bytes : {&log, &row}) {
      for (uint64_t i = 0; i <= random() % 3; ++i) {
        (*bytes)[1 + random() % (bytes->size() - 1)] = static_cast<char>(random());
      }
    }
    std::vector<Event> events;
    if (DecodeLogRecord(log, 41, &events).ok()) {
      std::string again;
      EncodeLogRecord(events, &again);
      EXPECT_EQ(absl::BytesToHexString(again), absl::BytesToHexString(log));
      ++accepted;
    } else {
      EXPECT_TRUE(events.empty());
    }
    Row decoded;
    if (DecodeRow(row, 3, &decoded).ok()) {
      EXPECT_EQ(absl::BytesToHexString(Encode(decoded)), absl::BytesToHexString(row));
      ++accepted;
    }
  }
  EXPECT_GT(accepted, 1000);
}

TEST(RecordsTest, NonCanonicalLogRecordsAreRefused) {
  const auto code = [](absl::string_view hex) {
    std::vector<Event> events;
    return DecodeLogRecord(absl::HexStringToBytes(hex), 1, &events).code();
  };
  // One event: user "u", item "i", rating 0, time 0.
  EXPECT_EQ(code("0201"
                 "00"
                 "0175"
                 "0169"
                 "00000000"
                 "00"),
            absl::StatusCode::kOk);
  // No event; a length varint of two bytes where one is enough; an empty user; an unknown flag.
  EXPECT_EQ(code("0200"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("0201"
                 "00"
                 "810075"
                 "0169"
                 "00000000"
                 "00"),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("0201"
                 "00"
                 "00"
                 "0169"
                 "00000000"
                 "0000"),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("0201"
                 "80"
                 "0175"
                 "0169"
                 "00000000"
                 "00"),
            absl::StatusCode::kDataLoss);
  // The next of a producer that is not there; a producer written out though it is the next.
  EXPECT_EQ(code("0201"
                 "10"
                 "0175"
                 "0169"
                 "00000000"
                 "00"),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("0202"
                 "08"
                 "0175"
                 "0169"
                 "00000000"
                 "00"
                 "0170"
                 "02"
                 "08"
                 "0175"
                 "0169"
                 "00000000"
                 "00"
                 "0170"
                 "04"),
            absl::StatusCode::kDataLoss);
  // A count for which there is no room, which must not take memory.
  EXPECT_EQ(code("02ffffffffffffffff7f"
                 "00"
                 "0175"
                 "0169"
                 "00000000"
                 "00"),
            absl::StatusCode::kDataLoss);
  // A revisit of no user, in the first pass, from beyond the last user, and with an event id.
  EXPECT_EQ(code("0201"
                 "40"
                 "00010002"
                 "00"),
            absl::StatusCode::kOk);
  EXPECT_EQ(code("0201"
                 "40"
                 "00000002"
                 "00"),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("0201"
                 "40"
                 "00010001"
                 "00"),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("0201"
                 "40"
                 "8080808010010002"
                 "00"),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("0201"
                 "42"
                 "00010002"
                 "00"
                 "0165"),
            absl::StatusCode::kDataLoss);
}

TEST(RecordsTest, HugeLengthsInARowTakeNoMemory) {
  Row row;
  // Rank 2^62: the number of its bytes wraps around to 0.
  const std::string payload = absl::HexStringToBytes(
      "0100"
      "0175"
      "00"
      "00000000"
      "00000000"
      "00000000"
      "808080808080808040"
      "00");
  EXPECT_EQ(DecodeRow(payload, 0, &row).code(), absl::StatusCode::kDataLoss);
}

TEST(RecordsTest, EverySingleFlippedBitOfASealedRecordIsDetected) {
  for (const Kind& kind : AllKinds()) {
    std::string sealed = kind.payload;
    Seal("K1", &sealed);
    const auto payload = Unseal("K1", sealed);
    ASSERT_TRUE(payload.ok()) << payload.status();
    EXPECT_EQ(*payload, kind.payload);
    for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
      std::string flipped = sealed;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
      EXPECT_EQ(Unseal("K1", flipped).status().code(), absl::StatusCode::kDataLoss)
          << kind.name << " bit " << bit;
    }
    for (size_t length = 0; length < sealed.size(); ++length) {
      EXPECT_FALSE(Unseal("K1", absl::string_view(sealed).substr(0, length)).ok());
    }
  }
}

TEST(RecordsTest, ASealedRecordUnderAnotherKeyIsDetected) {
  std::string sealed = "payload";
  Seal("U1", &sealed);
  const absl::Status status = Unseal("I1", sealed).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(status.message(), HasSubstr("I1"));
}

TEST(RecordsTest, ContentHashCoversWhatTheClientSaid) {
  Event event;
  event.user_id = "ab";
  event.item_id = "c";
  event.rating = 3;
  event.time_micros = 5;
  const uint64_t hash = ContentHash(event);

  Event same = event;
  same.sequence = 9;
  same.event_id = "e";
  same.producer_id = "p";
  same.producer_number = 4;
  EXPECT_EQ(ContentHash(same), hash);

  Event other = event;
  other.user_id = "a";
  other.item_id = "bc";
  EXPECT_NE(ContentHash(other), hash);
  other = event;
  other.rating = 3.5f;
  EXPECT_NE(ContentHash(other), hash);
  other = event;
  other.kind = EventKind::kTaken;
  const uint64_t taken = ContentHash(other);
  EXPECT_NE(taken, hash);
  other.type = 1;
  EXPECT_NE(ContentHash(other), taken);
  other = event;
  other.time_micros = 6;
  EXPECT_NE(ContentHash(other), hash);
  other = event;
  other.recommendation_id = "r";
  EXPECT_NE(ContentHash(other), hash);

  // A server's time differs between a first attempt and its retry.
  event.time_is_servers = true;
  other = event;
  other.time_micros = 6;
  EXPECT_EQ(ContentHash(other), ContentHash(event));
  EXPECT_NE(ContentHash(event), hash);
}

}  // namespace
}  // namespace factord
