// Passes over the stored histories, in the background and through the log.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <thread>

#include "base/mutex.h"
#include "base/status.h"
#include "engine/engine.h"
#include "engine/ingest.h"
#include "engine/model_state.h"

namespace factord {

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
  // Logs and applies one revisit, of so many events.
  absl::Status Revisit(const RevisitedPart& part, size_t events);
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
