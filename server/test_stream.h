// A stream of ratings for tests. For test binaries only.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "server/test_util.h"

namespace factord {

// The client's end of one stream.
class Stream {
 public:
  explicit Stream(const std::shared_ptr<grpc::Channel>& channel)
      : stub_(v1::RatingService::NewStub(channel)) {
    context_.set_deadline(std::chrono::system_clock::now() + kPatience);
    call_ = stub_->StreamRatings(&context_);
  }

  // Sends `start` and reads `started`.
  v1::StreamStarted Start(const std::string& producer_id) {
    v1::StreamRatingsRequest request;
    request.mutable_start()->set_producer_id(producer_id);
    Send(request);
    v1::StreamRatingsResponse response;
    EXPECT_TRUE(call_->Read(&response) && response.has_started());
    return response.started();
  }

  // False if the stream has ended before.
  bool ReadStarted() {
    v1::StreamRatingsResponse response;
    return call_->Read(&response) && response.has_started();
  }

  bool Send(const v1::StreamRatingsRequest& request) { return call_->Write(request); }
  // `events` good events, numbered from `first_number`.
  bool SendBatch(int64_t first_number, int events) {
    v1::StreamRatingsRequest request;
    request.mutable_batch()->set_first_number(first_number);
    for (int i = 0; i < events; ++i) {
      SetRating("user", "item " + std::to_string(first_number + i), 1,
                request.mutable_batch()->add_events());
    }
    return Send(request);
  }
  void WritesDone() { call_->WritesDone(); }
  void Cancel() { context_.TryCancel(); }

  // The next acknowledgement; last_number is -1 at the end.
  v1::StreamAck ReadAck() {
    v1::StreamRatingsResponse response;
    if (!call_->Read(&response)) response.mutable_ack()->set_last_number(-1);
    EXPECT_TRUE(response.has_ack());
    return response.ack();
  }
  // Reads what is left, and returns how the stream ended.
  grpc::Status Finish() {
    v1::StreamRatingsResponse response;
    while (call_->Read(&response)) acks_.push_back(response.ack());
    return call_->Finish();
  }
  // What Finish read.
  const std::vector<v1::StreamAck>& acks() const { return acks_; }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<v1::RatingService::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::StreamRatingsRequest, v1::StreamRatingsResponse>>
      call_;
  std::vector<v1::StreamAck> acks_;
};

}  // namespace factord
