#include "server/validation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace factord {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Fields(const Violations& violations) {
  std::vector<std::string> fields;
  for (const Violation& violation : violations) fields.push_back(violation.field);
  return fields;
}

v1::Rating GoodRating() {
  v1::Rating rating;
  rating.set_user_id("u");
  rating.set_item_id("i");
  rating.set_rating(3);
  return rating;
}

std::string Check(const v1::Rating& rating) {
  return ToString(ValidateRating(rating, Limits(), ModelConfig()));
}

TEST(ValidateRatingTest, TakesGoodOnes) {
  v1::Rating rating = GoodRating();
  EXPECT_EQ(Check(rating), "");
  rating.set_user_id(std::string(256, 'u'));
  rating.set_item_id(std::string(256, 'i'));
  rating.set_event_id(std::string(64, 'e'));
  rating.set_recommendation_id(std::string(64, 'r'));
  rating.mutable_event_time()->set_seconds(-62'135'596'800);
  rating.mutable_event_time()->set_nanos(999'999'999);
  rating.set_rating(0);
  EXPECT_EQ(Check(rating), "");
  rating.set_rating(5);
  rating.mutable_event_time()->set_seconds(253'402'300'799);
  EXPECT_EQ(Check(rating), "");
}

TEST(ValidateRatingTest, ChecksIds) {
  v1::Rating rating = GoodRating();
  rating.clear_user_id();
  rating.set_item_id(std::string(257, 'i'));
  EXPECT_EQ(Check(rating),
            "user_id: must have 1 to 256 bytes, has 0; item_id: must have 1 to 256 bytes, has 257");
}

TEST(ValidateRatingTest, ChecksTheEventType) {
  ModelConfig config;
  const auto check = [&config](const v1::Rating& rating) {
    return ToString(ValidateRating(rating, Limits(), config));
  };
  v1::Rating rating = GoodRating();
  rating.clear_rating();
  rating.set_event_type("click");
  EXPECT_EQ(check(rating), "event_type: this model has none (--event_types)");
  config.event_types = {{"view"}, {"click"}};
  EXPECT_EQ(check(rating), "");
  rating.set_event_type("clack");
  EXPECT_EQ(check(rating), "event_type: must be one of view, click");
  rating.set_event_type("view");
  rating.set_rating(3);
  EXPECT_EQ(check(rating), "rating: must not be set with event_type");
}

TEST(ValidateRatingTest, ChecksTheRating) {
  v1::Rating rating = GoodRating();
  rating.clear_rating();
  EXPECT_EQ(Check(rating), "rating: must be set");
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    rating.set_rating(bad);
    EXPECT_EQ(Check(rating), "rating: must be a finite float, 0 to 5");
  }
  for (const float bad : {-0.5f, 5.5f, std::nextafter(5.0f, 6.0f), -1e-30f}) {
    rating.set_rating(bad);
    EXPECT_EQ(Check(rating), "rating: must be 0 to 5");
  }
}

TEST(ValidateRatingTest, ChecksTheRangeOfTheModel) {
  ModelConfig config;
  config.min_rating = 1;
  config.max_rating = 10;
  v1::Rating rating = GoodRating();
  rating.set_rating(0.5f);
  EXPECT_EQ(ToString(ValidateRating(rating, Limits(), config)), "rating: must be 1 to 10");
  rating.set_rating(10);
  EXPECT_EQ(ToString(ValidateRating(rating, Limits(), config)), "");
}

TEST(ValidateRatingTest, ChecksTheTime) {
  v1::Rating rating = GoodRating();
  for (const int64_t seconds : {int64_t{-62'135'596'801}, int64_t{253'402'300'800}}) {
    rating.mutable_event_time()->set_seconds(seconds);
    EXPECT_THAT(Fields(ValidateRating(rating, Limits(), ModelConfig())),
                ElementsAre("event_time.seconds"));
  }
  rating.mutable_event_time()->set_seconds(0);
  for (const int32_t nanos : {-1, 1'000'000'000}) {
    rating.mutable_event_time()->set_nanos(nanos);
    EXPECT_EQ(Check(rating), "event_time.nanos: must be 0 to 999999999");
  }
}

TEST(ValidateRatingTest, ChecksTheOptionalIds) {
  v1::Rating rating = GoodRating();
  rating.set_event_id(std::string(65, 'e'));
  rating.set_recommendation_id(std::string(65, 'r'));
  EXPECT_EQ(Check(rating),
            "event_id: must have at most 64 bytes, has 65; recommendation_id: must have at most 64 "
            "bytes, has 65");
}

TEST(ValidateRecordRatingsTest, NamesEveryBadFieldAtOnce) {
  v1::RecordRatingsRequest request;
  for (int i = 0; i < 5; ++i) *request.add_events() = GoodRating();
  request.mutable_events(1)->set_rating(std::nanf(""));
  request.mutable_events(3)->clear_user_id();
  request.mutable_events(3)->set_rating(6);
  EXPECT_EQ(ToString(ValidateRecordRatings(request, Limits(), ModelConfig())),
            "events[1].rating: must be a finite float, 0 to 5; events[3].user_id: must have 1 to "
            "256 bytes, has 0; "
            "events[3].rating: must be 0 to 5");
  request.set_allow_partial(true);  // then each event speaks for itself
  EXPECT_THAT(ValidateRecordRatings(request, Limits(), ModelConfig()), IsEmpty());
}

TEST(ValidateRecordRatingsTest, ChecksTheNumberOfEvents) {
  Limits limits;
  limits.max_events_per_request = 3;
  for (const bool allow_partial : {false, true}) {
    v1::RecordRatingsRequest request;
    request.set_allow_partial(allow_partial);
    EXPECT_EQ(ToString(ValidateRecordRatings(request, limits, ModelConfig())),
              "events: must have 1 to 3 elements, has 0");
    for (int i = 0; i < 3; ++i) *request.add_events() = GoodRating();
    EXPECT_THAT(ValidateRecordRatings(request, limits, ModelConfig()), IsEmpty());
    request.add_events();  // not looked at: the list as a whole is wrong
    EXPECT_EQ(ToString(ValidateRecordRatings(request, limits, ModelConfig())),
              "events: must have 1 to 3 elements, has 4");
  }
}

TEST(ValidateStreamTest, ChecksTheStart) {
  v1::StreamStart start;
  EXPECT_THAT(ValidateStreamStart(start, Limits()), IsEmpty());
  start.set_producer_id(std::string(64, 'p'));
  EXPECT_THAT(ValidateStreamStart(start, Limits()), IsEmpty());
  start.set_producer_id(std::string(65, 'p'));
  EXPECT_EQ(ToString(ValidateStreamStart(start, Limits())),
            "start.producer_id: must have at most 64 bytes, has 65");
}

TEST(ValidateStreamTest, ChecksTheFrameOfABatch) {
  Limits limits;
  limits.max_events_per_request = 2;
  v1::StreamBatch batch;
  EXPECT_THAT(Fields(ValidateStreamBatch(batch, 0, limits)),
              ElementsAre("batch.events", "batch.first_number"));
  batch.set_first_number(1);
  *batch.add_events() = GoodRating();
  EXPECT_THAT(ValidateStreamBatch(batch, 0, limits), IsEmpty());
  EXPECT_EQ(ToString(ValidateStreamBatch(batch, 1, limits)),
            "batch.first_number: must increase: 1 after 1");
  batch.set_first_number(std::numeric_limits<int64_t>::max());
  EXPECT_THAT(Fields(ValidateStreamBatch(batch, 1, limits)), ElementsAre("batch.first_number"));
  batch.set_first_number(100);  // a gap
  batch.add_events();           // a bad event is reported in the acknowledgement
  EXPECT_THAT(ValidateStreamBatch(batch, 1, limits), IsEmpty());
  batch.add_events();
  EXPECT_THAT(Fields(ValidateStreamBatch(batch, 1, limits)), ElementsAre("batch.events"));
}

TEST(ValidateRecommendItemsTest, ChecksEveryField) {
  v1::RecommendItemsRequest request;
  request.set_user_id("u");
  EXPECT_THAT(ValidateRecommendItems(request, Limits()), IsEmpty());
  for (const int32_t good : {1, 1000}) {
    request.set_max_items(good);
    EXPECT_THAT(ValidateRecommendItems(request, Limits()), IsEmpty());
  }
  request.clear_user_id();
  request.set_max_items(0);
  request.add_deny_item_ids("unknown is allowed");
  request.add_deny_item_ids("");
  request.set_min_sequence(-1);
  EXPECT_EQ(ToString(ValidateRecommendItems(request, Limits())),
            "user_id: must have 1 to 256 bytes, has 0; max_items: must be 1 to 1000, is 0; "
            "deny_item_ids[1]: must have 1 to 256 bytes, has 0; min_sequence: must be at least 0");
  for (const int32_t bad : {-1, 1001, std::numeric_limits<int32_t>::max()}) {
    request.set_max_items(bad);
    EXPECT_THAT(Fields(ValidateRecommendItems(request, Limits())),
                ElementsAre("user_id", "max_items", "deny_item_ids[1]", "min_sequence"));
  }
}

TEST(ValidateRecommendItemsTest, BoundsTheDenyList) {
  v1::RecommendItemsRequest request;
  request.set_user_id("u");
  for (int i = 0; i < 10'000; ++i) request.add_deny_item_ids("i");
  EXPECT_THAT(ValidateRecommendItems(request, Limits()), IsEmpty());
  request.add_deny_item_ids("i");
  EXPECT_EQ(ToString(ValidateRecommendItems(request, Limits())),
            "deny_item_ids: must have at most 10000 elements, has 10001");
}

TEST(ValidatePredictRatingsTest, ChecksEveryField) {
  v1::PredictRatingsRequest request;
  EXPECT_EQ(ToString(ValidatePredictRatings(request, Limits())),
            "pairs: must have 1 to 10000 elements, has 0");
  request.add_pairs()->set_user_id("u");
  request.add_pairs()->set_item_id(std::string(257, 'i'));
  request.set_min_sequence(-1);
  EXPECT_THAT(
      Fields(ValidatePredictRatings(request, Limits())),
      ElementsAre("pairs[0].item_id", "pairs[1].user_id", "pairs[1].item_id", "min_sequence"));
  while (request.pairs_size() < 10'001) request.add_pairs();
  EXPECT_THAT(Fields(ValidatePredictRatings(request, Limits())),
              ElementsAre("pairs", "min_sequence"));
}

TEST(ValidateListTopicsTest, ChecksEveryField) {
  v1::ListTopicsRequest request;
  EXPECT_THAT(ValidateListTopics(request, Limits()), IsEmpty());
  request.set_items_per_topic(100);
  EXPECT_THAT(ValidateListTopics(request, Limits()), IsEmpty());
  for (const int32_t bad : {0, 101}) {
    request.set_items_per_topic(bad);
    request.set_min_ratings(-1);
    EXPECT_THAT(Fields(ValidateListTopics(request, Limits())),
                ElementsAre("items_per_topic", "min_ratings"));
  }
}

TEST(ValidateGetFactorsTest, ChecksEveryField) {
  v1::GetFactorsRequest request;
  EXPECT_THAT(Fields(ValidateGetFactors(request, Limits())), ElementsAre("side"));
  request.set_side(v1::GetFactorsRequest::SIDE_ITEMS);
  request.set_view_token("v");
  request.set_page_size(10'000);
  EXPECT_THAT(ValidateGetFactors(request, Limits()), IsEmpty());
  request.set_side(v1::GetFactorsRequest::SIDE_USERS);
  for (const int32_t bad : {0, 10'001}) {
    request.set_page_size(bad);
    EXPECT_THAT(Fields(ValidateGetFactors(request, Limits())),
                ElementsAre("page_size", "view_token"));
  }
  request.set_side(static_cast<v1::GetFactorsRequest::Side>(7));
  EXPECT_THAT(Fields(ValidateGetFactors(request, Limits())), ElementsAre("side", "page_size"));
}

TEST(ValidateBackupTest, TakesPlainFileNamesOnly) {
  v1::BackupRequest request;
  for (const std::string& good : {std::string("2024-01-01_a.b"), std::string(64, 'x')}) {
    request.set_name(good);
    EXPECT_THAT(ValidateBackup(request), IsEmpty()) << good;
  }
  for (const std::string& bad :
       {std::string(""), std::string("."), std::string(".."), std::string(".a"), std::string("a/b"),
        std::string("/a"), std::string("a b"), std::string("\xc3\xa4"), std::string("a\0b", 3),
        std::string(65, 'x')}) {
    request.set_name(bad);
    EXPECT_THAT(Fields(ValidateBackup(request)), ElementsAre("name")) << bad;
  }
}

}  // namespace
}  // namespace factord
