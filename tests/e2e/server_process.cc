#include "tests/e2e/server_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <utility>

#include "server/test_channel.h"

extern char** environ;

namespace factord {
namespace {

// Starts `command` with its output in a pipe, whose reading end goes to *output_fd.
pid_t Spawn(const std::vector<std::string>& command, const std::vector<std::string>& environment,
            int* output_fd) {
  int fds[2];
  EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, fds[1], STDERR_FILENO);
  std::vector<char*> argv;
  for (const std::string& argument : command) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  std::vector<char*> envp;
  for (const std::string& variable : environment) {
    envp.push_back(const_cast<char*>(variable.c_str()));
  }
  for (char** variable = environ; *variable != nullptr; ++variable) envp.push_back(*variable);
  envp.push_back(nullptr);
  pid_t pid = -1;
  EXPECT_EQ(posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), envp.data()), 0)
      << command[0];
  posix_spawn_file_actions_destroy(&actions);
  close(fds[1]);
  *output_fd = fds[0];
  return pid;
}

int ExitCodeOf(pid_t pid) {
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace

Ended RunProgram(const std::vector<std::string>& command) {
  Ended ended;
  int fd = -1;
  const pid_t pid = Spawn(command, {}, &fd);
  char buffer[4096];
  ssize_t n = 0;
  while ((n = read(fd, buffer, sizeof(buffer))) > 0) ended.output.append(buffer, n);
  close(fd);
  ended.exit_code = ExitCodeOf(pid);
  return ended;
}

ServerProcess::ServerProcess(std::vector<std::string> flags,
                             const std::vector<std::string>& environment) {
  const std::string port_file = dir_ / "port";
  std::vector<std::string> command = {FACTORD_BINARY, "--listen=127.0.0.1:0",
                                      "--port_file=" + port_file, "--min_free_bytes=1000000"};
  for (std::string& flag : flags) command.push_back(std::move(flag));
  pid_ = Spawn(command, environment, &output_fd_);
  reader_ = std::thread([this] { ReadOutput(); });
  if (!WaitForOutput("listening")) return;
  std::ifstream ports(port_file);
  ports >> port_;
  std::string name;
  for (int port = 0; ports >> name >> port;) {
    (name == "health" ? health_port_ : metrics_port_) = port;
  }
  EXPECT_NE(port_, 0) << "no port in the port file";
  channel_ = LazyTestChannel(port_);  // it may speak TLS
}

ServerProcess::~ServerProcess() {
  if (pid_ > 0) Kill();
}

void ServerProcess::ReadOutput() {
  char buffer[4096];
  ssize_t n = 0;
  while ((n = read(output_fd_, buffer, sizeof(buffer))) > 0) {
    std::lock_guard lock(mu_);
    output_.append(buffer, n);
    changed_.notify_all();
  }
  std::lock_guard lock(mu_);
  output_ended_ = true;
  changed_.notify_all();
}

bool ServerProcess::WaitForOutput(const std::string& text) {
  std::unique_lock lock(mu_);
  const bool there = changed_.wait_for(
      lock, kPatience, [&] { return output_ended_ || output_.find(text) != std::string::npos; });
  EXPECT_TRUE(there) << "waited in vain for: " << text << "\n" << output_;
  return output_.find(text) != std::string::npos;
}

std::shared_ptr<grpc::Channel> ServerProcess::NewChannel() const {
  auto channel = LazyTestChannel(port_);
  WaitForConnection(*channel, kPatience);
  return channel;
}

void ServerProcess::WaitUntilServing() const {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  grpc::health::v1::HealthCheckRequest request;
  request.set_service("factord.v1.RatingService");
  ASSERT_TRUE(listening()) << output();
  WaitForConnection(*channel_, kPatience);
  auto watch = grpc::health::v1::Health::NewStub(channel_)->Watch(&context, request);
  grpc::health::v1::HealthCheckResponse response;
  while (response.status() != grpc::health::v1::HealthCheckResponse::SERVING) {
    ASSERT_TRUE(watch->Read(&response)) << output();
  }
  context.TryCancel();
}

void ServerProcess::Signal(int signal) const { ASSERT_EQ(kill(pid_, signal), 0); }

Ended ServerProcess::Wait() {
  Ended ended;
  ended.exit_code = ExitCodeOf(pid_);
  pid_ = -1;
  reader_.join();
  close(output_fd_);
  ended.output = output();
  return ended;
}

bool ServerProcess::EndsWithin(std::chrono::milliseconds time) {
  std::unique_lock lock(mu_);
  return changed_.wait_for(lock, time, [&] { return output_ended_; });
}

void ServerProcess::Kill() {
  Signal(SIGKILL);
  Wait();
}

int ServerProcess::Stop() {
  Signal(SIGTERM);
  const Ended ended = Wait();
  if (ended.exit_code != kExitOk) ADD_FAILURE() << ended.output;
  return ended.exit_code;
}

std::string ServerProcess::output() const {
  std::lock_guard lock(mu_);
  return output_;
}

v1::ComputeHashResponse ComputeHash(const ServerProcess& server) {
  grpc::ClientContext context;
  v1::ComputeHashResponse response;
  const grpc::Status status =
      v1::AdminService::NewStub(server.channel())->ComputeHash(&context, {}, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

v1::GetModelResponse GetModel(const ServerProcess& server) {
  grpc::ClientContext context;
  v1::GetModelResponse response;
  const grpc::Status status =
      v1::ModelService::NewStub(server.channel())->GetModel(&context, {}, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

v1::RecordRatingsResponse RecordRatings(const ServerProcess& server,
                                        const v1::RecordRatingsRequest& request) {
  grpc::ClientContext context;
  v1::RecordRatingsResponse response;
  const grpc::Status status =
      v1::RatingService::NewStub(server.channel())->RecordRatings(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

}  // namespace factord
