// Opens the engine on a data folder with the configuration that the command line leaves to the
// folder.
#pragma once

#include <memory>

#include "base/status.h"
#include "engine/engine.h"
#include "server/model_overrides.h"

namespace factord {

// `options.config` is made from the folder's own configuration, or the default one for a new
// folder, and `overrides`. Errors are those of Engine::Open.
absl::StatusOr<std::unique_ptr<Engine>> OpenEngine(EngineOptions options,
                                                   const ModelOverrides& overrides);

}  // namespace factord
