// What the log keeps to itself: a token, at any level; who rated what, at the default level.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/temp_folder.h"
#include "google/protobuf/stubs/logging.h"
#include "tests/e2e/server_process.h"

namespace factord {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Every secret and every id of these tests has its word in it, so that a part of one is found, too.
constexpr char kSecretWord[] = "sesame";
constexpr char kShop[] = "sesame-of-the-shop";  // reads and writes
constexpr char kOps[] = "sesame-of-the-ops";    // the rest
constexpr char kUserWord[] = "nightingale";
constexpr char kItemWord[] = "kingfisher";
constexpr char kEventWord[] = "woodpecker";

// A rating by and of somebody whose name can be found in a log.
void SetTraceableRating(int n, v1::Rating* rating) {
  const std::string number = " " + std::to_string(n);
  SetRating(kUserWord + number, kItemWord + number, 3, rating);
  rating->set_event_id(kEventWord + number);
}

// Calls with one "authorization" header; it does not matter what becomes of them.
class Caller {
 public:
  Caller(const ServerProcess& server, std::string header)
      : channel_(server.channel()), header_(std::move(header)) {}

  void RateAndRead() {
    const google::protobuf::LogSilencer silencer;  // this side's, of what is not UTF-8
    v1::RecordRatingsRequest request;
    for (int n = 0; n < 3; ++n) SetTraceableRating(n, request.add_events());
    Record(request);
    Record(request);  // duplicates
    request.mutable_events(0)->set_rating(4);
    Record(request);  // known ids with other content
    SpoilAndRecord([](v1::Rating* rating) { rating->set_rating(17); });
    SpoilAndRecord(
        [](v1::Rating* rating) { rating->set_rating(std::numeric_limits<float>::quiet_NaN()); });
    SpoilAndRecord([](v1::Rating* rating) { rating->clear_item_id(); });
    SpoilAndRecord([](v1::Rating* rating) { rating->clear_user_id(); });
    SpoilAndRecord([](v1::Rating* rating) { rating->mutable_user_id()->append(300, 'u'); });
    SpoilAndRecord([](v1::Rating* rating) { rating->mutable_item_id()->append(300, 'i'); });
    SpoilAndRecord([](v1::Rating* rating) { rating->mutable_event_id()->append(300, 'e'); });
    SpoilAndRecord([](v1::Rating* rating) { rating->mutable_item_id()->append("\n\t\"\\"); });
    SpoilAndRecord([](v1::Rating* rating) { rating->mutable_user_id()->append("\xff"); });
    SpoilAndRecord([](v1::Rating* rating) { rating->set_event_type("no such type"); });
    SpoilAndRecord([](v1::Rating* rating) { rating->mutable_event_time()->set_nanos(-1); });
    SpoilAndRecord([](v1::Rating* rating) { rating->set_user_id(rating->user_id() + " more"); });
    request.set_model(kUserWord);
    Record(request);
    request.clear_model();
    for (int n = 0; n < 30; ++n) SetTraceableRating(n, request.add_events());
    Record(request);  // more users than there may be

    v1::RecommendItemsRequest recommend;
    recommend.set_user_id(std::string(kUserWord) + " 1");
    recommend.add_deny_item_ids(std::string(kItemWord) + " 1");
    Recommend(recommend);
    recommend.set_user_id(std::string(kUserWord) + " the unknown");
    recommend.set_strict(true);
    Recommend(recommend);
    recommend.set_max_items(-1);
    recommend.mutable_deny_item_ids(0)->append(300, 'i');
    Recommend(recommend);
    v1::PredictRatingsRequest predict;
    predict.add_pairs()->set_user_id(std::string(kUserWord) + " 1");
    Predict(predict);  // of no item
    predict.mutable_pairs(0)->set_item_id(std::string(kItemWord) + " the unknown");
    predict.set_strict(true);
    Predict(predict);
    v1::GetFactorsRequest factors;
    factors.set_page_token(kItemWord);
    Call(*v1::ModelService::NewStub(channel_), &v1::ModelService::Stub::GetFactors, factors,
         v1::GetFactorsResponse());
  }
  void Stream() {
    grpc::ClientContext context;
    Prepare(&context);
    auto stream = v1::RatingService::NewStub(channel_)->StreamRatings(&context);
    v1::StreamRatingsRequest message;
    v1::StreamRatingsResponse response;
    message.mutable_start()->set_producer_id(std::string(kUserWord) + "'s producer");
    stream->Write(message);
    message.mutable_batch()->set_first_number(1);
    for (int n = 0; n < 3; ++n) SetTraceableRating(n, message.mutable_batch()->add_events());
    message.mutable_batch()->mutable_events(1)->set_rating(-1);
    message.mutable_batch()->mutable_events(2)->clear_item_id();
    stream->Write(message);
    message.mutable_batch()->set_first_number(1);  // out of order
    stream->Write(message);
    stream->WritesDone();
    while (stream->Read(&response)) {
    }
    (void)stream->Finish();
  }
  void Operate() {
    Call(*v1::AdminService::NewStub(channel_), &v1::AdminService::Stub::CreateSnapshot,
         v1::CreateSnapshotRequest(), v1::CreateSnapshotResponse());
  }
  grpc::StatusCode GetModel() {
    return Call(*v1::ModelService::NewStub(channel_), &v1::ModelService::Stub::GetModel,
                v1::GetModelRequest(), v1::GetModelResponse());
  }

 private:
  void Prepare(grpc::ClientContext* context) {
    context->set_deadline(std::chrono::system_clock::now() + kPatience);
    if (!header_.empty()) context->AddMetadata("authorization", header_);
  }
  template <typename Stub, typename Method, typename Request, typename Response>
  grpc::StatusCode Call(Stub& stub, Method method, const Request& request, Response response) {
    grpc::ClientContext context;
    Prepare(&context);
    return (stub.*method)(&context, request, &response).error_code();
  }
  void Record(const v1::RecordRatingsRequest& request) {
    Call(*v1::RatingService::NewStub(channel_), &v1::RatingService::Stub::RecordRatings, request,
         v1::RecordRatingsResponse());
  }
  // One rating that is not as it should be, alone and beside a good one.
  void SpoilAndRecord(const std::function<void(v1::Rating*)>& spoil) {
    v1::RecordRatingsRequest request;
    SetTraceableRating(1, request.add_events());
    spoil(request.mutable_events(0));
    Record(request);
    SetTraceableRating(2, request.add_events());
    request.set_allow_partial(true);
    Record(request);
  }
  void Recommend(const v1::RecommendItemsRequest& request) {
    Call(*v1::RecommendationService::NewStub(channel_),
         &v1::RecommendationService::Stub::RecommendItems, request, v1::RecommendItemsResponse());
  }
  void Predict(const v1::PredictRatingsRequest& request) {
    Call(*v1::RecommendationService::NewStub(channel_),
         &v1::RecommendationService::Stub::PredictRatings, request, v1::PredictRatingsResponse());
  }

  const std::shared_ptr<grpc::Channel> channel_;
  const std::string header_;
};

// All that a server with these flags writes while it is called with good, wrong and missing tokens,
// reads its file of tokens again, which is bad then, is killed, recovers, and stops.
std::string LogOf(std::vector<std::string> flags) {
  TempFolder dir;
  const std::string tokens = dir / "tokens";
  const auto write_tokens = [&](const std::string& more) {
    std::ofstream(dir / "new") << "shop read,write " << kShop << "\nops admin,read " << kOps << "\n"
                               << more;
    ASSERT_EQ(std::rename((dir / "new").c_str(), tokens.c_str()), 0);
  };
  write_tokens("");
  flags.insert(flags.end(), {"--data_dir=" + (dir / "data"), "--token_file=" + tokens,
                             "--reload_interval=5ms", "--max_users=20"});
  std::string log;
  {
    ServerProcess server(flags);
    server.WaitUntilServing();
    const std::string bearer = "Bearer ";
    EXPECT_EQ(Caller(server, bearer + kShop).GetModel(), grpc::StatusCode::OK);
    EXPECT_EQ(Caller(server, bearer + kOps).GetModel(), grpc::StatusCode::OK);
    for (const std::string& header :
         {bearer + kShop, bearer + kOps, std::string(), bearer + "sesame-that-nobody-has", bearer,
          bearer + kShop + " ", bearer + "sesame", "Basic " + std::string(kShop),
          std::string(kShop), bearer + kShop + "," + kOps}) {
      Caller caller(server, header);
      caller.RateAndRead();
      caller.Stream();
      caller.Operate();
    }
    write_tokens(
        "shop fly sesame-that-may-fly\nsesame-without-a-name\nother read sesame\nshop read " +
        std::string(kShop) + "\n");
    EXPECT_TRUE(server.WaitForOutput("not reloaded"));
    write_tokens("third read sesame-of-the-third\n");
    while (Caller(server, bearer + "sesame-of-the-third").GetModel() != grpc::StatusCode::OK) {
    }  // the test's time is the limit
    server.Signal(SIGKILL);
    log = server.Wait().output;
  }
  ServerProcess server(flags);
  server.WaitUntilServing();
  server.Signal(SIGTERM);
  const Ended ended = server.Wait();
  EXPECT_EQ(ended.exit_code, kExitOk);
  return log + ended.output;
}

TEST(LogTest, HoldsNoTokenAtAnyLevel) {
  ASSERT_EQ(setenv("FACTORD_TOKENS", "sesame-of-the-environment", 1), 0);  // no flag: a warning
  const std::string json = LogOf({"--log_level=debug", "--log_format=json"});
  const std::string text = LogOf({"--log_level=debug"});
  const std::string info = LogOf({});
  unsetenv("FACTORD_TOKENS");
  for (const std::string& log : {json, text, info}) {
    EXPECT_THAT(log, HasSubstr("FACTORD_TOKENS"));
    EXPECT_THAT(log, HasSubstr("authentication failed"));
    EXPECT_THAT(log, HasSubstr("not reloaded"));
    EXPECT_THAT(log, HasSubstr("recovered"));
    EXPECT_THAT(log, Not(HasSubstr(kSecretWord)));
  }
  EXPECT_THAT(json, HasSubstr("\"message\":\"call\""));
  EXPECT_THAT(text, HasSubstr("debug call method=RecordRatings"));
}

// Symptom: what Protobuf said of a string that is not UTF-8 stood there as text.
TEST(LogTest, HasAnObjectALine) {
  const std::string json = LogOf({"--log_format=json"});
  EXPECT_TRUE(absl::StrContains(json, "\"message\":\"protobuf\""));
  for (const absl::string_view line : absl::StrSplit(json, '\n', absl::SkipEmpty())) {
    EXPECT_TRUE(nlohmann::json::accept(line)) << line;
  }
}

TEST(LogTest, HoldsNoTokenOfAFileThatIsRefusedAtTheStart) {
  TempFolder dir;
  const std::string tokens = dir / "tokens";
  std::ofstream(tokens)
      << "shop fly sesame-that-may-fly\nsesame-without-a-name\nshop read sesame\n";
  const Ended ended = RunProgram({FACTORD_BINARY, "--data_dir=" + (dir / "data"),
                                  "--token_file=" + tokens, "--log_level=debug"});
  EXPECT_EQ(ended.exit_code, kExitUsage);
  EXPECT_THAT(ended.output, HasSubstr(tokens + ":2"));
  EXPECT_THAT(ended.output, Not(HasSubstr(kSecretWord)));
}

TEST(LogTest, HoldsNoIdOfWhoRatedWhatUnlessItIsToldTo) {
  for (const char* format : {"text", "json"}) {
    const std::string log = LogOf({std::string("--log_format=") + format});
    EXPECT_THAT(log, HasSubstr("serving"));
    for (const char* word : {kUserWord, kItemWord, kEventWord}) {
      EXPECT_THAT(log, Not(HasSubstr(word)));
    }
  }
}

}  // namespace
}  // namespace factord
