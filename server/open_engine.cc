#include "server/open_engine.h"

#include "storage/store.h"

namespace factord {

absl::StatusOr<std::unique_ptr<Engine>> OpenEngine(EngineOptions options,
                                                   const ModelOverrides& overrides) {
  if (Store::Exists(options.data_dir)) {
    ConfigFields fields;
    {
      FACTORD_ASSIGN_OR_RETURN(const auto store,
                               Store::Open({.path = options.data_dir, .read_only = true}));
      fields = store->config();
    }
    FACTORD_ASSIGN_OR_RETURN(const ModelConfig config, FromFields(fields));
    options.config = overrides.Over(config);
  } else {
    options.config = overrides.ForNewFolder();
  }
  return Engine::Open(options);
}

}  // namespace factord
