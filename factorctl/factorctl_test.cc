// The commands, from the command line to their output and exit code: against a fake server, and
// offline against real data folders.
#include "factorctl/factorctl.h"

#include <openssl/sha.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "absl/strings/escaping.h"
#include "base/temp_folder.h"
#include "client/fake_server.h"
#include "client/test_certificates.h"
#include "engine/test_util.h"
#include "factorctl/json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/config.h"
#include "storage/store.h"

namespace factord {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

struct Outcome {
  int exit = -1;
  std::string out;
  std::string err;
};

Outcome RunCtl(const std::vector<std::string>& arguments) {
  std::ostringstream out, err;
  Outcome outcome;
  outcome.exit = static_cast<int>(RunFactorctl(arguments, out, err, /*err_is_terminal=*/false));
  outcome.out = out.str();
  outcome.err = err.str();
  return outcome;
}

class FactorctlTest : public testing::Test {
 protected:
  // Runs a command against the fake server; it must succeed.
  std::string Ctl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "--server=" + server_.target());
    const Outcome outcome = RunCtl(arguments);
    EXPECT_EQ(outcome.exit, 0) << outcome.err;
    return outcome.out;
  }
  Outcome TryCtl(std::vector<std::string> arguments) {
    arguments.push_back("--server=" + server_.target());
    return RunCtl(arguments);
  }
  std::string WriteFile(absl::string_view text, const std::string& name = "in.csv") {
    const std::string path = folder_ / name;
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }

  TempFolder folder_;
  FakeServer server_;
};

// --- The command line ---

TEST(CommandLineTest, WithoutACommandIsWrongUsage) {
  const Outcome outcome = RunCtl({});
  EXPECT_EQ(outcome.exit, 2);
  EXPECT_THAT(outcome.err, HasSubstr("Try: factorctl help"));
}

TEST(CommandLineTest, HelpListsTheCommandsAndTheExitCodes) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"help"}, std::vector<std::string>{"--help"},
        std::vector<std::string>{"-h"}}) {
    const Outcome outcome = RunCtl(arguments);
    EXPECT_EQ(outcome.exit, 0);
    for (const char* name :
         {"rate", "import", "recommend", "predict", "topics", "factors", "state", "hash",
          "snapshot", "backup", "passes", "health", "log", "verify", "token", "completion"}) {
      EXPECT_THAT(outcome.out, HasSubstr(absl::StrCat("\n  ", name, " "))) << name;
    }
    EXPECT_THAT(outcome.out, HasSubstr("2 wrong usage"));
  }
}

TEST(CommandLineTest, TellsItsVersion) {
  const Outcome outcome = RunCtl({"--version"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_THAT(outcome.out, ::testing::MatchesRegex("factorctl [0-9.]+\n"));
}

TEST(CommandLineTest, EachCommandExplainsItselfWithAnExample) {
  for (const std::string name :
       {"rate", "import", "recommend", "predict", "topics", "factors", "state", "hash", "snapshot",
        "backup", "passes", "health", "log", "verify", "token", "completion"}) {
    const Outcome outcome = RunCtl({name, "--help"});
    EXPECT_EQ(outcome.exit, 0);
    EXPECT_THAT(outcome.out, StartsWith("factorctl " + name + " "));
    EXPECT_THAT(outcome.out, HasSubstr("\n  factorctl " + name));
    EXPECT_THAT(outcome.out, HasSubstr("--json"));
    EXPECT_EQ(RunCtl({"help", name}).out, outcome.out);
  }
}

TEST(CommandLineTest, OfflineCommandsHaveNoServer) {
  EXPECT_THAT(RunCtl({"help", "log"}).out, Not(HasSubstr("--server")));
  EXPECT_THAT(RunCtl({"help", "rate"}).out, HasSubstr("--server"));
}

TEST(CommandLineTest, UnknownCommandsAndFlagsGetAHint) {
  Outcome outcome = RunCtl({"recomend", "alice"});
  EXPECT_EQ(outcome.exit, 2);
  EXPECT_THAT(outcome.err, HasSubstr("did you mean 'recommend'?"));
  outcome = RunCtl({"recommend", "alice", "--title=x"});
  EXPECT_EQ(outcome.exit, 2);
  EXPECT_THAT(outcome.err, HasSubstr("did you mean --titles?"));
  EXPECT_THAT(outcome.err, HasSubstr("Try: factorctl help recommend"));
  EXPECT_EQ(RunCtl({"--bogus", "state"}).exit, 2);
}

TEST(CommandLineTest, ArgumentsAreCounted) {
  Outcome outcome = RunCtl({"rate", "alice"});
  EXPECT_EQ(outcome.exit, 2);
  EXPECT_THAT(outcome.err,
              HasSubstr("too few arguments; usage: factorctl rate USER ITEM [RATING]"));
  outcome = RunCtl({"state", "now"});
  EXPECT_EQ(outcome.exit, 2);
  EXPECT_THAT(outcome.err, HasSubstr("too many arguments"));
}

TEST(CommandLineTest, TokenMakesOneForTheServersFileAndOneForTheClient) {
  const Outcome outcome = RunCtl({"token", "shop-1", "read,write", "--json"});
  ASSERT_EQ(outcome.exit, 0) << outcome.err;
  const Json json = Json::parse(outcome.out);
  const std::string token = json["token"];
  EXPECT_GE(token.size(), 40u);
  std::string hash(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(),
         reinterpret_cast<unsigned char*>(hash.data()));
  EXPECT_EQ(json["server"], "shop-1 read,write sha256:" + absl::BytesToHexString(hash));
  EXPECT_NE(RunCtl({"token", "shop-1", "read,write", "--json"}).out, outcome.out);
  EXPECT_THAT(RunCtl({"token", "shop", "admin"}).out, HasSubstr("shop admin sha256:"));
  for (const char* name : {"", "a b", "a\nb"}) EXPECT_EQ(RunCtl({"token", name, "read"}).exit, 2);
  for (const char* scopes : {"", "read,", "read write", "root"}) {
    EXPECT_EQ(RunCtl({"token", "shop", scopes}).exit, 2) << scopes;
  }
}

TEST(CommandLineTest, CompletionKnowsThreeShells) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    EXPECT_THAT(RunCtl({"completion", shell}).out, HasSubstr("__complete")) << shell;
  }
  EXPECT_EQ(RunCtl({"completion", "cmd"}).exit, 2);
}

// --- TLS and tokens ---

// Sets an environment variable for as long as it lives.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    setenv(name, value.c_str(), 1);
  }
  ~Environment() { unsetenv(name_); }

 private:
  const char* const name_;
};

class SecureFactorctlTest : public testing::Test {
 protected:
  SecureFactorctlTest()
      : server_certificate_(ca_.Issue("server", {"ratings.example"})),
        own_certificate_(ca_.Issue("client", {})),
        server_(Credentials()) {
    server_.RequireToken(kToken);
    Write("ca.pem", ca_.pem());
    Write("own.pem", own_certificate_.certificate);
    Write("own.key", own_certificate_.key);
    Write("token", absl::StrCat(kToken, "\n"));
  }

  std::shared_ptr<grpc::ServerCredentials> Credentials() const {
    grpc::SslServerCredentialsOptions options(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    options.pem_root_certs = ca_.pem();
    options.pem_key_cert_pairs.push_back(
        {server_certificate_.key, server_certificate_.certificate});
    return grpc::SslServerCredentials(options);
  }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  // "state", with what the test adds, and everything that the server wants but that.
  Outcome State(std::vector<std::string> flags) {
    flags.insert(flags.begin(),
                 {"--server=" + server_.target(), "--tls_server_name=ratings.example",
                  "--tls_cert_file=" + folder_ / "own.pem", "--tls_key_file=" + folder_ / "own.key",
                  "--timeout=1"});
    flags.emplace_back("state");
    return RunCtl(flags);
  }

  static constexpr char kToken[] = "0123456789abcdef";
  TempFolder folder_;
  TestCa ca_{"CA"};
  const TestCertificate server_certificate_;
  const TestCertificate own_certificate_;
  FakeServer server_;
};

TEST_F(SecureFactorctlTest, FlagsSayWhatToBelieveAndWhoIsThere) {
  const std::string ca = "--tls_ca_file=" + folder_ / "ca.pem";
  Outcome outcome = State({ca, "--token_file=" + folder_ / "token"});
  EXPECT_EQ(outcome.exit, 0) << outcome.err;
  outcome = State({ca});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_THAT(outcome.err, HasSubstr("UNAUTHENTICATED"));
  EXPECT_THAT(outcome.err, HasSubstr("give a token with --token_file or $FACTORD_TOKEN"));
  outcome = State({"--token_file=" + folder_ / "token"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_THAT(outcome.err, HasSubstr("does not come from a CA in tls_ca_file"));
  outcome = State({ca, "--tls_server_name=other.example"});
  EXPECT_THAT(outcome.err, HasSubstr("certificate is for another name"));
  outcome = State({ca, "--tls_cert_file="});
  EXPECT_THAT(outcome.err, HasSubstr("tls_cert_file, tls_key_file: must both be given"));
}

TEST_F(SecureFactorctlTest, TheEnvironmentDoesToo) {
  const Environment ca("FACTORD_CA_FILE", folder_ / "ca.pem");
  Write("other", "a-token-of-someone-else");
  {
    const Environment token("FACTORD_TOKEN", kToken);
    const Outcome outcome = State({});
    EXPECT_EQ(outcome.exit, 0) << outcome.err;
    // The flag goes before.
    EXPECT_THAT(State({"--token_file=" + folder_ / "other"}).err, HasSubstr("UNAUTHENTICATED"));
  }
  const Environment token("FACTORD_TOKEN", "short");
  EXPECT_THAT(State({}).err, HasSubstr("token: a token has 16 to 256 visible ASCII characters"));
}

TEST(CommandLineTest, NoTokenInPlainTextBeyondThisMachine) {
  const Environment token("FACTORD_TOKEN", "0123456789abcdef");
  const Outcome outcome = RunCtl({"state", "--server=192.0.2.1:7070"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_THAT(outcome.err, HasSubstr("token: would go to 192.0.2.1:7070 in plain text"));
}

// --- Against a server ---

TEST_F(FactorctlTest, RateRecordsOneRating) {
  EXPECT_EQ(Ctl({"rate", "alice", "The Matrix", "4.5", "--time=1.5", "--event_id=e1"}),
            "recorded as sequence 1\n");
  const auto applied = server_.applied();
  ASSERT_THAT(applied, SizeIs(1));
  EXPECT_EQ(applied[0].rating.user_id(), "alice");
  EXPECT_EQ(applied[0].rating.item_id(), "The Matrix");
  EXPECT_EQ(applied[0].rating.rating(), 4.5F);
  EXPECT_EQ(applied[0].rating.event_time().seconds(), 1);
  EXPECT_EQ(applied[0].rating.event_time().nanos(), 500'000'000);
  EXPECT_EQ(applied[0].rating.event_id(), "e1");
}

TEST_F(FactorctlTest, RateRecordsAnotherEvent) {
  Ctl({"rate", "alice", "The Matrix", "--event_type=click"});
  const auto applied = server_.applied();
  ASSERT_THAT(applied, SizeIs(1));
  EXPECT_EQ(applied[0].rating.event_type(), "click");
  EXPECT_FALSE(applied[0].rating.has_rating());
  EXPECT_EQ(TryCtl({"rate", "alice", "x"}).exit, 2);
  EXPECT_EQ(TryCtl({"rate", "alice", "x", "4", "--event_type=click"}).exit, 2);
  EXPECT_THAT(server_.applied(), SizeIs(1));
}

TEST_F(FactorctlTest, RateWantsANumber) {
  const Outcome outcome = TryCtl({"rate", "alice", "x", "good"});
  EXPECT_EQ(outcome.exit, 2);
  EXPECT_THAT(outcome.err, HasSubstr("RATING: 'good' is not a number"));
  EXPECT_THAT(server_.calls(), IsEmpty());
}

TEST_F(FactorctlTest, NamesTheArgumentThatIsNotUtf8) {
  testing::internal::CaptureStderr();
  const Outcome outcome = TryCtl({"rate", "\xFF", "x", "3"});
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");  // protobuf's own word on it
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_EQ(outcome.err,
            "factorctl rate: INVALID_ARGUMENT: events[0].user_id: is not valid UTF-8\n");
  EXPECT_THAT(server_.calls(), IsEmpty());
}

TEST_F(FactorctlTest, RefusesAServerThatIsAUrl) {
  const Outcome outcome = RunCtl({"state", "--server=http://127.0.0.1:7070"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_THAT(outcome.err, HasSubstr("target: must be HOST:PORT, without http://"));
}

TEST_F(FactorctlTest, ServersRefusalIsAFailureAndNamesCodeAndReason) {
  server_.on_call = [](const std::string&) {
    return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "events[0].rating: must be 0 to 5");
  };
  const Outcome outcome = TryCtl({"rate", "alice", "x", "9"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_EQ(outcome.err, "factorctl rate: INVALID_ARGUMENT: events[0].rating: must be 0 to 5\n");
}

TEST_F(FactorctlTest, TheServerMayComeFromTheEnvironment) {
  ASSERT_EQ(setenv("FACTORD_SERVER", server_.target().c_str(), 1), 0);
  EXPECT_EQ(RunCtl({"hash"}).exit, 0);
  // The flag wins.
  EXPECT_EQ(RunCtl({"health", "--server=127.0.0.1:1"}).exit, 1);
  ASSERT_EQ(unsetenv("FACTORD_SERVER"), 0);
}

TEST_F(FactorctlTest, RecommendShowsTitles) {
  const std::string titles = WriteFile("movieId,title\n1,Toy Story\n2,\"Matrix, The\"\n");
  EXPECT_EQ(Ctl({"recommend", "alice", "-k2", "--titles", titles}),
            "   score  item  title\n"
            "1  4.900  1     Toy Story\n"
            "2  4.800  2     Matrix, The\n");
  const Json json =
      Json::parse(Ctl({"recommend", "alice", "-k", "3", "--titles", titles, "--json"}));
  ASSERT_THAT(json["items"], SizeIs(3));
  EXPECT_EQ(json["items"][1]["title"], "Matrix, The");
  EXPECT_EQ(json["items"][1]["score"], 4.8);
  EXPECT_EQ(json["items"][2]["title"], "");
  EXPECT_EQ(json["sequence"], 7);
}

TEST_F(FactorctlTest, RecommendReadsTitlesBeforeItAsks) {
  const Outcome outcome = TryCtl({"recommend", "alice", "--titles=/nonexistent"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_THAT(outcome.err, HasSubstr("NOT_FOUND: /nonexistent"));
  EXPECT_EQ(TryCtl({"recommend", "alice", "-k", "3000000000"}).exit, 2);
}

TEST_F(FactorctlTest, PredictNamesThePairs) {
  EXPECT_EQ(Ctl({"predict", "alice", "x", "y"}),
            "rating  item\n"
            " 0.500  x\n"
            " 1.000  y\n");
  const Json json = Json::parse(Ctl({"predict", "alice", "x", "y", "--json"}));
  EXPECT_EQ(json["predictions"][1]["item_id"], "y");
  EXPECT_EQ(json["predictions"][1]["rating"], 1.0);
}

TEST_F(FactorctlTest, TopicsShowTitlesOrIds) {
  EXPECT_THAT(Ctl({"topics"}), HasSubstr("Topic 0\nweight  ratings  item\n 0.250        3  1\n"));
  const std::string titles = WriteFile("movieId,title\n1,Toy Story\n");
  EXPECT_THAT(Ctl({"topics", "--titles", titles}), HasSubstr("Toy Story"));
  EXPECT_EQ(
      Json::parse(Ctl({"topics", "--titles", titles, "--json"}))["topics"][0]["items"][0]["title"],
      "Toy Story");
}

TEST_F(FactorctlTest, FactorsReadsAllPages) {
  EXPECT_EQ(Ctl({"factors", "items"}), "a\t3\t0\t0.5\t1.5\nb\t3\t0\t0.5\t1.5\n");
  EXPECT_EQ(Ctl({"factors", "users", "--limit=1"}), "a\t3\t0\t0.5\t1.5\n");
  EXPECT_EQ(Json::parse(Ctl({"factors", "items", "--limit=1", "--json"}))["factors"],
            Json::parse("[0.5, 1.5]"));
  EXPECT_EQ(TryCtl({"factors", "films"}).exit, 2);
}

TEST_F(FactorctlTest, StateAndOperations) {
  const std::string state = Ctl({"state"});
  EXPECT_THAT(state, HasSubstr("accepts writes"));
  // Symptom: they were left out, though they are fixed with the folder.
  EXPECT_THAT(state, HasSubstr("\noffset "));
  EXPECT_THAT(state, HasSubstr("\nattraction "));
  EXPECT_EQ(Json::parse(Ctl({"state", "--json"}))["sequence"], 0);
  EXPECT_THAT(Ctl({"hash"}), HasSubstr("0123456789abcdef0123456789abcdef"));
  EXPECT_THAT(Ctl({"snapshot"}), HasSubstr("sequence      3"));
  EXPECT_THAT(Ctl({"backup", "monday"}), HasSubstr("/backups/monday"));
  EXPECT_EQ(Json::parse(Ctl({"backup", "monday", "--json"}))["path"], "/backups/monday");
}

TEST_F(FactorctlTest, PassesAreBegunWatchedAndEnded) {
  EXPECT_THAT(Ctl({"passes"}), HasSubstr("done\nasked for      4"));
  EXPECT_THAT(Ctl({"passes", "3"}), HasSubstr("asked for      4"));
  EXPECT_EQ(Json::parse(Ctl({"passes", "--stop", "--json"}))["passes"], 5);
  EXPECT_EQ(TryCtl({"passes", "many"}).exit, 2);
  EXPECT_EQ(TryCtl({"passes", "3", "--stop"}).exit, 2);
  EXPECT_THAT(server_.calls(),
              ElementsAre("GetPasses", "StartPasses", "GetPasses", "GetPasses", "StopPasses"));
}

TEST_F(FactorctlTest, HealthIsTheExitCode) {
  EXPECT_EQ(Ctl({"health"}), "reads    SERVING\nwrites   SERVING\nprocess  SERVING\n");
  server_.on_call = [](const std::string& method) {
    return method == "Check factord.v1.RatingService"
               ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "starting")
               : grpc::Status::OK;
  };
  const Outcome outcome = TryCtl({"health", "--json"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_EQ(Json::parse(outcome.out)["writes"], "UNAVAILABLE");
  EXPECT_EQ(Json::parse(outcome.out)["reads"], "SERVING");
  EXPECT_EQ(TryCtl({"health", "--service", "liveness"}).exit, 0);
}

TEST_F(FactorctlTest, HealthWaits) {
  std::atomic<int> calls{0};
  server_.on_call = [&](const std::string&) {
    return ++calls < 10 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "starting")
                        : grpc::Status::OK;
  };
  EXPECT_EQ(TryCtl({"health", "--wait=0.05", "--service=liveness"}).exit, 1);
  const Outcome waited = TryCtl({"health", "--wait=60"});
  EXPECT_EQ(waited.exit, 0);
  // Symptom: it said nothing for all that time.
  EXPECT_EQ(waited.err,
            "waiting up to 60 s for " + server_.target() + " to serve: UNAVAILABLE: starting\n");
  EXPECT_THAT(TryCtl({"health", "--wait=60"}).err, IsEmpty());
}

TEST_F(FactorctlTest, HealthDoesNotWaitForAServiceThatDoesNotExist) {
  server_.on_call = [](const std::string&) {
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "unknown service");
  };
  EXPECT_EQ(TryCtl({"health", "--wait=600", "--service=x"}).exit, 1);
}

// --- import ---

TEST_F(FactorctlTest, ImportSendsEverythingAndSumsUp) {
  const std::string path = WriteFile("userId,movieId,rating,timestamp\na,x,3,30\nb,y,4,20\n");
  const Json json = Json::parse(Ctl({"import", path, "--json", "--model=movies"}));
  EXPECT_EQ(json["read"], 2);
  EXPECT_EQ(json["applied"], 2);
  EXPECT_EQ(json["complete"], true);
  EXPECT_THAT(json["producer"].get<std::string>(), StartsWith("import-"));
  const auto applied = server_.applied();
  ASSERT_THAT(applied, SizeIs(2));
  EXPECT_EQ(applied[0].rating.user_id(), "a");
  EXPECT_EQ(applied[0].number, 2);
  EXPECT_EQ(applied[1].rating.event_time().seconds(), 20);
  EXPECT_EQ(server_.starts()[0].model(), "movies");
}

TEST_F(FactorctlTest, ImportSendsOtherEventsWithoutRatings) {
  const std::string path = WriteFile("a,x,3,30\nb,y,4,20\n");
  Ctl({"import", path, "--min_rating=4", "--event_type=click"});
  const auto applied = server_.applied();
  ASSERT_THAT(applied, SizeIs(1));
  EXPECT_EQ(applied[0].rating.event_type(), "click");
  EXPECT_FALSE(applied[0].rating.has_rating());
  Ctl({"import", path, "--min_rating=4"});  // is another import
  EXPECT_THAT(server_.applied(), SizeIs(2));
}

TEST_F(FactorctlTest, ImportOfTheSameFileAgainAppliesNothing) {
  const std::string path = WriteFile("a,x,3,30\nb,y,4,20\n");
  EXPECT_THAT(Ctl({"import", path}), HasSubstr("applied            2 in"));
  const std::string again = Ctl({"import", path});
  EXPECT_THAT(again, HasSubstr("applied            nothing"));
  EXPECT_THAT(again, HasSubstr("already there      2"));
  EXPECT_THAT(server_.applied(), SizeIs(2));
  // Another name for the producer makes it another import.
  Ctl({"import", path, "--producer=other"});
  EXPECT_THAT(server_.applied(), SizeIs(4));
}

TEST_F(FactorctlTest, ImportGoesThroughARestartOfTheServer) {
  std::string text;
  for (int i = 1; i <= 2000; ++i) absl::StrAppend(&text, "u", i % 7, ",", i, ",3\n");
  std::atomic<bool> broken{false};
  server_.on_batch = [&](const v1::StreamBatch& batch) {
    if (batch.first_number() < 500 || broken.exchange(true)) {
      return FakeServer::BatchFate::kApplyAndAck;
    }
    return FakeServer::BatchFate::kApplyAndBreak;
  };
  const Json json = Json::parse(Ctl({"import", WriteFile(text), "--json"}));
  EXPECT_EQ(json["reconnects"], 1);
  EXPECT_EQ(json["applied"], 2000);
  const auto applied = server_.applied();
  ASSERT_THAT(applied, SizeIs(2000));
  for (int i = 0; i < 2000; ++i) ASSERT_EQ(applied[i].number, i + 1);
}

TEST_F(FactorctlTest, ImportOfAMalformedFileSendsNothing) {
  const std::string path = WriteFile("a,x,3\nb,y\nc,z,5\n");
  const Outcome outcome = TryCtl({"import", path});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_THAT(outcome.err, HasSubstr(path + ":2: has 2 field(s), too few"));
  EXPECT_THAT(outcome.err, HasSubstr("nothing was sent"));
  EXPECT_THAT(server_.starts(), IsEmpty());
  EXPECT_THAT(Ctl({"import", path, "--max_errors=1"}), HasSubstr("malformed          1 lines"));
  EXPECT_THAT(server_.applied(), SizeIs(2));
}

TEST_F(FactorctlTest, RejectedRatingsCountAsErrors) {
  server_.reject = [](const v1::Rating& rating) {
    return rating.rating() > 5 ? absl::ResourceExhaustedError("user_id: no more")
                               : absl::OkStatus();
  };
  const std::string path = WriteFile("a,x,3\nb,y,9\n");
  Outcome outcome = TryCtl({"import", path, "--producer=one"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_THAT(outcome.err, HasSubstr("RESOURCE_EXHAUSTED: " + path +
                                     ":2: rejected by the server (user b, item y): "
                                     "user_id: no more"));
  EXPECT_THAT(outcome.out, HasSubstr("rejected           1 by the server"));
  outcome = TryCtl({"import", path, "--producer=two", "--max_errors=1"});
  EXPECT_EQ(outcome.exit, 0) << outcome.err;
}

// Symptom: what a limit had rejected was "already there" when the limit was gone.
TEST_F(FactorctlTest, RejectedRatingsCanBeKeptAndImportedLater) {
  server_.reject = [](const v1::Rating& rating) -> absl::Status {
    if (rating.rating() > 5) return absl::InvalidArgumentError("rating: must be 0 to 5");
    if (rating.user_id() == "a") return absl::OkStatus();
    return absl::ResourceExhaustedError("user_id: would be user 2 of --max_users=1");
  };
  const std::string path =
      WriteFile("a,x,3,10\n\"b, \"\"jr\"\"\",y,4.5,-0.5\na,z,2\nc,z,1\na,x,9\n");
  const std::string kept = path + ".rejected";
  const std::string out = Ctl({"import", path, "--max_errors=3", "--rejected", kept});
  EXPECT_THAT(out, HasSubstr("rejected           3 by the server"));
  EXPECT_THAT(server_.applied(), SizeIs(2));
  const Outcome again = TryCtl({"import", path, "--rejected", kept});
  EXPECT_THAT(again.err, HasSubstr(kept));  // never overwritten
  server_.reject = nullptr;
  Ctl({"import", kept});
  const auto applied = server_.applied();
  ASSERT_THAT(applied, SizeIs(4));
  EXPECT_EQ(applied[2].rating.user_id(), "b, \"jr\"");
  EXPECT_EQ(applied[2].rating.item_id(), "y");
  EXPECT_EQ(applied[2].rating.rating(), 4.5);
  EXPECT_EQ(applied[2].rating.event_time().seconds(), -1);
  EXPECT_EQ(applied[2].rating.event_time().nanos(), 500'000'000);
  EXPECT_EQ(applied[3].rating.user_id(), "c");
  EXPECT_FALSE(applied[3].rating.has_event_time());
}

TEST_F(FactorctlTest, ImportFailsWhereTheServerIsGone) {
  const std::string path = WriteFile("a,x,3\n");
  server_.Stop();
  const Outcome outcome = TryCtl({"import", path, "--give_up_seconds=0.1"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_THAT(outcome.err, HasSubstr("gave up after 100ms"));
}

TEST_F(FactorctlTest, ImportFailsWhereItsEndIsNotAcknowledged) {
  const std::string path = WriteFile("a,x,3\n");
  server_.break_status = grpc::Status(grpc::StatusCode::ABORTED, "a newer stream took over");
  server_.on_batch = [](const v1::StreamBatch&) { return FakeServer::BatchFate::kBreak; };
  const Outcome outcome = TryCtl({"import", path});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_THAT(outcome.err, HasSubstr("ABORTED: a newer stream took over"));
  EXPECT_THAT(outcome.out, HasSubstr("not settled  1: run the same command again"));
  EXPECT_EQ(Json::parse(TryCtl({"import", path, "--json"}).out)["complete"], false);
}

TEST_F(FactorctlTest, ImportShowsProgress) {
  const std::string path = WriteFile("a,x,3\nb,y,4\n");
  // The first state that is shown is that of an import which has just begun.
  server_.on_batch = [this](const v1::StreamBatch&) {
    while (server_.calls().empty()) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    return FakeServer::BatchFate::kApplyAndAck;
  };
  const Outcome outcome = TryCtl({"import", path, "--progress=always"});
  EXPECT_EQ(outcome.exit, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("] 100%  2/2"));
  EXPECT_THAT(outcome.err, HasSubstr("MAE 0.7500"));
  server_.on_batch = nullptr;
  EXPECT_THAT(TryCtl({"import", path}).err, IsEmpty());  // not a terminal
}

TEST_F(FactorctlTest, ImportTakesItsTime) {
  std::string text;
  for (int i = 1; i <= 10; ++i) absl::StrAppend(&text, "u,", i, ",3\n");
  const std::string path = WriteFile(text);
  // Ten ratings, the last one after nine tenths of the time. Again, all are there: no wait.
  EXPECT_GE(Json::parse(Ctl({"import", path, "--pace_seconds=0.5", "--json"}))["seconds"], 0.45);
  EXPECT_LT(Json::parse(Ctl({"import", path, "--pace_seconds=1000", "--json"}))["seconds"], 900);
}

TEST_F(FactorctlTest, ImportChecksItsFlags) {
  const std::string path = WriteFile("a,x,3\n");
  EXPECT_EQ(TryCtl({"import", path, "--format=xml"}).exit, 2);
  EXPECT_EQ(TryCtl({"import", path, "--progress=often"}).exit, 2);
  EXPECT_EQ(TryCtl({"import", path, "--max_errors=-1"}).exit, 2);
  EXPECT_EQ(TryCtl({"import", path, "--pace_seconds=-1"}).exit, 2);
  EXPECT_EQ(TryCtl({"import", path, "--limit=-1"}).exit, 2);
  EXPECT_EQ(TryCtl({"import"}).exit, 2);
  EXPECT_EQ(TryCtl({"import", "/nonexistent"}).exit, 1);
  EXPECT_THAT(server_.starts(), IsEmpty());
}

// --- Offline ---

// A data folder with three events in its log.
std::string FolderWithEvents(const TempFolder& parent) {
  const std::string path = parent / "data";
  EXPECT_TRUE(Store::Create(path, ToFields(ModelConfig())).ok());
  auto store = Store::Open({.path = path});
  EXPECT_TRUE(store.ok()) << store.status();
  std::vector<Event> events(3);
  events[0].user_id = "a";
  events[0].item_id = "x, \"y\"";
  events[0].rating = 3.5F;
  events[0].time_micros = 1'260'759'144'000'000;
  events[1].user_id = "b";
  events[1].item_id = "z";
  events[1].rating = 0.1F;
  events[1].time_micros = -1'500'000;
  events[1].event_id = "e2";
  events[2].user_id = "c";
  events[2].item_id = "w";
  events[2].rating = 4;
  events[2].producer_id = "p";
  events[2].producer_number = 17;
  for (size_t i = 0; i < events.size(); ++i) events[i].sequence = static_cast<int64_t>(i) + 1;
  EXPECT_TRUE((*store)->log()->Append(events).ok());
  return path;
}

TEST(OfflineTest, LogPrintsEvents) {
  TempFolder parent;
  const std::string path = FolderWithEvents(parent);
  EXPECT_EQ(RunCtl({"log", path}).out,
            "1\ta\tx, \"y\"\t3.5\t2009-12-14T02:52:24Z\n"
            "2\tb\tz\t0.1\t1969-12-31T23:59:58.5Z\tevent_id=e2\n"
            "3\tc\tw\t4\t1970-01-01T00:00:00Z\tproducer=p:17\n");
  EXPECT_EQ(RunCtl({"log", path, "--from=2", "--to=2"}).out,
            "2\tb\tz\t0.1\t1969-12-31T23:59:58.5Z\tevent_id=e2\n");
  std::istringstream lines(RunCtl({"log", path, "--json"}).out);
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_EQ(Json::parse(line)["item_id"], "x, \"y\"");
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_EQ(Json::parse(line)["rating"], 0.1);
  EXPECT_EQ(Json::parse(line)["event_id"], "e2");
}

TEST(OfflineTest, LogPrintsEventsThatAreNoRatings) {
  TempFolder parent;
  const std::string path = parent / "data";
  ModelConfig config;
  config.event_types = {{"click"}, {"purchase"}};
  ASSERT_TRUE(Store::Create(path, ToFields(config)).ok());
  auto store = *Store::Open({.path = path});
  std::vector<Event> events(2);
  events[0].kind = EventKind::kTaken;
  events[0].sequence = 1;
  events[0].user_id = "a";
  events[0].item_id = "x";
  events[0].type = 1;
  events[1].kind = EventKind::kRevisit;
  events[1].sequence = 2;
  events[1].revisited = {.first_user = 5, .users = 2, .position = 0, .pass = 3};
  ASSERT_TRUE(store->log()->Append(events).ok());
  store.reset();
  EXPECT_EQ(RunCtl({"log", path}).out,
            "1\ta\tx\tpurchase\t1970-01-01T00:00:00Z\n"
            "2\tpass 3 over the histories of 2 users from user number 5 on, from position 0\t"
            "1970-01-01T00:00:00Z\n");
  std::istringstream lines(RunCtl({"log", path, "--json"}).out);
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(Json::parse(line)["event_type"], "purchase");
  EXPECT_FALSE(Json::parse(line).contains("rating"));
  std::getline(lines, line);
  EXPECT_EQ(Json::parse(line)["revisited"]["pass"], 3);
  EXPECT_EQ(RunCtl({"log", path, "--csv"}).out, "sequence,user,item,rating,timestamp\n");
}

TEST(OfflineTest, LogPrintsCsvThatImportReads) {
  TempFolder parent;
  const Outcome csv = RunCtl({"log", FolderWithEvents(parent), "--csv"});
  EXPECT_EQ(csv.out,
            "sequence,user,item,rating,timestamp\n"
            "1,a,\"x, \"\"y\"\"\",3.5,1260759144\n"
            "2,b,z,0.1,-1.500000\n"
            "3,c,w,4.0,0\n");
  const std::string file = parent / "log.csv";
  std::ofstream(file) << csv.out;
  FakeServer server;
  const Outcome import = RunCtl({"import", file, "--server=" + server.target()});
  EXPECT_EQ(import.exit, 0) << import.err;
  const auto applied = server.applied();
  ASSERT_THAT(applied, SizeIs(3));
  EXPECT_EQ(applied[0].rating.item_id(), "x, \"y\"");
  EXPECT_EQ(applied[1].rating.event_time().seconds(), -2);
}

TEST(OfflineTest, LogSaysWhatIsWrong) {
  TempFolder parent;
  const std::string path = FolderWithEvents(parent);
  EXPECT_THAT(RunCtl({"log", parent / "nothing"}).err, HasSubstr("NOT_FOUND"));
  EXPECT_THAT(RunCtl({"log", path, "--from=5"}).err, HasSubstr("OUT_OF_RANGE"));
  EXPECT_EQ(RunCtl({"log", path, "--csv", "--json"}).exit, 2);
  auto store = Store::Open({.path = path});
  ASSERT_TRUE(store.ok());
  const Outcome in_use = RunCtl({"log", path});
  EXPECT_EQ(in_use.exit, 1);
  EXPECT_THAT(in_use.err, HasSubstr("FAILED_PRECONDITION"));
}

TEST(OfflineTest, LogOfAnEmptyFolderIsEmpty) {
  TempFolder parent;
  ASSERT_TRUE(Store::Create(parent / "data", ToFields(ModelConfig())).ok());
  const Outcome outcome = RunCtl({"log", parent / "data"});
  EXPECT_EQ(outcome.exit, 0) << outcome.err;
  EXPECT_THAT(outcome.out, IsEmpty());
  EXPECT_EQ(outcome.err, "the log is empty: nothing was ever recorded\n");
}

// Symptom: nothing was printed, as if nothing had ever been recorded.
TEST(OfflineTest, LogThatASnapshotHasTrimmedSaysSo) {
  TempFolder parent;
  EngineOptions options = TestOptions(parent / "data");
  options.log_retention = LogRetention::kSnapshot;
  {
    const auto engine = OpenOrDie(options);
    Record(*engine, RandomRatings(1, 10));
    ASSERT_TRUE(engine->Close().ok());
  }
  const Outcome outcome = RunCtl({"log", parent / "data", "--csv"});
  EXPECT_EQ(outcome.exit, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "sequence,user,item,rating,timestamp\n");
  EXPECT_THAT(outcome.err, HasSubstr("the log is empty"));
  EXPECT_THAT(outcome.err, HasSubstr("sequence 10"));
  EXPECT_THAT(outcome.err, HasSubstr("--log_retention=all"));
}

TEST(OfflineTest, VerifyReplaysTheLog) {
  TempFolder parent;
  const std::string path = FolderWithEvents(parent);
  const Outcome outcome = RunCtl({"verify", path, "--json"});
  EXPECT_EQ(outcome.exit, 0) << outcome.err;
  const Json json = Json::parse(outcome.out);
  EXPECT_EQ(json["events"], 3);
  const std::string hash = json["hash"];
  EXPECT_THAT(hash, SizeIs(32));
  EXPECT_THAT(RunCtl({"verify", path}).out, HasSubstr(hash));
}

TEST(OfflineTest, VerifyFailsWhereTheHashesDiffer) {
  TempFolder parent;
  const std::string path = FolderWithEvents(parent);
  {
    auto store = Store::Open({.path = path});
    ASSERT_TRUE(store.ok());
    ASSERT_TRUE((*store)->CloseClean({.sequence = 3, .hash = {.high = 1, .low = 2}}).ok());
  }
  const Outcome outcome = RunCtl({"verify", path});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_THAT(outcome.err, HasSubstr("DATA_LOSS"));
}

}  // namespace
}  // namespace factord
