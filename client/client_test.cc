#include "client/client.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <set>
#include <thread>

#include "absl/time/clock.h"
#include "client/fake_server.h"
#include "client/status.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::SizeIs;

std::unique_ptr<Client> Connect(const std::string& target) {
  auto client = Client::Create({.target = target});
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

std::string Message(const absl::Status& status) { return std::string(status.message()); }

v1::RecordRatingsRequest OneRating() {
  v1::RecordRatingsRequest request;
  v1::Rating* event = request.add_events();
  event->set_user_id("ann");
  event->set_item_id("casablanca");
  event->set_rating(4.5);
  return request;
}

// Answers the first `failures` calls with `code`.
std::function<grpc::Status(const std::string&)> FailFirst(int failures, grpc::StatusCode code) {
  auto left = std::make_shared<std::atomic<int>>(failures);
  return [left, code](const std::string&) {
    return left->fetch_sub(1) > 0 ? grpc::Status(code, "injected") : grpc::Status::OK;
  };
}

TEST(ClientTest, EachMethodCallsItsRpc) {
  FakeServer server;
  auto client = Connect(server.target());
  v1::RecommendItemsRequest recommend;
  recommend.set_max_items(3);
  auto recommended = client->RecommendItems(recommend);
  ASSERT_TRUE(recommended.ok()) << recommended.status();
  EXPECT_THAT(recommended->items(), SizeIs(3));
  v1::PredictRatingsRequest predict;
  predict.add_pairs();
  auto predicted = client->PredictRatings(predict);
  ASSERT_TRUE(predicted.ok()) << predicted.status();
  EXPECT_EQ(predicted->predictions(0).rating(), 0.5F);
  auto recorded = client->RecordRatings(OneRating());
  ASSERT_TRUE(recorded.ok()) << recorded.status();
  EXPECT_EQ(recorded->last_sequence(), 1);
  EXPECT_EQ(client->GetModel({})->sequence(), 1);
  EXPECT_THAT(client->ListTopics({})->topics(), SizeIs(1));
  EXPECT_EQ(client->GetFactors({})->view_token(), "pinned");
  EXPECT_EQ(client->CreateSnapshot({})->sequence(), 3);
  EXPECT_THAT(client->ComputeHash({})->hash(), SizeIs(32));
  v1::BackupRequest backup;
  backup.set_name("monday");
  EXPECT_EQ(client->Backup(backup)->path(), "/backups/monday");
  EXPECT_TRUE(client->StartPasses({}).ok());
  EXPECT_EQ(client->GetPasses({})->progress().passes(), 4);
  EXPECT_EQ(client->StopPasses({})->progress().passes(), 5);
  EXPECT_EQ(client->CheckHealth("factord.v1.RatingService")->status(),
            grpc::health::v1::HealthCheckResponse::SERVING);
  EXPECT_THAT(server.calls(), ElementsAre("RecommendItems", "PredictRatings", "RecordRatings",
                                          "GetModel", "ListTopics", "GetFactors", "CreateSnapshot",
                                          "ComputeHash", "Backup", "StartPasses", "GetPasses",
                                          "StopPasses", "Check factord.v1.RatingService"));
}

TEST(ClientTest, StampsEventsThatHaveNoId) {
  FakeServer server;
  auto client = Connect(server.target());
  v1::RecordRatingsRequest request = OneRating();
  *request.add_events() = request.events(0);
  request.mutable_events(1)->set_event_id("mine");
  *request.add_events() = request.events(0);
  ASSERT_TRUE(client->RecordRatings(request).ok());
  ASSERT_TRUE(client->RecordRatings(request).ok());
  std::set<std::string> ids;
  for (const auto& applied : server.applied()) {
    EXPECT_LE(applied.rating.event_id().size(), 64u);
    ids.insert(applied.rating.event_id());
  }
  EXPECT_THAT(ids, SizeIs(5));  // four new ones and "mine", twice
  EXPECT_EQ(ids.count(""), 0u);
  EXPECT_EQ(ids.count("mine"), 1u);
}

TEST(ClientTest, TwoClientsStampDifferentIds) {
  EventIdSource a, b;
  EXPECT_NE(a.Next(), b.Next());
  EXPECT_THAT(RandomHex128(), SizeIs(32));
}

TEST(ClientTest, RepeatsAWriteWithTheSameIds) {
  for (const auto code : {grpc::StatusCode::UNAVAILABLE, grpc::StatusCode::RESOURCE_EXHAUSTED}) {
    FakeServer server;
    server.on_call = FailFirst(2, code);
    auto client = Connect(server.target());
    ASSERT_TRUE(client->RecordRatings(OneRating()).ok());
    const auto requests = server.record_requests();
    ASSERT_THAT(requests, SizeIs(3));
    EXPECT_FALSE(requests[0].events(0).event_id().empty());
    EXPECT_EQ(requests[0].events(0).event_id(), requests[1].events(0).event_id());
    EXPECT_EQ(requests[0].events(0).event_id(), requests[2].events(0).event_id());
  }
}

TEST(ClientTest, RepeatsReads) {
  FakeServer server;
  server.on_call = FailFirst(2, grpc::StatusCode::UNAVAILABLE);
  auto client = Connect(server.target());
  EXPECT_TRUE(client->RecommendItems({}).ok());
  EXPECT_THAT(server.calls(), SizeIs(3));
}

// Longer than gRPC's own five attempts, which last 1.5 s at the most.
TEST(ClientTest, GoesOnUntilItsDeadline) {
  FakeServer server;
  server.on_call = FailFirst(8, grpc::StatusCode::UNAVAILABLE);
  auto client = Connect(server.target());
  EXPECT_TRUE(client->RecordRatings(OneRating(), absl::Seconds(30)).ok());
  EXPECT_THAT(server.record_requests(), SizeIs(9));

  server.on_call = FailFirst(1'000, grpc::StatusCode::UNAVAILABLE);
  const absl::Time start = absl::Now();
  const absl::Status status = client->GetModel({}, absl::Milliseconds(300)).status();
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
  // The last attempt may have been under way when the time was over.
  EXPECT_THAT(Message(status),
              AnyOf(MatchesRegex("injected; gave up after [2-6] attempts in 300ms"),
                    MatchesRegex("no answer from .* within 300ms, in [2-6] attempts; the last "
                                 "error: injected")));
}

TEST(ClientTest, WaitsForAsLongAsTheServerAsks) {
  FakeServer server;
  server.on_call = FailFirst(1, grpc::StatusCode::RESOURCE_EXHAUSTED);
  server.pushback = "300";
  auto client = Connect(server.target());
  const absl::Time start = absl::Now();
  EXPECT_TRUE(client->RecordRatings(OneRating()).ok());
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(300));
}

TEST(ClientTest, DoesNotRepeatWhereTheServerDoesNotAskForIt) {
  for (const char* pushback : {"", "-1", "no number"}) {
    FakeServer server;
    server.on_call = FailFirst(1'000, grpc::StatusCode::RESOURCE_EXHAUSTED);
    server.pushback = pushback;
    auto client = Connect(server.target());
    EXPECT_TRUE(absl::IsResourceExhausted(client->RecordRatings(OneRating()).status()));
    EXPECT_THAT(server.calls(), SizeIs(1)) << pushback;
  }
}

TEST(ClientTest, SaysWhereTheOutcomeOfAWriteIsUnknown) {
  constexpr char kUnknown[] = "whether the ratings were recorded is unknown";
  FakeServer server;
  std::atomic<int> calls{0};
  auto client = Connect(server.target());
  const auto record = [&] {
    return Message(client->RecordRatings(OneRating(), absl::Milliseconds(500)).status());
  };
  server.on_call = FailFirst(1'000, grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(record(), HasSubstr(kUnknown));
  server.on_call = FailFirst(1'000, grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(record(), AllOf(HasSubstr("injected"), Not(HasSubstr(kUnknown))));
  // The first attempt may have been the one.
  server.on_call = [&](const std::string&) {
    return ++calls == 1 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "injected")
                        : grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "disk");
  };
  EXPECT_THAT(record(), AllOf(HasSubstr("disk"), HasSubstr(kUnknown)));
  server.Stop();
  client = Connect(server.target());
  EXPECT_THAT(record(), AllOf(HasSubstr("refused"), Not(HasSubstr(kUnknown))));
}

TEST(ClientTest, AStampedRequestKeepsItsIds) {
  FakeServer server;
  auto client = Connect(server.target());
  v1::RecordRatingsRequest request = OneRating();
  client->StampEventIds(&request);
  const std::string id = request.events(0).event_id();
  EXPECT_FALSE(id.empty());
  ASSERT_TRUE(client->RecordRatings(request).ok());
  EXPECT_EQ(server.record_requests()[0].events(0).event_id(), id);
}

TEST(ClientTest, DoesNotRepeatWhatWouldFailAgainOrWhatIsNotIdempotent) {
  FakeServer server;
  server.on_call = FailFirst(1000, grpc::StatusCode::INVALID_ARGUMENT);
  auto client = Connect(server.target());
  EXPECT_TRUE(absl::IsInvalidArgument(client->RecordRatings(OneRating()).status()));
  EXPECT_THAT(server.calls(), SizeIs(1));

  FakeServer other;
  other.on_call = FailFirst(1000, grpc::StatusCode::UNAVAILABLE);
  client = Connect(other.target());
  EXPECT_TRUE(absl::IsUnavailable(client->Backup({}).status()));
  EXPECT_TRUE(absl::IsUnavailable(client->CreateSnapshot({}).status()));
  EXPECT_TRUE(absl::IsUnavailable(client->CheckHealth("").status()));
  EXPECT_THAT(other.calls(), SizeIs(3));
}

TEST(ClientTest, ReadsAndWritesWaitForAServer) {
  FakeServer server;
  server.Stop();
  auto client = Connect(server.target());
  const absl::Status status = client->GetModel({}, absl::Milliseconds(200)).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(Message(status), HasSubstr("Connection refused"));
  absl::StatusOr<v1::RecordRatingsResponse> recorded;
  std::thread writer([&] { recorded = client->RecordRatings(OneRating(), absl::Seconds(30)); });
  std::thread starter([&] { server.Start(); });
  EXPECT_TRUE(client->GetModel({}, absl::Seconds(30)).ok());
  writer.join();
  starter.join();
  EXPECT_TRUE(recorded.ok()) << recorded.status();
}

TEST(ClientTest, SaysWhetherThereWasAServer) {
  FakeServer server;
  std::atomic<bool> done{false};
  server.on_call = [&](const std::string&) {
    while (!done) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return grpc::Status::OK;
  };
  auto client = Connect(server.target());
  absl::Status status = client->GetModel({}, absl::Milliseconds(200)).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_THAT(Message(status), HasSubstr("no answer from " + server.target() + " within 200ms"));
  done = true;

  // Somebody listens, and says nothing.
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string silent = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  client = Connect(silent);
  status = client->RecordRatings(OneRating(), absl::Milliseconds(200)).status();
  EXPECT_EQ(status, absl::DeadlineExceededError("no connection to " + silent + " within 200ms"));
  close(fd);
}

// Symptom: the error said that something in the request was malformed or not UTF-8, and not what.
TEST(ClientTest, RefusesTextThatIsNotUtf8BeforeAnythingIsSent) {
  FakeServer server;
  auto client = Connect(server.target());
  v1::RecordRatingsRequest request = OneRating();
  *request.add_events() = request.events(0);
  request.mutable_events(1)->set_item_id("caf\xE9");
  request.mutable_events(1)->set_recommendation_id("\xFF");
  EXPECT_EQ(client->RecordRatings(request).status(),
            absl::InvalidArgumentError("events[1].item_id: is not valid UTF-8; "
                                       "events[1].recommendation_id: is not valid UTF-8"));
  request.mutable_events(0)->set_user_id("\xFF");
  request.set_model("\xFF");
  EXPECT_EQ(client->RecordRatings(request).status(),
            absl::InvalidArgumentError("model: is not valid UTF-8; events[0].user_id: is not valid "
                                       "UTF-8; events[1].item_id: is not valid UTF-8; "
                                       "events[1].recommendation_id: is not valid UTF-8"));
  v1::PredictRatingsRequest predict;
  predict.add_pairs()->set_user_id("ann");
  predict.add_pairs()->set_item_id("\xFF");
  EXPECT_EQ(client->PredictRatings(predict).status(),
            absl::InvalidArgumentError("pairs[1].item_id: is not valid UTF-8"));
  v1::RecommendItemsRequest recommend;
  recommend.add_deny_item_ids("good");
  recommend.add_deny_item_ids("\xFF");
  EXPECT_EQ(client->RecommendItems(recommend).status(),
            absl::InvalidArgumentError("deny_item_ids[1]: is not valid UTF-8"));
  EXPECT_THAT(server.calls(), SizeIs(0));
}

TEST(ClientTest, ANegativeTimeoutIsATimeThatIsOver) {
  FakeServer server;
  auto client = Connect(server.target());
  EXPECT_EQ(client->RecordRatings(OneRating(), absl::Seconds(-1)).status(),
            absl::DeadlineExceededError("not sent: the timeout, -1s, is over before the call"));
  EXPECT_EQ(client->GetModel({}, -absl::InfiniteDuration()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(server.calls(), SizeIs(0));
  EXPECT_TRUE(client->GetModel({}, absl::ZeroDuration()).ok());
  EXPECT_TRUE(client->GetModel({}, absl::InfiniteDuration()).ok());
}

TEST(ClientTest, SaysWhyThereIsNoConnectionToASocketFile) {
  for (const absl::Duration timeout : {absl::Milliseconds(300), absl::Seconds(2)}) {
    const absl::Status status = Connect("unix:/nonexist")->GetModel({}, timeout).status();
    EXPECT_THAT(Message(status), HasSubstr("No such file or directory")) << status;
  }
}

TEST(ClientTest, ADeadlineWithoutAnAnswerNamesTheErrorBefore) {
  FakeServer server;
  std::atomic<bool> done{false};
  std::atomic<int> calls{0};
  server.on_call = [&](const std::string&) {
    if (++calls == 1) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "injected");
    while (!done) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return grpc::Status::OK;
  };
  const absl::Status status =
      Connect(server.target())->GetModel({}, absl::Milliseconds(500)).status();
  done = true;
  EXPECT_EQ(status, absl::DeadlineExceededError("no answer from " + server.target() +
                                                " within 500ms, in 2 attempts; the last error: "
                                                "injected"));
}

TEST(ClientTest, RefusesTargetsThatNoServerHas) {
  const auto check = [](const std::string& target) {
    return Client::Options{.target = target}.Validate();
  };
  for (const char* target : {"http://127.0.0.1:7070", "https://ratings.example", "HTTPS://a:1"}) {
    EXPECT_EQ(check(target),
              absl::InvalidArgumentError("target: must be HOST:PORT, without http:// or https://"))
        << target;
  }
  for (const char* target : {"127.0.0.1", "localhost", "ratings.example", "::1", "[::1]", ":7070",
                             "localhost:", "localhost:seven", "[::1]7070", "a:1:2"}) {
    EXPECT_EQ(check(target), absl::InvalidArgumentError(
                                 absl::StrCat("target: must be HOST:PORT, is '", target, "'")))
        << target;
  }
  for (const char* target :
       {"127.0.0.1:65536", "localhost:0", "[::1]:70000", "dns:///a.example:70000", "dns:a:70000",
        "ipv4:10.0.0.1:7070,10.0.0.2:70000", "a:99999999999999999999"}) {
    EXPECT_EQ(check(target),
              absl::InvalidArgumentError(absl::StrCat(
                  "target: must be HOST:PORT, with a port of 1 to 65535, is '", target, "'")))
        << target;
  }
  for (const char* target :
       {"127.0.0.1:7070", "ratings.example:65535", "[::1]:1", "dns:///ratings.example:7070",
        "dns:///ratings.example", "dns:ratings.example:7070", "dns://10.0.0.1/a.example:7070",
        "dns://[::1]:53/a:7070", "ipv4:10.0.0.1:7070,10.0.0.2:7070", "ipv6:[::1]:7070",
        "ipv6:[2001:db8::1]", "unix:/run/factord.sock", "unix:factord:99999", "unix:///run/factord",
        "unix-abstract:factord", "xds:///ratings"}) {
    EXPECT_TRUE(check(target).ok()) << check(target);
  }
}

TEST(ClientTest, RefusesBadOptions) {
  auto client = Client::Create({.target = "", .read_timeout = absl::ZeroDuration()});
  EXPECT_TRUE(absl::IsInvalidArgument(client.status()));
  EXPECT_THAT(Message(client.status()), HasSubstr("target: must not be empty"));
  EXPECT_THAT(Message(client.status()), HasSubstr("read_timeout: must be above 0"));
}

grpc::Status WithBadRequest(const std::string& message) {
  google::rpc::BadRequest bad_request;
  auto* violation = bad_request.add_field_violations();
  violation->set_field("events[3].rating");
  violation->set_description("must be finite");
  violation = bad_request.add_field_violations();
  violation->set_field("events[4].user_id");
  violation->set_description("must have 1 to 256 bytes");
  google::rpc::Status status;
  status.add_details()->PackFrom(bad_request);
  return {grpc::StatusCode::INVALID_ARGUMENT, message, status.SerializeAsString()};
}

TEST(StatusTest, NamesEveryBadField) {
  EXPECT_EQ(FromGrpcStatus(WithBadRequest("bad request")),
            absl::InvalidArgumentError("bad request: events[3].rating: must be finite; "
                                       "events[4].user_id: must have 1 to 256 bytes"));
  EXPECT_EQ(FromGrpcStatus(WithBadRequest("")),
            absl::InvalidArgumentError("events[3].rating: must be finite; "
                                       "events[4].user_id: must have 1 to 256 bytes"));
}

TEST(StatusTest, DoesNotSayTwiceWhatTheMessageSays) {
  EXPECT_EQ(FromGrpcStatus(WithBadRequest("events[3].rating: must be finite; events[4].user_id: "
                                          "must have 1 to 256 bytes")),
            absl::InvalidArgumentError("events[3].rating: must be finite; "
                                       "events[4].user_id: must have 1 to 256 bytes"));
}

TEST(StatusTest, KeepsCodeAndMessage) {
  EXPECT_TRUE(FromGrpcStatus(grpc::Status::OK).ok());
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status =
        FromGrpcStatus({static_cast<grpc::StatusCode>(code), "why", "not a google.rpc.Status"});
    EXPECT_EQ(static_cast<int>(status.code()), code);
    EXPECT_EQ(status.message(), "why");
  }
}

TEST(StatusTest, SaysWhatToDoAboutATokenThatTheServerDoesNotKnow) {
  const absl::Status status = FromGrpcStatus({grpc::StatusCode::UNAUTHENTICATED, "unknown token"});
  EXPECT_TRUE(absl::IsUnauthenticated(status));
  EXPECT_THAT(Message(status), HasSubstr("unknown token; it is not in the server's --token_file"));
  EXPECT_THAT(Message(status), HasSubstr("factorctl token"));
}

TEST(StatusTest, DetailsArriveOverTheWire) {
  FakeServer server;
  server.on_call = [](const std::string&) { return WithBadRequest("bad request"); };
  const absl::Status status = Connect(server.target())->RecordRatings(OneRating()).status();
  EXPECT_THAT(Message(status), HasSubstr("events[4].user_id: must have 1 to 256 bytes"));
}

}  // namespace
}  // namespace factord
