// Bytes a second of the rating reader, on generated MovieLens-like text in memory.
#include <string>

#include "benchmark/benchmark.h"
#include "ratings/rating_reader.h"

namespace factord {
namespace {

std::string Ratings(absl::string_view separator, size_t bytes) {
  std::string text;
  for (uint32_t i = 0; text.size() < bytes; ++i) {
    absl::StrAppend(&text, i % 6040 + 1, separator, i * 2654435761u % 3706 + 1, separator,
                    i % 10 * 0.5, separator, 978300760 + i, "\n");
  }
  return text;
}

void Read(benchmark::State& state, absl::string_view separator) {
  const std::string text = Ratings(separator, size_t{16} << 20);
  int64_t records = 0;
  for (auto _ : state) {
    RatingReader reader(LineReader::FromText(text, "text"), {});
    RatingRecord record;
    while (reader.Next(&record).ok()) ++records;
  }
  state.SetBytesProcessed(static_cast<int64_t>(text.size()) * state.iterations());
  state.SetItemsProcessed(records);
}

BENCHMARK_CAPTURE(Read, csv, ",");
BENCHMARK_CAPTURE(Read, dat, "::");
BENCHMARK_CAPTURE(Read, tab, "\t");

}  // namespace
}  // namespace factord
