// Generated ratings as messages of factord.v1, in the bytes of the wire: a load must cost little
// beside what is measured with it, so a rating is written by putting its digits into a rating that
// was serialized before.
//
//   RatingRequests requests(MovieLens10M(), /*seed=*/1, 1'000'000);
//   grpc::ByteBuffer bytes = requests.Record();
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "benchmarks/rating_stream.h"

namespace factord {

// Every rating has an event id of its own, as long as the object lives. Thread-safe.
class RatingRequests {
 public:
  // The first `ratings` of the stream of `shape`; then they come again, with other event ids.
  RatingRequests(const RatingShape& shape, uint64_t seed, int64_t ratings);

  // Begins again, with the same event ids: for another server.
  void Rewind() { next_ = 0; }

  // RecordRatingsRequest with the next `events` ratings.
  grpc::ByteBuffer Record(int events = 1);
  // StreamRatingsRequest: the batch of the next `events` ratings, of which the first has `number`.
  grpc::ByteBuffer Batch(int64_t number, int events);
  // RecommendItemsRequest with nothing but a user: that of one of the ratings, any.
  grpc::ByteBuffer Recommend();

 private:
  // Writes record_ `count` times, filled in with the next ratings.
  void WriteRecords(uint64_t count, uint8_t* out);

  std::vector<GeneratedRating> ratings_;
  std::atomic<uint64_t> next_{0};
  std::atomic<uint64_t> next_reader_{0};
  // `events` of a request with one rating, tag and length included, and where its values lie.
  std::string record_;
  size_t user_at_, item_at_, value_at_, event_id_at_;
  std::string recommend_;
  size_t reader_at_;
};

}  // namespace factord
