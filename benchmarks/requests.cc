#include "benchmarks/requests.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/slice.h>

#include <array>
#include <cstring>

#include "absl/strings/str_format.h"
#include "factord/v1/rating_service.pb.h"
#include "factord/v1/recommendation_service.pb.h"
#include "model/mix.h"

namespace factord {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

constexpr int kEventIdDigits = 16;
constexpr int kUserDigits = 8;  // of UserId, behind a letter
constexpr int kItemDigits = 7;  // of ItemId

// The last `digits` digits of `number`.
void WriteDigits(uint64_t number, int digits, uint8_t* out) {
  static const auto* const pairs = [] {
    auto* const table = new std::array<char, 200>;
    for (size_t i = 0; i < 100; ++i) {
      (*table)[2 * i] = static_cast<char>('0' + i / 10);
      (*table)[2 * i + 1] = static_cast<char>('0' + i % 10);
    }
    return table;
  }();
  int at = digits;
  for (; at >= 2; number /= 100) {
    at -= 2;
    std::memcpy(out + at, &(*pairs)[2 * (number % 100)], 2);
  }
  if (at == 1) out[0] = static_cast<uint8_t>('0' + number % 10);
}

grpc::ByteBuffer ToBuffer(const grpc::Slice& slice) { return grpc::ByteBuffer(&slice, 1); }

uint8_t* BytesOf(grpc::Slice& slice) { return const_cast<uint8_t*>(slice.begin()); }

}  // namespace

RatingRequests::RatingRequests(const RatingShape& shape, uint64_t seed, int64_t ratings) {
  GeneratedRatings generated(shape, seed);
  ratings_.reserve(static_cast<size_t>(ratings));
  for (int64_t i = 0; i < ratings; ++i) ratings_.push_back(generated.Next());

  constexpr float kValue = 1234.5F;  // whose bytes are nowhere else
  const std::string event_id(kEventIdDigits, '9');
  v1::RecordRatingsRequest request;
  v1::Rating* const rating = request.add_events();
  rating->set_user_id(UserId(0));
  rating->set_item_id(ItemId(0));
  rating->set_rating(kValue);
  rating->set_event_id(event_id);
  record_ = request.SerializeAsString();
  user_at_ = record_.find(UserId(0)) + 1;
  item_at_ = record_.find(ItemId(0)) + 1;
  value_at_ = record_.find(std::string(reinterpret_cast<const char*>(&kValue), sizeof(kValue)));
  event_id_at_ = record_.find(event_id);

  v1::RecommendItemsRequest recommend;
  recommend.set_user_id(UserId(0));
  recommend_ = recommend.SerializeAsString();
  reader_at_ = recommend_.find(UserId(0)) + 1;
}

void RatingRequests::WriteRecords(uint64_t count, uint8_t* out) {
  const uint64_t first = next_.fetch_add(count, std::memory_order_relaxed);
  for (uint64_t index = first; index < first + count; ++index, out += record_.size()) {
    const GeneratedRating& rating = ratings_[index % ratings_.size()];
    std::memcpy(out, record_.data(), record_.size());
    WriteDigits(rating.user, kUserDigits, out + user_at_);
    WriteDigits(rating.item, kItemDigits, out + item_at_);
    std::memcpy(out + value_at_, &rating.value, sizeof(rating.value));
    WriteDigits(index, kEventIdDigits, out + event_id_at_);
  }
}

grpc::ByteBuffer RatingRequests::Record(int events) {
  const auto count = static_cast<uint64_t>(events);
  grpc::Slice slice(count * record_.size());
  WriteRecords(count, BytesOf(slice));
  return ToBuffer(slice);
}

grpc::ByteBuffer RatingRequests::Batch(int64_t number, int events) {
  // The batch's own fields come first; the tag of its events is that of RecordRatingsRequest.
  static_assert(int{v1::StreamBatch::kEventsFieldNumber} ==
                int{v1::RecordRatingsRequest::kEventsFieldNumber});
  v1::StreamBatch head;
  head.set_first_number(number);
  const size_t head_size = head.ByteSizeLong();
  const size_t batch_size = head_size + static_cast<size_t>(events) * record_.size();
  const auto size = static_cast<uint32_t>(batch_size);
  grpc::Slice slice(1 + CodedOutputStream::VarintSize32(size) + batch_size);
  uint8_t* out = BytesOf(slice);
  out = WireFormatLite::WriteTagToArray(v1::StreamRatingsRequest::kBatchFieldNumber,
                                        WireFormatLite::WIRETYPE_LENGTH_DELIMITED, out);
  out = CodedOutputStream::WriteVarint32ToArray(size, out);
  out = head.SerializeWithCachedSizesToArray(out);
  WriteRecords(static_cast<uint64_t>(events), out);
  return ToBuffer(slice);
}

grpc::ByteBuffer RatingRequests::Recommend() {
  const uint64_t random = Mix64(next_reader_.fetch_add(1, std::memory_order_relaxed));
  grpc::Slice slice(recommend_.data(), recommend_.size());
  // A slice this short lies in the object itself, so it is written before it is shared.
  WriteDigits(ratings_[random % ratings_.size()].user, kUserDigits, BytesOf(slice) + reader_at_);
  return ToBuffer(slice);
}

}  // namespace factord
