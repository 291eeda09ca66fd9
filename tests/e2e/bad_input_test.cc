// Bad input over the wire: for each, the code, the message, and a state that is as it was.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <future>
#include <limits>
#include <string>
#include <vector>

#include "base/temp_folder.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/e2e/server_process.h"

namespace factord {
namespace {

using ::testing::HasSubstr;

constexpr char kRecord[] = "/factord.v1.RatingService/RecordRatings";
constexpr char kRecommend[] = "/factord.v1.RecommendationService/RecommendItems";
constexpr char kPredict[] = "/factord.v1.RecommendationService/PredictRatings";
constexpr char kGetModel[] = "/factord.v1.ModelService/GetModel";
constexpr char kTopics[] = "/factord.v1.ModelService/ListTopics";
constexpr char kFactors[] = "/factord.v1.ModelService/GetFactors";
constexpr char kSnapshot[] = "/factord.v1.AdminService/CreateSnapshot";
constexpr char kHash[] = "/factord.v1.AdminService/ComputeHash";
constexpr char kBackup[] = "/factord.v1.AdminService/Backup";
constexpr char kStartPasses[] = "/factord.v1.AdminService/StartPasses";
constexpr char kGetPasses[] = "/factord.v1.AdminService/GetPasses";
constexpr char kStopPasses[] = "/factord.v1.AdminService/StopPasses";

// A server with some ratings in it, which nothing below may change.
class BadInputTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempFolder;
    server_ = new ServerProcess({"--data_dir=" + (*dir_ / "data")});
    server_->WaitUntilServing();
    v1::RecordRatingsRequest request;
    for (int i = 0; i < 50; ++i) {
      SetRating("user " + std::to_string(i % 7), "item " + std::to_string(i % 11), 3,
                request.add_events());
    }
    request.mutable_events(0)->set_event_id("known");
    RecordRatings(*server_, request);
  }
  static void TearDownTestSuite() {
    delete server_;
    delete dir_;
  }

  void SetUp() override {
    sequence_ = GetModel(*server_).sequence();
    hash_ = ComputeHash(*server_).hash();
  }
  void TearDown() override {
    EXPECT_EQ(GetModel(*server_).sequence(), sequence_);
    EXPECT_EQ(ComputeHash(*server_).hash(), hash_);
  }

  // Sends bytes as they are.
  static grpc::Status Send(const std::string& method, const std::string& bytes) {
    const grpc::Slice slice(bytes);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer response;
    grpc::ClientContext context;
    grpc::GenericStub stub(server_->channel());
    std::promise<grpc::Status> done;
    stub.UnaryCall(&context, method, grpc::StubOptions(), &request, &response,
                   [&](const grpc::Status& status) { done.set_value(status); });
    return done.get_future().get();
  }

  // Sends a request that must be refused with `code` and a message that has `text` in it.
  static grpc::Status Refuse(const std::string& method, const google::protobuf::Message& request,
                             grpc::StatusCode code, const std::string& text) {
    const grpc::Status status = Send(method, request.SerializeAsString());
    EXPECT_EQ(status.error_code(), code) << method << " " << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(text)) << method;
    return status;
  }

  static inline TempFolder* dir_ = nullptr;
  static inline ServerProcess* server_ = nullptr;
  int64_t sequence_ = 0;
  std::string hash_;
};

TEST_F(BadInputTest, BadEvents) {
  struct Case {
    std::function<void(v1::Rating*)> spoil;
    std::string message;
  };
  const std::vector<Case> cases = {
      {[](v1::Rating* r) { r->set_rating(std::nanf("")); },
       "rating: must be a finite float, 0 to 5"},
      {[](v1::Rating* r) { r->set_rating(std::numeric_limits<float>::infinity()); },
       "rating: must be a finite float, 0 to 5"},
      {[](v1::Rating* r) { r->set_rating(-std::numeric_limits<float>::infinity()); },
       "rating: must be a finite float, 0 to 5"},
      {[](v1::Rating* r) { r->set_rating(5.1f); }, "rating: must be 0 to 5"},
      {[](v1::Rating* r) { r->set_rating(-0.1f); }, "rating: must be 0 to 5"},
      {[](v1::Rating* r) { r->clear_rating(); }, "rating: must be set"},
      {[](v1::Rating* r) { r->clear_user_id(); }, "user_id: must have 1 to 256 bytes, has 0"},
      {[](v1::Rating* r) { r->set_user_id(std::string(257, 'u')); },
       "user_id: must have 1 to 256 bytes, has 257"},
      {[](v1::Rating* r) { r->clear_item_id(); }, "item_id: must have 1 to 256 bytes, has 0"},
      {[](v1::Rating* r) { r->set_item_id(std::string(257, 'i')); },
       "item_id: must have 1 to 256 bytes, has 257"},
      {[](v1::Rating* r) { r->set_event_id(std::string(65, 'e')); },
       "event_id: must have at most 64 bytes, has 65"},
      {[](v1::Rating* r) { r->set_recommendation_id(std::string(65, 'r')); },
       "recommendation_id: must have at most 64 bytes, has 65"},
      {[](v1::Rating* r) { r->mutable_event_time()->set_seconds(1LL << 60); },
       "event_time.seconds: must lie between"},
      {[](v1::Rating* r) { r->mutable_event_time()->set_nanos(-1); },
       "event_time.nanos: must be 0 to 999999999"},
  };
  for (const Case& c : cases) {
    v1::RecordRatingsRequest request;
    for (int i = 0; i < 3; ++i) SetRating("new user", "new item", 1, request.add_events());
    c.spoil(request.mutable_events(1));
    const grpc::Status status =
        Refuse(kRecord, request, grpc::StatusCode::INVALID_ARGUMENT, "events[1]." + c.message);
    google::rpc::Status details;
    google::rpc::BadRequest bad_request;
    ASSERT_TRUE(details.ParseFromString(status.error_details()));
    ASSERT_EQ(details.details_size(), 1);
    ASSERT_TRUE(details.details(0).UnpackTo(&bad_request));
    ASSERT_EQ(bad_request.field_violations_size(), 1);
    EXPECT_EQ(bad_request.field_violations(0).field() + ": ",
              "events[1]." + c.message.substr(0, c.message.find(": ") + 2));
  }
}

TEST_F(BadInputTest, AllBadFieldsAtOnce) {
  v1::RecordRatingsRequest request;
  for (int i = 0; i < 4; ++i) SetRating("", "", std::nanf(""), request.add_events());
  const grpc::Status status = Refuse(kRecord, request, grpc::StatusCode::INVALID_ARGUMENT, "");
  google::rpc::Status details;
  google::rpc::BadRequest bad_request;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  ASSERT_TRUE(details.details(0).UnpackTo(&bad_request));
  EXPECT_EQ(bad_request.field_violations_size(), 12);
}

TEST_F(BadInputTest, BytesThatAreNoMessage) {
  const auto expect_unparsable = [&](const char* method, const std::string& bytes,
                                     const std::string& name) {
    const grpc::Status status = Send(method, bytes);
    // Symptom: INTERNAL, for which the operator was called.
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr("not a valid factord.v1." + name));
  };
  v1::RecordRatingsRequest request;
  SetRating("uXX", "item", 1, request.add_events());
  std::string bytes = request.SerializeAsString();
  for (const std::string& bad : {std::string("\xff\xfe"), std::string("\xc3\x28"),
                                 std::string("\xed\xa0"), std::string("\xc0\x80")}) {
    std::string spoiled = bytes;
    spoiled.replace(spoiled.find("XX"), 2, bad);
    expect_unparsable(kRecord, spoiled, "RecordRatingsRequest");  // an id that is not UTF-8
  }
  expect_unparsable(kRecommend, "\x12\x02\xff\xfe", "RecommendItemsRequest");
  // Bytes that are no message at all, and one that is cut off.
  expect_unparsable(kRecord, "\xff\xff\xff", "RecordRatingsRequest");
  expect_unparsable(kRecord, bytes.substr(0, bytes.size() - 1), "RecordRatingsRequest");
}

TEST_F(BadInputTest, NoRequestAtAll) {
  struct Reactor final : grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
    void OnDone(const grpc::Status& status) override { done.set_value(status); }
    std::promise<grpc::Status> done;
  } reactor;
  grpc::ClientContext context;
  grpc::GenericStub stub(server_->channel());
  stub.PrepareBidiStreamingCall(&context, kRecord, grpc::StubOptions(), &reactor);
  reactor.StartWritesDone();
  reactor.StartCall();
  const grpc::Status status = reactor.done.get_future().get();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("the request: there is none"));
}

TEST_F(BadInputTest, AnUnknownMethod) {
  EXPECT_EQ(Send("/factord.v1.RatingService/NoSuchMethod", "").error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(BadInputTest, NoEventsAndTooMany) {
  v1::RecordRatingsRequest request;
  Refuse(kRecord, request, grpc::StatusCode::INVALID_ARGUMENT,
         "events: must have 1 to 10000 elements, has 0");
  for (int i = 0; i < 10'001; ++i) SetRating("u", "i", 1, request.add_events());
  for (const bool allow_partial : {false, true}) {
    request.set_allow_partial(allow_partial);
    Refuse(kRecord, request, grpc::StatusCode::INVALID_ARGUMENT,
           "events: must have 1 to 10000 elements, has 10001");
  }
  request.mutable_events(0)->set_user_id(std::string(17 << 20, 'u'));
  Refuse(kRecord, request, grpc::StatusCode::RESOURCE_EXHAUSTED, "larger than max");
}

TEST_F(BadInputTest, AnEventIdWithOtherContent) {
  v1::RecordRatingsRequest request;
  SetRating("new user", "new item", 3, request.add_events());
  SetRating("user 0", "item 0", 4, request.add_events());
  request.mutable_events(1)->set_event_id("known");
  Refuse(kRecord, request, grpc::StatusCode::ALREADY_EXISTS, "events[1].event_id");
  // Twice in one request, too.
  request.mutable_events(0)->set_event_id("fresh");
  request.mutable_events(1)->set_event_id("fresh");
  Refuse(kRecord, request, grpc::StatusCode::ALREADY_EXISTS, "events[1].event_id");
  // The same content is a duplicate, which changes nothing either.
  request.mutable_events()->DeleteSubrange(0, 1);
  SetRating("user 0", "item 0", 3, request.mutable_events(0));
  request.mutable_events(0)->set_event_id("known");
  const v1::RecordRatingsResponse response = RecordRatings(*server_, request);
  ASSERT_EQ(response.results_size(), 1);
  EXPECT_EQ(response.results(0).outcome(), v1::RatingResult::OUTCOME_DUPLICATE);
  EXPECT_EQ(response.results(0).sequence(), 1);
}

TEST_F(BadInputTest, RejectedEventsOfAPartialRequest) {
  v1::RecordRatingsRequest request;
  request.set_allow_partial(true);
  SetRating("u", "i", 6, request.add_events());
  SetRating("user 0", "item 0", 4, request.add_events());
  request.mutable_events(1)->set_event_id("known");
  const v1::RecordRatingsResponse response = RecordRatings(*server_, request);
  EXPECT_EQ(response.last_sequence(), 0);
  ASSERT_EQ(response.results_size(), 2);
  EXPECT_EQ(response.results(0).outcome(), v1::RatingResult::OUTCOME_REJECTED);
  EXPECT_EQ(response.results(0).reason(), "rating: must be 0 to 5");
  EXPECT_EQ(response.results(1).outcome(), v1::RatingResult::OUTCOME_REJECTED);
  EXPECT_THAT(response.results(1).reason(), HasSubstr("event_id: "));
}

TEST_F(BadInputTest, Recommendations) {
  const auto refuse = [](const std::function<void(v1::RecommendItemsRequest*)>& spoil,
                         grpc::StatusCode code, const std::string& text) {
    v1::RecommendItemsRequest request;
    request.set_user_id("user 1");
    spoil(&request);
    Refuse(kRecommend, request, code, text);
  };
  using R = v1::RecommendItemsRequest;
  constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;
  refuse([](R* r) { r->clear_user_id(); }, kInvalid, "user_id: must have 1 to 256 bytes");
  refuse([](R* r) { r->set_user_id(std::string(257, 'u')); }, kInvalid, "user_id: ");
  for (const int bad : {0, -1, 1001, std::numeric_limits<int>::max()}) {
    refuse([=](R* r) { r->set_max_items(bad); }, kInvalid, "max_items: must be 1 to 1000");
  }
  refuse([](R* r) { r->add_deny_item_ids(""); }, kInvalid, "deny_item_ids[0]: ");
  refuse(
      [](R* r) {
        for (int i = 0; i < 10'001; ++i) r->add_deny_item_ids("i");
      },
      kInvalid, "deny_item_ids: must have at most 10000 elements");
  refuse([](R* r) { r->set_min_sequence(-1); }, kInvalid, "min_sequence: must be at least 0");
  refuse([](R* r) { r->set_min_sequence(1'000'000); }, grpc::StatusCode::OUT_OF_RANGE,
         "min_sequence: 1000000 was never assigned");
  refuse([](R* r) { r->set_view_token("forged"); }, grpc::StatusCode::FAILED_PRECONDITION, "view");
  refuse(
      [](R* r) {
        r->set_user_id("nobody");
        r->set_strict(true);
      },
      grpc::StatusCode::NOT_FOUND, "user_id");
}

TEST_F(BadInputTest, Predictions) {
  v1::PredictRatingsRequest request;
  Refuse(kPredict, request, grpc::StatusCode::INVALID_ARGUMENT, "pairs: must have 1 to 10000");
  v1::UserItemPair* pair = request.add_pairs();
  Refuse(kPredict, request, grpc::StatusCode::INVALID_ARGUMENT,
         "pairs[0].user_id: must have 1 to 256 bytes, has 0; pairs[0].item_id: must have 1 to 256 "
         "bytes");
  pair->set_user_id("user 1");
  pair->set_item_id("nothing");
  request.set_strict(true);
  Refuse(kPredict, request, grpc::StatusCode::NOT_FOUND, "pairs[0].item_id");
  request.set_min_sequence(1'000'000);
  Refuse(kPredict, request, grpc::StatusCode::OUT_OF_RANGE, "min_sequence");
}

TEST_F(BadInputTest, ModelAndAdmin) {
  v1::ListTopicsRequest topics;
  topics.set_items_per_topic(0);
  topics.set_min_ratings(-1);
  Refuse(kTopics, topics, grpc::StatusCode::INVALID_ARGUMENT,
         "items_per_topic: must be 1 to 100, is 0; min_ratings: must be at least 0");
  v1::GetFactorsRequest factors;
  factors.set_page_size(10'001);
  Refuse(kFactors, factors, grpc::StatusCode::INVALID_ARGUMENT,
         "side: must be SIDE_ITEMS or SIDE_USERS; page_size: must be 1 to 10000");
  factors.clear_page_size();
  factors.set_side(v1::GetFactorsRequest::SIDE_ITEMS);
  factors.set_page_token("forged");
  Refuse(kFactors, factors, grpc::StatusCode::INVALID_ARGUMENT, "page_token: ");
  factors.clear_page_token();
  factors.set_view_token("forged");
  Refuse(kFactors, factors, grpc::StatusCode::FAILED_PRECONDITION, "view");
  v1::BackupRequest backup;
  backup.set_name("../escape");
  Refuse(kBackup, backup, grpc::StatusCode::INVALID_ARGUMENT, "name: ");
  v1::StartPassesRequest passes;
  Refuse(kStartPasses, passes, grpc::StatusCode::INVALID_ARGUMENT, "passes: ");
  passes.set_passes(101);
  Refuse(kStartPasses, passes, grpc::StatusCode::INVALID_ARGUMENT, "passes: ");
}

TEST_F(BadInputTest, AnUnknownModel) {
  const auto refuse = [](const std::string& method, auto request) {
    request.set_model("other");
    Refuse(method, request, grpc::StatusCode::NOT_FOUND, "model: there is none called \"other\"");
  };
  v1::RecordRatingsRequest record;
  SetRating("u", "i", 1, record.add_events());
  refuse(kRecord, record);
  v1::RecommendItemsRequest recommend;
  recommend.set_user_id("user 1");
  refuse(kRecommend, recommend);
  v1::PredictRatingsRequest predict;
  predict.add_pairs()->set_user_id("u");
  refuse(kPredict, predict);
  refuse(kGetModel, v1::GetModelRequest());
  refuse(kTopics, v1::ListTopicsRequest());
  refuse(kFactors, v1::GetFactorsRequest());
  refuse(kSnapshot, v1::CreateSnapshotRequest());
  refuse(kHash, v1::ComputeHashRequest());
  refuse(kBackup, v1::BackupRequest());
  refuse(kStartPasses, v1::StartPassesRequest());
  refuse(kGetPasses, v1::GetPassesRequest());
  refuse(kStopPasses, v1::StopPassesRequest());
}

TEST_F(BadInputTest, TooManyPinnedViews) {
  v1::GetFactorsRequest request;
  request.set_side(v1::GetFactorsRequest::SIDE_ITEMS);
  grpc::Status status;
  for (int i = 0; i < 1000 && status.ok(); ++i)
    status = Send(kFactors, request.SerializeAsString());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
}

// Messages out of protocol, each in a stream of its own.
TEST_F(BadInputTest, Streams) {
  const auto refuse = [&](const std::vector<std::function<void(v1::StreamRatingsRequest*)>>& says,
                          grpc::StatusCode code, const std::string& text) {
    grpc::ClientContext context;
    auto stream = v1::RatingService::NewStub(server_->channel())->StreamRatings(&context);
    for (const auto& say : says) {
      v1::StreamRatingsRequest message;
      say(&message);
      stream->Write(message);
    }
    v1::StreamRatingsResponse response;
    while (stream->Read(&response)) {
    }
    const grpc::Status status = stream->Finish();
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(text));
  };
  using M = v1::StreamRatingsRequest;
  constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;
  const auto start = [](M* m) { m->mutable_start(); };
  const auto batch = [](int64_t number, int events) {
    return [=](M* m) {
      m->mutable_batch()->set_first_number(number);
      for (int i = 0; i < events; ++i) m->mutable_batch()->add_events();  // bad: nothing is applied
    };
  };
  refuse({[](M*) {}}, kInvalid, "message: must be `start`");
  refuse({batch(1, 1)}, kInvalid, "message: must be `start`");
  refuse({start, start}, kInvalid, "message: must be `batch`");
  refuse({start, batch(0, 1)}, kInvalid, "batch.first_number: must be at least 1");
  refuse({start, batch(1, 0)}, kInvalid, "batch.events: must have 1 to 10000 elements, has 0");
  refuse({start, batch(1, 10'001)}, kInvalid, "batch.events: must have 1 to 10000 elements");
  refuse({start, batch(5, 2), batch(6, 1)}, kInvalid, "batch.first_number: must increase: 6");
  refuse({[](M* m) { m->mutable_start()->set_producer_id(std::string(65, 'p')); }}, kInvalid,
         "start.producer_id: must have at most 64 bytes");
  refuse({[](M* m) { m->mutable_start()->set_model("other"); }}, grpc::StatusCode::NOT_FOUND,
         "model: there is none");
}

TEST(StreamWindowTest, MoreThanTheWindowEndsTheStreamAndWhatWasWithinItIsKept) {
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data"), "--stream_window_events=10000"});
  server.WaitUntilServing();
  // Batch upon batch without looking at an acknowledgement, until the server has seen enough: the
  // second one mostly, since a group of ten thousand takes longer to sync than the next to read.
  grpc::ClientContext context;
  auto stream = v1::RatingService::NewStub(server.channel())->StreamRatings(&context);
  v1::StreamRatingsRequest message;
  message.mutable_start()->set_producer_id("p");
  stream->Write(message);
  int64_t number = 1;
  bool open = true;
  for (int i = 0; i < 1000 && open; ++i, number += 9'999) {
    message.mutable_batch()->Clear();
    message.mutable_batch()->set_first_number(number);
    for (int k = 0; k < 9'999; ++k) {
      SetRating("u", "i" + std::to_string(k % 10), 1, message.mutable_batch()->add_events());
    }
    open = stream->Write(message);
  }
  int64_t acknowledged = 0;
  v1::StreamRatingsResponse response;
  while (stream->Read(&response)) acknowledged = response.ack().last_number();
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
  EXPECT_THAT(status.error_message(), HasSubstr("window_events (10000)"));
  EXPECT_GT(acknowledged, 0);
  EXPECT_EQ(GetModel(server).sequence(), acknowledged);
}

}  // namespace
}  // namespace factord
