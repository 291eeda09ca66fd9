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
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/mutex.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace factord {

class HealthCheck;
class HealthWatch;

// Thread-safe.
class HealthService final : public grpc::health::v1::Health::CallbackService {
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

  // NOT_FOUND for an unknown service. Where a thousand answers are not read, the oldest of these
  // calls is cancelled: a probe is always answered.
  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context,
                                  const grpc::health::v1::HealthCheckRequest* request,
                                  grpc::health::v1::HealthCheckResponse* response) override;
  // SERVICE_UNKNOWN for an unknown service, as the protocol wants it. RESOURCE_EXHAUSTED when there
  // are a thousand already.
  grpc::ServerWriteReactor<grpc::health::v1::HealthCheckResponse>* Watch(
      grpc::CallbackServerContext* context,
      const grpc::health::v1::HealthCheckRequest* request) override;

 private:
  friend class HealthCheck;
  friend class HealthWatch;

  void Set(std::initializer_list<const char*> services, bool serving)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Remove(const std::shared_ptr<HealthWatch>& watch);

  bool Serves(const char* service) const;

  // Taken before a watch's own.
  mutable Mutex mu_;
  absl::flat_hash_map<std::string, bool> serving_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_set<std::shared_ptr<HealthWatch>> watches_ ABSL_GUARDED_BY(mu_);
  std::list<HealthCheck*> checks_ ABSL_GUARDED_BY(mu_);  // the oldest first
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace factord
