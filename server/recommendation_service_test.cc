#include "server/recommendation_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <set>
#include <string>
#include <thread>

#include "server/test_util.h"

namespace factord {
namespace {

using ::testing::ElementsAre;
using ::testing::MatchesRegex;

class RecommendationServiceTest : public ::testing::Test {
 protected:
  explicit RecommendationServiceTest(std::chrono::milliseconds max_sequence_wait = kPatience * 2)
      : server_([=](ServerOptions* options) { options->max_sequence_wait = max_sequence_wait; }) {
    server_.WaitUntilServing();
    request_.set_user_id("user");
  }

  grpc::Status Recommend(std::chrono::milliseconds deadline = kPatience) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + deadline);
    response_.Clear();
    return server_.recommendations()->RecommendItems(&context, request_, &response_);
  }

  TestServer server_;
  v1::RecommendItemsRequest request_;
  v1::RecommendItemsResponse response_;
};

TEST_F(RecommendationServiceTest, AsksTheEngineForWhatTheRequestSays) {
  RecommendQuery seen;
  std::vector<std::string> denied;
  server_.engine().on_recommend = [&](const RecommendQuery& query) {
    seen = query;
    denied.clear();
    for (const absl::string_view id : query.deny_item_ids) denied.emplace_back(id);
    EXPECT_EQ(query.user_id, "user");
    EXPECT_TRUE(query.keep_going());
    Recommendation answer;
    answer.items = {{"item 2", 4.5f}, {"item 1", -1}};
    answer.sequence = 17;
    answer.cold_start = true;
    answer.user_factors = {0.5f, 0.25f};
    return answer;
  };
  ASSERT_TRUE(Recommend().ok());
  EXPECT_EQ(seen.max_items, 10);
  EXPECT_TRUE(seen.exclude_rated);
  EXPECT_FALSE(seen.strict);
  EXPECT_FALSE(seen.include_user_factors);
  EXPECT_EQ(seen.view_token, "");
  ASSERT_EQ(response_.items_size(), 2);
  EXPECT_EQ(response_.items(0).item_id(), "item 2");
  EXPECT_EQ(response_.items(0).score(), 4.5f);
  EXPECT_EQ(response_.items(1).item_id(), "item 1");
  EXPECT_EQ(response_.sequence(), 17);
  EXPECT_TRUE(response_.cold_start());
  EXPECT_THAT(response_.user_factors(), ElementsAre(0.5f, 0.25f));

  request_.set_max_items(1000);
  request_.set_exclude_rated(false);
  request_.set_strict(true);
  request_.set_include_user_factors(true);
  request_.set_view_token("token");
  request_.add_deny_item_ids("a");
  request_.add_deny_item_ids("b");
  ASSERT_TRUE(Recommend().ok());
  EXPECT_EQ(seen.max_items, 1000);
  EXPECT_FALSE(seen.exclude_rated);
  EXPECT_TRUE(seen.strict);
  EXPECT_TRUE(seen.include_user_factors);
  EXPECT_EQ(seen.view_token, "token");
  EXPECT_THAT(denied, ElementsAre("a", "b"));
}

TEST_F(RecommendationServiceTest, EveryAnswerHasAnIdOfItsOwn) {
  std::set<std::string> ids;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(Recommend().ok());
    EXPECT_THAT(response_.recommendation_id(), MatchesRegex("[0-9a-f]{32}"));
    ids.insert(response_.recommendation_id());
  }
  EXPECT_EQ(ids.size(), 100u);
}

TEST_F(RecommendationServiceTest, BadRequestsDoNotReachTheEngine) {
  server_.engine().on_recommend = [](const RecommendQuery&) {
    ADD_FAILURE();
    return Recommendation();
  };
  request_.set_max_items(0);
  EXPECT_EQ(Recommend().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  request_.clear_max_items();
  request_.set_model("other");
  EXPECT_EQ(Recommend().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(RecommendationServiceTest, WaitsForItsSequence) {
  server_.engine().SetAssigned(5);
  request_.set_min_sequence(5);
  auto status = std::async(std::launch::async, [&] { return Recommend(); });
  server_.engine().SetVisible(4);
  server_.engine().SetVisible(5);
  EXPECT_TRUE(status.get().ok());
  EXPECT_EQ(response_.sequence(), 5);
}

TEST_F(RecommendationServiceTest, WaitsNotLongerThanItsDeadline) {
  server_.engine().SetAssigned(5);
  request_.set_min_sequence(5);
  // A little before the deadline, so that the answer arrives as such: it would be DEADLINE_EXCEEDED
  // otherwise.
  EXPECT_EQ(Recommend(std::chrono::seconds(1)).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(RecommendationServiceTest, ASequenceThatWasNeverAssignedIsOutOfRange) {
  server_.engine().SetAssigned(5);
  request_.set_min_sequence(6);
  EXPECT_EQ(Recommend().error_code(), grpc::StatusCode::OUT_OF_RANGE);
}

TEST_F(RecommendationServiceTest, APinnedViewBeforeMinSequenceIsRefused) {
  server_.engine().SetVisible(5);
  server_.engine().on_recommend = [](const RecommendQuery&) {
    Recommendation answer;
    answer.sequence = 3;
    return answer;
  };
  request_.set_view_token("token");
  request_.set_min_sequence(4);
  EXPECT_EQ(Recommend().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  request_.set_min_sequence(3);
  EXPECT_TRUE(Recommend().ok());
}

TEST_F(RecommendationServiceTest, ACancelledCallStopsTheScan) {
  std::promise<void> scanning;
  std::promise<void> stopped;
  server_.engine().on_recommend =
      [&](const RecommendQuery& query) -> absl::StatusOr<Recommendation> {
    scanning.set_value();
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (query.keep_going()) {
      if (std::chrono::steady_clock::now() > end) {
        ADD_FAILURE() << "never told to stop";
        break;
      }
      std::this_thread::yield();
    }
    stopped.set_value();
    return absl::CancelledError("");
  };
  grpc::ClientContext context;
  std::thread client([&] {
    v1::RecommendItemsResponse response;
    EXPECT_EQ(server_.recommendations()->RecommendItems(&context, request_, &response).error_code(),
              grpc::StatusCode::CANCELLED);
  });
  scanning.get_future().wait();
  context.TryCancel();
  stopped.get_future().wait();
  client.join();
}

TEST_F(RecommendationServiceTest, PredictsPairs) {
  v1::PredictRatingsRequest request;
  for (const char* item : {"a", "b"}) {
    v1::UserItemPair* pair = request.add_pairs();
    pair->set_user_id("u");
    pair->set_item_id(item);
  }
  request.set_strict(true);
  server_.engine().on_predict = [](absl::Span<const UserItem> pairs, bool strict) {
    EXPECT_TRUE(strict);
    EXPECT_EQ(pairs[0].user_id, "u");
    EXPECT_EQ(pairs[0].item_id, "a");
    EXPECT_EQ(pairs[1].item_id, "b");
    return Predictions{{{1.5f, false}, {3.5f, true}}, 9};
  };
  const auto predict = [&](v1::PredictRatingsResponse* response) {
    grpc::ClientContext context;
    return server_.recommendations()->PredictRatings(&context, request, response);
  };
  v1::PredictRatingsResponse response;
  ASSERT_TRUE(predict(&response).ok());
  ASSERT_EQ(response.predictions_size(), 2);
  EXPECT_EQ(response.predictions(0).rating(), 1.5f);
  EXPECT_FALSE(response.predictions(0).cold_start());
  EXPECT_TRUE(response.predictions(1).cold_start());
  EXPECT_EQ(response.sequence(), 9);
  request.mutable_pairs(1)->clear_item_id();
  const grpc::Status status = predict(&response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "pairs[1].item_id: must have 1 to 256 bytes, has 0");
}

class ShortSequenceWaitTest : public RecommendationServiceTest {
 protected:
  ShortSequenceWaitTest() : RecommendationServiceTest(std::chrono::milliseconds(30)) {}
};

TEST_F(ShortSequenceWaitTest, WaitsNotLongerThanTheServerAllows) {
  server_.engine().SetAssigned(5);
  request_.set_min_sequence(5);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(Recommend().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_LT(std::chrono::steady_clock::now() - start, kPatience / 2);
  v1::PredictRatingsRequest request;
  request.add_pairs()->set_user_id("u");
  request.mutable_pairs(0)->set_item_id("i");
  request.set_min_sequence(5);
  grpc::ClientContext context;
  v1::PredictRatingsResponse response;
  EXPECT_EQ(server_.recommendations()->PredictRatings(&context, request, &response).error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace factord
