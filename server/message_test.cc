#include "server/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "factord/v1/rating_service.pb.h"

namespace factord {
namespace {

using ::testing::HasSubstr;

template <typename Request>
absl::Status ParseAs(const std::string& bytes, const ListRule& list) {
  const grpc::Slice slice(bytes);
  Request request;
  return ParseRequest(grpc::ByteBuffer(&slice, 1), list, &request);
}
absl::Status ParseRecord(const std::string& bytes) {
  return ParseAs<v1::RecordRatingsRequest>(bytes, Limits().events());
}
absl::Status ParseStream(const std::string& bytes) {
  return ParseAs<v1::StreamRatingsRequest>(bytes, Limits().batch_events());
}

std::string Repeat(const std::string& piece, int times) {
  std::string bytes;
  for (int i = 0; i < times; ++i) bytes += piece;
  return bytes;
}

std::string FullRating() {
  v1::Rating rating;
  rating.set_user_id(std::string(256, 'u'));
  rating.set_item_id(std::string(256, 'i'));
  rating.set_rating(1);
  rating.mutable_event_time()->set_seconds(1);
  rating.mutable_event_time()->set_nanos(1);
  rating.set_event_id("e");
  rating.set_recommendation_id("r");
  return rating.SerializeAsString();
}

const std::string kEmptyEvent = {0x12, 0};

TEST(MessageTest, TakesTheLargestRequest) {
  v1::RecordRatingsRequest request;
  request.set_model("default");
  for (int i = 0; i < 10'000; ++i) request.add_events()->ParseFromString(FullRating());
  EXPECT_TRUE(ParseRecord(request.SerializeAsString()).ok());
  request.add_events();
  EXPECT_EQ(ParseRecord(request.SerializeAsString()).message(),
            "events: must have 1 to 10000 elements, has 10001");
}

TEST(MessageTest, TakesFieldsThatItDoesNotKnow) {
  // A number, a string and a group in each event.
  const std::string event = {0x12, 7, 0x78, 1, 0x7a, 1, 'x', 0x7b, 0x7c};
  EXPECT_TRUE(ParseRecord(Repeat(event, 10'000)).ok());
}

TEST(MessageTest, CountsAListWhereverItIs) {
  // Batches in one message are one batch.
  v1::StreamRatingsRequest half;
  for (int i = 0; i < 5'001; ++i) half.mutable_batch()->add_events();
  EXPECT_TRUE(ParseStream(half.SerializeAsString()).ok());
  EXPECT_EQ(ParseStream(Repeat(half.SerializeAsString(), 2)).message(),
            "batch.events: must have 1 to 10000 elements, has 10002");
  // Behind what is an event elsewhere but cannot be read as one.
  const std::string group = {0x7b, 0x12, 1, 0x0f, 0x7c};
  EXPECT_EQ(ParseRecord(group + Repeat(kEmptyEvent, 10'001)).message(),
            "events: must have 1 to 10000 elements, has 10001");
}

TEST(MessageTest, CountsFieldsAtAllDepths) {
  constexpr int kMany = 200'000;
  const std::string number = {0x78, 1}, group = {0x7b, 0x7c};
  for (const std::string& bytes : {Repeat(number, kMany), Repeat(group, kMany)}) {
    EXPECT_THAT(std::string(ParseRecord(bytes).message()),
                HasSubstr("message: must have at most 161000 fields"));
    v1::Rating rating;
    ASSERT_TRUE(rating.ParseFromString(bytes));
    v1::StreamRatingsRequest message;
    *message.mutable_batch()->add_events() = rating;
    EXPECT_THAT(std::string(ParseStream(message.SerializeAsString()).message()),
                HasSubstr("message: must have at most 161000 fields"));
    EXPECT_FALSE(ParseRecord(std::string(1, 0x7b) + bytes + std::string(1, 0x7c)).ok());
  }
}

TEST(MessageTest, WhatCannotBeReadIsTheParsersToRefuse) {
  for (const std::string& bytes :
       {std::string(1, '\0'), std::string(1, 0x7b), std::string(1, 0x7c), Repeat("\x7b", 100'000),
        std::string{0x12, 5, 1}, std::string(20, '\xff'), std::string{0x12, 2, 0x7b, 0x7b}}) {
    EXPECT_EQ(ParseRecord(bytes).code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace factord
