// Any bytes at all: the readers neither crash nor hand out a rating that breaks their promises, and
// how the source cuts the bytes does not matter.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/utf8.h"
#include "ratings/rating_reader.h"
#include "ratings/title_reader.h"

namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

std::string ReadAll(absl::string_view text, size_t chunk, factord::RatingFormat format) {
  factord::RatingReader reader(factord::LineReader::FromText(text, "in", chunk),
                               {.format = format});
  factord::RatingRecord record;
  std::string all;
  while (true) {
    const absl::Status status = reader.Next(&record);
    absl::StrAppend(&all, status.ToString(), "\n");
    if (absl::IsInvalidArgument(status)) continue;
    if (!status.ok()) break;
    Check(!record.user_id.empty() && record.user_id.size() <= factord::RatingReader::kMaxIdBytes);
    Check(!record.item_id.empty() && record.item_id.size() <= factord::RatingReader::kMaxIdBytes);
    Check(factord::IsValidUtf8(record.user_id) && factord::IsValidUtf8(record.item_id));
    Check(std::isfinite(record.rating));
    absl::StrAppend(&all, record.line, " ", record.user_id, " ", record.item_id, " ", record.rating,
                    " ", record.time_micros.value_or(-1), "\n");
  }
  Check(reader.bytes_read() <= static_cast<int64_t>(text.size()));
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  using factord::RatingFormat;
  for (const RatingFormat format :
       {RatingFormat::kAuto, RatingFormat::kCsv, RatingFormat::kDoubleColon, RatingFormat::kTab}) {
    Check(ReadAll(text, 1 << 16, format) == ReadAll(text, 3, format));
  }
  (void)factord::ReadTitles(factord::LineReader::FromText(text, "in"));
  return 0;
}
