// What the tests of the store share: events that tell their sequence, and snapshots whose every
// record tells the sequence it was taken at. Header only; for tests.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/store.h"

namespace factord {

// Every path below `folder`, with sizes and times of change: equal when nothing was written.
inline std::string Listing(const std::string& folder) {
  std::vector<std::string> lines;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const auto time = entry.last_write_time().time_since_epoch().count();
    lines.push_back(absl::StrCat(entry.path().string(), " ",
                                 entry.is_regular_file() ? entry.file_size() : 0, " ", time, "\n"));
  }
  std::sort(lines.begin(), lines.end());
  std::string listing;
  for (const std::string& line : lines) listing += line;
  return listing;
}

// The blocks that the files below `folder` take, reserved ones too.
inline uint64_t BytesOnDisk(const std::string& folder) {
  uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    struct stat info;
    if (stat(entry.path().c_str(), &info) == 0)
      bytes += static_cast<uint64_t>(info.st_blocks) * 512;
  }
  return bytes;
}

// Events whose content follows from their sequence.
class TestEvents {
 public:
  TestEvents(int64_t first, int64_t last) {
    for (int64_t s = first; s <= last; ++s) {
      strings_.push_back(absl::StrCat("user-", s % 97));
      strings_.push_back(absl::StrCat("item-", s));
      Event event;
      event.sequence = s;
      event.user_id = strings_[strings_.size() - 2];
      event.item_id = strings_[strings_.size() - 1];
      event.rating = static_cast<float>(s % 10) / 2;
      event.time_micros = 1'600'000'000'000'000 + s * 1000;
      event.producer_id = "producer";
      event.producer_number = s;
      events_.push_back(event);
    }
  }
  operator absl::Span<const Event>() const { return events_; }

  // The same contents under sequences that are `by` higher.
  void Shift(int64_t by) {
    for (Event& event : events_) {
      event.sequence += by;
      event.producer_number += by;
    }
  }

 private:
  std::deque<std::string> strings_;  // never moves a string that an event borrows
  std::vector<Event> events_;
};

inline bool IsTestEvent(const Event& event) {
  const TestEvents one(event.sequence, event.sequence);
  const Event& wanted = absl::Span<const Event>(one).front();
  return event.user_id == wanted.user_id && event.item_id == wanted.item_id &&
         event.rating == wanted.rating && event.time_micros == wanted.time_micros &&
         event.producer_id == wanted.producer_id && event.producer_number == wanted.producer_number;
}

// Reads from `first` to the end: OK if every event is there, in order, with its content.
inline absl::Status CheckLog(Store* store, int64_t first) {
  FACTORD_ASSIGN_OR_RETURN(const auto cursor, store->log()->ReadFrom(first));
  int64_t next = first;
  while (true) {
    FACTORD_ASSIGN_OR_RETURN(const absl::Span<const Event> events, cursor->Next());
    if (events.empty()) break;
    for (const Event& event : events) {
      if (event.sequence != next) {
        return absl::InternalError(absl::StrCat("read ", event.sequence, " for ", next));
      }
      if (!IsTestEvent(event)) return absl::InternalError(absl::StrCat("wrong content at ", next));
      ++next;
    }
  }
  if (next != store->log()->range().last + 1) {
    return absl::InternalError(absl::StrCat("the log ends before ", next));
  }
  return absl::OkStatus();
}

inline constexpr uint64_t kTestProducers = 3;
inline constexpr uint64_t kTestSlots = 20;
// The rows grow with the sequence, up to where a snapshot stays short.
inline uint64_t TestUsers(int64_t sequence) {
  return std::min<uint64_t>(30 + static_cast<uint64_t>(sequence) / 10, 2000);
}
inline uint64_t TestItems(int64_t sequence) {
  return std::min<uint64_t>(10 + static_cast<uint64_t>(sequence) / 50, 500);
}

inline SnapshotMeta TestMeta(int64_t sequence) {
  SnapshotMeta meta;
  meta.sequence = sequence;
  meta.hash = Hash128{static_cast<uint64_t>(sequence), 7};
  meta.users = TestUsers(sequence);
  meta.items = TestItems(sequence);
  meta.producers = kTestProducers;
  meta.absolute_error_sum = static_cast<double>(sequence);
  return meta;
}

inline absl::Status AddTestRow(SnapshotWriter* writer, Side side, uint32_t index,
                               int64_t sequence) {
  const std::string id = absl::StrCat("id-", index);
  const std::vector<float> factors(8, static_cast<float>(sequence));
  RowRef row;
  row.index = index;
  row.id = id;
  row.count = static_cast<uint64_t>(sequence);
  row.factors = factors;
  std::string payload;
  EncodeRow(row, &payload);
  return writer->AddRow(side, index, payload);
}

// Everything but the Commit.
inline absl::Status FillTestSnapshot(SnapshotWriter* writer, int64_t sequence) {
  for (uint32_t i = 0; i < TestItems(sequence); ++i) {
    FACTORD_RETURN_IF_ERROR(AddTestRow(writer, Side::kItem, i, sequence));
  }
  for (uint32_t i = 0; i < TestUsers(sequence); ++i) {
    FACTORD_RETURN_IF_ERROR(AddTestRow(writer, Side::kUser, i, sequence));
  }
  for (uint64_t slot = 0; slot < kTestSlots; ++slot) {
    FACTORD_RETURN_IF_ERROR(writer->AddDedupeEntry(slot, {sequence, Hash128{slot, 1}, slot}));
  }
  for (uint64_t i = 0; i < kTestProducers; ++i) {
    const std::string id = absl::StrCat("producer-", i);
    FACTORD_RETURN_IF_ERROR(writer->AddProducer({id, sequence}));
  }
  return absl::OkStatus();
}

inline absl::Status TakeTestSnapshot(Store* store, int64_t sequence) {
  FACTORD_ASSIGN_OR_RETURN(const auto writer, store->NewSnapshot());
  FACTORD_RETURN_IF_ERROR(FillTestSnapshot(writer.get(), sequence));
  return writer->Commit(TestMeta(sequence));
}

// OK if every record of the store's snapshot is of the sequence that the snapshot says.
inline absl::Status CheckSnapshot(Store* store) {
  const SnapshotMeta meta = store->snapshot();
  const int64_t sequence = meta.sequence;
  if (sequence != 0 && (meta.users != TestUsers(sequence) || meta.items != TestItems(sequence) ||
                        meta.hash.high != static_cast<uint64_t>(sequence))) {
    return absl::InternalError("the snapshot's own record is wrong");
  }
  const auto mixed = [&](absl::string_view what) {
    return absl::InternalError(absl::StrCat(what, " is not of the snapshot at ", sequence));
  };
  for (const Side side : {Side::kUser, Side::kItem}) {
    FACTORD_RETURN_IF_ERROR(store->ReadRows(side, [&](const Row& row) -> absl::Status {
      if (row.count != static_cast<uint64_t>(sequence)) return mixed("a row");
      if (row.id != absl::StrCat("id-", row.index)) return mixed("an id");
      if (row.factors != std::vector<float>(8, static_cast<float>(sequence)))
        return mixed("a factor");
      return absl::OkStatus();
    }));
  }
  uint64_t slots = 0;
  FACTORD_RETURN_IF_ERROR(
      store->ReadDedupe([&](uint64_t slot, const DedupeEntry& entry) -> absl::Status {
        if (slot != slots++ || entry.sequence != sequence || entry.content != slot) {
          return mixed("a dedupe entry");
        }
        return absl::OkStatus();
      }));
  if (slots != (sequence == 0 ? 0 : kTestSlots)) return mixed("the number of dedupe entries");
  return store->ReadProducers([&](const Producer& producer) -> absl::Status {
    return producer.last_number == sequence ? absl::OkStatus() : mixed("a producer");
  });
}

inline Store::Options TestOptions(const std::string& path) {
  Store::Options options;
  options.path = path;
  return options;
}

inline const ConfigFields& TestConfig() {
  static const auto* const config =
      new ConfigFields{{"rank", "8"}, {"method", "nn-pa-i"}, {"title", "50% = half\n\xff"}};
  return *config;
}

// Opens, having created if need be; a failure of either fails the test and ends it by a null.
inline std::unique_ptr<Store> OpenOrCreate(const Store::Options& options) {
  if (!Store::Exists(options.path)) {
    const absl::Status created = Store::Create(options.path, TestConfig());
    EXPECT_TRUE(created.ok()) << created;
    if (!created.ok()) return nullptr;
  }
  auto store = Store::Open(options);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

inline absl::Status AppendTestEvents(Store* store, int64_t count) {
  const int64_t last = store->log()->range().last;
  return store->log()->Append(TestEvents(last + 1, last + count));
}

}  // namespace factord

#define EXPECT_OK(expr)                                     \
  do {                                                      \
    const absl::Status factord_expected = (expr);           \
    EXPECT_TRUE(factord_expected.ok()) << factord_expected; \
  } while (false)
#define ASSERT_OK(expr)                                     \
  do {                                                      \
    const absl::Status factord_expected = (expr);           \
    ASSERT_TRUE(factord_expected.ok()) << factord_expected; \
  } while (false)
#define EXPECT_CODE(expr, expected)                                                 \
  do {                                                                              \
    const absl::Status factord_status = (expr);                                     \
    EXPECT_EQ(factord_status.code(), absl::StatusCode::expected) << factord_status; \
  } while (false)
// Code, and a part of the message.
#define EXPECT_ERROR(expr, expected, part)                                          \
  do {                                                                              \
    const absl::Status factord_status = (expr);                                     \
    EXPECT_EQ(factord_status.code(), absl::StatusCode::expected) << factord_status; \
    EXPECT_THAT(std::string(factord_status.message()), ::testing::HasSubstr(part)); \
  } while (false)
