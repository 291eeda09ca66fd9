#include "server/flood_guard.h"

#include <chrono>
#include <map>

namespace factord {
namespace {

// Calls that gRPC has begun and the server has not been told of. As long as gRPC's threads take
// turns in reading and in telling, there are a few hundred.
constexpr int64_t kMaxUnseen = 5'000;
// It is a flood if they grow in such a time. Connections on which so many bytes come in it, 2 MB a
// second, are ended.
constexpr std::chrono::milliseconds kWatch{15};
constexpr uint64_t kFloodBytes = 32'768;

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
    while (unseen() > kMaxUnseen && !stopping_) FindFlood();
    woken_ = false;
  }
}

std::vector<Listener*> FloodGuard::listeners() {
  MutexLock lock(&listeners_mu_);
  return listeners_;
}

void FloodGuard::FindFlood() {
  const int64_t unseen_before = unseen();
  std::map<std::pair<Listener*, ino_t>, uint64_t> bytes_before;
  for (Listener* listener : listeners()) {
    for (const auto& received : listener->ReceivedBytes()) {
      bytes_before[{listener, received.inode}] = received.bytes;
    }
  }
  std::this_thread::sleep_for(kWatch);
  if (unseen() <= unseen_before) return;  // they are being dealt with
  for (Listener* listener : listeners()) {
    for (const auto& received : listener->ReceivedBytes()) {
      const auto before = bytes_before.find({listener, received.inode});
      if (before == bytes_before.end() || received.bytes - before->second < kFloodBytes) continue;
      const std::string peer = listener->Reset(received);
      if (!peer.empty())
        Log("connection closed: calls begin faster than they can be handled", peer);
    }
  }
}

void FloodGuard::ResetConnection(const std::string& peer) {
  MutexLock lock(&listeners_mu_);
  for (Listener* listener : listeners_) {
    if (listener->Reset(peer)) Log("connection closed: it has too many calls", peer);
  }
}

void FloodGuard::Log(const char* what, const std::string& peer) {
  if (log_.MayLog()) log::Warning(what, {{"peer", peer}});
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
