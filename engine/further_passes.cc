#include "engine/further_passes.h"

#include <chrono>
#include <future>
#include <optional>
#include <utility>

#include "engine/query.h"

namespace factord {

using State = PassesProgress::State;

absl::Status FurtherPasses::Start(int32_t passes) {
  MutexLock lock(&thread_mu_);
  if (progress().state == State::kRunning) {
    return absl::FailedPreconditionError("passes are under way already");
  }
  if (thread_.joinable()) thread_.join();
  stop_ = false;
  Update([passes](PassesProgress* progress) {
    *progress = {.state = State::kRunning, .passes = passes};
  });
  thread_ = std::thread([this, passes] { Run(passes); });
  return absl::OkStatus();
}

void FurtherPasses::Stop() {
  MutexLock lock(&thread_mu_);
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

PassesProgress FurtherPasses::progress() const {
  MutexLock lock(&mu_);
  return progress_;
}

void FurtherPasses::Update(const std::function<void(PassesProgress*)>& change) {
  MutexLock lock(&mu_);
  change(&progress_);
}

void FurtherPasses::Run(int32_t passes) {
  const auto keep_going = [this] { return !stop_; };
  const HistoryError before = MeasureHistories(*state_, keep_going);
  Update([&](PassesProgress* progress) {
    progress->before = before;
    progress->events_total = before.events * passes;
  });
  absl::Status status;
  // The first is the second look at each rating; steps shrink from there.
  for (int32_t i = 0; i < passes && status.ok() && keep_going(); ++i) {
    status = MakePass(2 + static_cast<uint32_t>(i));
  }
  std::optional<HistoryError> after;
  if (status.ok()) after = MeasureHistories(*state_, keep_going);
  Update([&](PassesProgress* progress) {
    progress->failure = status;
    if (!status.ok()) {
      progress->state = State::kFailed;
    } else if (stop_) {
      progress->state = State::kStopped;
    } else {
      progress->state = State::kDone;
      progress->after = after;
    }
  });
}

absl::Status FurtherPasses::MakePass(uint32_t pass) {
  const uint32_t users = state_->users().size();
  const auto history_size = [this](uint32_t user) {
    return state_->users().Lock(user)->history.items().size();
  };
  for (uint32_t user = 0; user < users && !stop_;) {
    RevisitedPart part = {.first_user = user, .users = 1, .position = 0, .pass = pass};
    size_t events = history_size(user++);
    // A long history in parts, short ones together.
    for (; events > kRevisitedPositions && !stop_; events -= kRevisitedPositions) {
      FACTORD_RETURN_IF_ERROR(Revisit(part, kRevisitedPositions));
      part.position += static_cast<uint32_t>(kRevisitedPositions);
    }
    while (part.position == 0 && user < users) {
      const size_t more = history_size(user);
      if (events + more > kRevisitedPositions) break;
      events += more;
      ++part.users;
      ++user;
    }
    if (!stop_) FACTORD_RETURN_IF_ERROR(Revisit(part, events));
  }
  return absl::OkStatus();
}

absl::Status FurtherPasses::Revisit(const RevisitedPart& part, size_t events) {
  while (true) {
    RecordRequest request;
    Event event = {.kind = EventKind::kRevisit, .revisited = part};
    event.time_is_servers = true;
    request.events.push_back(event);
    std::promise<absl::Status> settled;
    request.done = [&settled](const RecordResult& result) { settled.set_value(result.status); };
    ingest_->Record(std::move(request));
    const absl::Status status = settled.get_future().get();
    if (status.ok()) {
      Update([events](PassesProgress* progress) {
        progress->events_done += static_cast<int64_t>(events);
      });
    }
    // Live events come first.
    if (!absl::IsResourceExhausted(status) || stop_) return status;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace factord
