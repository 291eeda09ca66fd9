// What reads promise, while ratings stream in: read-your-writes, and exact top-k.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/temp_folder.h"
#include "engine/engine.h"
#include "tests/e2e/server_process.h"

namespace factord {
namespace {

using ::testing::ElementsAreArray;

// The score as docs/algorithm.md defines it: 16 partial sums over the coordinates k, k + 16, k +
// 32, ..., the upper half of which is added to the lower until one is left. Every operation is
// rounded to float.
float Score(const google::protobuf::RepeatedField<float>& p,
            const google::protobuf::RepeatedField<float>& q) {
  constexpr int kLanes = 16;
  float sums[kLanes] = {};
  for (int k = 0; k < p.size(); ++k) {
    const float product = p[k] * q[k];
    sums[k % kLanes] += product;
  }
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  }
  return sums[0];
}

// Streams random ratings until it is destroyed.
class RandomWriter {
 public:
  // `users` and `items`: how many there are, called PREFIX0, PREFIX1, ...
  RandomWriter(const ServerProcess& server, std::string user_prefix, int users, int items,
               uint64_t seed)
      : thread_([=, this, &server] {
          const auto stub = v1::RatingService::NewStub(server.NewChannel());
          std::mt19937_64 random(seed);
          while (!stop_) {
            v1::RecordRatingsRequest request;
            for (int i = 0; i < 20; ++i) {
              SetRating(user_prefix + std::to_string(random() % users),
                        "item " + std::to_string(random() % items),
                        static_cast<float>(random() % 11) / 2, request.add_events());
            }
            grpc::ClientContext context;
            v1::RecordRatingsResponse response;
            EXPECT_TRUE(stub->RecordRatings(&context, request, &response).ok());
            ++requests_;
          }
        }) {}
  ~RandomWriter() {
    stop_ = true;
    thread_.join();
  }
  int64_t requests() const { return requests_; }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> requests_{0};
  std::thread thread_;
};

TEST(ReadYourWritesTest, ARatedItemIsGoneAndTheFactorsAreNew) {
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data"), "--durability=async"});
  server.WaitUntilServing();
  constexpr int kClients = 3, kRatings = 300, kItems = 40;
  RandomWriter writer(server, "other ", 50, kItems, 1);
  std::vector<std::thread> clients;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([&, c] {
      const auto channel = server.NewChannel();
      const auto ratings = v1::RatingService::NewStub(channel);
      const auto recommendations = v1::RecommendationService::NewStub(channel);
      std::mt19937_64 random(100 + c);
      std::map<std::string, std::vector<std::string>> rated;
      for (int i = 0; i < kRatings; ++i) {
        const std::string user = "user " + std::to_string(c) + " " + std::to_string(i % 15);
        const std::string item = "item " + std::to_string(random() % kItems);
        v1::RecommendItemsRequest read;
        read.set_user_id(user);
        read.set_max_items(1000);
        read.set_include_user_factors(true);
        v1::RecommendItemsResponse before, after;
        grpc::ClientContext contexts[3];
        ASSERT_TRUE(recommendations->RecommendItems(&contexts[0], read, &before).ok());

        v1::RecordRatingsRequest write;
        SetRating(user, item, 5, write.add_events());
        v1::RecordRatingsResponse written;
        ASSERT_TRUE(ratings->RecordRatings(&contexts[1], write, &written).ok());
        rated[user].push_back(item);

        ASSERT_TRUE(recommendations->RecommendItems(&contexts[2], read, &after).ok());
        EXPECT_GE(after.sequence(), written.last_sequence());
        EXPECT_FALSE(after.cold_start());
        for (const v1::ScoredItem& scored : after.items()) {
          for (const std::string& old : rated[user]) ASSERT_NE(scored.item_id(), old);
        }
        // A rating of 5 lifts every user of this short test: some coordinate must have changed.
        ASSERT_EQ(after.user_factors_size(), 32);
        EXPECT_FALSE(std::equal(before.user_factors().begin(), before.user_factors().end(),
                                after.user_factors().begin(), after.user_factors().end()))
            << user << " " << item;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_GT(writer.requests(), 0);
}

// The answer after each acknowledgement is, bit for bit, that of an engine that was given the same
// events.
TEST(ReadYourWritesTest, AnswersAreThoseOfTheSameEventsAppliedElsewhere) {
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data"), "--durability=async"});
  server.WaitUntilServing();
  EngineOptions options;
  options.data_dir = dir / "reference";
  options.durability = Durability::kAsync;
  options.min_free_bytes = 0;
  auto reference = Engine::Open(options);
  ASSERT_TRUE(reference.ok()) << reference.status();
  const auto recommendations = v1::RecommendationService::NewStub(server.channel());
  std::mt19937_64 random(7);
  for (int i = 0; i < 300; ++i) {
    const OwnedRating rating = {"user " + std::to_string(random() % 10),
                                "item " + std::to_string(random() % 30),
                                static_cast<float>(random() % 11) / 2};
    v1::RecordRatingsRequest write;
    SetRating(rating.user, rating.item, rating.rating, write.add_events());
    RecordRatings(server, write);
    ASSERT_TRUE(Record(**reference, {rating}).status.ok());

    v1::RecommendItemsRequest read;
    read.set_user_id(rating.user);
    read.set_max_items(1000);
    read.set_include_user_factors(true);
    v1::RecommendItemsResponse response;
    grpc::ClientContext context;
    ASSERT_TRUE(recommendations->RecommendItems(&context, read, &response).ok());
    const auto expected = (*reference)
                              ->Recommend({.user_id = rating.user,
                                           .max_items = 1000,
                                           .deny_item_ids = {},
                                           .view_token = "",
                                           .include_user_factors = true,
                                           .keep_going = nullptr});
    ASSERT_TRUE(expected.ok());
    ASSERT_EQ(response.items_size(), static_cast<int>(expected->items.size()));
    for (int k = 0; k < response.items_size(); ++k) {
      ASSERT_EQ(response.items(k).item_id(), expected->items[k].item_id);
      ASSERT_EQ(std::bit_cast<uint32_t>(response.items(k).score()),
                std::bit_cast<uint32_t>(expected->items[k].score));
    }
    ASSERT_THAT(response.user_factors(), ElementsAreArray(expected->user_factors));
  }
  EXPECT_EQ(ComputeHash(server).hash(), (*reference)->ComputeHash()->hash.ToHex());
}

// All items of the pinned view, over as many pages as it takes.
std::vector<v1::FactorRow> GetItems(const ServerProcess& server, std::string* view_token) {
  const auto model = v1::ModelService::NewStub(server.channel());
  v1::GetFactorsRequest request;
  request.set_side(v1::GetFactorsRequest::SIDE_ITEMS);
  request.set_page_size(77);
  request.set_view_token(*view_token);
  std::vector<v1::FactorRow> rows;
  int64_t sequence = -1;
  do {
    grpc::ClientContext context;
    v1::GetFactorsResponse response;
    const grpc::Status status = model->GetFactors(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    if (!status.ok()) break;
    if (sequence >= 0) {
      EXPECT_EQ(response.sequence(), sequence);
    }
    sequence = response.sequence();
    rows.insert(rows.end(), response.rows().begin(), response.rows().end());
    *view_token = response.view_token();
    request.set_view_token(response.view_token());
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return rows;
}

// Rank and variant.
class TopKTest : public ::testing::TestWithParam<std::tuple<int, std::string>> {};

TEST_P(TopKTest, EqualsBruteForceOverTheFactorsOfTheSameView) {
  const auto& [rank, variant] = GetParam();
  const bool has_ranking = variant == "adaptive";
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data"), "--durability=async",
                        "--rank=" + std::to_string(rank), "--variant=" + variant,
                        "--aggressiveness=0.5"});
  server.WaitUntilServing();
  // With the pure update ratings of 0 wear users down to nothing, whose scores then all tie.
  std::mt19937_64 random(rank);
  constexpr int kItems = 400, kUsers = 30;
  v1::RecordRatingsRequest request;
  std::map<std::string, std::vector<std::string>> rated;
  for (int i = 0; i < 3000; ++i) {
    const int user = static_cast<int>(random() % kUsers);
    const std::string user_id = "user " + std::to_string(user);
    const std::string item_id = "item " + std::to_string(random() % kItems);
    SetRating(user_id, item_id, user < 10 ? 0.0f : static_cast<float>(random() % 11) / 2,
              request.add_events());
    rated[user_id].push_back(item_id);
  }
  RecordRatings(server, request);

  RandomWriter writer(server, "other ", 20, kItems + 50, 5);
  const auto recommendations = v1::RecommendationService::NewStub(server.channel());
  int64_t ties = 0, answers = 0;
  for (int round = 0; round < 8; ++round) {
    std::string view_token;
    const std::vector<v1::FactorRow> rows = GetItems(server, &view_token);
    ASSERT_GE(rows.size(), static_cast<size_t>(kItems) - 10);
    // The view stays as it is, while the writer goes on.
    const int64_t requests = writer.requests();
    while (writer.requests() < requests + 3) std::this_thread::yield();
    for (int u = 0; u < kUsers; ++u) {
      const bool exclude_rated = random() % 2 == 0;
      v1::RecommendItemsRequest read;
      read.set_user_id("user " + std::to_string(u));
      const int k = std::vector<int>{1, 7, 100, 1000}[random() % 4];
      read.set_max_items(k);
      read.set_exclude_rated(exclude_rated);
      read.set_view_token(view_token);
      read.set_include_user_factors(true);
      std::vector<std::string> left_out;
      for (int i = 0; i < 5; ++i) {
        left_out.push_back("item " + std::to_string(random() % kItems));
        read.add_deny_item_ids(left_out.back());
      }
      grpc::ClientContext context;
      v1::RecommendItemsResponse response;
      const grpc::Status status = recommendations->RecommendItems(&context, read, &response);
      ASSERT_TRUE(status.ok()) << status.error_message();
      ASSERT_EQ(response.user_factors_size(), rank);

      if (exclude_rated) {
        const auto& items = rated[read.user_id()];
        left_out.insert(left_out.end(), items.begin(), items.end());
      }
      std::sort(left_out.begin(), left_out.end());
      std::vector<std::pair<float, std::string>> expected;  // minus the score, id
      for (const v1::FactorRow& row : rows) {
        if (std::binary_search(left_out.begin(), left_out.end(), row.id())) continue;
        const float score =
            has_ranking ? Score(response.user_factors(), row.ranking_factors()) + row.ranking_bias()
                        : Score(response.user_factors(), row.factors());
        expected.emplace_back(-score, row.id());
      }
      std::sort(expected.begin(), expected.end());
      if (expected.size() > static_cast<size_t>(k)) expected.resize(k);
      ASSERT_EQ(response.items_size(), static_cast<int>(expected.size()));
      for (int i = 0; i < response.items_size(); ++i) {
        ASSERT_EQ(response.items(i).item_id(), expected[i].second) << "place " << i;
        ASSERT_EQ(response.items(i).score(), -expected[i].first);
        ties += i > 0 && response.items(i).score() == response.items(i - 1).score();
        ++answers;
      }
    }
  }
  if (has_ranking) return;
  EXPECT_GT(ties, 100) << "of " << answers;  // otherwise their order has not been looked at
  EXPECT_LT(ties, answers / 2);
}

// One below, at and above the number of partial sums, and a larger one.
INSTANTIATE_TEST_SUITE_P(Ranks, TopKTest,
                         ::testing::Combine(::testing::Values(3, 16, 17, 50),
                                            ::testing::Values("adaptive", "pa-1")));

}  // namespace
}  // namespace factord
