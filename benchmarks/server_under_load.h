// A server as a process of its own, for a row that puts load on it: factord, or the echo that it is
// held against. The same way to start and to connect for both.
//
//   FACTORD_ASSIGN_OR_RETURN(auto server, ServerUnderLoad::StartFactord(folder, {}));
//   CallLoad load(server->Connect(4), ...);
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "benchmarks/load.h"

namespace factord {

// To be started by a thread that outlives it: the end of that thread kills it, too.
// Thread-compatible.
class ServerUnderLoad {
 public:
  // factord with its defaults, rank 64, and an empty data folder below `folder`, which is emptied;
  // `flags` beside. Both return once it serves.
  static absl::StatusOr<std::unique_ptr<ServerUnderLoad>> StartFactord(
      const std::string& folder, const std::vector<std::string>& flags);
  static absl::StatusOr<std::unique_ptr<ServerUnderLoad>> StartEcho(const std::string& folder);
  // factord, on the data folder DataFolder(folder) as it lies there.
  static absl::StatusOr<std::unique_ptr<ServerUnderLoad>> Restart(const std::string& folder);
  static std::string DataFolder(const std::string& folder) { return folder + "/data"; }
  // Kills it, and removes the folder, but after Restart.
  ~ServerUnderLoad();
  ServerUnderLoad(const ServerUnderLoad&) = delete;
  ServerUnderLoad& operator=(const ServerUnderLoad&) = delete;

  // Lets it run on one core alone, and whoever puts load on it, this process, on another one, as
  // long as the server lives. FAILED_PRECONDITION where there is one core only.
  absl::Status PinApart();

  int port() const { return port_; }
  // So many new connections.
  Channels Connect(int count) const;

 private:
  ServerUnderLoad(std::string folder, bool is_own) : folder_(std::move(folder)), is_own_(is_own) {}

  static absl::StatusOr<std::unique_ptr<ServerUnderLoad>> Start(std::vector<std::string> command,
                                                                const std::string& folder,
                                                                bool is_own);
  absl::Status WaitForPort();
  absl::Status WaitUntilServing() const;
  std::string port_file() const { return folder_ + "/port"; }

  const std::string folder_;
  const bool is_own_;  // so it is emptied first, and removed in the end
  pid_t pid_ = -1;
  int port_ = 0;
  std::optional<cpu_set_t> cores_of_load_;  // before it was pinned
};

}  // namespace factord
