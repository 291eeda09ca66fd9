#include "server/health_service.h"

#include <utility>

namespace factord {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// One call of Watch: writes the latest status whenever it differs from the last one written.
class HealthWatch final : public grpc::ServerWriteReactor<HealthCheckResponse>,
                          public std::enable_shared_from_this<HealthWatch> {
 public:
  HealthWatch(HealthService* health, std::string service)
      : health_(health), service_(std::move(service)) {}

  const std::string& service() const { return service_; }

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
  const std::string service_;

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
class HealthCheck final : public grpc::ServerUnaryReactor {
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
  // Guarded by the service's lock.
  std::list<HealthCheck*>::iterator place_;
  bool is_listed_ = true;
};

namespace {

constexpr size_t kMaxChecks = 1'000;
constexpr size_t kMaxWatches = 1'000;

HealthCheckResponse::ServingStatus ToStatus(bool serving) {
  return serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

grpc::Status Draining() {
  return grpc::Status(grpc::StatusCode::UNAVAILABLE, "draining: the server is going down");
}

}  // namespace

HealthService::HealthService() {
  SetReads(false);
  SetWrites(false);
  MutexLock lock(&mu_);
  Set({"liveness"}, true);
}

void HealthService::Set(std::initializer_list<const char*> services, bool serving) {
  for (const char* service : services) {
    serving_[service] = serving;
    for (const auto& watch : watches_) {
      if (watch->service() == service) watch->Set(ToStatus(serving));
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
  for (const auto& watch : watches_) watch->End(Draining());
}

grpc::ServerUnaryReactor* HealthService::Check(grpc::CallbackServerContext* context,
                                               const HealthCheckRequest* request,
                                               HealthCheckResponse* response) {
  auto* const reactor = new HealthCheck(this, context);  // OnDone deletes it
  grpc::Status status;
  {
    MutexLock lock(&mu_);
    reactor->Enter();
    if (checks_.size() > kMaxChecks) checks_.front()->Cancel();
    const auto found = serving_.find(request->service());
    if (found == serving_.end()) {
      status = grpc::Status(grpc::StatusCode::NOT_FOUND, "service: unknown");
    } else {
      response->set_status(ToStatus(found->second));
    }
  }
  reactor->Finish(status);
  return reactor;
}

grpc::ServerWriteReactor<HealthCheckResponse>* HealthService::Watch(
    grpc::CallbackServerContext*, const HealthCheckRequest* request) {
  auto watch = std::make_shared<HealthWatch>(this, request->service());
  MutexLock lock(&mu_);
  watches_.insert(watch);
  const auto found = serving_.find(request->service());
  if (watches_.size() > kMaxWatches) {
    // Without a message, which would wait to be read.
    watch->End(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "too many watches of health"));
    return watch.get();
  }
  watch->Set(found == serving_.end() ? HealthCheckResponse::SERVICE_UNKNOWN
                                     : ToStatus(found->second));
  if (draining_) watch->End(Draining());
  return watch.get();
}

void HealthService::Remove(const std::shared_ptr<HealthWatch>& watch) {
  MutexLock lock(&mu_);
  watches_.erase(watch);
}

}  // namespace factord
