#include "client/rating_stream.h"

#include <atomic>
#include <mutex>
#include <random>
#include <thread>

#include "client/client.h"
#include "client/fake_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Fate = FakeServer::BatchFate;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Short backoffs, so that a test with many breaks is quick; limits so long that none strikes by
// accident on a slow machine.
RatingStream::Options QuickOptions() {
  return {.producer_id = "p",
          .ack_timeout = seconds(60),
          .give_up_after = seconds(60),
          .initial_backoff = milliseconds(1),
          .max_backoff = milliseconds(20)};
}

std::unique_ptr<RatingStream> Open(const FakeServer& server,
                                   RatingStream::Options options = QuickOptions()) {
  auto client = Client::Create({.target = server.target()});
  EXPECT_TRUE(client.ok()) << client.status();
  auto stream = (*client)->StreamRatings(std::move(options));
  EXPECT_TRUE(stream.ok()) << stream.status();
  return *std::move(stream);
}

// The rating says its own number.
v1::Rating RatingOf(int64_t number) {
  v1::Rating rating;
  rating.set_user_id("u" + std::to_string(number % 10));
  rating.set_item_id(std::to_string(number));
  rating.set_rating(3);
  return rating;
}

// Every number of [1, count] was applied once, in order, with its own content.
void ExpectExactlyOnce(const FakeServer& server, int64_t count) {
  const auto applied = server.applied();
  ASSERT_EQ(applied.size(), static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    ASSERT_EQ(applied[i].number, i + 1);
    ASSERT_EQ(applied[i].rating.item_id(), std::to_string(i + 1));
  }
}

void WriteNumbers(RatingStream* stream, int64_t first, int64_t last) {
  for (int64_t number = first; number <= last; ++number) {
    const absl::Status status = stream->Write(number, RatingOf(number));
    ASSERT_TRUE(status.ok()) << status;
  }
}

TEST(RatingStreamTest, CloseSettlesEverythingWritten) {
  FakeServer server;
  auto options = QuickOptions();
  options.model = "movies";
  auto stream = Open(server, options);
  WriteNumbers(stream.get(), 1, 1000);
  ASSERT_TRUE(stream->Close().ok());
  ExpectExactlyOnce(server, 1000);
  const RatingStream::Stats stats = stream->stats();
  EXPECT_EQ(stats.written, 1000);
  EXPECT_EQ(stats.acknowledged, 1000);
  EXPECT_EQ(stats.applied, 1000);
  EXPECT_EQ(stats.last_acknowledged_number, 1000);
  EXPECT_EQ(stats.last_sequence, 1000);
  EXPECT_EQ(stats.reconnects, 0);
  ASSERT_THAT(server.starts(), SizeIs(1));
  EXPECT_EQ(server.starts()[0].model(), "movies");
  EXPECT_EQ(server.starts()[0].producer_id(), "p");
  // Once more is the same; then nothing more is taken.
  EXPECT_TRUE(stream->Close().ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(stream->Write(1001, RatingOf(1001))));
}

TEST(RatingStreamTest, FlushReturnsWhenAllIsAcknowledged) {
  FakeServer server;
  auto stream = Open(server);
  for (int64_t n = 1; n <= 20; ++n) {
    ASSERT_TRUE(stream->Write(n, RatingOf(n)).ok());
    ASSERT_TRUE(stream->Flush().ok());
    ASSERT_EQ(stream->stats().acknowledged, n);
    ASSERT_THAT(server.applied(), SizeIs(n));
  }
}

TEST(RatingStreamTest, NumbersMayHaveGaps) {
  FakeServer server;
  auto stream = Open(server);
  for (const int64_t number : {3, 4, 10, 12, 13, 14}) {
    ASSERT_TRUE(stream->Write(number, RatingOf(number)).ok());
  }
  ASSERT_TRUE(stream->Close().ok());
  std::vector<int64_t> numbers;
  for (const auto& applied : server.applied()) {
    numbers.push_back(applied.number);
    EXPECT_EQ(applied.rating.item_id(), std::to_string(applied.number));
  }
  EXPECT_THAT(numbers, ElementsAre(3, 4, 10, 12, 13, 14));
}

TEST(RatingStreamTest, RefusesANumberThatDoesNotIncrease) {
  FakeServer server;
  auto stream = Open(server);
  EXPECT_TRUE(absl::IsInvalidArgument(stream->Write(0, RatingOf(0))));
  ASSERT_TRUE(stream->Write(5, RatingOf(5)).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(stream->Write(5, RatingOf(5))));
  EXPECT_TRUE(absl::IsInvalidArgument(stream->Write(4, RatingOf(4))));
  ASSERT_TRUE(stream->Write(6, RatingOf(6)).ok());
  ASSERT_TRUE(stream->Close().ok());
  EXPECT_THAT(server.applied(), SizeIs(2));
}

// Symptom: one id that is not UTF-8 ended the stream, and nothing said which one it was.
TEST(RatingStreamTest, RefusesTextThatIsNotUtf8AndGoesOn) {
  FakeServer server;
  auto stream = Open(server);
  WriteNumbers(stream.get(), 1, 3);
  const std::vector<std::pair<std::string, void (*)(v1::Rating*, const std::string&)>> fields = {
      {"user_id", [](v1::Rating* r, const std::string& text) { r->set_user_id(text); }},
      {"item_id", [](v1::Rating* r, const std::string& text) { r->set_item_id(text); }},
      {"event_id", [](v1::Rating* r, const std::string& text) { r->set_event_id(text); }},
      {"recommendation_id",
       [](v1::Rating* r, const std::string& text) { r->set_recommendation_id(text); }}};
  for (const auto& [name, set] : fields) {
    v1::Rating rating = RatingOf(4);
    set(&rating, "caf\xE9");
    const absl::Status refusal = absl::InvalidArgumentError(name + ": is not valid UTF-8");
    EXPECT_EQ(stream->Write(4, rating), refusal);
    EXPECT_EQ(stream->Write(rating), refusal);
  }
  EXPECT_EQ(stream->stats().written, 3);
  WriteNumbers(stream.get(), 4, 5);  // the number is still free
  ASSERT_TRUE(stream->Close().ok());
  ExpectExactlyOnce(server, 5);
  EXPECT_EQ(stream->stats().reconnects, 0);
}

TEST(RatingStreamTest, RefusesTextThatIsAbsurdlyLong) {
  FakeServer server;
  auto stream = Open(server);
  v1::Rating rating = RatingOf(1);
  rating.set_user_id(std::string(5'000'000, 'x'));
  rating.set_event_id(std::string(5'000, 'x'));
  EXPECT_EQ(stream->Write(1, rating),
            absl::InvalidArgumentError("user_id: must have 1 to 256 bytes, has 5000000; "
                                       "event_id: must have at most 64 bytes, has 5000"));
  // What can be sent, the server judges.
  rating = RatingOf(1);
  rating.set_user_id(std::string(257, 'x'));
  EXPECT_TRUE(stream->Write(1, rating).ok());
  ASSERT_TRUE(stream->Close().ok());
  EXPECT_THAT(server.applied(), SizeIs(1));
}

TEST(RatingStreamTest, CountsOnFromTheServersLastNumber) {
  FakeServer server;
  for (int run = 0; run < 3; ++run) {
    auto stream = Open(server);
    for (int i = 1; i <= 10; ++i) ASSERT_TRUE(stream->Write(RatingOf(run * 10 + i)).ok());
    ASSERT_TRUE(stream->Close().ok());
  }
  ExpectExactlyOnce(server, 30);
}

TEST(RatingStreamTest, ASecondRunOfTheSameInputSendsOnlyWhatIsMissing) {
  FakeServer server;
  auto first = Open(server);
  WriteNumbers(first.get(), 1, 600);
  ASSERT_TRUE(first->Close().ok());
  auto second = Open(server);
  WriteNumbers(second.get(), 1, 1000);
  ASSERT_TRUE(second->Close().ok());
  ExpectExactlyOnce(server, 1000);
  EXPECT_EQ(second->stats().resumed, 600);
  EXPECT_EQ(second->stats().applied, 400);
  EXPECT_EQ(second->stats().acknowledged, 1000);
  EXPECT_EQ(second->stats().duplicates, 0);  // not even sent
}

TEST(RatingStreamTest, ExactlyOnceThoughTheStreamBreaksAtRandom) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  FakeServer server;
  std::mt19937 random(seed);
  std::mutex mu;
  int64_t held = 0;
  std::atomic<int> breaks{0};
  server.on_batch = [&](const v1::StreamBatch& batch) {
    const std::lock_guard<std::mutex> lock(mu);
    const uint32_t die = random() % 10;
    if (die < 2) ++breaks;
    held = die < 2 ? 0 : held + batch.events_size();
    if (die == 0) return Fate::kApplyAndBreak;
    if (die == 1) return Fate::kBreak;
    // Only where another batch will come that acknowledges this one, too.
    const bool last = batch.first_number() + batch.events_size() > 5000;
    if (die < 5 && held < server.window && !last) return Fate::kApplyAndHold;
    held = 0;
    return Fate::kApplyAndAck;
  };
  auto options = QuickOptions();
  options.max_batch_events = 40;
  auto stream = Open(server, options);
  WriteNumbers(stream.get(), 1, 5000);
  ASSERT_TRUE(stream->Close().ok());
  ExpectExactlyOnce(server, 5000);
  const RatingStream::Stats stats = stream->stats();
  EXPECT_EQ(stats.acknowledged, 5000);
  EXPECT_EQ(stats.applied + stats.recovered, 5000);
  EXPECT_EQ(stats.resumed, 0);
  EXPECT_GT(breaks, 0);
  EXPECT_EQ(stats.reconnects, breaks);
}

TEST(RatingStreamTest, ExactlyOnceThoughTheServerRestarts) {
  FakeServer server;
  server.window =
      20;  // far below what is written between restarts, so each finds a live connection
  auto stream = Open(server);
  WriteNumbers(stream.get(), 1, 500);
  for (const int64_t written : {500, 1500, 2500}) {
    server.Stop();
    std::thread starter([&] { server.Start(); });
    WriteNumbers(stream.get(), written + 1, std::min<int64_t>(written + 1000, 3000));
    starter.join();
  }
  ASSERT_TRUE(stream->Close().ok());
  ExpectExactlyOnce(server, 3000);
  EXPECT_EQ(stream->stats().reconnects, 3);
}

TEST(RatingStreamTest, WaitsForAServerThatIsNotThereYet) {
  FakeServer server;
  server.Stop();
  auto stream = Open(server);
  std::thread starter([&] { server.Start(); });
  WriteNumbers(stream.get(), 1, 10);
  starter.join();
  ASSERT_TRUE(stream->Close().ok());
  ExpectExactlyOnce(server, 10);
}

TEST(RatingStreamTest, KeepsToTheWindow) {
  FakeServer server;
  server.window = 50;
  // Acknowledges only when the window is full, or all is there.
  std::atomic<int64_t> since_ack{0};
  server.on_batch = [&](const v1::StreamBatch& batch) {
    since_ack += batch.events_size();
    const int64_t last = batch.first_number() + batch.events_size() - 1;
    if (since_ack < 50 && last < 1000) return Fate::kApplyAndHold;
    since_ack = 0;
    return Fate::kApplyAndAck;
  };
  auto options = QuickOptions();
  options.max_batch_events = 20;
  auto stream = Open(server, options);
  WriteNumbers(stream.get(), 1, 1000);
  ASSERT_TRUE(stream->Close().ok());
  ExpectExactlyOnce(server, 1000);
  EXPECT_EQ(server.most_unacknowledged(), 50);
  EXPECT_EQ(server.largest_batch(), 20);
}

TEST(RatingStreamTest, KeepsToAWindowThatIsSmallerAfterAReconnect) {
  FakeServer server;
  server.window = 50;
  std::unique_ptr<RatingStream> stream;
  std::atomic<bool> broken{false};
  std::atomic<int64_t> held{0};
  std::atomic<int64_t> most_held{0};
  server.on_batch = [&](const v1::StreamBatch& batch) {
    if (!broken) {  // once 50 ratings wait, they have to be sent again
      while (stream->stats().written < 50) std::this_thread::yield();
      server.window = 10;
      broken = true;
      return Fate::kBreak;
    }
    held += batch.events_size();
    if (held > most_held) most_held = held.load();
    if (held < 10 && batch.first_number() + batch.events_size() <= 50) return Fate::kApplyAndHold;
    held = 0;
    return Fate::kApplyAndAck;
  };
  stream = Open(server);
  WriteNumbers(stream.get(), 1, 50);
  ASSERT_TRUE(stream->Close().ok());
  ExpectExactlyOnce(server, 50);
  EXPECT_EQ(most_held, 10);
}

TEST(RatingStreamTest, WriteBlocksWhileTheWindowIsFull) {
  FakeServer server;
  server.window = 10;
  std::atomic<bool> acknowledge{false};
  server.on_batch = [&](const v1::StreamBatch& batch) {
    while (!acknowledge) std::this_thread::sleep_for(milliseconds(1));
    (void)batch;
    return Fate::kApplyAndAck;
  };
  auto stream = Open(server);
  WriteNumbers(stream.get(), 1, 10);
  std::atomic<bool> returned{false};
  std::thread writer([&] {
    EXPECT_TRUE(stream->Write(11, RatingOf(11)).ok());
    returned = true;
  });
  // Nothing can be proved by waiting, but a Write that does not block is back long before this.
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_FALSE(returned);
  EXPECT_EQ(stream->stats().written, 10);
  acknowledge = true;
  writer.join();
  ASSERT_TRUE(stream->Close().ok());
  ExpectExactlyOnce(server, 11);
}

TEST(RatingStreamTest, OwnLimitHoldsWhereTheWindowIsWider) {
  FakeServer server;
  server.window = 1000;
  auto options = QuickOptions();
  options.max_unacknowledged = 30;
  int64_t since_ack = 0;
  server.on_batch = [&](const v1::StreamBatch& batch) {
    since_ack += batch.events_size();
    if (since_ack < 30) return Fate::kApplyAndHold;
    since_ack = 0;
    return Fate::kApplyAndAck;
  };
  auto stream = Open(server, options);
  WriteNumbers(stream.get(), 1, 300);
  ASSERT_TRUE(stream->Close().ok());
  EXPECT_LE(server.most_unacknowledged(), 30);
}

// What a stream comes to that nobody acknowledges.
absl::Status WriteToASilentServer(const FakeServer& server, int64_t count, size_t id_bytes) {
  auto options = QuickOptions();
  options.ack_timeout = milliseconds(50);
  options.give_up_after = milliseconds(200);
  auto stream = Open(server, options);
  for (int64_t n = 1; n <= count; ++n) {
    v1::Rating rating = RatingOf(n);
    rating.set_user_id(std::string(id_bytes, 'x'));
    const absl::Status status = stream->Write(n, rating);
    if (!status.ok()) return status;
  }
  return stream->Close();
}

TEST(RatingStreamTest, AsksAServerThatAcknowledgesNothingByReconnecting) {
  FakeServer server;
  server.window = 10;
  // It acknowledges only what it is sent again.
  std::atomic<int64_t> seen{0};
  server.on_batch = [&](const v1::StreamBatch& batch) {
    const int64_t last = batch.first_number() + batch.events_size() - 1;
    return last > seen.exchange(std::max<int64_t>(seen, last)) ? Fate::kApplyAndHold
                                                               : Fate::kApplyAndAck;
  };
  // 10 ratings wait in Close, 25 in Write.
  for (const int64_t count : {10, 25}) {
    server.ForgetProducers();
    seen = 0;
    const absl::Status status = WriteToASilentServer(server, count, 10);
    EXPECT_TRUE(status.ok()) << status;
  }
  EXPECT_THAT(server.applied(), SizeIs(35));
  EXPECT_GE(server.starts().size(), 5u);
}

TEST(RatingStreamTest, GivesUpOnAServerThatHangs) {
  FakeServer server;
  server.on_batch = [](const v1::StreamBatch&) { return Fate::kHang; };
  const absl::Status status = WriteToASilentServer(server, 1000, 10);
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("gave up after 200ms"));
  EXPECT_THAT(server.applied(), IsEmpty());
}

TEST(RatingStreamTest, GivesUpOnAServerThatDoesNotRead) {
  FakeServer server;
  server.window = 100'000;
  server.on_batch = [](const v1::StreamBatch&) { return Fate::kHang; };
  // 25 MB: gRPC's flow control blocks the sending thread long before.
  const absl::Status status = WriteToASilentServer(server, 100'000, 256);
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
}

TEST(RatingStreamTest, GivesUpOnAServerThatDoesNotAnswerTheStart) {
  FakeServer server;
  server.answer_start = false;
  const absl::Status status = WriteToASilentServer(server, 1, 10);
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  // Without a number Write waits for that answer.
  auto options = QuickOptions();
  options.ack_timeout = milliseconds(50);
  options.give_up_after = milliseconds(100);
  EXPECT_TRUE(absl::IsUnavailable(Open(server, options)->Write(RatingOf(1))));
}

TEST(RatingStreamTest, GivesUpWhereThereIsNoServer) {
  FakeServer server;
  server.Stop();
  auto options = QuickOptions();
  options.give_up_after = milliseconds(100);
  auto stream = Open(server, options);
  const absl::Status status = stream->Write(1, RatingOf(1));
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("onnect"));  // the reason
  EXPECT_EQ(stream->Flush(), status);
  EXPECT_EQ(stream->Close(), status);
  EXPECT_EQ(stream->Write(2, RatingOf(2)), status);
}

TEST(RatingStreamTest, GivesUpWhenTheServerGoesAway) {
  FakeServer server;
  auto options = QuickOptions();
  options.give_up_after = milliseconds(100);
  auto stream = Open(server, options);
  WriteNumbers(stream.get(), 1, 10);
  ASSERT_TRUE(stream->Flush().ok());
  server.Stop();
  (void)stream->Write(11, RatingOf(11));
  EXPECT_TRUE(absl::IsUnavailable(stream->Flush()));
  EXPECT_EQ(stream->stats().acknowledged, 10);
}

TEST(RatingStreamTest, ReportsRejectedRatings) {
  FakeServer server;
  server.reject = [](const v1::Rating& rating) -> absl::Status {
    if (rating.item_id() == "7") return absl::InvalidArgumentError("rating: must be 0 to 5");
    if (rating.item_id() == "30") return absl::ResourceExhaustedError("item_id: no more");
    return absl::OkStatus();
  };
  auto options = QuickOptions();
  std::vector<std::string> reports;
  options.on_rejected = [&](int64_t number, const v1::Rating& rating, const absl::Status& why) {
    reports.push_back(absl::StrCat(number, " ", rating.item_id(), " ", why.ToString()));
  };
  auto stream = Open(server, options);
  WriteNumbers(stream.get(), 1, 50);
  ASSERT_TRUE(stream->Flush().ok());
  EXPECT_THAT(reports, ElementsAre("7 7 INVALID_ARGUMENT: rating: must be 0 to 5",
                                   "30 30 RESOURCE_EXHAUSTED: item_id: no more"));
  EXPECT_EQ(stream->stats().rejected, 2);
  EXPECT_EQ(stream->stats().applied, 48);
  EXPECT_EQ(stream->stats().acknowledged, 50);
  EXPECT_TRUE(stream->Close().ok());
}

// Symptom: a rating that was rejected just before the connection broke counted as recovered, and
// nobody heard of it.
TEST(RatingStreamTest, ReportsARejectionThoughItsAcknowledgementWasLost) {
  FakeServer server;
  server.reject = [](const v1::Rating& rating) {
    return rating.item_id() == "7" ? absl::InvalidArgumentError("no") : absl::OkStatus();
  };
  std::atomic<int> batches{0};
  server.on_batch = [&](const v1::StreamBatch&) {
    return ++batches == 1 ? Fate::kApplyAndBreak : Fate::kApplyAndAck;
  };
  auto options = QuickOptions();
  std::vector<int64_t> reports;
  options.on_rejected = [&](int64_t number, const v1::Rating&, const absl::Status&) {
    reports.push_back(number);
  };
  auto stream = Open(server, options);
  WriteNumbers(stream.get(), 1, 20);
  ASSERT_TRUE(stream->Close().ok());
  EXPECT_THAT(reports, ElementsAre(7));
  const RatingStream::Stats stats = stream->stats();
  EXPECT_EQ(stats.rejected, 1);
  EXPECT_EQ(stats.applied + stats.recovered, 19);
  EXPECT_GE(stats.recovered, 1);
  EXPECT_EQ(stats.duplicates, 0);
  EXPECT_EQ(stats.acknowledged, 20);
  EXPECT_THAT(server.applied(), SizeIs(19));
}

TEST(RatingStreamTest, ARejectedRatingAtTheEndIsNoDataLoss) {
  FakeServer server;
  server.reject = [](const v1::Rating& rating) {
    return rating.item_id() == "20" ? absl::InvalidArgumentError("no") : absl::OkStatus();
  };
  auto stream = Open(server);
  WriteNumbers(stream.get(), 1, 20);
  ASSERT_TRUE(stream->Flush().ok());
  server.Stop();
  server.Start();
  WriteNumbers(stream.get(), 21, 30);
  const absl::Status status = stream->Close();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(server.applied(), SizeIs(29));
}

TEST(RatingStreamTest, OtherErrorsAreFinal) {
  for (const auto code :
       {grpc::StatusCode::ABORTED, grpc::StatusCode::INVALID_ARGUMENT, grpc::StatusCode::NOT_FOUND,
        grpc::StatusCode::FAILED_PRECONDITION, grpc::StatusCode::PERMISSION_DENIED}) {
    FakeServer server;
    server.on_start = [&] { return grpc::Status(code, "no"); };
    auto stream = Open(server);
    const absl::Status status = stream->Write(1, RatingOf(1));
    EXPECT_EQ(static_cast<int>(status.code()), static_cast<int>(code)) << status;
    EXPECT_EQ(stream->Write(2, RatingOf(2)), status);
    EXPECT_THAT(server.starts(), SizeIs(1));
  }
}

TEST(RatingStreamTest, ATakeoverInTheMiddleIsFinal) {
  FakeServer server;
  server.break_status = grpc::Status(grpc::StatusCode::ABORTED, "a newer stream took over");
  server.on_batch = [](const v1::StreamBatch& batch) {
    return batch.first_number() > 100 ? Fate::kBreak : Fate::kApplyAndAck;
  };
  auto stream = Open(server);
  absl::Status status;
  for (int64_t n = 1; n <= 10'000 && status.ok(); ++n) status = stream->Write(n, RatingOf(n));
  EXPECT_TRUE(absl::IsAborted(status)) << status;
  EXPECT_TRUE(absl::IsAborted(stream->Close()));
  EXPECT_THAT(server.starts(), SizeIs(1));
}

// Symptom: ten thousand ratings with long ids in one message were more than the server takes, and
// the stream connected again and again to send the same message.
TEST(RatingStreamTest, BoundsABatchByItsBytes) {
  FakeServer server;  // which takes 4 MiB, the least that a client should count on
  server.window = 100'000;
  auto options = QuickOptions();
  options.max_batch_events = 10'000;
  options.give_up_after = seconds(1);
  auto stream = Open(server, options);
  for (int64_t n = 1; n <= 20'000; ++n) {
    v1::Rating rating = RatingOf(n);
    rating.set_user_id(std::string(256, 'u'));
    rating.set_recommendation_id(std::string(256, 'r'));
    ASSERT_TRUE(stream->Write(n, std::move(rating)).ok());
  }
  const absl::Status status = stream->Close();
  ASSERT_TRUE(status.ok()) << status;
  ExpectExactlyOnce(server, 20'000);
  EXPECT_EQ(stream->stats().reconnects, 0);
}

TEST(RatingStreamTest, AMessageThatIsTooLargeIsFinalAndTheRemedyNamed) {
  FakeServer server;
  server.Stop();
  server.max_message_bytes = 1'000;
  server.Start();
  server.window = 100'000;
  std::unique_ptr<RatingStream> stream = Open(server);
  v1::Rating rating = RatingOf(1);
  rating.set_user_id(std::string(2'000, 'x'));
  ASSERT_TRUE(stream->Write(1, rating).ok());
  const absl::Status status = stream->Close();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("larger than max"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("max_batch_events"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("--max_message_bytes"));
  EXPECT_THAT(server.starts(), SizeIs(1));
}

TEST(RatingStreamTest, ComesBackFromOverloadOnlyWhereTheServerAsksForIt) {
  for (const char* pushback : {"1", "", "-1"}) {
    FakeServer server;
    server.pushback = pushback;
    std::atomic<int> starts{0};
    server.on_start = [&] {
      return ++starts > 3 ? grpc::Status::OK
                          : grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "injected");
    };
    auto stream = Open(server);
    const absl::Status status = stream->Write(1, RatingOf(1));
    const bool asked = std::string(pushback) == "1";
    EXPECT_EQ(status, asked ? absl::OkStatus() : absl::ResourceExhaustedError("injected"));
    EXPECT_EQ(stream->Close(), status);
    EXPECT_THAT(server.starts(), SizeIs(asked ? 4 : 1));
  }
}

// gRPC sheds load with this, without the server's word on when to come back.
TEST(RatingStreamTest, ComesBackFromAStreamThatIsReset) {
  FakeServer server;
  server.pushback = "";
  std::atomic<int> starts{0};
  server.on_start = [&] {
    return ++starts > 1 ? grpc::Status::OK
                        : grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED,
                                       "Received RST_STREAM with error code 11");
  };
  auto stream = Open(server);
  WriteNumbers(stream.get(), 1, 10);
  EXPECT_TRUE(stream->Close().ok());
  ExpectExactlyOnce(server, 10);
}

TEST(RatingStreamTest, SendsNothingToAServerThatForgot) {
  FakeServer server;
  auto stream = Open(server);
  WriteNumbers(stream.get(), 1, 100);
  ASSERT_TRUE(stream->Flush().ok());
  server.ForgetProducers();
  server.Stop();
  server.Start();
  (void)stream->Write(101, RatingOf(101));
  const absl::Status status = stream->Close();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("number 100 of producer 'p'"));
  ExpectExactlyOnce(server, 100);
}

TEST(RatingStreamTest, RefusesAnAcknowledgementOfWhatWasNotSent) {
  FakeServer server;
  server.on_batch = [](const v1::StreamBatch&) { return Fate::kAckTooMuch; };
  auto stream = Open(server);
  WriteNumbers(stream.get(), 1, 1);
  const absl::Status status = stream->Close();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
}

TEST(RatingStreamTest, RefusesAWindowOfNothing) {
  FakeServer server;
  server.window = 0;
  EXPECT_EQ(Open(server)->Write(1, RatingOf(1)).code(), absl::StatusCode::kInternal);
}

TEST(RatingStreamTest, DestructionWithoutCloseDoesNotHang) {
  FakeServer server;
  std::atomic<bool> hangs{false};
  server.on_batch = [&](const v1::StreamBatch&) {
    hangs = true;
    return Fate::kHang;
  };
  auto stream = Open(server);
  WriteNumbers(stream.get(), 1, 10);
  while (!hangs) std::this_thread::yield();
  stream = nullptr;
  server.Stop();
  stream = Open(server);
  stream = nullptr;
}

TEST(RatingStreamTest, AnErrorAfterEverythingIsSettledDoesNotMatter) {
  FakeServer server;
  server.end_status = grpc::Status(grpc::StatusCode::INTERNAL, "too late");
  auto stream = Open(server);
  WriteNumbers(stream.get(), 1, 10);
  EXPECT_TRUE(stream->Close().ok());
  ExpectExactlyOnce(server, 10);
}

TEST(RatingStreamTest, TimeWithoutRatingsIsNoTimeWithoutAcknowledgement) {
  FakeServer server;
  auto options = QuickOptions();
  options.ack_timeout = milliseconds(200);
  std::atomic<bool> second_arrived{false};
  server.on_batch = [&](const v1::StreamBatch& batch) {
    if (batch.first_number() == 2) {
      second_arrived = true;
      std::this_thread::sleep_for(milliseconds(20));  // so that Flush has to wait
    }
    return Fate::kApplyAndAck;
  };
  auto stream = Open(server, options);
  WriteNumbers(stream.get(), 1, 1);
  ASSERT_TRUE(stream->Flush().ok());
  std::this_thread::sleep_for(2 * options.ack_timeout);
  WriteNumbers(stream.get(), 2, 2);
  while (!second_arrived) std::this_thread::yield();
  ASSERT_TRUE(stream->Flush().ok());
  ASSERT_TRUE(stream->Close().ok());
  EXPECT_EQ(stream->stats().reconnects, 0);
  EXPECT_EQ(stream->stats().applied, 2);
}

TEST(RatingStreamTest, CloseOfAnUnusedStreamDoesNotWaitForAServer) {
  FakeServer server;
  server.on_start = [] { return grpc::Status(grpc::StatusCode::UNAVAILABLE, "starting"); };
  auto options = QuickOptions();
  options.initial_backoff = options.max_backoff = options.give_up_after = std::chrono::hours(1);
  auto stream = Open(server, options);
  while (server.starts().empty()) std::this_thread::yield();
  // Most likely it is waiting for the next attempt by now; Close must be at once in any case.
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_TRUE(stream->Close().ok());
}

TEST(RatingStreamTest, RefusesBadOptions) {
  FakeServer server;
  auto client = Client::Create({.target = server.target()});
  auto stream = (*client)->StreamRatings({.max_batch_events = 0});
  EXPECT_TRUE(absl::IsInvalidArgument(stream.status()));
  EXPECT_THAT(std::string(stream.status().message()),
              HasSubstr("producer_id: must not be empty; max_batch_events: must be at least 1"));
  stream = (*client)->StreamRatings({.model = "\xFF", .producer_id = "\xFF"});
  EXPECT_EQ(stream.status(), absl::InvalidArgumentError("producer_id: is not valid UTF-8; "
                                                        "model: is not valid UTF-8"));
}

}  // namespace
}  // namespace factord
