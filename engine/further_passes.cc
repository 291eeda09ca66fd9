#include "engine/further_passes.h"

#include <chrono>
#include <future>
#include <optional>
#include <system_error>
#include <utility>

#include "engine/query.h"

namespace factord {

using State = PassesProgress::State;

std::optional<PartsOfPass::Part> PartsOfPass::Next() {
  if (user_ >= users_) return std::nullopt;
  const auto history_size = [this](uint32_t user) {
    return state_->users().Lock(user)->history.items().size();
  };
  Part part = {
      .revisited = {.first_user = user_, .users = 1, .position = position_, .pass = pass_}};
  part.events = history_size(user_) - position_;
  if (part.events > kRevisitedPositions) {
    part.events = kRevisitedPositions;
    position_ += static_cast<uint32_t>(kRevisitedPositions);
    return part;
  }
  for (++user_; position_ == 0 && user_ < users_; ++user_) {
    const size_t more = history_size(user_);
    if (part.events + more > kRevisitedPositions) break;
    part.events += more;
    ++part.revisited.users;
  }
  position_ = 0;
  return part;
}

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
  try {
    thread_ = std::thread([this, passes] { Run(passes); });
  } catch (const std::system_error& error) {
    const absl::Status failure =
        absl::ResourceExhaustedError(absl::StrCat("cannot start a thread: ", error.what()));
    Update([&failure](PassesProgress* progress) {
      progress->state = State::kFailed;
      progress->failure = failure;
    });
    return failure;
  }
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
  PartsOfPass parts(state_, pass);
  while (!stop_) {
    const std::optional<PartsOfPass::Part> part = parts.Next();
    if (!part.has_value()) break;
    FACTORD_RETURN_IF_ERROR(Revisit(*part));
  }
  return absl::OkStatus();
}

absl::Status FurtherPasses::Revisit(const PartsOfPass::Part& part) {
  while (true) {
    RecordRequest request;
    Event event = {.kind = EventKind::kRevisit, .revisited = part.revisited};
    event.time_is_servers = true;
    request.events.push_back(event);
    std::promise<absl::Status> settled;
    request.done = [&settled](const RecordResult& result) { settled.set_value(result.status); };
    ingest_->Record(std::move(request));
    const absl::Status status = settled.get_future().get();
    if (status.ok()) {
      Update([&part](PassesProgress* progress) {
        progress->events_done += static_cast<int64_t>(part.events);
      });
    }
    // Live events come first.
    if (!RetryAfterOf(status).has_value() || stop_) return status;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace factord
