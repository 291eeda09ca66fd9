#include "benchmarks/echo_server.h"

#include <grpcpp/ext/health_check_service_server_builder_option.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <cstdio>
#include <fstream>

#include "base/mutex.h"
#include "benchmarks/rating_stream.h"
#include "factord/v1/rating_service.grpc.pb.h"
#include "factord/v1/recommendation_service.grpc.pb.h"

namespace factord {
namespace {

constexpr int64_t kSequence = 1'500'000;  // one of three bytes, as most of a run are
constexpr int kItems = 10;
constexpr int32_t kWindowEvents = 65'536;

template <typename Message>
grpc::Status Parse(const grpc::ByteBuffer& bytes, Message* message) {
  grpc::ByteBuffer shared(bytes);
  return grpc::SerializationTraits<Message>::Deserialize(&shared, message);
}

template <typename Message>
grpc::Status Serialize(const Message& message, grpc::ByteBuffer* bytes) {
  bool own = false;
  return grpc::SerializationTraits<Message>::Serialize(message, bytes, &own);
}

class Ratings final
    : public v1::RatingService::WithRawCallbackMethod_RecordRatings<
          v1::RatingService::WithRawCallbackMethod_StreamRatings<v1::RatingService::Service>> {
 public:
  grpc::ServerUnaryReactor* RecordRatings(grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StreamRatings(
      grpc::CallbackServerContext* context) override;
};

class Recommendations final
    : public v1::RecommendationService::WithRawCallbackMethod_RecommendItems<
          v1::RecommendationService::Service> {
 public:
  Recommendations() {
    for (int i = 0; i < kItems; ++i) {
      v1::ScoredItem* const item = reply_.add_items();
      item->set_item_id(ItemId(static_cast<uint32_t>(i)));
      item->set_score(1);
    }
    reply_.set_sequence(kSequence);
    reply_.set_recommendation_id(std::string(32, '0'));
  }

  grpc::ServerUnaryReactor* RecommendItems(grpc::CallbackServerContext* context,
                                           const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override {
    thread_local v1::RecommendItemsRequest message;
    grpc::Status status = Parse(*request, &message);
    if (status.ok()) status = Serialize(reply_, response);
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(status);
    return reactor;
  }

 private:
  v1::RecommendItemsResponse reply_;
};

grpc::ServerUnaryReactor* Ratings::RecordRatings(grpc::CallbackServerContext* context,
                                                 const grpc::ByteBuffer* request,
                                                 grpc::ByteBuffer* response) {
  thread_local v1::RecordRatingsRequest message;
  thread_local v1::RecordRatingsResponse reply;
  grpc::Status status = Parse(*request, &message);
  reply.Clear();
  for (int i = 0; i < message.events_size(); ++i) {
    v1::RatingResult* const result = reply.add_results();
    result->set_outcome(v1::RatingResult::OUTCOME_APPLIED);
    result->set_sequence(kSequence);
  }
  reply.set_last_sequence(kSequence);
  if (status.ok()) status = Serialize(reply, response);
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(status);
  return reactor;
}

// One call. Acknowledges all that has come whenever the acknowledgement before has been written.
class Stream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Stream() { StartRead(&incoming_); }

  void OnReadDone(bool ok) override {
    const grpc::Status status = ok ? Parse(incoming_, &message_) : grpc::Status();
    const bool is_end = !ok || !status.ok();
    MutexLock lock(&mu_);
    if (is_end) {
      status_ = status;
      is_read_to_end_ = true;
    } else if (message_.has_batch()) {
      last_number_ = message_.batch().first_number() + message_.batch().events_size() - 1;
    } else {
      reply_.mutable_started()->set_window_events(kWindowEvents);
      WriteLocked();
    }
    AdvanceLocked();
    if (!is_end) StartRead(&incoming_);
  }
  void OnWriteDone(bool ok) override {
    MutexLock lock(&mu_);
    is_writing_ = false;
    if (!ok) acknowledged_ = last_number_;  // nobody is there
    AdvanceLocked();
  }
  void OnDone() override { delete this; }

 private:
  void AdvanceLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (is_writing_) return;
    if (acknowledged_ < last_number_) {
      acknowledged_ = last_number_;
      reply_.mutable_ack()->set_last_number(last_number_);
      reply_.mutable_ack()->set_last_sequence(kSequence);
      WriteLocked();
    } else if (is_read_to_end_) {
      Finish(status_);
    }
  }
  void WriteLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    (void)Serialize(reply_, &outgoing_);  // fails beyond 2 GiB only
    is_writing_ = true;
    StartWrite(&outgoing_);
  }

  // Of the one read that is under way, and who handles it.
  grpc::ByteBuffer incoming_;
  v1::StreamRatingsRequest message_;

  Mutex mu_;
  grpc::ByteBuffer outgoing_ ABSL_GUARDED_BY(mu_);
  v1::StreamRatingsResponse reply_ ABSL_GUARDED_BY(mu_);
  int64_t last_number_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t acknowledged_ ABSL_GUARDED_BY(mu_) = 0;
  grpc::Status status_ ABSL_GUARDED_BY(mu_);
  bool is_writing_ ABSL_GUARDED_BY(mu_) = false;
  bool is_read_to_end_ ABSL_GUARDED_BY(mu_) = false;
};

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Ratings::StreamRatings(
    grpc::CallbackServerContext*) {
  return new Stream();  // OnDone deletes it
}

}  // namespace

absl::Status RunEchoServer(const std::string& address, const std::string& port_file) {
  Ratings ratings;
  Recommendations recommendations;
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&ratings);
  builder.RegisterService(&recommendations);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", address));
  }
  std::ofstream(port_file + ".tmp") << port << '\n';
  if (std::rename((port_file + ".tmp").c_str(), port_file.c_str()) != 0) {
    return absl::UnknownError(absl::StrCat("cannot write ", port_file));
  }
  server->Wait();
  return absl::OkStatus();
}

}  // namespace factord
