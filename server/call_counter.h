// How many calls are running, so that a server that drains knows when the last one has ended.
//
// grpc::Server::Shutdown waits for connections instead, and an idle client that does not look at
// its connection keeps one open for many seconds.
#pragma once

#include <grpcpp/server_context.h>

#include <chrono>

#include "base/mutex.h"

namespace factord {

// Given to grpc::ServerBuilder::SetContextAllocator: each call has a context from its beginning
// until everything of it is done. Thread-safe.
class CallCounter final : public grpc::ContextAllocator {
 public:
  grpc::CallbackServerContext* NewCallbackServerContext() override {
    MutexLock lock(&mu_);
    ++calls_;
    return new grpc::CallbackServerContext;
  }

  void Release(grpc::CallbackServerContext* context) override {
    delete context;
    MutexLock lock(&mu_);
    if (--calls_ == 0) idle_.NotifyAll();
  }

  // Until no call runs, or `deadline`.
  void WaitUntilIdle(std::chrono::steady_clock::time_point deadline) {
    MutexLock lock(&mu_);
    while (calls_ > 0 && std::chrono::steady_clock::now() < deadline) {
      idle_.WaitUntil(&mu_, deadline);
    }
  }

 private:
  Mutex mu_;
  CondVar idle_;
  int calls_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace factord
