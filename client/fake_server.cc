#include "client/fake_server.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/server_builder.h"

namespace factord {

class FakeServer::Ratings : public v1::RatingService::Service {
 public:
  using Stream = grpc::ServerReaderWriter<v1::StreamRatingsResponse, v1::StreamRatingsRequest>;

  explicit Ratings(FakeServer* fake) : fake_(fake) {}

  grpc::Status RecordRatings(grpc::ServerContext* context, const v1::RecordRatingsRequest* request,
                             v1::RecordRatingsResponse* response) override {
    {
      MutexLock lock(&fake_->mu_);
      fake_->record_requests_.push_back(*request);
    }
    grpc::Status status = fake_->NoteCall(context, "RecordRatings");
    if (!status.ok()) return status;
    MutexLock lock(&fake_->mu_);
    for (const v1::Rating& event : request->events()) {
      fake_->applied_.push_back({"", 0, event});
      auto* result = response->add_results();
      result->set_outcome(v1::RatingResult::OUTCOME_APPLIED);
      result->set_sequence(static_cast<int64_t>(fake_->applied_.size()));
      response->set_last_sequence(result->sequence());
    }
    return grpc::Status::OK;
  }

  grpc::Status StreamRatings(grpc::ServerContext* context, Stream* stream) override {
    if (grpc::Status status = fake_->CheckToken(*context); !status.ok()) return status;
    v1::StreamRatingsRequest request;
    if (!stream->Read(&request)) return grpc::Status::OK;
    const std::string producer = request.start().producer_id();
    {
      MutexLock lock(&fake_->mu_);
      fake_->starts_.push_back(request.start());
    }
    if (fake_->on_start) {
      const grpc::Status status = fake_->on_start();
      if (!status.ok()) return fake_->WithPushback(context, status);
    }
    if (!fake_->answer_start) return Hang(context);
    v1::StreamRatingsResponse response;
    response.mutable_started()->set_window_events(fake_->window);
    {
      MutexLock lock(&fake_->mu_);
      response.mutable_started()->set_last_number(fake_->producers_[producer]);
    }
    stream->Write(response);

    int64_t unacknowledged = 0;
    v1::StreamRatingsResponse ack;  // collects until it is sent
    while (stream->Read(&request)) {
      const v1::StreamBatch& batch = request.batch();
      unacknowledged += batch.events_size();
      NoteBatch(batch, unacknowledged);
      const BatchFate fate = fake_->on_batch ? fake_->on_batch(batch) : BatchFate::kApplyAndAck;
      if (fate == BatchFate::kBreak) return fake_->WithPushback(context, fake_->break_status);
      if (fate == BatchFate::kHang) return Hang(context);
      Apply(producer, batch, ack.mutable_ack());
      if (fate == BatchFate::kApplyAndBreak)
        return fake_->WithPushback(context, fake_->break_status);
      if (fate == BatchFate::kApplyAndHold) continue;
      if (fate == BatchFate::kAckTooMuch) {
        ack.mutable_ack()->set_last_number(ack.ack().last_number() + 1000);
      }
      if (!stream->Write(ack)) break;
      ack.Clear();
      unacknowledged = 0;
    }
    return fake_->end_status;
  }

 private:
  static grpc::Status Hang(grpc::ServerContext* context) {
    while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return grpc::Status::CANCELLED;
  }

  void NoteBatch(const v1::StreamBatch& batch, int64_t unacknowledged) {
    MutexLock lock(&fake_->mu_);
    fake_->most_unacknowledged_ = std::max(fake_->most_unacknowledged_, unacknowledged);
    fake_->largest_batch_ = std::max<int64_t>(fake_->largest_batch_, batch.events_size());
  }

  void Apply(const std::string& producer, const v1::StreamBatch& batch, v1::StreamAck* ack) {
    MutexLock lock(&fake_->mu_);
    int64_t& last = fake_->producers_[producer];
    for (int i = 0; i < batch.events_size(); ++i) {
      const int64_t number = batch.first_number() + i;
      const absl::Status why = fake_->reject ? fake_->reject(batch.events(i)) : absl::OkStatus();
      if (!why.ok()) {
        auto* rejected = ack->add_rejected();
        rejected->set_number(number);
        rejected->set_reason(std::string(why.message()));
        rejected->set_code(why.raw_code());
      } else if (number <= last) {
        ack->set_duplicates(ack->duplicates() + 1);
      } else {
        fake_->applied_.push_back({producer, number, batch.events(i)});
        last = number;  // that of a rejected rating is not remembered
      }
      ack->set_last_number(number);
    }
    ack->set_last_sequence(static_cast<int64_t>(fake_->applied_.size()));
  }

  FakeServer* const fake_;
};

// Every other method notes the call, asks on_call, and echoes the model's name where it can.
#define FACTORD_FAKE_METHOD(Name, fill)                                             \
  grpc::Status Name(grpc::ServerContext* context, const v1::Name##Request* request, \
                    v1::Name##Response* response) override {                        \
    grpc::Status status = fake_->NoteCall(context, #Name);                          \
    (void)request;                                                                  \
    if (status.ok()) {                                                              \
      fill;                                                                         \
    }                                                                               \
    return status;                                                                  \
  }

class FakeServer::Recommendations : public v1::RecommendationService::Service {
 public:
  explicit Recommendations(FakeServer* fake) : fake_(fake) {}
  FACTORD_FAKE_METHOD(RecommendItems, {
    for (int i = 1; i <= (request->has_max_items() ? request->max_items() : 10); ++i) {
      auto* item = response->add_items();
      item->set_item_id(absl::StrCat(i));
      item->set_score(5 - 0.1F * static_cast<float>(i));
    }
    response->set_sequence(7);
  })
  FACTORD_FAKE_METHOD(PredictRatings, {
    for (int i = 0; i < request->pairs_size(); ++i) {
      response->add_predictions()->set_rating(0.5F * static_cast<float>(i + 1));
    }
  })

 private:
  FakeServer* const fake_;
};

class FakeServer::Models : public v1::ModelService::Service {
 public:
  explicit Models(FakeServer* fake) : fake_(fake) {}
  FACTORD_FAKE_METHOD(GetModel, {
    MutexLock lock(&fake_->mu_);
    response->set_sequence(static_cast<int64_t>(fake_->applied_.size()));
    response->mutable_prequential_error()->set_events(response->sequence());
    response->mutable_prequential_error()->set_mae(0.75);
    response->mutable_config()->set_min_rating(0);
    response->mutable_config()->set_max_rating(5);
    response->set_accepts_writes(true);
  })
  FACTORD_FAKE_METHOD(ListTopics, {
    auto* item = response->add_topics()->add_items();
    item->set_item_id("1");
    item->set_weight(0.25F);
    item->set_ratings(3);
  })
  // Two pages of one row each.
  FACTORD_FAKE_METHOD(GetFactors, {
    const bool first = request->page_token().empty();
    auto* row = response->add_rows();
    row->set_id(first ? "a" : "b");
    row->add_factors(0.5F);
    row->add_factors(1.5F);
    row->set_ratings(3);
    if (first) response->set_next_page_token("second");
    response->set_view_token("pinned");
  })

 private:
  FakeServer* const fake_;
};

class FakeServer::Admin : public v1::AdminService::Service {
 public:
  explicit Admin(FakeServer* fake) : fake_(fake) {}
  FACTORD_FAKE_METHOD(CreateSnapshot, response->set_sequence(3))
  FACTORD_FAKE_METHOD(ComputeHash, response->set_hash("0123456789abcdef0123456789abcdef"))
  FACTORD_FAKE_METHOD(Backup, response->set_path("/backups/" + request->name()))
  FACTORD_FAKE_METHOD(StartPasses, (void)response)
  FACTORD_FAKE_METHOD(GetPasses, {
    response->mutable_progress()->set_state(v1::PassesProgress::STATE_DONE);
    response->mutable_progress()->set_passes(4);
  })
  FACTORD_FAKE_METHOD(StopPasses, response->mutable_progress()->set_passes(5))

 private:
  FakeServer* const fake_;
};

#undef FACTORD_FAKE_METHOD

class FakeServer::Health : public grpc::health::v1::Health::Service {
 public:
  explicit Health(FakeServer* fake) : fake_(fake) {}
  grpc::Status Check(grpc::ServerContext* context,
                     const grpc::health::v1::HealthCheckRequest* request,
                     grpc::health::v1::HealthCheckResponse* response) override {
    grpc::Status status = fake_->NoteCall(context, "Check " + request->service());
    response->set_status(grpc::health::v1::HealthCheckResponse::SERVING);
    return status;
  }

 private:
  FakeServer* const fake_;
};

FakeServer::FakeServer(std::shared_ptr<grpc::ServerCredentials> credentials)
    : ratings_(std::make_unique<Ratings>(this)),
      recommendations_(std::make_unique<Recommendations>(this)),
      models_(std::make_unique<Models>(this)),
      admin_(std::make_unique<Admin>(this)),
      health_(std::make_unique<Health>(this)),
      credentials_(std::move(credentials)) {
  Start();
}

FakeServer::~FakeServer() { Stop(); }

std::string FakeServer::target() const { return absl::StrCat("127.0.0.1:", port_); }

void FakeServer::Start() {
  // After a Stop the port may be in use for a moment.
  for (int attempt = 0; server_ == nullptr && attempt < 500; ++attempt) {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(target(), credentials_, &port);
    builder.SetMaxReceiveMessageSize(max_message_bytes);
    // Clients may ask whether it is alive, as the real server lets them, and in tests more often.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.RegisterService(ratings_.get());
    builder.RegisterService(recommendations_.get());
    builder.RegisterService(models_.get());
    builder.RegisterService(admin_.get());
    builder.RegisterService(health_.get());
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    } else {
      port_ = port;
    }
  }
  if (server_ == nullptr) {
    std::fprintf(stderr, "cannot listen on %s\n", target().c_str());
    std::abort();
  }
}

void FakeServer::Stop() {
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
  server_ = nullptr;
}

grpc::Status FakeServer::NoteCall(grpc::ServerContext* context, const std::string& method) {
  {
    MutexLock lock(&mu_);
    calls_.push_back(method);
  }
  if (method.rfind("Check ", 0) != 0) {
    if (grpc::Status status = CheckToken(*context); !status.ok()) return status;
  }
  return on_call ? WithPushback(context, on_call(method)) : grpc::Status::OK;
}

grpc::Status FakeServer::WithPushback(grpc::ServerContext* context,
                                      const grpc::Status& status) const {
  if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED && !pushback.empty()) {
    context->AddTrailingMetadata("grpc-retry-pushback-ms", pushback);
  }
  return status;
}

std::vector<FakeServer::Applied> FakeServer::applied() const {
  MutexLock lock(&mu_);
  return applied_;
}

std::vector<v1::RecordRatingsRequest> FakeServer::record_requests() const {
  MutexLock lock(&mu_);
  return record_requests_;
}

std::vector<v1::StreamStart> FakeServer::starts() const {
  MutexLock lock(&mu_);
  return starts_;
}

std::vector<std::string> FakeServer::calls() const {
  MutexLock lock(&mu_);
  return calls_;
}

int64_t FakeServer::most_unacknowledged() const {
  MutexLock lock(&mu_);
  return most_unacknowledged_;
}

int64_t FakeServer::largest_batch() const {
  MutexLock lock(&mu_);
  return largest_batch_;
}

grpc::Status FakeServer::CheckToken(const grpc::ServerContext& context) {
  MutexLock lock(&mu_);
  const auto [begin, end] = context.client_metadata().equal_range("authorization");
  const std::string expected = "Bearer " + token_;
  const bool good =
      token_.empty() || (begin != end && std::next(begin) == end && begin->second == expected);
  return good ? grpc::Status::OK : grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "what token?");
}

void FakeServer::RequireToken(const std::string& token) {
  MutexLock lock(&mu_);
  token_ = token;
}

void FakeServer::ForgetProducers() {
  MutexLock lock(&mu_);
  producers_.clear();
}

}  // namespace factord
