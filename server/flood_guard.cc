#include "server/flood_guard.h"

#include <algorithm>
#include <chrono>

namespace factord {
namespace {

// Calls that gRPC has begun and the server has not been told of. As long as gRPC's threads take
// turns in reading and in telling, there are a few hundred.
constexpr int64_t kMaxUnseen = 5'000;
// It is a flood if they grow in such a time. Connections on which so many bytes come in it, 2 MB a
// second, are ended.
constexpr std::chrono::milliseconds kWatch{15};
constexpr uint64_t kFloodBytes = 32'768;
// Of a connection: calls that were refused before their requests came, and are not disposed of. A
// client that does nothing wrong has some: on a busy machine the thread that disposes of them may
// be a tenth of a second behind.
constexpr int64_t kMaxRefused = 3'000;
// An ended connection's calls are told of for a moment.
constexpr std::chrono::milliseconds kResetAgain{100};
// How often those that send without end are looked for; where that takes long, since there are
// many connections, only after so many times as long.
constexpr std::chrono::milliseconds kLook{100};
constexpr int kLookPause = 50;
// Less on a connection does not count: HTTP/2's window, which grows only where much is sent.
constexpr uint64_t kEndlessBytes = 64 << 10;

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
  Clock::duration pause = kLook;
  while (true) {
    (void)wake_.try_acquire_for(pause);
    if (stopping_) return;
    if (unseen() > kMaxUnseen) EndFloods();
    woken_ = false;
    const Clock::time_point start = Clock::now();
    EndEndless();
    pause = std::max<Clock::duration>(kLook, kLookPause * (Clock::now() - start));
    if (unseen() > kMaxUnseen) pause = Clock::duration::zero();
  }
}

std::vector<Listener*> FloodGuard::listeners() {
  MutexLock lock(&listeners_mu_);
  return listeners_;
}

void FloodGuard::EndFloods() {
  const int64_t unseen_before = unseen();
  absl::flat_hash_map<ConnectionId, uint64_t> bytes_before;
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
      if (before == bytes_before.end() || traffic.received < before->second + kFloodBytes) continue;
      const std::string peer = listener->Reset(traffic);
      if (!peer.empty())
        Log("connection closed: calls begin faster than they can be handled", peer);
    }
  }
}

uint64_t FloodGuard::Seen::unanswered() const {
  return received >= received_after + kEndlessBytes ? received - received_before : 0;
}

void FloodGuard::EndEndless() {
  struct Candidate {
    uint64_t unanswered;
    Listener* listener;
    Listener::Traffic connection;
  };
  absl::flat_hash_map<ConnectionId, Seen> seen_connections;
  std::vector<Candidate> candidates;
  uint64_t unanswered = 0;
  for (Listener* listener : listeners()) {
    for (const auto& traffic : listener->TrafficOfEach()) {
      const ConnectionId id(listener, traffic.inode);
      Seen seen = seen_connections_[id];
      if (traffic.received < seen.received) seen = {};  // another one, with the inode of a former
      if (traffic.written != seen.written) {
        seen.received_before = seen.received;
        seen.received_after = traffic.received;
      }
      seen.received = traffic.received;
      seen.written = traffic.written;
      seen_connections[id] = seen;
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
  bool has_too_many = false;
  {
    MutexLock lock(&guard_->mu_);
    connection_ = &*guard_->connections_.try_emplace(peer).first;
    ConnectionCalls& calls = connection_->second;
    ++calls.all;
    ++calls.waiting;
    if (calls.waiting > guard_->limits_.max_calls || calls.refused > kMaxRefused) {
      const Clock::time_point now = Clock::now();
      has_too_many = now >= calls.next_reset;
      if (has_too_many) calls.next_reset = now + kResetAgain;
    }
  }
  if (has_too_many) guard_->ResetConnection(peer);
}

void FloodGuard::Call::MoveTo(Stage stage) {
  if (guard_ == nullptr || stage_ != Stage::kWaiting) return;
  stage_ = stage;
  MutexLock lock(&guard_->mu_);
  --connection_->second.waiting;
  connection_->second.refused += stage_ == Stage::kRefused;
}

void FloodGuard::Call::Received() { MoveTo(Stage::kReceived); }

void FloodGuard::Call::Answered() { MoveTo(Stage::kRefused); }

FloodGuard::Call::~Call() {
  if (guard_ == nullptr) return;
  MutexLock lock(&guard_->mu_);
  ConnectionCalls& calls = connection_->second;
  calls.waiting -= stage_ == Stage::kWaiting;
  calls.refused -= stage_ == Stage::kRefused;
  if (--calls.all == 0) guard_->connections_.erase(connection_->first);
}

}  // namespace factord
