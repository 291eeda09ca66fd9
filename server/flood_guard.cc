#include "server/flood_guard.h"

#include <chrono>

#include "server/log.h"

namespace factord {
namespace {

// Calls that gRPC has begun and the server has not been told of. As long as gRPC's threads take
// turns in reading and in telling, there are a few hundred at the most.
constexpr int64_t kMaxUnseen = 5'000;
// For so long it is watched whose bytes come; and so many more are unseen then, if a flood goes on.
constexpr std::chrono::milliseconds kWatch{5};
constexpr int64_t kGrowth = 20;

}  // namespace

// Leaves the contexts to gRPC.
class FloodGuard::CountingAllocator final : public grpc::ContextAllocator {
 public:
  explicit CountingAllocator(FloodGuard* guard) : guard_(guard) {}

  grpc::CallbackServerContext* NewCallbackServerContext() override {
    guard_->Begun();
    return nullptr;
  }
  grpc::GenericCallbackServerContext* NewGenericCallbackServerContext() override {
    guard_->Begun();
    return nullptr;
  }

 private:
  FloodGuard* const guard_;
};

FloodGuard::FloodGuard(int64_t max_calls) : max_calls_(max_calls), thread_([this] { Loop(); }) {}

FloodGuard::~FloodGuard() { Stop(); }

std::unique_ptr<grpc::ContextAllocator> FloodGuard::CountBegun() {
  return std::make_unique<CountingAllocator>(this);
}

void FloodGuard::Protect(Listener* listener) {
  MutexLock lock(&listeners_mu_);
  listeners_.push_back(listener);
}

void FloodGuard::Stop() {
  if (stopping_.exchange(true)) return;
  wake_.release();
  thread_.join();
  MutexLock lock(&listeners_mu_);
  listeners_.clear();
}

void FloodGuard::Begun() {
  ++begun_;
  if (unseen() > kMaxUnseen && !woken_.exchange(true)) wake_.release();
}

void FloodGuard::Loop() {
  while (true) {
    wake_.acquire();
    if (stopping_) return;
    while (unseen() > kMaxUnseen && !stopping_) ResetBusiestConnection();
    woken_ = false;
  }
}

void FloodGuard::ResetBusiestConnection() {
  MutexLock lock(&listeners_mu_);
  const int64_t before = unseen();
  for (Listener* listener : listeners_) listener->MarkReceived();
  std::this_thread::sleep_for(kWatch);
  if (unseen() < before + kGrowth) return;  // they are being dealt with
  for (Listener* listener : listeners_) {
    const std::string peer = listener->ResetBusiest();
    if (peer.empty()) continue;
    log::Warning("connection closed: calls begin faster than they can be handled",
                 {{"peer", peer}, {"calls", unseen()}});
  }
}

void FloodGuard::ResetConnection(const std::string& peer) {
  log::Warning("connection closed: it has too many calls", {{"peer", peer}});
  MutexLock lock(&listeners_mu_);
  for (Listener* listener : listeners_) listener->Reset(peer);
}

FloodGuard::Call::Call(FloodGuard* guard, grpc::CallbackServerContext* context) : guard_(guard) {
  if (guard_ == nullptr) return;
  ++guard_->seen_;
  const std::string peer = context->peer();
  bool is_one_too_many = false;
  {
    MutexLock lock(&guard_->mu_);
    connection_ = &*guard_->connections_.try_emplace(peer).first;
    is_one_too_many = ++connection_->second == guard_->max_calls_ + 1;
  }
  if (is_one_too_many) guard_->ResetConnection(peer);
}

FloodGuard::Call::~Call() {
  if (guard_ == nullptr) return;
  MutexLock lock(&guard_->mu_);
  if (--connection_->second == 0) guard_->connections_.erase(connection_->first);
}

}  // namespace factord
