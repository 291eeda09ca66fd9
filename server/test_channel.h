// Plain-text channels for tests, each with a connection of its own.
#pragma once

#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>

namespace factord {

// To a port of this machine. Does not connect yet.
inline std::shared_ptr<grpc::Channel> LazyTestChannel(int port) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port),
                                   grpc::InsecureChannelCredentials(), arguments);
}

// Connects; fails the test if that takes longer than `patience`. A call on a channel that is not
// connected may fail where nothing is wrong: under AddressSanitizer gRPC now and then takes an old
// errno for a failure to connect, and its next try comes a second later.
inline void WaitForConnection(grpc::Channel& channel, std::chrono::seconds patience) {
  EXPECT_TRUE(channel.WaitForConnected(std::chrono::system_clock::now() + patience));
}

}  // namespace factord
