#include "server/health_service.h"

#include <utility>

namespace factord {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

namespace {

constexpr size_t kMaxWatches = 1'000;
// Of those that wait for their requests, and of those whose answers are not read.
constexpr size_t kMaxIdle = 250;

HealthCheckResponse::ServingStatus ToStatus(bool serving) {
  return serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

}  // namespace

// One call. A watch writes the latest status whenever it differs from the last one written; a check
// writes it once.
class HealthCall final : public HealthService::Reactor,
                         public std::enable_shared_from_this<HealthCall> {
 public:
  HealthCall(HealthService* service, grpc::CallbackServerContext* context, bool is_watch)
      : service_(service),
        health_(service->health_),
        context_(context),
        is_watch_(is_watch),
        guarded_(service->flood_guard_, context) {}

  void Open() {
    {
      MutexLock lock(&health_->mu_);
      self_ = shared_from_this();
      EnterLocked(&service_->waiting_);
    }
    StartRead(&request_);
  }

  void Set(HealthCheckResponse::ServingStatus status) {
    MutexLock lock(&mu_);
    latest_ = status;
    AdvanceLocked();
  }

  // Ends the call with `status` once the latest serving status is written.
  void End(grpc::Status status) {
    MutexLock lock(&mu_);
    if (!is_ending_) end_ = std::move(status);
    is_ending_ = true;
    AdvanceLocked();
  }

 private:
  void OnReadDone(bool ok) override {
    if (ok) {
      {
        MutexLock lock(&mu_);  // it may be cancelled at the same moment
        guarded_.Received();
      }
      return Answer();
    }
    End(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                     "the request: there is none, or it is malformed"));
  }
  void OnWriteDone(bool ok) override {
    MutexLock lock(&mu_);
    is_writing_ = false;
    is_broken_ = is_broken_ || !ok;
    is_ending_ = is_ending_ || !ok;
    AdvanceLocked();
  }
  void OnCancel() override {
    MutexLock lock(&mu_);
    is_broken_ = true;
    is_ending_ = true;
    AdvanceLocked();
  }
  void OnDone() override {
    const std::shared_ptr<HealthCall> self = shared_from_this();
    MutexLock lock(&health_->mu_);
    health_->watches_.erase(self);
    LeaveLocked();
    self_.reset();
  }

  void Answer() {
    MutexLock lock(&health_->mu_);
    const std::string& service = request_.service();
    const auto found = health_->serving_.find(service);
    if (!is_watch_) {
      EnterLocked(&service_->answered_);
      if (found == health_->serving_.end()) {
        return End(grpc::Status(grpc::StatusCode::NOT_FOUND, "service: unknown"));
      }
      Set(ToStatus(found->second));
      return End(grpc::Status::OK);
    }
    if (service_->watching_.size() >= kMaxWatches) {
      // Without a message, which would wait to be read.
      EnterLocked(&service_->answered_);
      return End(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "too many watches of health"));
    }
    EnterLocked(&service_->watching_);
    health_->watches_[shared_from_this()] = service;
    Set(found == health_->serving_.end() ? HealthCheckResponse::SERVICE_UNKNOWN
                                         : ToStatus(found->second));
    if (health_->draining_) End(Draining());
  }

  // Moves the call to the end of `calls`, whose oldest is cancelled where they are too many.
  void EnterLocked(HealthService::Calls* calls) ABSL_EXCLUSIVE_LOCKS_REQUIRED(health_->mu_) {
    LeaveLocked();
    calls_ = calls;
    place_ = calls->insert(calls->end(), this);
    if (calls == &service_->watching_ || calls->size() <= kMaxIdle) return;
    HealthCall* const oldest = calls->front();
    oldest->LeaveLocked();
    oldest->context_->TryCancel();  // it leaves the list, at the latest, before its context goes
  }
  // No analysis: of another call, whose health is the same.
  void LeaveLocked() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (calls_ != nullptr) calls_->erase(place_);
    calls_ = nullptr;
  }

  void AdvanceLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (is_writing_ || is_finished_) return;
    if (latest_ != response_.status() && !is_broken_) {
      response_.set_status(latest_);
      is_writing_ = true;
      StartWrite(&response_);
    } else if (is_ending_) {
      is_finished_ = true;
      guarded_.Answered();
      Finish(end_);
    }
  }

  friend class Health;
  static grpc::Status Draining() {
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "draining: the server is going down");
  }

  HealthService* const service_;
  Health* const health_;
  grpc::CallbackServerContext* const context_;
  const bool is_watch_;
  HealthCheckRequest request_;
  // Guarded by the lock of health_.
  std::shared_ptr<HealthCall> self_;
  HealthService::Calls* calls_ = nullptr;  // that it is in
  HealthService::Calls::iterator place_;

  Mutex mu_;
  FloodGuard::Call guarded_ ABSL_GUARDED_BY(mu_);
  HealthCheckResponse::ServingStatus latest_ ABSL_GUARDED_BY(mu_) = HealthCheckResponse::UNKNOWN;
  HealthCheckResponse response_ ABSL_GUARDED_BY(mu_);  // as last written; UNKNOWN: nothing yet
  bool is_writing_ ABSL_GUARDED_BY(mu_) = false;
  bool is_broken_ ABSL_GUARDED_BY(mu_) = false;
  bool is_ending_ ABSL_GUARDED_BY(mu_) = false;
  bool is_finished_ ABSL_GUARDED_BY(mu_) = false;
  grpc::Status end_ ABSL_GUARDED_BY(mu_) = grpc::Status::CANCELLED;
};

Health::Health() {
  SetReads(false);
  SetWrites(false);
  MutexLock lock(&mu_);
  Set({"liveness"}, true);
}

void Health::Set(std::initializer_list<const char*> services, bool serving) {
  for (const char* service : services) {
    serving_[service] = serving;
    for (const auto& [watch, watched] : watches_) {
      if (watched == service) watch->Set(ToStatus(serving));
    }
  }
}

void Health::SetReads(bool serving) {
  MutexLock lock(&mu_);
  if (draining_) return;
  Set({"", "factord.v1.RecommendationService", "factord.v1.ModelService",
       "factord.v1.AdminService"},
      serving);
}

void Health::SetWrites(bool serving) {
  MutexLock lock(&mu_);
  if (draining_) return;
  Set({"factord.v1.RatingService"}, serving);
}

bool Health::Serves(const char* service) const {
  MutexLock lock(&mu_);
  return serving_.at(service);
}

bool Health::serves_reads() const { return Serves(""); }
bool Health::serves_writes() const { return Serves("factord.v1.RatingService"); }

void Health::Drain() {
  SetReads(false);
  SetWrites(false);
  MutexLock lock(&mu_);
  draining_ = true;
  for (const auto& [watch, service] : watches_) watch->End(HealthCall::Draining());
}

HealthService::HealthService(Health* health, FloodGuard* flood_guard)
    : health_(health), flood_guard_(flood_guard) {
  constexpr const char* kName = "grpc.health.v1.Health";
  for (const auto& [method, is_watch] : {std::pair{"Check", false}, std::pair{"Watch", true}}) {
    Add<HealthCheckRequest, HealthCheckResponse>(
        kName, method, [this, is_watch = is_watch](grpc::CallbackServerContext* context) {
          return Open(context, is_watch);
        });
  }
}

HealthService::Reactor* HealthService::Open(grpc::CallbackServerContext* context, bool is_watch) {
  const auto call = std::make_shared<HealthCall>(this, context, is_watch);
  call->Open();
  return call.get();
}

}  // namespace factord
