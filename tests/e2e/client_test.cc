// The shipped client and factorctl against a real server with TLS, client certificates and tokens,
// all of which are replaced while both run; and what a stream keeps through a restart.
#include "client/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/temp_folder.h"
#include "client/test_certificates.h"
#include "tests/e2e/closed_loop.h"
#include "tests/e2e/server_process.h"

namespace factord {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

std::string Message(const absl::Status& status) { return std::string(status.message()); }

// What a call without a connection ends with: its deadline comes between two attempts, or amid one.
bool HasNoConnection(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

v1::RecordRatingsRequest OneRating() {
  v1::RecordRatingsRequest request;
  SetRating("ann", "casablanca", 4.5, request.add_events());
  return request;
}

// A token as `factorctl token` makes it: the line for the server, and the token.
std::pair<std::string, std::string> NewToken(const std::string& name, const std::string& scopes) {
  const Ended ended = RunProgram({FACTORCTL_BINARY, "token", name, scopes});
  EXPECT_EQ(ended.exit_code, 0) << ended.output;
  const std::vector<std::string> lines = absl::StrSplit(ended.output, '\n', absl::SkipEmpty());
  EXPECT_EQ(lines.size(), 2u) << ended.output;
  return {lines[0].substr(lines[0].find(name)), lines[1].substr(lines[1].rfind(' ') + 1)};
}

class SecureServerTest : public testing::Test {
 protected:
  SecureServerTest() {
    for (const auto& [name, scopes] : {std::pair{"shop", "read,write"}, {"reader", "read"}}) {
      const auto [line, token] = NewToken(name, scopes);
      token_lines_ += line + "\n";
      Write(name, token);
    }
    Write("tokens", token_lines_);
    WriteCertificates(ca_);
  }

  std::string Path(const std::string& name) const { return folder_ / name; }
  // In one step, as whoever rotates secrets should.
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name + ".new"), std::ios::binary) << text;
    EXPECT_EQ(std::rename(Path(name + ".new").c_str(), Path(name).c_str()), 0);
    return Path(name);
  }
  // The files of both sides, all of this CA.
  void WriteCertificates(TestCa& ca) const {
    const TestCertificate server = ca.Issue("server", {"localhost"});
    const TestCertificate client = ca.Issue("client", {});
    Write("server.key", server.key);
    Write("server.pem", server.certificate);
    Write("client.key", client.key);
    Write("client.pem", client.certificate);
    Write("ca.pem", ca.pem());
  }
  // Starts a server that wants a token and, if `mutual`, a certificate.
  void StartServer(bool mutual = false, const std::vector<std::string>& more_flags = {}) {
    std::vector<std::string> flags = {"--data_dir=" + Path("data"),
                                      "--durability=async",
                                      "--tls_cert_file=" + Path("server.pem"),
                                      "--tls_key_file=" + Path("server.key"),
                                      "--token_file=" + Path("tokens"),
                                      "--reload_interval=100ms"};
    if (mutual) flags.push_back("--tls_client_ca_file=" + Path("ca.pem"));
    flags.insert(flags.end(), more_flags.begin(), more_flags.end());
    server_.emplace(flags);
    ASSERT_TRUE(server_->listening()) << server_->output();
  }
  // Of a client that is let in.
  Client::Options Options(const std::string& token_name) const {
    return {.target = absl::StrCat("127.0.0.1:", server_->port()),
            .tls_ca_file = Path("ca.pem"),
            .tls_server_name = "localhost",
            .tls_reload_interval = absl::Seconds(1),
            .token_file = Path(token_name),
            .read_timeout = absl::FromChrono(kPatience),
            .write_timeout = absl::FromChrono(kPatience)};
  }
  static std::unique_ptr<Client> Connect(const Client::Options& options) {
    auto client = Client::Create(options);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }
  Ended Ctl(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(),
                     {FACTORCTL_BINARY, absl::StrCat("--server=localhost:", server_->port()),
                      "--tls_ca_file=" + Path("ca.pem"), "--timeout=20"});
    return RunProgram(arguments);
  }

  TempFolder folder_;
  TestCa ca_{"CA"};
  std::string token_lines_;
  std::optional<ServerProcess> server_;
};

TEST_F(SecureServerTest, TokensOpenWhatTheirScopesSay) {
  StartServer();
  auto shop = Connect(Options("shop")), reader = Connect(Options("reader"));
  auto recorded = shop->RecordRatings(OneRating());  // waits until it has recovered
  ASSERT_TRUE(recorded.ok()) << recorded.status();
  EXPECT_TRUE(shop->GetModel({}).ok());
  EXPECT_TRUE(absl::IsPermissionDenied(shop->CreateSnapshot({}).status()));
  EXPECT_TRUE(reader->GetModel({}).ok());
  EXPECT_TRUE(absl::IsPermissionDenied(reader->RecordRatings(OneRating()).status()));
  auto stream = shop->StreamRatings({.producer_id = "p"});
  EXPECT_TRUE((*stream)->Write(OneRating().events(0)).ok());
  EXPECT_TRUE((*stream)->Close().ok());
  stream = reader->StreamRatings({.producer_id = "p"});
  EXPECT_TRUE(absl::IsPermissionDenied((*stream)->Write(OneRating().events(0))));

  Client::Options options = Options("shop");
  options.token_file.clear();
  auto nobody = Connect(options);
  EXPECT_TRUE(absl::IsUnauthenticated(nobody->GetModel({}).status()));
  EXPECT_TRUE(nobody->CheckHealth("").ok());

  Ended ended = Ctl({"rate", "bob", "casablanca", "3", "--token_file=" + Path("shop")});
  EXPECT_EQ(ended.exit_code, 0) << ended.output;
  ended = Ctl({"rate", "bob", "casablanca", "3", "--token_file=" + Path("reader")});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_THAT(ended.output, HasSubstr("PERMISSION_DENIED"));
  ended = Ctl({"state"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_THAT(ended.output, HasSubstr("UNAUTHENTICATED"));
  EXPECT_THAT(ended.output, HasSubstr("--token_file"));
  EXPECT_EQ(Ctl({"health"}).exit_code, 0);
}

TEST_F(SecureServerTest, ClientCertificates) {
  StartServer(/*mutual=*/true);
  Client::Options options = Options("shop");
  options.read_timeout = absl::Seconds(3);
  const absl::Status status = Connect(options)->GetModel({}).status();
  EXPECT_TRUE(HasNoConnection(status)) << status;
  EXPECT_THAT(Message(status), HasSubstr("(tls_cert_file)"));
  options = Options("shop");
  options.tls_cert_file = Path("client.pem");
  options.tls_key_file = Path("client.key");
  const auto recorded = Connect(options)->RecordRatings(OneRating());
  EXPECT_TRUE(recorded.ok()) << recorded.status();
  const Ended ended =
      Ctl({"state", "--token_file=" + Path("shop"), "--tls_cert_file=" + Path("client.pem"),
           "--tls_key_file=" + Path("client.key")});
  EXPECT_EQ(ended.exit_code, 0) << ended.output;
}

// Everything is replaced: both sides read their files again, and no call fails for longer than that
// takes.
TEST_F(SecureServerTest, TokensAndCertificatesAreReplacedWithoutARestart) {
  StartServer(/*mutual=*/true);
  Client::Options options = Options("shop");
  options.tls_cert_file = Path("client.pem");
  options.tls_key_file = Path("client.key");
  auto client = Connect(options);
  ASSERT_TRUE(client->RecordRatings(OneRating()).ok());

  // The server knows the new token for a while before the old one goes.
  const auto [line, token] = NewToken("shop", "read,write");
  Write("tokens", token_lines_ + line + "\n");
  Client::Options early = options;
  early.token_file.clear();
  early.token = token;
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!Connect(early)->GetModel({}).ok() && std::chrono::steady_clock::now() < end) {
  }
  Write("shop", token);
  Write("tokens", line + "\n");
  auto reader = Connect(Options("reader"));
  while (reader->GetModel({}, absl::Milliseconds(200)).ok() &&
         std::chrono::steady_clock::now() < end) {
  }
  EXPECT_TRUE(client->GetModel({}).ok());

  TestCa other("another CA");
  WriteCertificates(other);
  // A restart makes the client connect anew; with the old files neither would believe the other.
  const std::string listen = "--listen=" + options.target;
  ASSERT_EQ(server_->Stop(), kExitOk);
  server_.emplace(std::vector<std::string>{
      "--data_dir=" + Path("data"), "--durability=async", listen,
      "--tls_cert_file=" + Path("server.pem"), "--tls_key_file=" + Path("server.key"),
      "--tls_client_ca_file=" + Path("ca.pem"), "--token_file=" + Path("tokens")});
  const auto recorded = client->RecordRatings(OneRating());
  EXPECT_TRUE(recorded.ok()) << recorded.status();
}

// It once ended the server.
TEST_F(SecureServerTest, SighupHasTokensReadAgain) {
  StartServer(/*mutual=*/false, {"--reload_interval=1h"});
  const auto [line, token] = NewToken("shop", "read");
  Write("tokens", token_lines_ + line + "\n");
  Client::Options options = Options("shop");
  options.token_file.clear();
  options.token = token;
  const auto client = Connect(options);
  EXPECT_EQ(client->GetModel({}).status().code(), absl::StatusCode::kUnauthenticated);
  server_->Signal(SIGHUP);
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!client->GetModel({}).ok() && std::chrono::steady_clock::now() < end) {
  }
  const auto model = client->GetModel({});
  EXPECT_TRUE(model.ok()) << model.status();
}

// New certificates of the same CA, then a change of the CA by way of a file that holds both, while
// connections live for a third of a second each.
TEST_F(SecureServerTest, CertificatesAreReplacedUnderLoad) {
  StartServer(/*mutual=*/true, {"--max_connection_age=300ms", "--max_connection_age_grace=300ms"});
  Client::Options options = Options("shop");
  options.tls_cert_file = Path("client.pem");
  options.tls_key_file = Path("client.key");
  auto client = Connect(options);
  ClosedLoop reads("GetModel", [&](int64_t) { return client->GetModel({}).status(); });
  ClosedLoop writes("RecordRatings",
                    [&](int64_t) { return client->RecordRatings(OneRating()).status(); });
  auto stream = client->StreamRatings({.producer_id = "p"});
  ASSERT_TRUE(stream.ok()) << stream.status();
  ClosedLoop streamed("StreamRatings", [&](int64_t number) {
    const absl::Status status = (*stream)->Write(number, OneRating().events(0));
    return status.ok() ? (*stream)->Flush() : status;
  });
  const std::vector<ClosedLoop*> loops = {&reads, &writes, &streamed};
  const auto serve_on = [&] {
    std::this_thread::sleep_for(
        std::chrono::milliseconds(1'500));  // both sides look at their files
    for (ClosedLoop* const loop : loops) ASSERT_TRUE(loop->WaitForCalls(50)) << server_->output();
  };

  for (int i = 0; i < 3; ++i) {
    WriteCertificates(ca_);
    serve_on();
  }
  TestCa other("another CA");
  Write("ca.pem", ca_.pem() + other.pem());
  serve_on();
  WriteCertificates(other);
  Write("ca.pem", ca_.pem() + other.pem());
  serve_on();
  Write("ca.pem", other.pem());
  serve_on();
  for (ClosedLoop* const loop : loops) loop->Stop();
  EXPECT_TRUE((*stream)->Close().ok());
  EXPECT_EQ(client->GetModel({})->sequence(), writes.calls() + streamed.calls());
  std::printf("Calls, longest gap, while certificates were replaced:\n");
  for (const auto& [name, loop] :
       {std::pair{"GetModel", &reads}, {"RecordRatings", &writes}, {"StreamRatings", &streamed}}) {
    std::printf("  %-13s %8lld  %.3f s\n", name, static_cast<long long>(loop->calls()),
                loop->longest_gap());
  }

  EXPECT_TRUE(Connect(options)->GetModel({}).ok());
  options.tls_ca_file = Write("old_ca.pem", ca_.pem());
  const absl::Status refused = Connect(options)->GetModel({}, absl::Seconds(1)).status();
  EXPECT_TRUE(HasNoConnection(refused)) << refused;
  EXPECT_THAT(Message(refused),
              AnyOf(HasSubstr("failed to connect"), HasSubstr("no connection to")));
}

// A full model stays full: repeating would hold the caller up to the deadline, and load the server.
TEST(FullModelTest, IsToldAtOnce) {
  const TempFolder folder;
  ServerProcess server({"--data_dir=" + (folder / "data"), "--durability=async", "--max_users=1"});
  auto client = Client::Create({.target = absl::StrCat("127.0.0.1:", server.port()),
                                .write_timeout = absl::FromChrono(kPatience)});
  ASSERT_TRUE(client.ok()) << client.status();
  ASSERT_TRUE((*client)->RecordRatings(OneRating()).ok());
  v1::RecordRatingsRequest another;
  SetRating("bob", "casablanca", 3, another.add_events());
  const absl::Status refused = (*client)->RecordRatings(another).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(Message(refused), HasSubstr("events[0].user_id"));
  EXPECT_THAT(Message(refused), ::testing::Not(HasSubstr("attempts")));
  EXPECT_TRUE((*client)->RecordRatings(OneRating()).ok());  // ann is known
}

// Symptom: the server does not remember the number of a rating that it rejected, and after a
// restart the client took it for one with an older data folder.
TEST(StreamThroughARestartTest, ARejectedRatingAtTheEndIsNoDataLoss) {
  TempFolder dir;
  const std::vector<std::string> flags = {"--data_dir=" + (dir / "data"), "--durability=async"};
  std::optional<ServerProcess> server(std::in_place, flags);
  const std::string address = absl::StrCat("127.0.0.1:", server->port());
  auto client = Client::Create({.target = address});
  ASSERT_TRUE(client.ok());
  auto stream = (*client)->StreamRatings({.producer_id = "p"});
  ASSERT_TRUE(stream.ok());
  v1::Rating bad = OneRating().events(0);
  bad.set_rating(-1);
  ASSERT_TRUE((*stream)->Write(1, OneRating().events(0)).ok());
  ASSERT_TRUE((*stream)->Write(2, bad).ok());
  ASSERT_TRUE((*stream)->Flush().ok());
  EXPECT_EQ((*stream)->stats().rejected, 1);

  ASSERT_EQ(server->Stop(), kExitOk);
  std::vector<std::string> again = flags;
  again.push_back("--listen=" + address);
  server.emplace(again);
  ASSERT_TRUE((*stream)->Write(3, OneRating().events(0)).ok());
  const absl::Status status = (*stream)->Close();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ((*stream)->stats().applied, 2);
}

}  // namespace
}  // namespace factord
