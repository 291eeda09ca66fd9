// TLS, certificates and tokens: against a server that really asks for them.
#include "client/credentials.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/time/clock.h"
#include "client/fake_server.h"
#include "client/target.h"
#include "client/test_certificates.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kToken[] = "0123456789abcdef";
constexpr char kOtherToken[] = "fedcba9876543210";

std::shared_ptr<grpc::ServerCredentials> ServerTls(const TestCertificate& server,
                                                   const TestCa* client_ca = nullptr) {
  grpc::SslServerCredentialsOptions options(
      client_ca == nullptr ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                           : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_key_cert_pairs.push_back({server.key, server.certificate});
  if (client_ca != nullptr) options.pem_root_certs = client_ca->pem();
  return grpc::SslServerCredentials(options);
}

class CredentialsTest : public testing::Test {
 protected:
  CredentialsTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "factord-test-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    Write("ca.pem", ca_.pem());
  }
  ~CredentialsTest() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return folder_ / name; }
  // In one step, as whoever rotates secrets should.
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name + ".new"), std::ios::binary) << text;
    std::filesystem::rename(Path(name + ".new"), Path(name));
    return Path(name);
  }

  static absl::Status CallOnce(const Client::Options& options) {
    auto client = Client::Create(options);
    if (!client.ok()) return client.status();
    return (*client)->CheckHealth("").status();
  }
  // A client with a certificate, whose files are live.pem, own.pem and own.key.
  absl::StatusOr<std::unique_ptr<Client>> CreateMutual(const FakeServer& server,
                                                       const TestCertificate& own) const {
    return Client::Create({.target = server.target(),
                           .tls_ca_file = Write("live.pem", ca_.pem()),
                           .tls_cert_file = Write("own.pem", own.certificate),
                           .tls_key_file = Write("own.key", own.key),
                           .tls_reload_interval = absl::Seconds(1)});
  }
  static absl::Status Check(const Client::Options& options) { return options.Validate(); }
  static std::string Message(const absl::Status& status) { return std::string(status.message()); }

  std::filesystem::path folder_;
  TestCa ca_{"CA"};
  TestCa other_ca_{"another CA"};
  TestCertificate server_certificate_ = ca_.Issue("server", {"localhost"}, /*with_loopback=*/true);
};

// --- TLS ---

TEST_F(CredentialsTest, SpeaksTlsAndChecksTheServer) {
  FakeServer server(ServerTls(server_certificate_));
  EXPECT_TRUE(CallOnce({.target = server.target(), .tls_ca_file = Path("ca.pem")}).ok());

  // Not with the system's CAs, nor with another one.
  absl::Status status = CallOnce({.target = server.target(), .tls = true});
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(Message(status), HasSubstr("does not come from a CA in tls_ca_file"));
  status =
      CallOnce({.target = server.target(), .tls_ca_file = Write("other.pem", other_ca_.pem())});
  EXPECT_THAT(Message(status), HasSubstr("does not come from a CA in tls_ca_file"));

  status = CallOnce({.target = server.target()});
  EXPECT_THAT(Message(status), HasSubstr("it may want TLS"));
}

TEST_F(CredentialsTest, SaysThatTheServerDoesNotSpeakTls) {
  FakeServer server;
  const absl::Status status = CallOnce({.target = server.target(), .tls_ca_file = Path("ca.pem")});
  EXPECT_THAT(Message(status), HasSubstr("does not speak TLS on this port"));
}

TEST_F(CredentialsTest, TheNameIsThatOfTheTargetOrTheOneAskedFor) {
  FakeServer server(ServerTls(ca_.Issue("server", {"ratings.example"})));
  const absl::Status status = CallOnce({.target = server.target(), .tls_ca_file = Path("ca.pem")});
  EXPECT_THAT(Message(status), HasSubstr("certificate is for another name"));
  EXPECT_THAT(Message(status), HasSubstr("tls_server_name"));
  EXPECT_TRUE(CallOnce({.target = server.target(),
                        .tls_ca_file = Path("ca.pem"),
                        .tls_server_name = "ratings.example"})
                  .ok());
}

TEST_F(CredentialsTest, ShowsItsOwnCertificate) {
  FakeServer server(ServerTls(server_certificate_, &ca_));
  const auto call_as = [&](const TestCertificate& own) {
    return CallOnce({.target = server.target(),
                     .tls_ca_file = Path("ca.pem"),
                     .tls_cert_file = Write("own.pem", own.certificate),
                     .tls_key_file = Write("own.key", own.key)});
  };
  EXPECT_TRUE(call_as(ca_.Issue("client", {})).ok());
  EXPECT_THAT(Message(call_as(other_ca_.Issue("client", {}))), HasSubstr("(tls_cert_file)"));
  EXPECT_THAT(Message(CallOnce({.target = server.target(), .tls_ca_file = Path("ca.pem")})),
              HasSubstr("(tls_cert_file)"));
}

TEST_F(CredentialsTest, ANewConnectionUsesTheFilesAsTheyAreNow) {
  FakeServer server(ServerTls(server_certificate_, &ca_));
  const TestCertificate own = ca_.Issue("client", {}), other = other_ca_.Issue("client", {});
  auto client = CreateMutual(server, own);
  ASSERT_TRUE(client.ok()) << client.status();
  ASSERT_TRUE((*client)->GetModel({}).ok());

  // Everything moves to the other CA. The client retries until it has seen the files.
  server.Stop();
  server.SetCredentials(
      ServerTls(other_ca_.Issue("server", {}, /*with_loopback=*/true), &other_ca_));
  server.Start();
  EXPECT_FALSE((*client)->GetModel({}, absl::Milliseconds(500)).ok());
  Write("own.key", other.key);
  Write("own.pem", other.certificate);
  Write("live.pem", other_ca_.pem());
  EXPECT_TRUE((*client)->GetModel({}, absl::Seconds(30)).ok());
}

// Symptom: a client that looked between the two renames of a rotation could not connect any more.
TEST_F(CredentialsTest, WhatIsBadOrDoesNotFitChangesNothing) {
  FakeServer server(ServerTls(server_certificate_, &ca_));
  const TestCertificate own = ca_.Issue("client", {}), other = other_ca_.Issue("client", {});
  auto client = CreateMutual(server, own);
  ASSERT_TRUE(client.ok()) << client.status();
  ASSERT_TRUE((*client)->GetModel({}).ok());

  const auto call_on_a_new_connection = [&] {
    absl::SleepFor(absl::Milliseconds(1'500));
    server.Stop();
    server.Start();
    return (*client)->GetModel({}).status();
  };
  Write("own.key", other.key);
  EXPECT_TRUE(call_on_a_new_connection().ok());
  Write("own.key", own.key);
  std::filesystem::remove(Path("live.pem"));
  EXPECT_TRUE(call_on_a_new_connection().ok());
  Write("own.key", other.key);

  // All is good again, and the next look finds it.
  Write("own.pem", other.certificate);
  Write("live.pem", ca_.pem());
  server.Stop();
  server.SetCredentials(ServerTls(server_certificate_, &other_ca_));
  server.Start();
  EXPECT_TRUE((*client)->GetModel({}, absl::Seconds(30)).ok());
}

TEST_F(CredentialsTest, CallsMoveToTheNewFilesAndAStreamGoesOn) {
  FakeServer server(ServerTls(server_certificate_));
  auto client = Client::Create({.target = server.target(),
                                .tls_ca_file = Write("live.pem", ca_.pem()),
                                .tls_reload_interval = absl::Seconds(1)});
  ASSERT_TRUE(client.ok()) << client.status();
  auto stream = (*client)->StreamRatings({.producer_id = "p"});
  ASSERT_TRUE(stream.ok());
  const auto write = [&] {
    const absl::Status status = (*stream)->Write(v1::Rating());
    return status.ok() ? (*stream)->Flush() : status;
  };
  ASSERT_TRUE(write().ok());

  // The server is not in the new files.
  Write("live.pem", other_ca_.pem());
  absl::SleepFor(absl::Milliseconds(1'500));
  EXPECT_THAT(Message((*client)->CheckHealth("").status()), HasSubstr("tls_ca_file"));
  EXPECT_TRUE(write().ok());
  EXPECT_EQ((*stream)->stats().reconnects, 0);

  // The stream follows them when it connects anew, also without its client.
  client->reset();
  server.Stop();
  server.SetCredentials(ServerTls(other_ca_.Issue("server", {}, /*with_loopback=*/true)));
  server.Start();
  EXPECT_TRUE(write().ok());
  EXPECT_TRUE((*stream)->Close().ok());
}

// gRPC calls it an empty address list.
TEST_F(CredentialsTest, SaysThatTlsDoesNotTakeAFile) {
  FakeServer server(ServerTls(server_certificate_));
  const TestCertificate weak = ca_.Issue("client", {}, /*with_loopback=*/false, /*is_weak=*/true);
  const absl::Status status = CallOnce({.target = server.target(),
                                        .tls_ca_file = Path("ca.pem"),
                                        .tls_cert_file = Write("weak.pem", weak.certificate),
                                        .tls_key_file = Write("weak.key", weak.key)});
  EXPECT_THAT(Message(status), HasSubstr("a key that is too short?"));
}

TEST_F(CredentialsTest, NamesWhatIsWrongWithFiles) {
  absl::Status status = Check({.tls_ca_file = Path("missing.pem")});
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(status.message(), absl::StrCat("tls_ca_file: cannot read ", Path("missing.pem"),
                                           ": No such file or directory"));
  // Symptom: the program ended with an exception.
  EXPECT_EQ(Check({.tls_ca_file = "/", .token_file = "/"}).message(),
            "tls_ca_file: cannot read /: Is a directory; "
            "token_file: cannot read /: Is a directory");
  status = Check({.tls_ca_file = Write("text.pem", "hello\n")});
  EXPECT_EQ(status.message(), absl::StrCat("tls_ca_file: ", Path("text.pem"),
                                           ": holds no certificate in PEM "
                                           "(-----BEGIN CERTIFICATE-----)"));
  const std::string cut = ca_.pem().substr(0, ca_.pem().size() - 40);
  for (const std::string& pem : {Damaged(ca_.pem()), cut}) {
    status = Check({.tls_ca_file = Write("bundle.pem", other_ca_.pem() + pem)});
    EXPECT_EQ(status.message(), absl::StrCat("tls_ca_file: ", Path("bundle.pem"),
                                             ": certificate 2 in it is damaged"));
  }
  const std::string& ca = ca_.pem();
  for (const std::string& pem :
       {ca.substr(1), ca.substr(0, 15), ca.substr(0, ca.rfind("-----END"))}) {
    for (const std::string& bundle : {other_ca_.pem() + pem, other_ca_.pem() + pem + ca}) {
      status = Check({.tls_ca_file = Write("bundle.pem", bundle)});
      EXPECT_FALSE(status.ok()) << bundle;
    }
  }
  status = Check({.tls_ca_file = Write("both.pem", server_certificate_.key + ca_.pem() + "\n\n")});
  EXPECT_TRUE(status.ok()) << status;
  status = Check({.tls_cert_file = Path("ca.pem")});
  EXPECT_EQ(status.message(), "tls_cert_file, tls_key_file: must both be given, or none");
  status = Check({.tls_cert_file = Path("ca.pem"), .tls_key_file = Path("ca.pem")});
  EXPECT_THAT(Message(status), HasSubstr("tls_key_file: "));
  EXPECT_THAT(Message(status), HasSubstr("holds no private key in PEM"));
  const TestCertificate one = ca_.Issue("one", {}), two = ca_.Issue("two", {});
  status = Check({.tls_cert_file = Write("one.pem", one.certificate),
                  .tls_key_file = Write("two.key", two.key)});
  EXPECT_EQ(status.message(),
            absl::StrCat("tls_key_file: ", Path("two.key"),
                         " is not the key of the first certificate in ", Path("one.pem")));
  status = Check({.tls_ca_file = Path("ca.pem"), .tls_reload_interval = absl::Milliseconds(500)});
  EXPECT_EQ(status.message(), "tls_reload_interval: must be at least a second");
  EXPECT_TRUE(Check({.tls_cert_file = Path("one.pem"),
                     .tls_key_file = Write("one.key", one.key),
                     .tls_reload_interval = absl::InfiniteDuration()})
                  .ok());
}

// --- Tokens ---

TEST_F(CredentialsTest, SendsTheTokenWithEveryCallAndStream) {
  FakeServer tls_server(ServerTls(server_certificate_)), plain_server;
  for (FakeServer* const server : {&tls_server, &plain_server}) {
    server->RequireToken(kToken);
    Client::Options options = {.target = server->target()};
    if (server == &tls_server) options.tls_ca_file = Path("ca.pem");
    absl::StatusOr<std::unique_ptr<Client>> client = Client::Create(options);
    EXPECT_TRUE(absl::IsUnauthenticated((*client)->GetModel({}).status()));
    options.token = kOtherToken;
    client = Client::Create(options);
    EXPECT_TRUE(absl::IsUnauthenticated((*client)->GetModel({}).status()));
    auto stream = (*client)->StreamRatings({.producer_id = "p"});
    ASSERT_TRUE(stream.ok());
    EXPECT_TRUE(absl::IsUnauthenticated((*stream)->Write(v1::Rating())));

    options.token = kToken;
    client = Client::Create(options);
    ASSERT_TRUE(client.ok()) << client.status();
    const absl::Status status = (*client)->GetModel({}).status();
    EXPECT_TRUE(status.ok()) << status;
    stream = (*client)->StreamRatings({.producer_id = "p"});
    ASSERT_TRUE(stream.ok());
    EXPECT_TRUE((*stream)->Write(v1::Rating()).ok());
    EXPECT_TRUE((*stream)->Close().ok());
  }
}

TEST_F(CredentialsTest, ReadsATokenFileAgainWhenItChanges) {
  FakeServer server;
  auto client = Client::Create(
      {.target = server.target(), .token_file = Write("token", absl::StrCat(kToken, "\n"))});
  ASSERT_TRUE(client.ok()) << client.status();
  const auto accepts = [&](const std::string& token) {
    server.RequireToken(token);
    return (*client)->GetModel({}).ok();
  };
  EXPECT_TRUE(accepts(kToken));
  EXPECT_FALSE(accepts(kOtherToken));
  Write("token", absl::StrCat(kOtherToken, " a remark\n"));
  EXPECT_TRUE(accepts(kOtherToken));
  // While there is no good one, the last good one goes on.
  Write("token", "short");
  EXPECT_TRUE(accepts(kOtherToken));
  std::filesystem::remove(Path("token"));
  EXPECT_TRUE(accepts(kOtherToken));
  Write("token", kToken);
  EXPECT_TRUE(accepts(kToken));
}

TEST_F(CredentialsTest, NoTokenInPlainTextBeyondThisMachine) {
  for (const char* target :
       {"ratings.example:7070", "10.0.0.1:7070", "[fe80::1]:7070",
        "ipv4:127.0.0.1:7070,10.0.0.1:7070", "127.0.0.1.example:7070",
        "dns://127.0.0.1/ratings.example:7070", "localhost.example:7070", ""}) {
    EXPECT_FALSE(IsLoopback(target)) << target;
    const absl::Status status = Check({.target = target, .token = kToken});
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << target;
    EXPECT_THAT(Message(status),
                HasSubstr(absl::StrCat("token: would go to ", target, " in plain text")));
    EXPECT_THAT(Message(status), Not(HasSubstr(kToken)));
  }
  EXPECT_THAT(Message(Check({.target = "10.0.0.1:7070", .token_file = Write("token", kToken)})),
              HasSubstr("token_file: would go to"));
  EXPECT_TRUE(Check({.target = "10.0.0.1:7070", .tls = true, .token = kToken}).ok());
  for (const char* target :
       {"127.0.0.1:7070", "127.1.2.3:7070", "localhost:7070", "localhost", "[::1]:7070", "::1",
        "ipv4:127.0.0.1:7070", "ipv6:[::1]:7070", "dns:///localhost:7070", "dns:localhost:7070",
        "dns://10.0.0.1/localhost:7070", "unix:/run/factord", "unix-abstract:factord"}) {
    EXPECT_TRUE(IsLoopback(target)) << target;
    EXPECT_THAT(Message(Check({.target = target, .token = kToken})), Not(HasSubstr("token")))
        << target;
  }
}

TEST_F(CredentialsTest, NamesWhatIsWrongWithTokensButNeverTheToken) {
  EXPECT_EQ(Check({.token = "short"}),
            absl::InvalidArgumentError("token: a token has 16 to 256 visible ASCII characters"));
  EXPECT_FALSE(Check({.token = std::string(257, 'x')}).ok());
  EXPECT_FALSE(Check({.token = "0123456789 bcdef"}).ok());
  EXPECT_EQ(Check({.token = kToken, .token_file = Path("token")}),
            absl::InvalidArgumentError("token, token_file: must not both be given"));
  EXPECT_EQ(Check({.token_file = Path("missing")}),
            absl::InvalidArgumentError(absl::StrCat("token_file: cannot read ", Path("missing"),
                                                    ": No such file or directory")));
  const absl::Status status = Check({.token_file = Write("token", "shop read,write 0123\n")});
  EXPECT_EQ(status, absl::InvalidArgumentError(
                        absl::StrCat("token_file: the first word of ", Path("token"),
                                     " is no token: a token has 16 to 256 visible ASCII "
                                     "characters")));
}

TEST_F(CredentialsTest, BadOptionsAreNamedTogether) {
  const absl::Status status = Check({.target = "", .tls_ca_file = "/nowhere", .token = "short"});
  std::vector<std::string> parts;
  for (const char* part : {"target: ", "tls_ca_file: ", "token: "}) {
    if (Message(status).find(part) == std::string::npos) parts.emplace_back(part);
  }
  EXPECT_THAT(parts, IsEmpty());
}

}  // namespace
}  // namespace factord
