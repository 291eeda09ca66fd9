// What every call passes on its way in and out: who is it, may it, is there room; how long did it
// take; and a list of those that run, so that a drain can wait for them.
//
//   CallGate::Call call(&gate, Rpc::kGetModel, context);   // a member of whatever lives as long
//   absl::Status status = call.Admit();                    // when its headers are there
//   call.Received(bytes);                                  // when its request is
//   ...
//   call.Answered(status);
//
// Order of the checks: token and scope (UNAUTHENTICATED, PERMISSION_DENIED), the client's rate,
// calls at once, its share under overload, room for answers (RESOURCE_EXHAUSTED with pushback).
//
// A client is known by its token's name, else by its certificate's, else by its address.
//
// gRPC's own Shutdown waits for more than the calls: for every connection to be closed, which a
// client that does nothing may put off for seconds. And a call lasts until its answer is sent,
// which a client that does not read puts off for as long as it likes: so a drain waits for calls to
// be settled, which is up to the server alone.
#pragma once

#include <grpcpp/server_context.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "base/mutex.h"
#include "base/status.h"
#include "server/call_metrics.h"
#include "server/flood_guard.h"
#include "server/load_shedder.h"
#include "server/log.h"
#include "server/rate_limiter.h"
#include "server/reloadable.h"
#include "server/rpc.h"
#include "server/tokens.h"

namespace factord {

// Thread-safe.
class CallGate {
 public:
  using Clock = std::chrono::steady_clock;

  struct Options {
    // Calls at once, of all kinds, from their headers on. Where more come, fewer may be let in for
    // a while (server/load_shedder.h).
    int32_t max_concurrent_calls = 10'000;
    // Of them, StreamRatings that have no status yet.
    int32_t max_streams = 1'000;
    // A read or a RecordRatings that takes longer is cancelled; so are a call whose request does
    // not come or whose answer is not read for so long, and a stream whose acknowledgements are
    // not.
    std::chrono::milliseconds max_call_time = std::chrono::minutes(1);
    // Bytes of answers that are made and not sent yet. Beyond half of it, those that have waited
    // longest, and a second at least, are cancelled; beyond it, calls are refused.
    int64_t max_unread_answer_bytes = int64_t{256} << 20;
    // For each client; 0: no limit.
    double client_calls_per_second = 0;
    double client_events_per_second = 0;
  };

  // `tokens` and `flood_guard` outlive it. Null: nobody needs a token; nobody's calls are counted.
  explicit CallGate(const Options& options, const Reloadable<TokenTable>* tokens = nullptr,
                    FloodGuard* flood_guard = nullptr)
      : options_(options),
        tokens_(tokens),
        flood_guard_(flood_guard),
        call_rate_(options.client_calls_per_second),
        event_rate_(options.client_events_per_second) {}

  // One call, until gRPC is done with it. Its context must outlive it.
  class Call {
   public:
    Call(CallGate* gate, Rpc rpc, grpc::CallbackServerContext* context);
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    // REQUIRES: called once, and nothing else after an error but Answered.
    absl::Status Admit();
    // Its request is there, of so many bytes: its time counts from here on, and a drain waits until
    // it is settled. REQUIRES: admitted; called once, before the engine is asked for.
    void Received(size_t bytes);

    // For a call that goes on for long, before anything more is done for it: UNAVAILABLE when its
    // token has been taken away meanwhile, since a client may have a new one by now. Not
    // thread-safe.
    absl::Status CheckTokenAgain();

    // Counts `events` against the client's rate: RESOURCE_EXHAUSTED if it is over it already.
    absl::Status TakeEvents(int64_t events);
    // Counts them in any case. How long to wait before more are taken.
    Clock::duration PaceEvents(int64_t events);

    // The call is cancelled if it is still there, and this is not called again, after
    // max_call_time.
    void StartTimer() {
      overdue_.store((Clock::now() + gate_->options_.max_call_time).time_since_epoch().count(),
                     std::memory_order_relaxed);
    }
    void StopTimer() { overdue_.store(kNever, std::memory_order_relaxed); }

    // Counts the bytes of the answer, until the call is gone. RESOURCE_EXHAUSTED, and nothing is
    // counted, where there is no room for it; of a read only, since all else has happened.
    absl::Status HoldAnswer(size_t bytes);
    // Counts `bytes` in place of what was counted before. Whether there was room.
    bool HoldAcknowledgements(size_t bytes);

    // Nothing more is done for it than to send what is there: it needs no engine. Once is enough.
    void Settled();
    // Its status is decided: it is settled, too, and its time to be read counts from here on.
    void Answered(int code);
    CallMetrics& metrics() const { return gate_->metrics_; }

   private:
    friend class CallGate;
    static constexpr Clock::rep kNever = Clock::duration::max().count();

    // Its token, and its client's rate.
    absl::Status CheckClient();
    absl::Status Authenticate();
    // The call's token, with the scope that the call needs.
    absl::StatusOr<const Token*> FindToken(const TokenTable& tokens) const;
    absl::Status TakePlaceLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(gate_->mu_);
    void WaitToBeToldLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(gate_->mu_);
    absl::Status NoRoomForAnswers() const;
    // What rates are counted by.
    const std::string& client();
    // Returns what all calls hold then.
    int64_t Hold(int64_t bytes);

    FloodGuard::Call guarded_;
    CallGate* const gate_;
    const Rpc rpc_;
    grpc::CallbackServerContext* const context_;
    const Clock::time_point start_ = Clock::now();
    Clock::time_point received_;
    std::atomic<Clock::rep> overdue_{kNever};
    std::atomic<int64_t> held_{0};  // bytes of its answer
    std::atomic<Clock::rep> held_since_{kNever};
    std::string client_;
    std::shared_ptr<const TokenTable> tokens_;  // in which its token was found last
    bool has_place_ = false;                    // from Admit on
    // Guarded by the gate's mu_.
    bool is_in_flight_ = false;  // counts among the calls of its RPC
    bool is_received_ = false;
    bool is_settled_ = true;
    bool is_refused_ = false;  // and in the list of those
    std::list<Call*>::iterator refused_place_;
  };

  // Whether all calls were settled at a moment before `deadline`.
  bool WaitUntilSettled(Clock::time_point deadline);
  // Whether there was a moment without a call before it.
  bool WaitUntilNone(Clock::time_point deadline);
  // Cancels the calls whose time is over, and those whose answers take too much room; looks whether
  // more may be let in. To be called now and then.
  void CancelOverdue(Clock::time_point now);

  int32_t in_flight(Rpc rpc) const;
  // Of the calls that come in masses, the share that is let in.
  double share_let_in() const;
  int64_t unread_answer_bytes() const { return held_.load(std::memory_order_relaxed); }
  const CallMetrics& metrics() const { return metrics_; }

 private:
  absl::Status Refuse(Refusal refusal, const absl::Status& status);
  void SettleLocked(Call* call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void LeaveInFlightLocked(Call* call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void LogRefusedToken(const char* reason, grpc::CallbackServerContext* context, Rpc rpc);

  const Options options_;
  const Reloadable<TokenTable>* const tokens_;
  FloodGuard* const flood_guard_;
  CallMetrics metrics_;
  RateLimiter call_rate_;
  RateLimiter event_rate_;
  log::Throttle token_log_;
  std::atomic<int64_t> held_{0};  // the sum of all calls'

  mutable Mutex mu_;
  CondVar fewer_;  // no call is left, or none that is not settled
  absl::flat_hash_set<Call*> calls_ ABSL_GUARDED_BY(mu_);
  int32_t admitted_ ABSL_GUARDED_BY(mu_) = 0;      // of them
  std::list<Call*> refused_ ABSL_GUARDED_BY(mu_);  // of the others, the oldest first
  int64_t unsettled_ ABSL_GUARDED_BY(mu_) = 0;
  LoadShedder shedder_ ABSL_GUARDED_BY(mu_);
  std::array<int32_t, kRpcs> in_flight_ ABSL_GUARDED_BY(mu_) = {};
};

}  // namespace factord
