// The server's numbers for Prometheus, at http://HOST:PORT/metrics. Names and meanings stand in
// metrics.cc and engine_metric_families.cc, beside each number, and in the answer itself (# HELP).
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "engine/engine.h"
#include "engine/recovery_progress.h"
#include "server/call_gate.h"
#include "server/certificates.h"
#include "server/engine_metric_families.h"
#include "server/health_service.h"
#include "server/listener.h"
#include "server/tokens.h"

namespace factord {

// Where the numbers come from. All outlive the collector.
struct MetricsSources {
  const CallGate* gate = nullptr;
  const Health* health = nullptr;
  Listener* listener = nullptr;
  const CertificateStore* certificates = nullptr;  // null: no TLS
  const Reloadable<TokenTable>* tokens = nullptr;  // null: no tokens
  const RecoveryProgress* recovery = nullptr;      // null: unknown
  EngineLimits engine_limits;
};

// Thread-safe.
class MetricsCollector final : public prometheus::Collectable {
 public:
  explicit MetricsCollector(const MetricsSources& sources) : sources_(sources) {}

  // Null: none, or none any more. Once this returns the former one is not asked again.
  void SetEngine(const Engine* engine);

  void SetRecoverySeconds(double seconds) {
    recovery_seconds_.store(seconds, std::memory_order_relaxed);
  }

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const MetricsSources sources_;
  std::atomic<double> recovery_seconds_{0};
  mutable Mutex mu_;  // held while the engine is asked
  const Engine* engine_ ABSL_GUARDED_BY(mu_) = nullptr;
};

// Serves a collector by HTTP.
class MetricsServer {
 public:
  // UNAVAILABLE: the port cannot be had.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(
      const std::string& address, std::weak_ptr<prometheus::Collectable> collector);

  int port() const;

 private:
  explicit MetricsServer(std::unique_ptr<prometheus::Exposer> exposer)
      : exposer_(std::move(exposer)) {}

  const std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace factord
