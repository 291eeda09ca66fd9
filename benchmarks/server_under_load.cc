#include "benchmarks/server_under_load.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "grpc/health/v1/health.grpc.pb.h"

namespace factord {
namespace {

// Whoever waits longer for a server waits in vain.
constexpr std::chrono::seconds kPatience(60);
constexpr std::chrono::milliseconds kPollInterval(5);

std::vector<std::string> FactordOn(const std::string& data_folder) {
  return {FACTORD_BINARY, "--data_dir=" + data_folder, "--rank=64", "--log_level=error"};
}

// Of all its threads; later ones get those of the thread that starts them.
void SetCores(pid_t process, const cpu_set_t& cores) {
  const std::string threads = absl::StrCat("/proc/", process, "/task");
  std::error_code ignored;
  for (const auto& thread : std::filesystem::directory_iterator(threads, ignored)) {
    sched_setaffinity(std::stoi(thread.path().filename()), sizeof(cores), &cores);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServerUnderLoad>> ServerUnderLoad::StartFactord(
    const std::string& folder, const std::vector<std::string>& flags) {
  std::vector<std::string> command = FactordOn(DataFolder(folder));
  command.insert(command.end(), flags.begin(), flags.end());
  return Start(std::move(command), folder, /*is_own=*/true);
}

absl::StatusOr<std::unique_ptr<ServerUnderLoad>> ServerUnderLoad::Restart(
    const std::string& folder) {
  return Start(FactordOn(DataFolder(folder)), folder, /*is_own=*/false);
}

absl::StatusOr<std::unique_ptr<ServerUnderLoad>> ServerUnderLoad::StartEcho(
    const std::string& folder) {
  return Start({FACTORD_ECHO_BINARY}, folder, /*is_own=*/true);
}

absl::StatusOr<std::unique_ptr<ServerUnderLoad>> ServerUnderLoad::Start(
    std::vector<std::string> command, const std::string& folder, bool is_own) {
  if (is_own) std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  std::unique_ptr<ServerUnderLoad> server(new ServerUnderLoad(folder, is_own));
  std::filesystem::remove(server->port_file());
  command.push_back("--listen=127.0.0.1:0");
  command.push_back("--port_file=" + server->port_file());
  std::vector<char*> argv;
  for (std::string& argument : command) argv.push_back(argument.data());
  argv.push_back(nullptr);
  server->pid_ = fork();
  if (server->pid_ < 0) return absl::ErrnoToStatus(errno, "cannot fork");
  if (server->pid_ == 0) {
    // Whatever ends a benchmark, no server stays behind.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execv(argv[0], argv.data());
    _exit(127);
  }
  FACTORD_RETURN_IF_ERROR(Annotate(server->WaitForPort(), command[0]));
  FACTORD_RETURN_IF_ERROR(Annotate(server->WaitUntilServing(), command[0]));
  return server;
}

ServerUnderLoad::~ServerUnderLoad() {
  if (cores_of_load_.has_value()) SetCores(getpid(), *cores_of_load_);
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (is_own_) std::filesystem::remove_all(folder_);
}

absl::Status ServerUnderLoad::PinApart() {
  cpu_set_t allowed;
  sched_getaffinity(0, sizeof(allowed), &allowed);
  std::vector<cpu_set_t> cores;
  for (size_t core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &allowed)) continue;
    CPU_ZERO(&cores.emplace_back());
    CPU_SET(core, &cores.back());
  }
  if (cores.size() < 2) return absl::FailedPreconditionError("there is one core only");
  cores_of_load_ = allowed;
  SetCores(pid_, cores[0]);
  SetCores(getpid(), cores[1]);
  return absl::OkStatus();
}

absl::Status ServerUnderLoad::WaitForPort() {
  const Clock::time_point end = Clock::now() + kPatience;
  while (Clock::now() < end) {
    if (std::ifstream(port_file()) >> port_) return absl::OkStatus();
    if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = -1;
      return absl::InternalError("cannot be run, or ended at its start");
    }
    std::this_thread::sleep_for(kPollInterval);
  }
  return absl::DeadlineExceededError("has not opened a port");
}

absl::Status ServerUnderLoad::WaitUntilServing() const {
  using grpc::health::v1::Health;
  const auto health = Health::NewStub(Connect(1)[0]);
  const Clock::time_point end = Clock::now() + kPatience;
  while (Clock::now() < end) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    grpc::health::v1::HealthCheckResponse response;
    const grpc::Status status = health->Check(&context, {}, &response);
    if (!status.ok()) return absl::UnavailableError(status.error_message());
    if (response.status() == grpc::health::v1::HealthCheckResponse::SERVING) {
      return absl::OkStatus();
    }
    std::this_thread::sleep_for(kPollInterval);
  }
  return absl::DeadlineExceededError("does not serve");
}

Channels ServerUnderLoad::Connect(int count) const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // else all would share a connection
  Channels channels;
  for (int i = 0; i < count; ++i) {
    channels.push_back(grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port_),
                                                 grpc::InsecureChannelCredentials(), arguments));
  }
  return channels;
}

}  // namespace factord
