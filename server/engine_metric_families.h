// The engine's numbers as metrics.
#pragma once

#include "engine/engine.h"
#include "server/call_metrics.h"
#include "server/metric_families.h"

namespace factord {

// `calls` tells what was refused before it reached the engine.
void AddEngine(const ModelInfo& info, const EngineMetrics& engine, const CallMetrics& calls,
               MetricFamilies* metrics);

}  // namespace factord
