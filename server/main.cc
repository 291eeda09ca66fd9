// The `factord` binary: flags, log, signals, and the server between them. Exit codes:
// server/exit_codes.h.
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "model/kernels.h"
#include "server/exit_codes.h"
#include "server/flag_sources.h"
#include "server/flags.h"
#include "server/log.h"
#include "server/server.h"

namespace factord {
namespace {

sigset_t WatchedSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  return signals;
}

// Calls server->Stop() on SIGTERM or SIGINT and server->Reload() on SIGHUP, as often as they come,
// for as long as it lives. The signals must be blocked in every thread.
class SignalWatcher {
 public:
  explicit SignalWatcher(Server* server)
      : thread_([this, server] {
          const sigset_t signals = WatchedSignals();
          int signal = 0;
          while (sigwait(&signals, &signal) == 0 && !done_) {
            if (signal == SIGHUP) {
              server->Reload();
              continue;
            }
            log::Info("stopping", {{"signal", strsignal(signal)}});
            server->Stop();
          }
        }) {}

  ~SignalWatcher() {
    done_ = true;
    pthread_kill(thread_.native_handle(), SIGTERM);
    thread_.join();
  }

 private:
  std::atomic<bool> done_{false};
  std::thread thread_;
};

ExitCode Main(const std::vector<std::string>& arguments) {
  umask(077);  // the data folder and its backups are the server's alone
  const absl::StatusOr<CommandLine> line = ParseCommandLine(arguments, ProcessEnvironment());
  if (!line.ok()) {
    std::fprintf(stderr, "%s\nSee factord --help.\n", std::string(line.status().message()).c_str());
    return kExitUsage;
  }
  if (!line->text.empty()) {
    std::fputs(line->text.c_str(), stdout);
    return kExitOk;
  }
  log::Start(line->log_level, line->log_format);
  // Debian's Abseil looks for cycles of locks, and would abort the process: that is for tests.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);

  // Before any thread starts, so that all of them inherit it.
  const sigset_t signals = WatchedSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  log::Info("starting", {{"version", FACTORD_VERSION},
                         {"kernels", ActiveKernels().name},
                         {"self_test", absl::StrFormat("%016x", KernelSelfTest(ActiveKernels()))},
                         {"data_dir", line->data_dir}});
  for (const std::string& name : line->unknown_variables) {
    log::Warning("the environment has a variable that is no flag", {{"variable", name}});
  }
  const auto server = Server::Start(line->server);
  if (!server.ok()) {
    log::Error("cannot start", {{"reason", std::string(server.status().message())}});
    return ExitCodeForStart(server.status());
  }
  ExitCode code;
  {
    SignalWatcher watcher(server->get());
    code = (*server)->Run();
  }
  // Not by returning: that would shut gRPC down (server/server.h says why not), and after
  // kExitDrainTimeout threads are still at work.
  std::_Exit(code);
}

}  // namespace
}  // namespace factord

int main(int argc, char** argv) { return factord::Main({argv + 1, argv + argc}); }
