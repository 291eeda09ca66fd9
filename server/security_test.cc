// Who may call what: tokens, TLS, client certificates, and their replacement while the server runs.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <future>
#include <string>
#include <vector>

#include "base/temp_folder.h"
#include "client/test_certificates.h"
#include "server/test_util.h"

namespace factord {
namespace {

using grpc::StatusCode;
using ::testing::HasSubstr;

class Files {
 public:
  std::string path(const std::string& name) const { return folder_ / name; }
  // In one step, as whoever replaces a file in use should.
  std::string Write(const std::string& name, const std::string& content) const {
    EXPECT_EQ(std::rename(folder_.Write("new", content).c_str(), path(name).c_str()), 0);
    return path(name);
  }

 private:
  const TempFolder folder_;
};

constexpr std::chrono::milliseconds kReload(5);

// One call of each scope; `channel`'s credentials are its own.
class Caller {
 public:
  explicit Caller(std::shared_ptr<grpc::Channel> channel) : channel_(std::move(channel)) {}
  void set_token(const std::string& token) { header_ = "Bearer " + token; }
  void set_header(const std::string& header) { header_ = header; }

  grpc::Status Read() {
    return Call(*v1::ModelService::NewStub(channel_), &v1::ModelService::Stub::GetModel,
                v1::GetModelRequest(), v1::GetModelResponse());
  }
  grpc::Status Write() {
    v1::RecordRatingsRequest request;
    SetRating("u", "i", 1, request.add_events());
    return Call(*v1::RatingService::NewStub(channel_), &v1::RatingService::Stub::RecordRatings,
                request, v1::RecordRatingsResponse());
  }
  grpc::Status Operate() {
    return Call(*v1::AdminService::NewStub(channel_), &v1::AdminService::Stub::ComputeHash,
                v1::ComputeHashRequest(), v1::ComputeHashResponse());
  }
  grpc::Status Stream() {
    grpc::ClientContext context;
    Prepare(&context);
    auto stream = v1::RatingService::NewStub(channel_)->StreamRatings(&context);
    v1::StreamRatingsRequest start;
    start.mutable_start();
    stream->Write(start);
    stream->WritesDone();
    v1::StreamRatingsResponse response;
    while (stream->Read(&response)) {
    }
    return stream->Finish();
  }
  grpc::Status Health() {
    return Call(*grpc::health::v1::Health::NewStub(channel_),
                &grpc::health::v1::Health::Stub::Check, grpc::health::v1::HealthCheckRequest(),
                grpc::health::v1::HealthCheckResponse());
  }

 private:
  void Prepare(grpc::ClientContext* context) {
    context->set_deadline(std::chrono::system_clock::now() + kPatience);
    if (!header_.empty()) context->AddMetadata("authorization", header_);
  }
  template <typename Stub, typename Method, typename Request, typename Response>
  grpc::Status Call(Stub& stub, Method method, const Request& request, Response response) {
    grpc::ClientContext context;
    Prepare(&context);
    return (stub.*method)(&context, request, &response);
  }

  const std::shared_ptr<grpc::Channel> channel_;
  std::string header_;
};

TEST(TokenTest, ScopesDecide) {
  Files files;
  TestServer server([&](ServerOptions* options) {
    options->token_file = files.Write("tokens",
                                      "reader read reader-0123456789\n"
                                      "writer write writer-0123456789\n"
                                      "ops admin admin-0123456789\n");
  });
  server.WaitUntilServing();  // health needs no token
  Caller nobody(server.channel());
  EXPECT_TRUE(nobody.Health().ok());
  for (const grpc::Status& status :
       {nobody.Read(), nobody.Write(), nobody.Operate(), nobody.Stream()}) {
    EXPECT_EQ(status.error_code(), StatusCode::UNAUTHENTICATED);
    EXPECT_THAT(status.error_message(), HasSubstr("authorization: Bearer TOKEN"));
    EXPECT_THAT(status.error_message(), HasSubstr("token_file"));
  }
  for (const char* header : {"Bearer wrong-0123456789", "Bearer ", "Bearer reader-012345678",
                             "Basic reader-0123456789", "reader-0123456789"}) {
    nobody.set_header(header);
    EXPECT_EQ(nobody.Read().error_code(), StatusCode::UNAUTHENTICATED) << header;
    EXPECT_EQ(nobody.Stream().error_code(), StatusCode::UNAUTHENTICATED) << header;
  }
  Caller reader(server.channel()), writer(server.channel()), ops(server.channel());
  reader.set_token("reader-0123456789");
  writer.set_token("writer-0123456789");
  ops.set_header("bearer admin-0123456789");  // the scheme has no case
  EXPECT_TRUE(reader.Read().ok());
  EXPECT_TRUE(writer.Write().ok());
  EXPECT_TRUE(writer.Stream().ok());
  EXPECT_TRUE(ops.Operate().ok());
  for (const grpc::Status& status : {reader.Write(), reader.Stream(), reader.Operate(),
                                     writer.Read(), writer.Operate(), ops.Read(), ops.Write()}) {
    EXPECT_EQ(status.error_code(), StatusCode::PERMISSION_DENIED);
    EXPECT_THAT(status.error_message(), HasSubstr("has no scope"));
  }
  EXPECT_EQ(server.engine().requests(), 1);  // what was refused did not reach the engine
}

// Symptom: who guessed tokens was refused as often as he liked, whatever the rate.
TEST(TokenTest, GuessesHaveARateAndDoNotCountAgainstThoseWhoKnow) {
  Files files;
  TestServer server([&](ServerOptions* options) {
    options->token_file = files.Write("tokens", "reader read reader-0123456789\n");
    options->calls.client_calls_per_second = 0.01;
  });
  server.WaitUntilServing();
  Caller guesser(server.channel()), reader(server.channel());
  guesser.set_token("wrong-0123456789");
  EXPECT_EQ(guesser.Read().error_code(), StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(guesser.Read().error_code(), StatusCode::RESOURCE_EXHAUSTED);
  reader.set_token("reader-0123456789");
  EXPECT_TRUE(reader.Read().ok());
}

TEST(TokenTest, AreReadAgainAndBadOnesChangeNothing) {
  Files files;
  TestServer server([&](ServerOptions* options) {
    options->token_file = files.Write("tokens", "one read first-0123456789\n");
    options->reload_interval = kReload;
  });
  server.WaitUntilServing();
  Caller first(server.channel()), second(server.channel());
  first.set_token("first-0123456789");
  second.set_token("second-0123456789");
  EXPECT_TRUE(first.Read().ok());
  EXPECT_FALSE(second.Read().ok());
  files.Write("tokens", "one read first-0123456789\ntwo read second-0123456789\n");
  while (!second.Read().ok()) {  // the test's time is the limit
  }
  EXPECT_TRUE(first.Read().ok());
  files.Write("tokens", "two fly second-0123456789\n");
  while (server.Metric("factord_reloads_total{file=\"tokens\",result=\"failed\"}") == "0") {
  }
  EXPECT_TRUE(first.Read().ok());
  files.Write("tokens", "two read second-0123456789\n");
  while (first.Read().ok()) {
  }
  EXPECT_TRUE(second.Read().ok());
}

// A token that has leaked could write for as long as a stream stayed open.
TEST(TokenTest, AStreamEndsWhenItsTokenIsTakenAway) {
  Files files;
  TestServer server([&](ServerOptions* options) {
    options->token_file = files.Write("tokens", "one write first-0123456789\n");
    options->reload_interval = kReload;
  });
  server.WaitUntilServing();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  context.AddMetadata("authorization", "Bearer first-0123456789");
  auto stream = v1::RatingService::NewStub(server.channel())->StreamRatings(&context);
  v1::StreamRatingsRequest request;
  v1::StreamRatingsResponse response;
  request.mutable_start();
  stream->Write(request);
  ASSERT_TRUE(stream->Read(&response) && response.has_started());
  const auto send = [&](int64_t number) {
    request.mutable_batch()->set_first_number(number);
    request.mutable_batch()->clear_events();
    SetRating("u", "i", 1, request.mutable_batch()->add_events());
    return stream->Write(request) && stream->Read(&response);
  };
  Caller first(server.channel()), second(server.channel());
  first.set_token("first-0123456789");
  second.set_token("second-0123456789");
  // Others change, its own does not.
  files.Write("tokens", "one write first-0123456789\ntwo write second-0123456789\n");
  while (!second.Stream().ok()) {
  }
  EXPECT_TRUE(send(1));
  files.Write("tokens", "two write second-0123456789\n");
  while (first.Stream().ok()) {
  }
  EXPECT_FALSE(send(2));
  const grpc::Status status = stream->Finish();
  // A client that has a new token by now goes on with it.
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("token"));
  EXPECT_EQ(server.engine().requests(), 1);
}

TEST(TokenTest, ABadFileIsRefusedAtStart) {
  Files files;
  ServerOptions options;
  options.listen = "127.0.0.1:0";
  options.token_file = files.Write("tokens", "one read short\n");
  const auto server = Server::Start(options);
  EXPECT_EQ(server.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(server.status().message()), HasSubstr("tokens:1: the token must have"));
}

class TlsTest : public ::testing::Test {
 protected:
  void WriteServerCertificate(TestCa& ca) {
    const TestCertificate server = ca.Issue("server", {"localhost"});
    files_.Write("cert", server.certificate);
    files_.Write("key", server.key);
  }
  TlsFiles tls() const { return {files_.path("cert"), files_.path("key"), ""}; }

  // A connection of its own, which trusts `ca`, with a certificate if there is one.
  std::shared_ptr<grpc::Channel> Connect(const TestServer& server, const TestCa& ca,
                                         const TestCertificate& own = {}) {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = ca.pem();
    options.pem_private_key = own.key;
    options.pem_cert_chain = own.certificate;
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetSslTargetNameOverride("localhost");
    return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(server.server().port()),
                                     grpc::SslCredentials(options), arguments);
  }

  Files files_;
  TestCa ca_{"the CA"};
};

TEST_F(TlsTest, ServesThoseWhoTrustTheCertificateAndNobodyInPlainText) {
  WriteServerCertificate(ca_);
  TestServer server([&](ServerOptions* options) {
    options->tls = tls();
    options->health_listen = "127.0.0.1:0";
  });
  Caller trusting(Connect(server, ca_));
  while (!trusting.Write().ok()) {  // until it has recovered
  }
  TestCa other("another CA");
  EXPECT_EQ(Caller(Connect(server, other)).Read().error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(Caller(LazyTestChannel(server.server().port())).Read().error_code(),
            StatusCode::UNAVAILABLE);

  // The port for probes speaks plain text, and of health alone.
  Caller probe(grpc::CreateChannel("127.0.0.1:" + std::to_string(server.server().health_port()),
                                   grpc::InsecureChannelCredentials()));
  EXPECT_TRUE(probe.Health().ok());
  for (const grpc::Status& status :
       {probe.Read(), probe.Write(), probe.Operate(), probe.Stream()}) {
    EXPECT_EQ(status.error_code(), StatusCode::UNIMPLEMENTED);
  }
}

// Whether there is reflection at `port`.
bool Reflects(int port) {
  grpc::GenericStub stub(
      grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials()));
  const grpc::Slice list_services("\x3a\x01*");
  const grpc::ByteBuffer request(&list_services, 1);
  grpc::ByteBuffer response;
  grpc::ClientContext context;
  // gRPC 1.51 looks at errno after it has allocated memory: at times a first connection fails by an
  // error that it never had.
  context.set_wait_for_ready(true);
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", {},
                 &request, &response, [&](const grpc::Status& status) { done.set_value(status); });
  const grpc::Status status = done.get_future().get();
  EXPECT_THAT(status.error_code(), testing::AnyOf(StatusCode::OK, StatusCode::UNIMPLEMENTED))
      << status.error_message();
  return status.ok();
}

// Once it was at every port, whatever the option said.
TEST(ReflectionTest, IsAtThePortOfTheApiUnlessSwitchedOff) {
  for (const bool on : {true, false}) {
    TestServer server([&](ServerOptions* options) {
      options->reflection = on;
      options->health_listen = "127.0.0.1:0";
    });
    EXPECT_EQ(Reflects(server.server().port()), on);
    EXPECT_FALSE(Reflects(server.server().health_port()));
  }
}

TEST_F(TlsTest, AsksForClientCertificates) {
  WriteServerCertificate(ca_);
  TestCa clients("the clients' CA");
  TestServer server([&](ServerOptions* options) {
    options->tls = tls();
    options->tls.client_ca_file = files_.Write("client_ca", clients.pem());
  });
  Caller known(Connect(server, ca_, clients.Issue("shop", {})));
  while (!known.Write().ok()) {
  }
  EXPECT_TRUE(known.Read().ok());
  EXPECT_FALSE(Caller(Connect(server, ca_)).Read().ok());
  TestCa other("another CA");
  EXPECT_FALSE(Caller(Connect(server, ca_, other.Issue("shop", {}))).Read().ok());
}

TEST_F(TlsTest, CertificatesAreReadAgainAndBadOnesChangeNothing) {
  WriteServerCertificate(ca_);
  TestServer server([&](ServerOptions* options) {
    options->tls = tls();
    options->reload_interval = kReload;
  });
  Caller open(Connect(server, ca_));
  while (!open.Write().ok()) {
  }
  // A key that does not fit, as between the two steps of a replacement.
  TestCa next("the next CA");
  const TestCertificate fresh = next.Issue("server", {"localhost"});
  const std::string failed = "factord_reloads_total{file=\"certificates\",result=\"failed\"}";
  EXPECT_EQ(server.Metric(failed), "0");
  files_.Write("key", fresh.key);
  while (server.Metric(failed) == "0") {
  }
  EXPECT_TRUE(Caller(Connect(server, ca_)).Read().ok());
  files_.Write("cert", fresh.certificate);
  while (!Caller(Connect(server, next)).Read().ok()) {
  }
  EXPECT_FALSE(Caller(Connect(server, ca_)).Read().ok());
  EXPECT_TRUE(open.Read().ok());  // what is open stays
}

// Symptom: the second authority was gone, and the reload counted as a good one.
TEST_F(TlsTest, AnAuthorityThatIsDamagedInABundleChangesNothing) {
  WriteServerCertificate(ca_);
  TestCa first("the clients' CA"), second("the clients' next CA");
  TestServer server([&](ServerOptions* options) {
    options->tls = tls();
    options->tls.client_ca_file = files_.Write("client_ca", first.pem() + second.pem());
    options->reload_interval = kReload;
  });
  const TestCertificate shop = second.Issue("shop", {});
  Caller open(Connect(server, ca_, shop));
  while (!open.Write().ok()) {
  }
  const std::string failed = "factord_reloads_total{file=\"certificates\",result=\"failed\"}";
  EXPECT_EQ(server.Metric(failed), "0");
  files_.Write("client_ca", first.pem() + Damaged(second.pem()));
  while (server.Metric(failed) == "0") {
  }
  EXPECT_TRUE(Caller(Connect(server, ca_, shop)).Read().ok());
}

TEST_F(TlsTest, BadFilesAreRefusedAtStart) {
  WriteServerCertificate(ca_);
  const TestCertificate another = ca_.Issue("server", {"localhost"});
  files_.Write("other_key", another.key);
  files_.Write("not_pem", "nonsense");
  const auto refusal = [&](const TlsFiles& tls) {
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    options.tls = tls;
    const auto server = Server::Start(options);
    EXPECT_EQ(server.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(server.status().message());
  };
  const std::string cert = files_.path("cert"), key = files_.path("key");
  EXPECT_THAT(refusal({cert, files_.path("other_key"), ""}), HasSubstr("is not the key of"));
  EXPECT_THAT(refusal({files_.path("not_pem"), key, ""}),
              HasSubstr("not_pem: holds no certificate"));
  EXPECT_THAT(refusal({cert, files_.path("not_pem"), ""}),
              HasSubstr("not_pem: has no PEM private"));
  EXPECT_THAT(refusal({cert, key, files_.path("not_pem")}),
              HasSubstr("not_pem: holds no certificate"));
  EXPECT_THAT(refusal({files_.path("missing"), key, ""}), HasSubstr("missing"));
  const std::string chain = files_.Write("chain", ca_.pem() + Damaged(ca_.pem()));
  EXPECT_THAT(refusal({chain, key, ""}), HasSubstr("chain: certificate 2 in it is damaged"));
  EXPECT_THAT(refusal({cert, key, chain}), HasSubstr("chain: certificate 2 in it is damaged"));
}

}  // namespace
}  // namespace factord
