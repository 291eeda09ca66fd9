#include "server/rating_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "server/message.h"
#include "server/test_stream.h"
#include "server/test_util.h"

namespace factord {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Batches have at most 10 events, the window 20.
class RatingStreamTest : public ::testing::Test {
 protected:
  RatingStreamTest() { server_.WaitUntilServing(); }
  FakeEngine& engine() { return server_.engine(); }

  // Nothing shows from outside that a message has been read. These streams come after it on the
  // same connection, and take several turns.
  void LetTheServerRead() {
    for (int i = 0; i < 5; ++i) {
      Stream later(server_.channel());
      later.Start("later");
      later.WritesDone();
      EXPECT_TRUE(later.Finish().ok());
    }
  }

  TestServer server_;
};

TEST_F(RatingStreamTest, StartsWithTheProducersLastNumberAndTheWindow) {
  engine().SetLastNumber("p", 41);
  Stream stream(server_.channel());
  const v1::StreamStarted started = stream.Start("p");
  EXPECT_EQ(started.last_number(), 41);
  EXPECT_EQ(started.window_events(), 20);
  stream.WritesDone();
  EXPECT_TRUE(stream.Finish().ok());
}

TEST_F(RatingStreamTest, AcknowledgesWhatIsApplied) {
  Stream stream(server_.channel());
  stream.Start("p");
  ASSERT_TRUE(stream.SendBatch(1, 3));
  v1::StreamAck ack = stream.ReadAck();
  EXPECT_EQ(ack.last_number(), 3);
  EXPECT_EQ(ack.last_sequence(), 3);
  ASSERT_TRUE(stream.SendBatch(100, 2));  // a gap
  ack = stream.ReadAck();
  EXPECT_EQ(ack.last_number(), 101);
  EXPECT_EQ(ack.last_sequence(), 5);
  stream.WritesDone();
  EXPECT_TRUE(stream.Finish().ok());
}

TEST_F(RatingStreamTest, NumbersTheEventsOfANamedProducer) {
  engine().HoldRequests();
  Stream stream(server_.channel());
  stream.Start("p");
  stream.SendBatch(7, 2);
  engine().WaitForRequests(1);
  const std::vector<Event> events = engine().events(0);
  EXPECT_EQ(events[0].producer_id, "p");
  EXPECT_EQ(events[0].producer_number, 7);
  EXPECT_EQ(events[1].producer_number, 8);
  EXPECT_EQ(events[1].item_id, "item 8");
  engine().Complete(0);
  EXPECT_EQ(stream.ReadAck().last_number(), 8);
}

TEST_F(RatingStreamTest, AnAnonymousStreamLeavesNoTraceOfItsNumbers) {
  engine().HoldRequests();
  Stream stream(server_.channel());
  EXPECT_EQ(stream.Start("").last_number(), 0);
  stream.SendBatch(1, 1);
  engine().WaitForRequests(1);
  EXPECT_EQ(engine().events(0)[0].producer_id, "");
  EXPECT_EQ(engine().events(0)[0].producer_number, 0);
  engine().Complete(0);
  EXPECT_EQ(stream.ReadAck().last_number(), 1);
}

TEST_F(RatingStreamTest, BatchesArePipelined) {
  engine().HoldRequests();
  Stream stream(server_.channel());
  stream.Start("p");
  for (int i = 0; i < 20; ++i) stream.SendBatch(1 + i, 1);
  engine().WaitForRequests(20);  // none has been acknowledged
  for (int i = 0; i < 20; ++i) engine().Complete(i);
  stream.WritesDone();
  ASSERT_TRUE(stream.Finish().ok());
  // Cumulative: they increase, and the last one says it all.
  int64_t last = 0;
  for (const v1::StreamAck& ack : stream.acks()) {
    EXPECT_GT(ack.last_number(), last);
    last = ack.last_number();
  }
  EXPECT_EQ(last, 20);
  EXPECT_EQ(stream.acks().back().last_sequence(), 20);
}

TEST_F(RatingStreamTest, AnEventBeyondALimitIsRejectedByItsNumber) {
  engine().HoldRequests();
  Stream stream(server_.channel());
  stream.Start("p");
  stream.SendBatch(7, 2);
  engine().WaitForRequests(1);
  engine().Complete(0, RecordResult{absl::OkStatus(),
                                    41,
                                    {{EventResult::Outcome::kApplied, 41},
                                     {EventResult::Outcome::kRefused, 0, "user_id: no"}}});
  const v1::StreamAck ack = stream.ReadAck();
  EXPECT_EQ(ack.last_number(), 8);
  EXPECT_EQ(ack.last_sequence(), 41);
  ASSERT_EQ(ack.rejected_size(), 1);
  EXPECT_EQ(ack.rejected(0).number(), 8);
  EXPECT_EQ(ack.rejected(0).reason(), "user_id: no");
  EXPECT_EQ(ack.rejected(0).code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(RatingStreamTest, NothingIsAcknowledgedBeforeAllThatIsBeforeIt) {
  engine().HoldRequests();
  Stream stream(server_.channel());
  stream.Start("p");
  stream.SendBatch(1, 5);
  stream.SendBatch(6, 5);
  engine().WaitForRequests(2);
  engine().Complete(1);
  engine().Complete(0, absl::UnavailableError("the store failed"));
  const grpc::Status status = stream.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(status.error_message(), "the store failed");
  EXPECT_THAT(stream.acks(), IsEmpty());
}

TEST_F(RatingStreamTest, AcknowledgementsAreCoalesced) {
  engine().HoldRequests();
  Stream stream(server_.channel());
  stream.Start("p");
  stream.SendBatch(1, 5);
  stream.SendBatch(6, 5);
  stream.SendBatch(11, 5);
  engine().WaitForRequests(3);
  engine().Complete(
      2, RecordResult{absl::OkStatus(), 0,
                      std::vector<EventResult>(5, {EventResult::Outcome::kDuplicate, 0})});
  engine().Complete(1);
  engine().Complete(0);  // only now can anything be acknowledged: all three at once
  const v1::StreamAck ack = stream.ReadAck();
  EXPECT_EQ(ack.last_number(), 15);
  EXPECT_EQ(ack.last_sequence(), 10);
  EXPECT_EQ(ack.duplicates(), 5);
  stream.WritesDone();
  EXPECT_TRUE(stream.Finish().ok());
  EXPECT_THAT(stream.acks(), IsEmpty());
}

TEST_F(RatingStreamTest, BadEventsAreReportedByNumberAndTheStreamGoesOn) {
  engine().HoldRequests();
  Stream stream(server_.channel());
  stream.Start("p");
  v1::StreamRatingsRequest request;
  request.mutable_batch()->set_first_number(11);
  for (const float rating : {1.0f, std::nanf(""), 2.0f, 9.0f}) {
    SetRating("u", "i", rating, request.mutable_batch()->add_events());
  }
  stream.Send(request);
  engine().WaitForRequests(1);
  const std::vector<Event> events = engine().events(0);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].producer_number, 11);
  EXPECT_EQ(events[1].producer_number, 13);
  engine().Complete(
      0, RecordResult{absl::OkStatus(),
                      1,
                      {{EventResult::Outcome::kConflict, 0}, {EventResult::Outcome::kApplied, 1}}});
  v1::StreamAck ack = stream.ReadAck();
  EXPECT_EQ(ack.last_number(), 14);
  EXPECT_EQ(ack.last_sequence(), 1);
  ASSERT_EQ(ack.rejected_size(), 3);
  EXPECT_EQ(ack.rejected(0).number(), 11);
  EXPECT_THAT(ack.rejected(0).reason(), HasSubstr("event_id: "));
  EXPECT_EQ(ack.rejected(0).code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(ack.rejected(1).number(), 12);
  EXPECT_EQ(ack.rejected(1).reason(), "rating: must be a finite float, 0 to 5");
  EXPECT_EQ(ack.rejected(2).number(), 14);
  EXPECT_EQ(ack.rejected(2).reason(), "rating: must be 0 to 5");
  EXPECT_EQ(ack.rejected(2).code(), grpc::StatusCode::INVALID_ARGUMENT);

  request.mutable_batch()->set_first_number(15);  // bad ones only: the engine is not asked
  request.mutable_batch()->mutable_events()->DeleteSubrange(2, 2);
  request.mutable_batch()->mutable_events(0)->clear_user_id();
  stream.Send(request);
  ack = stream.ReadAck();
  EXPECT_EQ(ack.last_number(), 16);
  EXPECT_EQ(ack.rejected_size(), 2);
  EXPECT_EQ(ack.last_sequence(), 1);
  EXPECT_EQ(engine().requests(), 1u);
}

TEST_F(RatingStreamTest, TheWindowCountsAllUnacknowledgedBatches) {
  engine().HoldRequests();
  Stream stream(server_.channel());
  stream.Start("p");
  stream.SendBatch(1, 10);
  stream.SendBatch(11, 10);
  stream.SendBatch(21, 1);
  engine().WaitForRequests(2);
  // The third batch is only known to have been read once what is in flight is settled.
  LetTheServerRead();
  EXPECT_EQ(engine().requests(), 2u);
  engine().Complete(0);
  engine().Complete(1);
  const grpc::Status status = stream.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("window_events (20)"));
  ASSERT_FALSE(stream.acks().empty());
  EXPECT_EQ(stream.acks().back().last_number(), 20);  // what was within it is settled all the same
}

TEST(RatingStreamWindowTest, ABatchAboveTheWindowEndsTheStream) {
  TestServer server([](ServerOptions* options) { options->stream_window_events = 5; });
  server.WaitUntilServing();
  Stream stream(server.channel());
  EXPECT_EQ(stream.Start("p").window_events(), 5);
  stream.SendBatch(1, 5);
  EXPECT_EQ(stream.ReadAck().last_number(), 5);
  stream.SendBatch(6, 6);
  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(server.engine().requests(), 1u);
}

TEST_F(RatingStreamTest, AcknowledgedEventsLeaveTheWindow) {
  Stream stream(server_.channel());
  stream.Start("p");
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(stream.SendBatch(1 + 10 * i, 10));
    while (stream.ReadAck().last_number() < 10 + 10 * i) {
    }
  }
}

TEST_F(RatingStreamTest, MessagesOutOfProtocolEndTheStream) {
  const auto end = [&](const std::function<void(Stream*)>& send) {
    Stream stream(server_.channel());
    send(&stream);
    const grpc::Status status = stream.Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    return status.error_message();
  };
  EXPECT_THAT(end([](Stream* stream) { stream->SendBatch(1, 1); }), HasSubstr("`start`"));
  EXPECT_THAT(end([](Stream* stream) { stream->Send({}); }), HasSubstr("`start`"));
  EXPECT_THAT(end([](Stream* stream) {
                v1::StreamRatingsRequest request;
                request.mutable_start()->set_producer_id(std::string(65, 'p'));
                stream->Send(request);
              }),
              HasSubstr("start.producer_id"));
  EXPECT_THAT(end([](Stream* stream) {
                stream->Start("p");
                v1::StreamRatingsRequest request;
                request.mutable_start();
                stream->Send(request);
              }),
              HasSubstr("`batch`"));
  EXPECT_THAT(end([](Stream* stream) {
                stream->Start("p");
                stream->SendBatch(5, 2);
                stream->SendBatch(6, 1);
              }),
              HasSubstr("batch.first_number: must increase: 6 after 6"));
  EXPECT_THAT(end([](Stream* stream) {
                stream->Start("p");
                stream->SendBatch(0, 1);
              }),
              HasSubstr("batch.first_number: must be at least 1"));
  EXPECT_THAT(end([](Stream* stream) {
                stream->Start("p");
                stream->SendBatch(1, 0);
              }),
              HasSubstr("batch.events: must have 1 to 10 elements, has 0"));
  EXPECT_THAT(end([](Stream* stream) {
                stream->Start("p");
                stream->SendBatch(1, 11);
              }),
              HasSubstr("batch.events: must have 1 to 10 elements, has 11"));
}

TEST_F(RatingStreamTest, BytesThatAreNoMessageEndTheStreamWithAnError) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  grpc::internal::RpcMethod method("/factord.v1.RatingService/StreamRatings",
                                   grpc::internal::RpcMethod::BIDI_STREAMING);
  const auto stream = std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>>(
      grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(
          server_.channel().get(), method, &context));
  const auto send = [&](const std::string& bytes) {
    const grpc::Slice slice(bytes);
    return stream->Write(grpc::ByteBuffer(&slice, 1));
  };
  v1::StreamRatingsRequest message;
  message.mutable_start();
  ASSERT_TRUE(send(message.SerializeAsString()));
  message.mutable_batch()->set_first_number(1);
  SetRating("user", "item", 1, message.mutable_batch()->add_events());
  ASSERT_TRUE(send(message.SerializeAsString()));
  message.mutable_batch()->set_first_number(2);
  message.mutable_batch()->mutable_events(0)->set_user_id("\xff");
  send(message.SerializeAsString());
  // What came before is acknowledged.
  grpc::ByteBuffer bytes;
  v1::StreamRatingsResponse response;
  while (stream->Read(&bytes)) ASSERT_TRUE(Parse(bytes, &response).ok());
  EXPECT_EQ(response.ack().last_number(), 1);
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("not a valid factord.v1.StreamRatingsRequest"));
}

TEST_F(RatingStreamTest, AnUnknownModelEndsTheStream) {
  Stream stream(server_.channel());
  v1::StreamRatingsRequest request;
  request.mutable_start()->set_model("other");
  stream.Send(request);
  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(RatingStreamTest, ANewerStreamOfTheProducerTakesOver) {
  engine().HoldRequests();
  Stream older(server_.channel());
  older.Start("p");
  older.SendBatch(1, 3);
  engine().WaitForRequests(1);

  Stream newer(server_.NewChannel());
  newer.Start("p");
  older.SendBatch(4, 3);  // goes nowhere
  newer.SendBatch(4, 2);
  engine().WaitForRequests(2);
  EXPECT_EQ(engine().events(1).size(), 2u);
  engine().Complete(0);
  const grpc::Status status = older.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  ASSERT_EQ(older.acks().size(), 1u);
  EXPECT_EQ(older.acks()[0].last_number(), 3);

  engine().Complete(1);
  EXPECT_EQ(newer.ReadAck().last_number(), 5);
  newer.WritesDone();
  EXPECT_TRUE(newer.Finish().ok());
  EXPECT_EQ(engine().requests(), 2u);
}

TEST_F(RatingStreamTest, ProducersAndAnonymousStreamsDoNotDisturbEachOther) {
  Stream a(server_.channel()), b(server_.channel()), c(server_.channel()), d(server_.channel());
  a.Start("a");
  b.Start("b");
  c.Start("");
  d.Start("");
  for (Stream* stream : {&a, &b, &c, &d}) {
    stream->SendBatch(1, 2);
    EXPECT_EQ(stream->ReadAck().last_number(), 2);
    stream->WritesDone();
    EXPECT_TRUE(stream->Finish().ok());
  }
}

TEST_F(RatingStreamTest, OfManyStreamsOfOneProducerOneIsLeft) {
  constexpr int kStreams = 16;
  std::vector<std::unique_ptr<Stream>> streams;
  for (int i = 0; i < kStreams; ++i) {
    streams.push_back(std::make_unique<Stream>(server_.NewChannel()));
    v1::StreamRatingsRequest request;
    request.mutable_start()->set_producer_id("p");
    streams.back()->Send(request);
  }
  std::mutex mu;
  std::condition_variable changed;
  std::map<grpc::StatusCode, int> ends;
  std::vector<std::thread> threads;
  for (auto& stream : streams) {
    threads.emplace_back([&, stream = stream.get()] {
      stream->ReadStarted();
      const grpc::StatusCode end = stream->Finish().error_code();
      std::lock_guard lock(mu);
      ++ends[end];
      changed.notify_all();
    });
  }
  {
    std::unique_lock lock(mu);
    EXPECT_TRUE(changed.wait_for(lock, kPatience,
                                 [&] { return ends[grpc::StatusCode::ABORTED] == kStreams - 1; }));
  }
  for (auto& stream : streams) stream->WritesDone();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ends[grpc::StatusCode::OK], 1);
}

TEST_F(RatingStreamTest, ARefusalEndsTheStreamBeforeTheNextBatch) {
  Stream stream(server_.channel());
  stream.Start("p");
  stream.SendBatch(1, 2);
  EXPECT_EQ(stream.ReadAck().last_number(), 2);
  engine().Refuse(absl::ResourceExhaustedError("the queue is full"));
  stream.SendBatch(3, 2);
  stream.SendBatch(5, 2);
  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  // Had the batch after it been taken, the producer's last number would have passed over the
  // refused one.
  EXPECT_EQ(engine().requests(), 2u);
}

TEST_F(RatingStreamTest, TheBatchesOfAStreamAreASeries) {
  engine().HoldRequests();
  Stream stream(server_.channel()), other(server_.channel());
  stream.Start("p");
  other.Start("q");
  stream.SendBatch(1, 1);
  stream.SendBatch(2, 1);
  engine().WaitForRequests(2);
  other.SendBatch(1, 1);
  engine().WaitForRequests(3);
  EXPECT_NE(engine().series(0), nullptr);
  EXPECT_EQ(engine().series(0), engine().series(1));
  EXPECT_NE(engine().series(2), nullptr);
  EXPECT_NE(engine().series(0), engine().series(2));
  for (size_t i = 0; i < 3; ++i) engine().Complete(i);
}

// A batch that was on its way when an earlier one was refused went to the engine all the same.
TEST_F(RatingStreamTest, NoBatchIsSubmittedAfterALateRefusal) {
  engine().HoldRequests();
  Stream stream(server_.channel());
  stream.Start("p");
  stream.SendBatch(1, 2);
  stream.SendBatch(3, 2);
  engine().WaitForRequests(2);
  engine().Complete(0, absl::FailedPreconditionError("the disk is nearly full"));
  stream.SendBatch(5, 2);
  LetTheServerRead();
  EXPECT_EQ(engine().requests(), 2u);
  engine().Complete(1);
  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(stream.acks(), IsEmpty());
}

// Once 5 MB of reasons were in one acknowledgement, which clients refuse.
TEST_F(RatingStreamTest, AcknowledgementsStayBelowWhatClientsTake) {
  constexpr int kBatches = 10;
  engine().HoldRequests();
  Stream stream(server_.channel());
  stream.Start("p");
  for (int i = 0; i < kBatches; ++i) stream.SendBatch(1 + i, 1);
  engine().WaitForRequests(kBatches);
  const RecordResult refused{
      absl::OkStatus(), 0, {{EventResult::Outcome::kRefused, 0, std::string(500'000, 'x')}}};
  for (int i = kBatches - 1; i >= 0; --i) engine().Complete(i, refused);
  stream.WritesDone();
  const grpc::Status status = stream.Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  int rejected = 0;
  for (const v1::StreamAck& ack : stream.acks()) {
    rejected += ack.rejected_size();
    EXPECT_EQ(ack.last_number(), rejected);
    EXPECT_LT(ack.ByteSizeLong(), size_t{1} << 20);
  }
  EXPECT_EQ(rejected, kBatches);
}

TEST_F(RatingStreamTest, AFailureAfterTheClientsLastMessageIsToldToo) {
  engine().HoldRequests();
  Stream stream(server_.channel());
  stream.Start("p");
  stream.SendBatch(1, 2);
  stream.WritesDone();
  engine().WaitForRequests(1);
  engine().Complete(0, absl::UnavailableError("the store failed"));
  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(RatingStreamTest, ACancelledStreamWaitsForTheEngine) {
  engine().HoldRequests();
  {
    Stream stream(server_.channel());
    stream.Start("p");
    stream.SendBatch(1, 2);
    engine().WaitForRequests(1);
    stream.Cancel();
    EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  EXPECT_EQ(engine().events(0)[1].item_id, "item 2");  // the engine still may read it
  engine().Complete(0);
}

TEST_F(RatingStreamTest, DrainingGivesTheLastAcknowledgement) {
  engine().HoldRequests();
  Stream stream(server_.channel());
  stream.Start("p");
  stream.SendBatch(1, 2);
  Stream idle(server_.channel());
  idle.Start("q");
  Stream mute(server_.channel());  // has not even said `start`
  engine().WaitForRequests(1);
  server_.server().Stop();
  EXPECT_EQ(idle.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(mute.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  engine().Complete(0);
  const grpc::Status status = stream.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("draining"));
  ASSERT_EQ(stream.acks().size(), 1u);
  EXPECT_EQ(stream.acks()[0].last_number(), 2);
  EXPECT_EQ(server_.Join(), kExitOk);
}

}  // namespace
}  // namespace factord
