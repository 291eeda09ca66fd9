// Where the services find the engine: absent while the server recovers and once it drains.
//
//   FACTORD_ASSIGN_OR_RETURN(const EngineHolder::Serving* serving, holder->Get(request.model()));
//   serving->engine->Record(...);
//
// Life: recovering -> Serve() -> Drain() -> Release(). A pointer from Get() stays good until the
// call that asked for it is over: calls count themselves (server/call_gate.h) before they ask,
// and Release() comes when, after Drain(), there was a moment without any.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "base/status.h"
#include "engine/engine.h"

namespace factord {

// Thread-safe, but for Serve, Drain and Release, which belong to the one who runs the server.
class EngineHolder {
 public:
  struct Serving {
    Engine* engine = nullptr;
    ModelConfig config;  // never changes, so it is asked for once
  };

  // UNAVAILABLE while recovering or draining; NOT_FOUND for a model that is not there. There is one
  // so far, whose name is "default"; empty means the same.
  absl::StatusOr<const Serving*> Get(absl::string_view model) const {
    switch (state_.load(std::memory_order_acquire)) {
      case State::kRecovering:
        return absl::UnavailableError("recovering: the model is being loaded");
      case State::kDraining:
        return absl::UnavailableError("draining: the server is going down");
      case State::kServing:
        break;
    }
    if (!model.empty() && model != "default") {
      return absl::NotFoundError(absl::StrCat("model: there is none called \"", model, "\""));
    }
    return &serving_;
  }

  // REQUIRES: called once, before Drain.
  void Serve(std::unique_ptr<Engine> engine) {
    engine_ = std::move(engine);
    serving_.engine = engine_.get();
    serving_.config = engine_->Info().config;
    state_.store(State::kServing, std::memory_order_release);
  }

  // Later calls are refused; those that run go on.
  void Drain() { state_.store(State::kDraining, std::memory_order_release); }

  // The engine, to be closed; null if there never was one. REQUIRES: drained, and no call is left.
  std::unique_ptr<Engine> Release() { return std::move(engine_); }

 private:
  enum class State { kRecovering, kServing, kDraining };

  std::atomic<State> state_{State::kRecovering};
  std::unique_ptr<Engine> engine_;
  Serving serving_;
};

}  // namespace factord
