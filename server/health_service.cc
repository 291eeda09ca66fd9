#include "server/health_service.h"

#include <utility>

namespace factord {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

namespace {

constexpr size_t kMaxChecks = 1'000;
constexpr size_t kMaxWatches = 1'000;

HealthCheckResponse::ServingStatus ToStatus(bool serving) {
  return serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

grpc::Status Draining() {
  return grpc::Status(grpc::StatusCode::UNAVAILABLE, "draining: the server is going down");
}

grpc::Status NoRequest() {
  return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                      "the request: there is none, or it is malformed");
}

}  // namespace

// One call of Watch: writes the latest status whenever it differs from the last one written.
class HealthWatch final : public HealthService::Reactor,
                          public std::enable_shared_from_this<HealthWatch> {
 public:
  explicit HealthWatch(HealthService* health) : health_(health) {}

  // Reads what to watch.
  void Open() { StartRead(&request_); }

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

  void OnReadDone(bool ok) override {
    if (ok) {
      health_->Begin(this, request_.service());
    } else {
      End(NoRequest());
    }
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
  void OnDone() override { health_->Remove(shared_from_this()); }

 private:
  void AdvanceLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (is_writing_ || is_finished_) return;
    if (latest_ != response_.status() && !is_broken_) {
      response_.set_status(latest_);
      is_writing_ = true;
      StartWrite(&response_);
    } else if (is_ending_) {
      is_finished_ = true;
      Finish(end_);
    }
  }

  HealthService* const health_;
  HealthCheckRequest request_;

  Mutex mu_;
  HealthCheckResponse::ServingStatus latest_ ABSL_GUARDED_BY(mu_) = HealthCheckResponse::UNKNOWN;
  HealthCheckResponse response_ ABSL_GUARDED_BY(mu_);  // as last written; UNKNOWN: nothing yet
  bool is_writing_ ABSL_GUARDED_BY(mu_) = false;
  bool is_broken_ ABSL_GUARDED_BY(mu_) = false;
  bool is_ending_ ABSL_GUARDED_BY(mu_) = false;
  bool is_finished_ ABSL_GUARDED_BY(mu_) = false;
  grpc::Status end_ ABSL_GUARDED_BY(mu_) = grpc::Status::CANCELLED;
};

// One call of Check. It leaves the list, at the latest, before its context goes.
class HealthCheck final : public HealthService::Reactor {
 public:
  HealthCheck(HealthService* health, grpc::CallbackServerContext* context)
      : health_(health), context_(context) {}
  // REQUIRES: the service's lock. Enters the service's list.
  void Enter() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    place_ = health_->checks_.insert(health_->checks_.end(), this);
  }
  // REQUIRES: the service's lock, and to be in its list, which it leaves.
  void Cancel() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    is_listed_ = false;
    health_->checks_.erase(place_);
    context_->TryCancel();
  }
  // Reads what to check, and answers.
  void Open() { StartRead(&request_); }

  void OnReadDone(bool ok) override {
    const grpc::Status status = ok ? health_->Answer(request_, &response_) : NoRequest();
    if (status.ok()) {
      StartWriteAndFinish(&response_, grpc::WriteOptions(), status);
    } else {
      Finish(status);
    }
  }
  void OnDone() override {
    {
      MutexLock lock(&health_->mu_);
      if (is_listed_) health_->checks_.erase(place_);
    }
    delete this;
  }

 private:
  HealthService* const health_;
  grpc::CallbackServerContext* const context_;
  HealthCheckRequest request_;
  HealthCheckResponse response_;
  // Guarded by the service's lock.
  std::list<HealthCheck*>::iterator place_;
  bool is_listed_ = true;
};

HealthService::HealthService() {
  constexpr const char* kName = "grpc.health.v1.Health";
  Add<HealthCheckRequest, HealthCheckResponse>(
      kName, "Check", [this](grpc::CallbackServerContext* context) { return Check(context); });
  Add<HealthCheckRequest, HealthCheckResponse>(
      kName, "Watch", [this](grpc::CallbackServerContext* context) { return Watch(context); });
  SetReads(false);
  SetWrites(false);
  MutexLock lock(&mu_);
  Set({"liveness"}, true);
}

void HealthService::Set(std::initializer_list<const char*> services, bool serving) {
  for (const char* service : services) {
    serving_[service] = serving;
    for (const auto& [watch, watched] : watches_) {
      if (watched == service) watch->Set(ToStatus(serving));
    }
  }
}

void HealthService::SetReads(bool serving) {
  MutexLock lock(&mu_);
  if (draining_) return;
  Set({"", "factord.v1.RecommendationService", "factord.v1.ModelService",
       "factord.v1.AdminService"},
      serving);
}

void HealthService::SetWrites(bool serving) {
  MutexLock lock(&mu_);
  if (draining_) return;
  Set({"factord.v1.RatingService"}, serving);
}

bool HealthService::Serves(const char* service) const {
  MutexLock lock(&mu_);
  return serving_.at(service);
}

bool HealthService::serves_reads() const { return Serves(""); }
bool HealthService::serves_writes() const { return Serves("factord.v1.RatingService"); }

void HealthService::Drain() {
  SetReads(false);
  SetWrites(false);
  MutexLock lock(&mu_);
  draining_ = true;
  for (const auto& [watch, service] : watches_) watch->End(Draining());
}

HealthService::Reactor* HealthService::Check(grpc::CallbackServerContext* context) {
  auto* const check = new HealthCheck(this, context);  // OnDone deletes it
  {
    MutexLock lock(&mu_);
    check->Enter();
    if (checks_.size() > kMaxChecks) checks_.front()->Cancel();
  }
  check->Open();
  return check;
}

grpc::Status HealthService::Answer(const HealthCheckRequest& request,
                                   HealthCheckResponse* response) const {
  MutexLock lock(&mu_);
  const auto found = serving_.find(request.service());
  if (found == serving_.end()) {
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "service: unknown");
  }
  response->set_status(ToStatus(found->second));
  return grpc::Status::OK;
}

HealthService::Reactor* HealthService::Watch(grpc::CallbackServerContext* context) {
  auto watch = std::make_shared<HealthWatch>(this);
  MutexLock lock(&mu_);
  watches_.emplace(watch, std::nullopt);
  if (watches_.size() > kMaxWatches) {
    // Without a message, which would wait to be read; and where so many do not even read why, it is
    // cancelled.
    watch->End(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "too many watches of health"));
    if (watches_.size() > 2 * kMaxWatches) context->TryCancel();
  } else {
    watch->Open();
  }
  return watch.get();
}

void HealthService::Begin(HealthWatch* watch, const std::string& service) {
  MutexLock lock(&mu_);
  watches_[watch->shared_from_this()] = service;
  const auto found = serving_.find(service);
  watch->Set(found == serving_.end() ? HealthCheckResponse::SERVICE_UNKNOWN
                                     : ToStatus(found->second));
  if (draining_) watch->End(Draining());
}

void HealthService::Remove(const std::shared_ptr<HealthWatch>& watch) {
  MutexLock lock(&mu_);
  watches_.erase(watch);
}

}  // namespace factord
