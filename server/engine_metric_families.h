// The engine's numbers as metrics.
#pragma once

#include "engine/engine.h"
#include "server/call_metrics.h"
#include "server/metric_families.h"

namespace factord {

// What the engine was told to keep within; 0: no limit.
struct EngineLimits {
  int64_t queued_events = 0;
  int64_t queued_bytes = 0;
  int64_t users = 0;
  int64_t items = 0;
  int64_t memory_limit = 0;
  int64_t min_free_bytes = 0;
};

void AddLimits(const EngineLimits& limits, MetricFamilies* metrics);

// `calls` tells what was refused before it reached the engine.
void AddEngine(const ModelInfo& info, const FactorHealth& factors, const EngineMetrics& engine,
               const CallMetrics& calls, MetricFamilies* metrics);

}  // namespace factord
