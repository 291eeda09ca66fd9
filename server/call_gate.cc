#include "server/call_gate.h"

#include <algorithm>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "server/log.h"
#include "server/status.h"

namespace factord {
namespace {

// How long a client that found no room shall wait.
constexpr std::chrono::milliseconds kPushback{100};
// Answers that are on their way to somebody who reads are younger.
constexpr std::chrono::seconds kMinUnread{1};
// Calls that are refused and have not been told so yet, mostly since their clients do not read.
// Beyond, the oldest are cancelled.
constexpr size_t kMaxRefusals = 3'000;

const char* ToString(Scope scope) {
  switch (scope) {
    case kScopeRead:
      return "read";
    case kScopeWrite:
      return "write";
    case kScopeAdmin:
      break;
  }
  return "admin";
}

absl::string_view View(const grpc::string_ref& text) { return {text.data(), text.size()}; }

// "ipv4:10.0.0.1:1234" -> "ipv4:10.0.0.1": a client has many ports.
std::string Address(const std::string& peer) { return peer.substr(0, peer.rfind(':')); }

}  // namespace

CallGate::Call::Call(CallGate* gate, Rpc rpc, grpc::CallbackServerContext* context)
    : guarded_(gate->flood_guard_, context), gate_(gate), rpc_(rpc), context_(context) {
  StartTimer();
}

CallGate::Call::~Call() {
  Hold(0);
  MutexLock lock(&gate_->mu_);
  gate_->SettleLocked(this);
  gate_->calls_.erase(this);
  gate_->LeaveInFlightLocked(this);
  if (has_place_) --gate_->admitted_;
  if (is_refused_) gate_->refused_.erase(refused_place_);
  if (gate_->calls_.empty()) gate_->fewer_.NotifyAll();
}

absl::Status CallGate::Call::Admit() {
  absl::Status status = CheckClient();
  MutexLock lock(&gate_->mu_);
  if (status.ok()) status = TakePlaceLocked();
  gate_->calls_.insert(this);
  if (!status.ok()) WaitToBeToldLocked();
  return status;
}

void CallGate::Call::WaitToBeToldLocked() {
  std::list<Call*>& refused = gate_->refused_;
  refused_place_ = refused.insert(refused.end(), this);
  is_refused_ = true;
  if (refused.size() <= kMaxRefusals) return;
  Call* const oldest = refused.front();
  refused.pop_front();
  oldest->is_refused_ = false;
  gate_->metrics_.CountRefusal(Refusal::kUnreadRefusals);
  oldest->context_->TryCancel();
}

absl::Status CallGate::Call::CheckClient() {
  if (rpc_ == Rpc::kUnknown) return absl::UnimplementedError("there is no such method");
  const absl::Status authenticated = Authenticate();
  if (!gate_->call_rate_.is_on()) return authenticated;
  // Who has no token counts, too, by address: guesses have a rate like calls.
  const auto wait = gate_->call_rate_.TryTake(client(), 1, Clock::now());
  if (wait == wait.zero()) return authenticated;
  return gate_->Refuse(Refusal::kRateLimit,
                       RetryAfter(wait, "too many calls (--client_calls_per_second)"));
}

void CallGate::Call::Received(size_t bytes) {
  guarded_.Received();
  received_ = Clock::now();
  if (InfoOf(rpc_).is_timed) {
    StartTimer();
  } else {
    StopTimer();
  }
  MutexLock lock(&gate_->mu_);
  is_received_ = true;
  if (InfoOf(rpc_).may_be_shed) gate_->shedder_.Waited(received_ - start_, bytes);
  is_settled_ = false;
  ++gate_->unsettled_;
}

absl::Status CallGate::Call::Authenticate() {
  if (gate_->tokens_ == nullptr) return absl::OkStatus();
  tokens_ = gate_->tokens_->Get();
  FACTORD_ASSIGN_OR_RETURN(const Token* token, FindToken(*tokens_));
  client_ = token->name;
  return absl::OkStatus();
}

absl::Status CallGate::Call::CheckTokenAgain() {
  if (gate_->tokens_ == nullptr) return absl::OkStatus();
  std::shared_ptr<const TokenTable> now = gate_->tokens_->Get();
  if (now == tokens_) return absl::OkStatus();
  if (!FindToken(*now).ok()) {
    return absl::UnavailableError("the token of this call is no longer valid: begin another");
  }
  tokens_ = std::move(now);
  return absl::OkStatus();
}

absl::StatusOr<const Token*> CallGate::Call::FindToken(const TokenTable& tokens) const {
  const auto& metadata = context_->client_metadata();
  const auto header = metadata.find("authorization");
  absl::string_view token = header == metadata.end() ? "" : View(header->second);
  constexpr absl::string_view kScheme = "Bearer ";
  if (!absl::StartsWithIgnoreCase(token, kScheme)) {
    gate_->LogRefusedToken("missing", context_, rpc_);
    return gate_->Refuse(
        Refusal::kAuthMissing,
        absl::UnauthenticatedError("no token: give the client one (token_file, or --token_file of "
                                   "factorctl), or send the metadata \"authorization: Bearer "
                                   "TOKEN\""));
  }
  token.remove_prefix(kScheme.size());
  const Token* const known = tokens.Find(absl::StripAsciiWhitespace(token));
  if (known == nullptr) {
    gate_->LogRefusedToken("unknown", context_, rpc_);
    return gate_->Refuse(Refusal::kAuthUnknown, absl::UnauthenticatedError("unknown token"));
  }
  const Scope scope = InfoOf(rpc_).scope;
  if ((known->scopes & scope) == 0) {
    return gate_->Refuse(Refusal::kAuthScope,
                         absl::PermissionDeniedError(absl::StrCat(
                             "the token of ", known->name, " has no scope ", ToString(scope))));
  }
  return known;
}

absl::Status CallGate::Call::TakePlaceLocked() {
  const bool is_stream = rpc_ == Rpc::kStreamRatings;
  const int32_t max_calls = is_stream ? gate_->options_.max_streams : InfoOf(rpc_).max_calls;
  int32_t& of_this_kind = gate_->in_flight_[static_cast<size_t>(rpc_)];
  if (max_calls > 0 && of_this_kind >= max_calls) {
    return gate_->Refuse(is_stream ? Refusal::kStreams : Refusal::kCalls,
                         RetryAfter(kPushback, absl::StrCat("there are ", max_calls, " calls of ",
                                                            InfoOf(rpc_).method, " already",
                                                            is_stream ? " (--max_streams)" : "")));
  }
  if (gate_->admitted_ >= gate_->options_.max_concurrent_calls) {
    gate_->shedder_.TooMany(start_);
    return gate_->Refuse(Refusal::kCalls,
                         RetryAfter(kPushback, "too many calls (--max_concurrent_calls)"));
  }
  if (InfoOf(rpc_).may_be_shed && !gate_->shedder_.MayBegin(start_)) {
    return gate_->Refuse(Refusal::kOverload,
                         RetryAfter(kPushback, "more calls come than can be answered"));
  }
  if (gate_->unread_answer_bytes() > gate_->options_.max_unread_answer_bytes) {
    return NoRoomForAnswers();
  }
  ++of_this_kind;
  ++gate_->admitted_;
  has_place_ = is_in_flight_ = true;
  return absl::OkStatus();
}

absl::Status CallGate::Call::NoRoomForAnswers() const {
  return gate_->Refuse(
      Refusal::kUnreadAnswers,
      RetryAfter(kPushback, "clients do not read their answers (--max_unread_answer_bytes)"));
}

int64_t CallGate::Call::Hold(int64_t bytes) {
  const int64_t before = held_.load(std::memory_order_relaxed);
  if (bytes == before) return gate_->unread_answer_bytes();
  if (before == 0) {  // before held_, for who reads both
    held_since_.store(Clock::now().time_since_epoch().count(), std::memory_order_relaxed);
  }
  held_.store(bytes, std::memory_order_release);
  const int64_t more = bytes - before;
  return gate_->held_.fetch_add(more, std::memory_order_relaxed) + more;
}

absl::Status CallGate::Call::HoldAnswer(size_t bytes) {
  if (HoldAcknowledgements(bytes) || InfoOf(rpc_).scope != kScopeRead) return absl::OkStatus();
  Hold(0);
  return NoRoomForAnswers();
}

bool CallGate::Call::HoldAcknowledgements(size_t bytes) {
  return Hold(static_cast<int64_t>(bytes)) <= gate_->options_.max_unread_answer_bytes;
}

absl::Status CallGate::Call::TakeEvents(int64_t events) {
  if (!gate_->event_rate_.is_on()) return absl::OkStatus();
  const auto wait = gate_->event_rate_.TryTake(client(), static_cast<double>(events), Clock::now());
  if (wait == wait.zero()) return absl::OkStatus();
  return gate_->Refuse(Refusal::kRateLimit,
                       RetryAfter(wait, "too many events (--client_events_per_second)"));
}

CallGate::Clock::duration CallGate::Call::PaceEvents(int64_t events) {
  if (!gate_->event_rate_.is_on()) return Clock::duration::zero();
  return gate_->event_rate_.Take(client(), static_cast<double>(events), Clock::now());
}

const std::string& CallGate::Call::client() {
  if (client_.empty()) {
    const auto identity = context_->auth_context()->GetPeerIdentity();
    client_ = identity.empty() ? Address(context_->peer()) : std::string(View(identity.front()));
  }
  return client_;
}

void CallGate::Call::Settled() {
  MutexLock lock(&gate_->mu_);
  gate_->SettleLocked(this);
}

void CallGate::Call::Answered(int code) {
  guarded_.Answered();
  const Clock::time_point now = Clock::now();
  const Clock::duration time = now - start_;
  // Whoever has not waited has seen this, whatever was still sent. A client's deadline is over
  // before the call's here: gRPC rounds the time up, by a hundredth at the most, and it is on its
  // way for a moment.
  const auto early = std::chrono::milliseconds(10) + time / 100;
  if (context_->IsCancelled() && context_->deadline() - early <= std::chrono::system_clock::now()) {
    code = grpc::StatusCode::DEADLINE_EXCEEDED;
  }
  // Not how long its client took to send it; nor is one that never came a failure of ours.
  const bool has_come = received_ != Clock::time_point();
  const double seconds = has_come ? std::chrono::duration<double>(now - received_).count() : 0;
  if (has_come || !has_place_) gate_->metrics_.durations(rpc_, code).Observe(seconds);
  if (log::IsOn(log::Level::kDebug)) {
    log::Debug("call", {{"method", InfoOf(rpc_).method},
                        {"code", code},
                        {"seconds", seconds},
                        {"client", client()},
                        {"peer", context_->peer()}});
  }
  StartTimer();
  MutexLock lock(&gate_->mu_);
  gate_->SettleLocked(this);
  // Its client may begin another as soon as it has the status, and gRPC may come late to dispose of
  // this one, which counts for max_concurrent_calls until then. Elsewhere the place is for the
  // answer, too, until it is sent.
  if (rpc_ == Rpc::kStreamRatings) gate_->LeaveInFlightLocked(this);
}

void CallGate::LeaveInFlightLocked(Call* call) {
  if (!call->is_in_flight_) return;
  call->is_in_flight_ = false;
  --in_flight_[static_cast<size_t>(call->rpc_)];
}

void CallGate::SettleLocked(Call* call) {
  if (call->is_settled_) return;
  call->is_settled_ = true;
  if (--unsettled_ == 0) fewer_.NotifyAll();
}

bool CallGate::WaitUntilSettled(Clock::time_point deadline) {
  MutexLock lock(&mu_);
  while (unsettled_ > 0) {
    if (Clock::now() >= deadline) return false;
    fewer_.WaitUntil(&mu_, deadline);
  }
  return true;
}

bool CallGate::WaitUntilNone(Clock::time_point deadline) {
  MutexLock lock(&mu_);
  while (!calls_.empty()) {
    if (Clock::now() >= deadline) return false;
    fewer_.WaitUntil(&mu_, deadline);
  }
  return true;
}

// A call leaves the list before gRPC lets go of its context, so TryCancel finds it.
void CallGate::CancelOverdue(Clock::time_point now) {
  MutexLock lock(&mu_);
  shedder_.Adapt(now);
  const auto cancel = [](Call* call) {
    call->StopTimer();
    call->context_->TryCancel();
  };
  int64_t excess = unread_answer_bytes() - options_.max_unread_answer_bytes / 2;
  const Clock::rep long_ago = (now - kMinUnread).time_since_epoch().count();
  std::vector<std::pair<Clock::rep, Call*>> waiting;  // since when an answer has not been read
  for (Call* call : calls_) {
    if (call->overdue_.load(std::memory_order_relaxed) <= now.time_since_epoch().count()) {
      if (call->has_place_ && !call->is_received_) metrics_.CountRefusal(Refusal::kNoRequest);
      cancel(call);
    } else if (excess > 0 && call->held_.load(std::memory_order_acquire) > 0) {
      const Clock::rep since = call->held_since_.load(std::memory_order_relaxed);
      if (since <= long_ago) waiting.emplace_back(since, call);
    }
  }
  std::sort(waiting.begin(), waiting.end());
  for (auto it = waiting.begin(); it != waiting.end() && excess > 0; ++it) {
    excess -= it->second->held_.load(std::memory_order_relaxed);
    metrics_.CountRefusal(Refusal::kUnreadAnswers);
    cancel(it->second);
  }
}

int32_t CallGate::in_flight(Rpc rpc) const {
  MutexLock lock(&mu_);
  return in_flight_[static_cast<size_t>(rpc)];
}

double CallGate::share_let_in() const {
  MutexLock lock(&mu_);
  return shedder_.share();
}

absl::Status CallGate::Refuse(Refusal refusal, const absl::Status& status) {
  metrics_.CountRefusal(refusal);
  return status;
}

void CallGate::LogRefusedToken(const char* reason, grpc::CallbackServerContext* context, Rpc rpc) {
  if (!token_log_.MayLog()) return;
  log::Warning("authentication failed",
               {{"reason", reason}, {"peer", context->peer()}, {"method", InfoOf(rpc).method}});
}

}  // namespace factord
