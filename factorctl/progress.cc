#include "factorctl/progress.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "factorctl/table.h"

namespace factord {
namespace {

// Often enough to look alive on a terminal; a log file wants less.
constexpr auto kTerminalInterval = std::chrono::milliseconds(200);
constexpr auto kFileInterval = std::chrono::milliseconds(1'000);
// A speed over less than this jumps.
constexpr absl::Duration kSpeedWindow = absl::Seconds(3);
// The line goes on without the model's error when the server is away.
constexpr absl::Duration kModelTimeout = absl::Milliseconds(300);

std::string Bar(double fraction) {
  constexpr int kWidth = 24;
  const int filled = static_cast<int>(fraction * kWidth);
  std::string bar(kWidth, ' ');
  std::fill(bar.begin(), bar.begin() + filled, '=');
  if (filled < kWidth) bar[static_cast<size_t>(filled)] = '>';
  return absl::StrCat("[", bar, "]");
}

std::string Clock(double seconds) {
  const auto whole = static_cast<int64_t>(std::ceil(seconds));
  if (whole >= 3600) {
    return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
  }
  return absl::StrFormat("%d:%02d", whole / 60, whole % 60);
}

}  // namespace

std::string RenderProgress(const ProgressState& state) {
  std::string line;
  if (state.total.has_value()) {
    const double fraction = *state.total == 0 ? 1.0
                                              : static_cast<double>(state.acknowledged) /
                                                    static_cast<double>(*state.total);
    absl::StrAppendFormat(&line, "%s %3d%%  %s/%s", Bar(fraction), static_cast<int>(fraction * 100),
                          WithCommas(state.acknowledged), WithCommas(*state.total));
  } else {
    absl::StrAppend(&line, WithCommas(state.acknowledged), " acknowledged");
  }
  absl::StrAppend(&line, "  ", WithCommas(static_cast<int64_t>(state.per_second)), "/s");
  if (state.total.has_value() && state.per_second > 0 && state.acknowledged < *state.total) {
    absl::StrAppend(
        &line, "  ETA ",
        Clock(static_cast<double>(*state.total - state.acknowledged) / state.per_second));
  }
  if (!state.error.has_value()) {
    absl::StrAppend(&line, "  waiting for the server");
  } else if (state.error->events() > 0) {
    absl::StrAppendFormat(&line, "  MAE %.4f (lately %.4f)", state.error->mae(),
                          state.error->fading_mae());
  }
  if (state.reconnects > 0) absl::StrAppend(&line, "  reconnects ", state.reconnects);
  return line;
}

Progress::Progress(StatusLine* line, const RatingStream* stream, Client* client, std::string model,
                   std::optional<int64_t> total)
    : line_(line),
      stream_(stream),
      client_(client),
      model_(std::move(model)),
      total_(total),
      thread_([this] { Run(); }) {}

void Progress::Stop() {
  if (!thread_.joinable()) return;
  {
    MutexLock lock(&mu_);
    stop_ = true;
    stopped_.NotifyAll();
  }
  thread_.join();
  line_->Show(RenderProgress(Look()));
  line_->Finish();
}

void Progress::Run() {
  const auto interval = line_->is_terminal() ? kTerminalInterval : kFileInterval;
  while (true) {
    line_->Show(RenderProgress(Look()));
    const auto next = std::chrono::steady_clock::now() + interval;
    MutexLock lock(&mu_);
    while (!stop_ && std::chrono::steady_clock::now() < next) stopped_.WaitUntil(&mu_, next);
    if (stop_) return;
  }
}

ProgressState Progress::Look() {
  ProgressState state;
  v1::GetModelRequest request;
  request.set_model(model_);
  if (auto model = client_->GetModel(request, kModelTimeout); model.ok()) {
    state.error = model->prequential_error();
  }
  const RatingStream::Stats stats = stream_->stats();
  state.total = total_;
  state.acknowledged = stats.acknowledged;
  state.reconnects = stats.reconnects;
  // What was there already is not this run's speed.
  samples_.emplace_back(absl::Now(), stats.acknowledged - stats.resumed);
  while (samples_.size() > 2 && samples_.back().first - samples_[1].first > kSpeedWindow) {
    samples_.pop_front();
  }
  const double seconds = absl::ToDoubleSeconds(samples_.back().first - samples_.front().first);
  if (seconds > 0) {
    state.per_second =
        static_cast<double>(samples_.back().second - samples_.front().second) / seconds;
  }
  return state;
}

}  // namespace factord
