// grpc.health.v1.Health. Not gRPC's default implementation: that one answers SERVING for "" from
// the moment the port opens, before anybody can tell it otherwise.
//
//   name                              serving means
//   ""                                reads are answered
//   factord.v1.RecommendationService  the same
//   factord.v1.ModelService           the same
//   factord.v1.AdminService           the same
//   factord.v1.RatingService          writes are taken
//   liveness                          the process is there: always, until it goes down
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "base/mutex.h"
#include "grpc/health/v1/health.pb.h"
#include "server/call_service.h"

namespace factord {

class HealthCheck;
class HealthWatch;

// Thread-safe.
class HealthService final : public CallService {
 public:
  // Everything but liveness is NOT_SERVING.
  HealthService();

  void SetReads(bool serving);
  void SetWrites(bool serving);
  bool serves_reads() const;
  bool serves_writes() const;
  // Nothing serves any more but liveness. Watchers hear of it, then their calls end UNAVAILABLE,
  // and later ones at once.
  void Drain();

 private:
  friend class HealthCheck;
  friend class HealthWatch;
  using Reactor =
      ReactorOf<grpc::health::v1::HealthCheckRequest, grpc::health::v1::HealthCheckResponse>;

  // NOT_FOUND for an unknown service. Where there are a thousand, whose requests do not come or
  // whose answers are not read, the oldest is cancelled: a probe is always answered.
  Reactor* Check(grpc::CallbackServerContext* context);
  grpc::Status Answer(const grpc::health::v1::HealthCheckRequest& request,
                      grpc::health::v1::HealthCheckResponse* response) const;
  // SERVICE_UNKNOWN for an unknown service, as the protocol wants it. RESOURCE_EXHAUSTED when there
  // are a thousand already.
  Reactor* Watch(grpc::CallbackServerContext* context);
  void Begin(HealthWatch* watch, const std::string& service);

  void Set(std::initializer_list<const char*> services, bool serving)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Remove(const std::shared_ptr<HealthWatch>& watch);

  bool Serves(const char* service) const;

  // Taken before a watch's own.
  mutable Mutex mu_;
  absl::flat_hash_map<std::string, bool> serving_ ABSL_GUARDED_BY(mu_);
  // What each watches, once it has said so.
  absl::flat_hash_map<std::shared_ptr<HealthWatch>, std::optional<std::string>> watches_
      ABSL_GUARDED_BY(mu_);
  std::list<HealthCheck*> checks_ ABSL_GUARDED_BY(mu_);  // the oldest first
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace factord
