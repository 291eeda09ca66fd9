#include "server/flood_guard.h"

#include <algorithm>
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
// So many times the calls that a connection may have, of refused ones.
constexpr int64_t kRefusedCalls = 3;
// Of the calls that a connection may have, the share that it may have taken back, when it has more.
constexpr int64_t kTakenBackShare = 10;
// How often those that send without end are looked for; more seldom where there are so many
// connections that it takes longer than this share of the time.
constexpr std::chrono::milliseconds kLook{100};
constexpr int kLookShare = 50;

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

FloodGuard::FloodGuard(const Limits& limits) : limits_(limits), thread_([this] { Loop(); }) {}

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
  using Clock = std::chrono::steady_clock;
  Clock::duration pause = kLook;
  while (true) {
    (void)wake_.try_acquire_for(pause);
    if (stopping_) return;
    while (unseen() > kMaxUnseen && !stopping_) FindFlood();
    woken_ = false;
    const Clock::time_point start = Clock::now();
    FindEndless();
    pause = std::max<Clock::duration>(kLook, kLookShare * (Clock::now() - start));
  }
}

std::vector<Listener*> FloodGuard::listeners() {
  MutexLock lock(&listeners_mu_);
  return listeners_;
}

void FloodGuard::FindFlood() {
  const int64_t unseen_before = unseen();
  std::map<Connection, uint64_t> bytes_before;
  for (Listener* listener : listeners()) {
    for (const auto& traffic : listener->TrafficOfEach()) {
      bytes_before[{listener, traffic.inode}] = traffic.received;
    }
  }
  std::this_thread::sleep_for(kWatch);
  if (unseen() <= unseen_before) return;  // they are being dealt with
  for (Listener* listener : listeners()) {
    for (const auto& traffic : listener->TrafficOfEach()) {
      const auto before = bytes_before.find({listener, traffic.inode});
      if (before == bytes_before.end() || traffic.received - before->second < kFloodBytes) continue;
      const std::string peer = listener->Reset(traffic);
      if (!peer.empty())
        Log("connection closed: calls begin faster than they can be handled", peer);
    }
  }
}

void FloodGuard::FindEndless() {
  struct Candidate {
    uint64_t unanswered;
    Listener* listener;
    Listener::Traffic connection;
  };
  absl::flat_hash_map<Connection, Seen> seen_connections;
  std::vector<Candidate> candidates;
  uint64_t unanswered = 0;
  for (Listener* listener : listeners()) {
    for (const auto& traffic : listener->TrafficOfEach()) {
      const Connection connection(listener, traffic.inode);
      Seen seen = seen_connections_[connection];
      if (traffic.received < seen.received) seen = {};  // another one, with the inode of a former
      if (traffic.sent != seen.sent) {
        seen.answered = seen.received;
        seen.received_by_then = traffic.received;
      }
      seen.received = traffic.received;
      seen.sent = traffic.sent;
      seen_connections[connection] = seen;
      if (seen.unanswered() == 0) continue;
      unanswered += seen.unanswered();
      candidates.push_back({seen.unanswered(), listener, traffic});
    }
  }
  seen_connections_ = std::move(seen_connections);
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.unanswered > b.unanswered; });
  for (const Candidate& candidate : candidates) {
    if (unanswered <= static_cast<uint64_t>(limits_.max_unanswered_bytes)) return;
    unanswered -= candidate.unanswered;
    const std::string peer = candidate.listener->Reset(candidate.connection);
    if (!peer.empty()) Log("connection closed: what it sends has no end", peer);
  }
}

void FloodGuard::ResetConnection(const std::string& peer) {
  MutexLock lock(&listeners_mu_);
  for (Listener* listener : listeners_) {
    if (listener->Reset(peer)) return Log("connection closed: it has too many calls", peer);
  }
}

void FloodGuard::Log(const char* what, const std::string& peer) {
  if (log_.MayLog()) log::Warning(what, {{"peer", peer}});
}

bool FloodGuard::HasTooMany(const CallsOfConnection& calls) const {
  return calls.unanswered > limits_.max_calls ||
         calls.refused > kRefusedCalls * limits_.max_calls ||
         (calls.there > limits_.max_calls &&
          calls.taken_back > limits_.max_calls / kTakenBackShare);
}

FloodGuard::Call::Call(FloodGuard* guard, grpc::CallbackServerContext* context)
    : guard_(guard), context_(context) {
  if (guard_ == nullptr) return;
  ++guard_->seen_;
  const std::string peer = context->peer();
  bool has_too_many = false;
  {
    MutexLock lock(&guard_->mu_);
    connection_ = &*guard_->connections_.try_emplace(peer).first;
    ++connection_->second.there;
    ++connection_->second.unanswered;
    has_too_many = !connection_->second.was_reset && guard_->HasTooMany(connection_->second);
    connection_->second.was_reset |= has_too_many;
  }
  if (has_too_many) guard_->ResetConnection(peer);
}

void FloodGuard::Call::Answered(bool has_request) {
  if (guard_ == nullptr || is_answered_) return;
  is_answered_ = true;
  is_refused_ = !has_request;
  MutexLock lock(&guard_->mu_);
  --connection_->second.unanswered;
  connection_->second.refused += is_refused_;
}

FloodGuard::Call::~Call() {
  if (guard_ == nullptr) return;
  const bool was_taken_back = context_->IsCancelled();
  MutexLock lock(&guard_->mu_);
  CallsOfConnection& calls = connection_->second;
  calls.unanswered -= !is_answered_;
  calls.refused -= is_refused_;
  calls.taken_back = std::max<int64_t>(0, calls.taken_back + (was_taken_back ? 1 : -1));
  if (--calls.there == 0) guard_->connections_.erase(connection_->first);
}

}  // namespace factord
