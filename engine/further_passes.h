// Passes over the stored histories, in the background and through the log.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <thread>

#include "base/mutex.h"
#include "base/status.h"
#include "engine/engine.h"
#include "engine/ingest.h"
#include "engine/model_state.h"

namespace factord {

// Cuts a pass over the histories into revisits of about kRevisitedPositions ratings, users in the
// order of their creation: a long history in parts, short ones together.
class PartsOfPass {
 public:
  struct Part {
    RevisitedPart revisited;
    size_t events = 0;
  };

  // Borrows the state. Users that come later are not part of the pass.
  PartsOfPass(const ModelState* state, uint32_t pass)
      : state_(state), users_(state->users().size()), pass_(pass) {}

  // nullopt after the last.
  std::optional<Part> Next();

 private:
  const ModelState* const state_;
  const uint32_t users_;
  const uint32_t pass_;
  uint32_t user_ = 0;
  uint32_t position_ = 0;
};

// A thread that walks the users in the order of their creation and hands the writer one revisit
// (Event::revisited) after the other, each once the former is durable: so live events wait for one
// revisit at the most, some 1,000 ratings. Thread-safe.
class FurtherPasses {
 public:
  // The borrowed objects outlive this one, and Stop comes before Ingest::Stop.
  FurtherPasses(const ModelState* state, Ingest* ingest) : state_(state), ingest_(ingest) {}
  ~FurtherPasses() { Stop(); }

  // See Engine::StartPasses.
  absl::Status Start(int32_t passes);
  // Returns once nothing more is written.
  void Stop();
  PassesProgress progress() const;

 private:
  void Run(int32_t passes);
  absl::Status MakePass(uint32_t pass);
  // Logs and applies one revisit.
  absl::Status Revisit(const PartsOfPass::Part& part);
  void Update(const std::function<void(PassesProgress*)>& change);

  const ModelState* const state_;
  Ingest* const ingest_;

  Mutex thread_mu_;  // held while the thread is started or joined
  std::thread thread_ ABSL_GUARDED_BY(thread_mu_);
  std::atomic<bool> stop_{false};

  mutable Mutex mu_;
  PassesProgress progress_ ABSL_GUARDED_BY(mu_);
};

}  // namespace factord
