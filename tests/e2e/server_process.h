// A real `factord` process, for tests that start it, kill it and read what it says.
//
//   TempFolder dir;
//   ServerProcess server({"--data_dir=" + (dir / "data")});
//   server.WaitUntilServing();
//   ... v1::RatingService::NewStub(server.channel()) ...
//   server.Kill();                      // SIGKILL
//   EXPECT_EQ(server.Stop(), kExitOk);  // or SIGTERM
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/temp_folder.h"
#include "engine/test_util.h"
#include "factord/v1/admin_service.grpc.pb.h"
#include "factord/v1/model_service.grpc.pb.h"
#include "factord/v1/rating_service.grpc.pb.h"
#include "factord/v1/recommendation_service.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/exit_codes.h"

namespace factord {

// A test that waits longer than this for anything has failed.
inline constexpr std::chrono::seconds kPatience(60);

// How a process ended, and what it wrote.
struct Ended {
  int exit_code = -1;  // below 0: minus the signal that ended it
  std::string output;  // standard output and standard error
};

// Runs a program to its end.
Ended RunProgram(const std::vector<std::string>& command);

// Thread-compatible, except that channel() may be called from anywhere.
class ServerProcess {
 public:
  // Starts it with a port of its own and a small --min_free_bytes, and waits until the port is open
  // or the process has ended.
  // `environment`: "NAME=value", beside this process's own.
  explicit ServerProcess(std::vector<std::string> flags,
                         const std::vector<std::string>& environment = {});
  // Kills it, if it runs.
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  // False: it has ended instead.
  bool listening() const { return port_ != 0; }
  int port() const { return port_; }
  // 0: there is none.
  int health_port() const { return health_port_; }
  int metrics_port() const { return metrics_port_; }
  pid_t pid() const { return pid_; }
  // A new connection, which is there; several calls give several.
  std::shared_ptr<grpc::Channel> NewChannel() const;
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  void WaitUntilServing() const;

  void Signal(int signal) const;
  // Waits for the end.
  Ended Wait();
  // Whether it ends in so long; it is still to be waited for.
  bool EndsWithin(std::chrono::milliseconds time);
  // SIGKILL, and the end.
  void Kill();
  // SIGTERM, and the exit code.
  int Stop();

  // What it has written so far.
  std::string output() const;
  // False if the process ends before it has written `text`.
  bool WaitForOutput(const std::string& text);

 private:
  void ReadOutput();

  TempFolder dir_;  // for the port file
  pid_t pid_ = -1;
  int output_fd_ = -1;
  int port_ = 0;
  int health_port_ = 0;
  int metrics_port_ = 0;
  std::shared_ptr<grpc::Channel> channel_;

  mutable std::mutex mu_;
  std::condition_variable changed_;
  std::string output_;
  bool output_ended_ = false;
  std::thread reader_;
};

// --- Calls that a test makes often; they fail the test if the call fails
// ---------------------------

v1::ComputeHashResponse ComputeHash(const ServerProcess& server);
v1::GetModelResponse GetModel(const ServerProcess& server);
v1::RecordRatingsResponse RecordRatings(const ServerProcess& server,
                                        const v1::RecordRatingsRequest& request);

inline void SetRating(const std::string& user, const std::string& item, float value,
                      v1::Rating* rating) {
  rating->set_user_id(user);
  rating->set_item_id(item);
  rating->set_rating(value);
}

}  // namespace factord
