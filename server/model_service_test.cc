#include "server/model_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/test_util.h"

namespace factord {
namespace {

using ::testing::ElementsAre;

class ModelServiceTest : public ::testing::Test {
 protected:
  ModelServiceTest() { server_.WaitUntilServing(); }

  grpc::Status GetFactors(const v1::GetFactorsRequest& request, v1::GetFactorsResponse* response) {
    grpc::ClientContext context;
    response->Clear();
    return server_.model()->GetFactors(&context, request, response);
  }

  TestServer server_;
};

TEST_F(ModelServiceTest, TellsTheConfigurationAndTheState) {
  server_.engine().SetVisible(12);
  grpc::ClientContext context;
  v1::GetModelResponse response;
  ASSERT_TRUE(server_.model()->GetModel(&context, {}, &response).ok());
  EXPECT_EQ(response.sequence(), 12);
  EXPECT_TRUE(response.accepts_writes());
  EXPECT_EQ(response.config().rank(), 32);
  EXPECT_EQ(response.config().variant(), v1::ModelConfig::VARIANT_ADAPTIVE);
  EXPECT_EQ(response.config().solver(), v1::ModelConfig::SOLVER_APPROXIMATE);
  EXPECT_EQ(response.config().aggressiveness(), 0.02f);
  EXPECT_EQ(response.config().dedupe_window(), 1'000'000);
  EXPECT_EQ(response.config().update_version(), kUpdateVersion);

  server_.engine().SetWriteHealth(absl::UnavailableError("the disk"));
  grpc::ClientContext again;
  ASSERT_TRUE(server_.model()->GetModel(&again, {}, &response).ok());
  EXPECT_FALSE(response.accepts_writes());
}

TEST_F(ModelServiceTest, ListsTopics) {
  server_.engine().on_topics = [](int32_t items, int64_t min_ratings) {
    EXPECT_EQ(items, 10);
    EXPECT_EQ(min_ratings, 3);
    return Topics{{{{{"a", 2, 7}, {"b", 1, 5}}}, {}}, 8};
  };
  v1::ListTopicsRequest request;
  request.set_min_ratings(3);
  v1::ListTopicsResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(server_.model()->ListTopics(&context, request, &response).ok());
  EXPECT_EQ(response.sequence(), 8);
  ASSERT_EQ(response.topics_size(), 2);
  EXPECT_EQ(response.topics(0).factor(), 0);
  EXPECT_EQ(response.topics(1).factor(), 1);
  ASSERT_EQ(response.topics(0).items_size(), 2);
  EXPECT_EQ(response.topics(0).items(1).item_id(), "b");
  EXPECT_EQ(response.topics(0).items(1).weight(), 1);
  EXPECT_EQ(response.topics(0).items(1).ratings(), 5);
}

TEST_F(ModelServiceTest, PagesThroughTheItemsOfOneView) {
  const std::vector<std::string> ids = {"a", "b", "c"};
  server_.engine().on_item_factors = [&](absl::string_view view, int64_t first, int32_t limit) {
    EXPECT_EQ(view, "view-1");
    FactorPage page;
    for (int64_t i = first; i < 3 && i < first + limit; ++i) {
      page.rows.push_back({ids[i], {1.0f, static_cast<float>(i)}, i, 0.5f});
    }
    page.last_page = first + limit >= 3;
    page.sequence = 4;
    return page;
  };
  v1::GetFactorsRequest request;
  request.set_side(v1::GetFactorsRequest::SIDE_ITEMS);
  request.set_page_size(2);
  v1::GetFactorsResponse response;
  ASSERT_TRUE(GetFactors(request, &response).ok());
  ASSERT_EQ(response.rows_size(), 2);
  EXPECT_EQ(response.rows(1).id(), "b");
  EXPECT_THAT(response.rows(1).factors(), ElementsAre(1, 1));
  EXPECT_EQ(response.rows(1).ratings(), 1);
  EXPECT_EQ(response.rows(1).bias(), 0.5f);
  EXPECT_EQ(response.view_token(), "view-1");
  EXPECT_EQ(response.sequence(), 4);
  ASSERT_FALSE(response.next_page_token().empty());

  request.set_page_token(response.next_page_token());  // it says by itself which view it belongs to
  ASSERT_TRUE(GetFactors(request, &response).ok());
  ASSERT_EQ(response.rows_size(), 1);
  EXPECT_EQ(response.rows(0).id(), "c");
  EXPECT_EQ(response.next_page_token(), "");
  request.set_view_token("view-1");
  EXPECT_TRUE(GetFactors(request, &response).ok());
  request.set_view_token("view-2");
  EXPECT_EQ(GetFactors(request, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ModelServiceTest, PagesThroughTheUsers) {
  server_.engine().on_user_factors = [](int64_t first, int32_t limit) {
    EXPECT_EQ(limit, 1);
    return FactorPage{{{first == 0 ? "a" : "b", {1}, 1, 0}}, first > 0, 2};
  };
  v1::GetFactorsRequest request;
  request.set_side(v1::GetFactorsRequest::SIDE_USERS);
  request.set_page_size(1);
  v1::GetFactorsResponse response;
  ASSERT_TRUE(GetFactors(request, &response).ok());
  EXPECT_EQ(response.rows(0).id(), "a");
  EXPECT_EQ(response.view_token(), "");
  request.set_page_token(response.next_page_token());
  ASSERT_TRUE(GetFactors(request, &response).ok());
  EXPECT_EQ(response.rows(0).id(), "b");
  EXPECT_EQ(response.next_page_token(), "");
  request.set_side(v1::GetFactorsRequest::SIDE_ITEMS);
  EXPECT_EQ(GetFactors(request, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ModelServiceTest, APageStaysBelowTheUsualMessageLimit) {
  int32_t asked = 0;
  server_.engine().on_user_factors = [&](int64_t, int32_t limit) {
    asked = limit;
    FactorPage page;
    const static std::string id(256, 'u');
    for (int32_t i = 0; i < limit; ++i) page.rows.push_back({id, std::vector<float>(32, 1), 1, 1});
    return page;
  };
  v1::GetFactorsRequest request;
  request.set_side(v1::GetFactorsRequest::SIDE_USERS);
  request.set_page_size(10'000);
  v1::GetFactorsResponse response;
  const grpc::Status status = GetFactors(request, &response);  // the client takes 4 MiB
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_LT(asked, 10'000);
  EXPECT_GT(response.ByteSizeLong(), size_t{2} << 20);
}

TEST_F(ModelServiceTest, RefusesForgedPageTokens) {
  v1::GetFactorsRequest request;
  request.set_side(v1::GetFactorsRequest::SIDE_ITEMS);
  v1::GetFactorsResponse response;
  for (const char* token : {"x", "items", "items/1", "items/-1/view", "items/x/view", "users/1"}) {
    request.set_page_token(token);
    EXPECT_EQ(GetFactors(request, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT)
        << token;
  }
  server_.engine().on_item_factors = [](absl::string_view, int64_t, int32_t) {
    return absl::FailedPreconditionError("view_token: unknown or expired");
  };
  request.set_page_token("items/1/forged");
  EXPECT_EQ(GetFactors(request, &response).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(ModelServiceTest, KnowsOneModel) {
  grpc::ClientContext contexts[3];
  v1::GetModelRequest model;
  model.set_model("other");
  v1::GetModelResponse model_response;
  EXPECT_EQ(server_.model()->GetModel(&contexts[0], model, &model_response).error_code(),
            grpc::StatusCode::NOT_FOUND);
  v1::ListTopicsRequest topics;
  topics.set_model("other");
  v1::ListTopicsResponse topics_response;
  EXPECT_EQ(server_.model()->ListTopics(&contexts[1], topics, &topics_response).error_code(),
            grpc::StatusCode::NOT_FOUND);
  v1::GetFactorsRequest factors;
  factors.set_model("other");
  v1::GetFactorsResponse factors_response;
  EXPECT_EQ(GetFactors(factors, &factors_response).error_code(), grpc::StatusCode::NOT_FOUND);
}

}  // namespace
}  // namespace factord
