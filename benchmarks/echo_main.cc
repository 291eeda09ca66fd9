// factord-echo --port_file=FILE: benchmarks/echo_server.h as a process, so that it is measured as
// factord is.
#include <iostream>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/synchronization/mutex.h"
#include "benchmarks/echo_server.h"

ABSL_FLAG(std::string, listen, "127.0.0.1:0", "Address and port. Port 0 lets the system choose.");
ABSL_FLAG(std::string, port_file, "", "File that receives the port.");

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);  // as factord does
  const absl::Status status =
      factord::RunEchoServer(absl::GetFlag(FLAGS_listen), absl::GetFlag(FLAGS_port_file));
  std::cerr << "factord-echo: " << status << "\n";
  return 1;
}
