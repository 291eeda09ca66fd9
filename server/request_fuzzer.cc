// Any bytes at all as a request, sent over gRPC to a real server with a real engine. The first byte
// says which RPC; of StreamRatings, the others are messages, each behind its length in two bytes.
// The model and the log stay from one input to the next, up to kInputsAFolder: what is found may
// need those before it. Then all of the log is replayed, and must come to the state that the server
// left; of a failure the folder stays.
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/temp_folder.h"
#include "engine/engine.h"
#include "engine/verify.h"
#include "server/rpc.h"
#include "server/server.h"

namespace factord {
namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

constexpr int kInputsAFolder = 10'000;

// Nothing but the log that it keeps grows without end.
class ServerUnderTest {
 public:
  ServerUnderTest() {
    engine_options_.data_dir = folder_ / "data";
    engine_options_.durability = Durability::kAsync;
    engine_options_.log_retention = LogRetention::kAll;
    engine_options_.config.rank = 4;
    engine_options_.config.event_types = {{"click", 0.5F, 1}};
    engine_options_.config.dedupe_window = 1'000;
    engine_options_.snapshot_log_bytes = 1 << 20;
    engine_options_.min_free_bytes = 0;
    engine_options_.max_users = 100;
    engine_options_.max_items = 100;
    engine_options_.max_producers = 100;
    engine_options_.backup_dir = backups();
    std::filesystem::create_directory(backups());
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    options.open_engine = [this] { return Engine::Open(engine_options_); };
    options.network.max_connections = 10;
    options.max_sequence_wait = std::chrono::milliseconds(1);
    auto server = Server::Start(options);
    Check(server.ok());
    server_ = *std::move(server);
    run_ = std::thread([this] { Check(server_->Run() == kExitOk); });
    const auto channel = grpc::CreateChannel(absl::StrCat("127.0.0.1:", server_->port()),
                                             grpc::InsecureChannelCredentials());
    stub_ = std::make_unique<grpc::GenericStub>(channel);
    while (Call(Rpc::kGetModel, "", nullptr).error_code() != grpc::StatusCode::OK) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  ~ServerUnderTest() {
    server_->Stop();
    run_.join();
    server_.reset();
    const auto verified = VerifyFolder(engine_options_.data_dir);
    if (verified.ok()) return;
    std::cerr << engine_options_.data_dir << ": " << verified.status() << std::endl;
    std::abort();
  }

  std::string backups() const { return folder_ / "backups"; }
  const ModelConfig& config() const { return engine_options_.config; }

  // `response` may be null.
  grpc::Status Call(Rpc rpc, absl::string_view request, grpc::ByteBuffer* response) {
    grpc::ClientContext context;
    const grpc::ByteBuffer bytes = ToBuffer(request);
    const auto call = stub_->PrepareUnaryCall(&context, MethodOf(rpc), bytes, &queue_);
    call->StartCall();
    grpc::ByteBuffer ignored;
    grpc::Status status;
    call->Finish(response != nullptr ? response : &ignored, &status, nullptr);
    AwaitOne();
    return status;
  }

  // Each message behind its length, as far as the bytes go.
  grpc::Status Stream(absl::string_view messages) {
    grpc::ClientContext context;
    const auto call = stub_->PrepareCall(&context, MethodOf(Rpc::kStreamRatings), &queue_);
    call->StartCall(nullptr);
    bool is_open = AwaitOne();
    while (is_open && messages.size() >= 2) {
      const size_t length =
          std::min<size_t>(messages.size() - 2, static_cast<unsigned char>(messages[0]) +
                                                    256 * static_cast<unsigned char>(messages[1]));
      call->Write(ToBuffer(messages.substr(2, length)), nullptr);
      is_open = AwaitOne();
      messages.remove_prefix(2 + length);
    }
    if (is_open) {
      call->WritesDone(nullptr);
      AwaitOne();
    }
    grpc::ByteBuffer response;
    do {
      call->Read(&response, nullptr);
    } while (AwaitOne());
    grpc::Status status;
    call->Finish(&status, nullptr);
    AwaitOne();
    return status;
  }

 private:
  static std::string MethodOf(Rpc rpc) {
    return absl::StrCat("/", InfoOf(rpc).service, "/", InfoOf(rpc).method);
  }

  static grpc::ByteBuffer ToBuffer(absl::string_view bytes) {
    const grpc::Slice slice(bytes.data(), bytes.size());
    return grpc::ByteBuffer(&slice, 1);
  }

  // Whether what is under way has gone well.
  bool AwaitOne() {
    void* tag = nullptr;
    bool ok = false;
    Check(queue_.Next(&tag, &ok));
    return ok;
  }

  const TempFolder folder_{TempFolder::Place::kMemory};
  EngineOptions engine_options_;
  std::unique_ptr<Server> server_;
  std::thread run_;
  std::unique_ptr<grpc::GenericStub> stub_;
  grpc::CompletionQueue queue_;
};

template <typename Message>
Message Parsed(const grpc::ByteBuffer& bytes) {
  grpc::Slice slice;
  Message message;
  Check(bytes.DumpToSingleSlice(&slice).ok() &&
        message.ParseFromArray(slice.begin(), static_cast<int>(slice.size())));
  return message;
}

void CheckAnswer(Rpc rpc, const grpc::ByteBuffer& bytes, const ServerUnderTest& server) {
  if (rpc == Rpc::kRecommendItems) {
    const auto answer = Parsed<v1::RecommendItemsResponse>(bytes);
    for (int i = 0; i < answer.items_size(); ++i) {
      Check(std::isfinite(answer.items(i).score()));
      Check(i == 0 || answer.items(i - 1).score() >= answer.items(i).score());
    }
  } else if (rpc == Rpc::kPredictRatings) {
    const auto answer = Parsed<v1::PredictRatingsResponse>(bytes);
    for (const auto& prediction : answer.predictions()) {
      Check(prediction.rating() >= server.config().min_rating &&
            prediction.rating() <= server.config().max_rating);
    }
  } else if (rpc == Rpc::kBackup) {
    namespace fs = std::filesystem;
    const auto answer = Parsed<v1::BackupResponse>(bytes);
    Check(fs::path(answer.path()).parent_path() == server.backups());
    fs::remove_all(answer.path());
  }
}

// What a client, of one that may do anything, can bring about.
bool IsExpected(Rpc rpc, grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::OK:
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::NOT_FOUND:
    case grpc::StatusCode::ALREADY_EXISTS:
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::ABORTED:
    case grpc::StatusCode::OUT_OF_RANGE:
      return true;
    case grpc::StatusCode::UNAVAILABLE:  // min_sequence has not come in time
      return rpc == Rpc::kRecommendItems || rpc == Rpc::kPredictRatings;
    default:
      return false;
  }
}

}  // namespace
}  // namespace factord

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace factord;  // NOLINT: of one function
  static auto server = std::make_unique<ServerUnderTest>();
  static int inputs = 0;
  if (size == 0) return 0;
  if (++inputs % kInputsAFolder == 0) {
    server.reset();
    server = std::make_unique<ServerUnderTest>();
  }
  const auto rpc = static_cast<Rpc>(data[0] % static_cast<size_t>(Rpc::kUnknown));
  const absl::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  grpc::ByteBuffer response;
  const grpc::Status status =
      rpc == Rpc::kStreamRatings ? server->Stream(bytes) : server->Call(rpc, bytes, &response);
  if (!IsExpected(rpc, status.error_code())) {
    std::cerr << InfoOf(rpc).method << ": " << status.error_code() << " " << status.error_message()
              << std::endl;
    std::abort();
  }
  if (status.ok()) CheckAnswer(rpc, response, *server);
  return 0;
}
