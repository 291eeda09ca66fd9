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
#include "base/mutex.h"
#include "grpc/health/v1/health.pb.h"
#include "server/call_service.h"
#include "server/flood_guard.h"

namespace factord {

class HealthCall;

// What serves. Thread-safe.
class Health {
 public:
  // Everything but liveness is NOT_SERVING.
  Health();

  void SetReads(bool serving);
  void SetWrites(bool serving);
  bool serves_reads() const;
  bool serves_writes() const;
  // Nothing serves any more but liveness. Watchers hear of it, then their calls end UNAVAILABLE,
  // and later ones at once.
  void Drain();

 private:
  friend class HealthCall;

  void Set(std::initializer_list<const char*> services, bool serving)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool Serves(const char* service) const;

  // Taken before a call's own.
  mutable Mutex mu_;
  absl::flat_hash_map<std::string, bool> serving_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::shared_ptr<HealthCall>, std::string> watches_ ABSL_GUARDED_BY(mu_);
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
};

// Tells it at one port. Check: NOT_FOUND for an unknown service. Watch: SERVICE_UNKNOWN for one, as
// the protocol wants it; RESOURCE_EXHAUSTED when there are a thousand already. Of the calls whose
// requests do not come, and of those whose answers are not read, the oldest are cancelled where
// there are many: a probe is always answered, whatever goes on at another port. Thread-safe.
class HealthService final : public CallService {
 public:
  // Both must outlive it.
  HealthService(Health* health, FloodGuard* flood_guard);

 private:
  friend class HealthCall;
  using Reactor =
      ReactorOf<grpc::health::v1::HealthCheckRequest, grpc::health::v1::HealthCheckResponse>;
  // The oldest first; guarded by the lock of health_.
  using Calls = std::list<HealthCall*>;

  Reactor* Open(grpc::CallbackServerContext* context, bool is_watch);

  Health* const health_;
  FloodGuard* const flood_guard_;
  Calls waiting_;  // for their requests
  Calls watching_;
  Calls answered_;
};

}  // namespace factord
