// Any bytes at all: the decoders of what lies in a data folder neither crash nor take bytes that
// they would not have written. The first byte says which one.
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "base/temp_folder.h"
#include "storage/identity.h"
#include "storage/records_test_util.h"
#include "storage/rocks_database.h"
#include "storage/table_check.h"

namespace {

using namespace factord;  // NOLINT: a program of one function

void Check(bool condition) {
  if (!condition) std::abort();
}

void TryLogRecord(absl::string_view bytes) {
  std::vector<Event> events;
  if (!DecodeLogRecord(bytes, 1, &events).ok()) return;
  std::string again;
  EncodeLogRecord(events, &again);
  Check(again == bytes);
}

void TryRow(absl::string_view bytes) {
  Row row;
  if (!DecodeRow(bytes, 0, &row).ok()) return;
  std::string again;
  EncodeRow(Borrow(row), &again);
  Check(again == bytes);
}

void TryDedupeEntry(absl::string_view bytes) {
  DedupeEntry entry;
  if (!DecodeDedupeEntry(bytes, &entry).ok()) return;
  std::string again;
  EncodeDedupeEntry(entry, &again);
  Check(again == bytes);
}

void TryProducer(absl::string_view bytes) {
  Producer producer;
  if (!DecodeProducer(bytes, "producer", &producer).ok()) return;
  std::string again;
  EncodeProducer(producer, &again);
  Check(again == bytes);
}

void TrySnapshotMeta(absl::string_view bytes) {
  SnapshotMeta meta;
  if (!DecodeSnapshotMeta(bytes, &meta).ok()) return;
  std::string again;
  EncodeSnapshotMeta(meta, &again);
  if (bytes[0] != 2) Check(again == bytes);  // version 2 comes back as the newest
}

void TryText(absl::string_view bytes) {
  const auto identity = DecodeIdentity(bytes);
  if (identity.ok()) Check(EncodeIdentity(*identity) == bytes);
  (void)DecodeEvidence(bytes, std::string(32, '0'));
  (void)Unseal("key", bytes);
}

void TryKey(absl::string_view bytes) {
  uint32_t index = 0;
  if (ParseKey(bytes, 'U', &index)) Check(RowKey(Side::kUser, index) == bytes);
  if (ParseKey(bytes, 'I', &index)) Check(RowKey(Side::kItem, index) == bytes);
  uint64_t number = 0;
  if (ParseKey(bytes, 'L', &number)) Check(LogKey(static_cast<int64_t>(number)) == bytes);
  if (ParseKey(bytes, 'D', &number)) Check(DedupeKey(number) == bytes);
}

// As a table file of a database.
void TryTable(absl::string_view bytes) {
  static const TempFolder folder(TempFolder::Place::kMemory);
  const std::string path = folder / "000001.sst";
  std::ofstream(path, std::ios::binary).write(bytes.data(), std::ssize(bytes));
  (void)CheckTable(path);
  (void)TablesWithoutFooter(folder.path());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr void (*kDecoders[])(absl::string_view) = {TryLogRecord, TryRow,          TryDedupeEntry,
                                                      TryProducer,  TrySnapshotMeta, TryText,
                                                      TryKey,       TryTable};
  if (size == 0) return 0;
  const size_t decoder = data[0] % (sizeof(kDecoders) / sizeof(kDecoders[0]));
  kDecoders[decoder]({reinterpret_cast<const char*>(data) + 1, size - 1});
  return 0;
}
