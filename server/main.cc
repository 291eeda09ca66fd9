// The `factord` binary: flags, log, signals, and the server between them. Exit codes:
// server/exit_codes.h.
#include <pthread.h>
#include <signal.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "model/kernels.h"
#include "server/exit_codes.h"
#include "server/flags.h"
#include "server/server.h"

namespace factord {
namespace {

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

// Calls server->Stop() on SIGTERM or SIGINT, as often as they come, for as long as it lives. The
// signals must be blocked in every thread.
class SignalWatcher {
 public:
  explicit SignalWatcher(Server* server)
      : thread_([this, server] {
          const sigset_t signals = StopSignals();
          int signal = 0;
          while (sigwait(&signals, &signal) == 0 && !done_) {
            spdlog::info("{}: stopping", strsignal(signal));
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
  const absl::StatusOr<CommandLine> line = ParseCommandLine(arguments);
  if (!line.ok()) {
    std::fprintf(stderr, "%s\nSee factord --help.\n", std::string(line.status().message()).c_str());
    return kExitUsage;
  }
  if (line->help || line->version) {
    std::fputs(line->help ? HelpText().c_str() : "factord " FACTORD_VERSION "\n", stdout);
    return kExitOk;
  }
  spdlog::set_default_logger(spdlog::stderr_logger_mt("factord"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  spdlog::set_level(spdlog::level::from_str(line->log_level));
  spdlog::flush_on(spdlog::level::info);

  // Before any thread starts, so that all of them inherit it.
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  spdlog::info("factord {}: kernels {}, self-test {:016x}, data folder {}", FACTORD_VERSION,
               ActiveKernels().name, KernelSelfTest(ActiveKernels()), line->data_dir);
  const auto server = Server::Start(line->server);
  if (!server.ok()) {
    spdlog::error("{}", std::string(server.status().message()));
    return server.status().code() == absl::StatusCode::kUnavailable ? kExitCannotListen
                                                                    : kExitFailed;
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
