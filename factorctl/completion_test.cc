// Completion as bash does it: the script of the real factorctl, in a real bash.
#include "factorctl/completion.h"

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/temp_folder.h"
#include "engine/test_util.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class CompletionTest : public testing::Test {
 protected:
  // What bash offers for the last of `words`, in folder_. As bash splits them: "--format", "=", "".
  std::vector<std::string> Offered(const std::vector<std::string>& words) {
    std::vector<std::string> quoted;
    for (const std::string& word : words) quoted.push_back(absl::StrCat("'", word, "'"));
    std::ofstream(folder_ / "script")
        << absl::StrCat("set -u\nsource <('", FACTORCTL_BINARY, "' completion bash)\n",
                        "compopt() { :; }\n",  // works in a real completion only
                        "complete -p factorctl >/dev/null || echo not registered\n",  //
                        "cd '", folder_.path(), "'\n",                                //
                        "COMP_WORDS=('", FACTORCTL_BINARY, "' ", absl::StrJoin(quoted, " "), ")\n",
                        "COMP_CWORD=", words.size(), "\n_factorctl\n",
                        "for reply in \"${COMPREPLY[@]}\"; do echo \"$reply\"; done\n");
    FILE* const pipe =
        popen(absl::StrCat("bash --norc --noprofile '", folder_ / "script", "' 2>&1").c_str(), "r");
    std::string output;
    std::array<char, 4096> buffer;
    while (const size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
      output.append(buffer.data(), n);
    }
    EXPECT_EQ(pclose(pipe), 0) << output;
    return absl::StrSplit(output, '\n', absl::SkipEmpty());
  }

  TempFolder folder_;
};

TEST_F(CompletionTest, Commands) {
  EXPECT_THAT(Offered({""}), IsSupersetOf({"rate", "import", "recommend", "completion", "help"}));
  EXPECT_THAT(Offered({"re"}), ElementsAre("recommend"));
  EXPECT_THAT(Offered({"help", "he"}), ElementsAre("health"));
  EXPECT_THAT(Offered({"--server", "localhost:1", "reco"}), ElementsAre("recommend"));
  EXPECT_THAT(Offered({"--json", "stat"}), ElementsAre("state"));
  EXPECT_THAT(Offered({"bogus", ""}), IsEmpty());
}

TEST_F(CompletionTest, FlagsOfTheCommandAndOfEvery) {
  EXPECT_THAT(Offered({"import", "--so"}), ElementsAre("--sort_by_time"));
  EXPECT_THAT(Offered({"import", "--"}),
              AllOf(IsSupersetOf({"--format", "--producer", "--server", "--tls_ca_file"}),
                    Not(Contains("--titles"))));
  EXPECT_THAT(Offered({"log", "--"}), Not(Contains("--server")));
  EXPECT_THAT(Offered({"--tls_"}), UnorderedElementsAre("--tls_ca_file", "--tls_cert_file",
                                                        "--tls_key_file", "--tls_server_name"));
}

TEST_F(CompletionTest, ValuesOfFlagsAndArguments) {
  EXPECT_THAT(Offered({"import", "--format", ""}), ElementsAre("auto", "csv", "dat", "tab"));
  EXPECT_THAT(Offered({"import", "--format", "="}), ElementsAre("auto", "csv", "dat", "tab"));
  EXPECT_THAT(Offered({"import", "--format", "=", "c"}), ElementsAre("csv"));
  EXPECT_THAT(Offered({"factors", ""}), ElementsAre("items", "users"));
  EXPECT_THAT(Offered({"completion", "z"}), ElementsAre("zsh"));
  EXPECT_THAT(Offered({"rate", ""}), IsEmpty());
  EXPECT_THAT(Offered({"import", "--producer", ""}), IsEmpty());
}

TEST_F(CompletionTest, Files) {
  for (const char* name : {"ratings 1.csv", "ratings2.csv", "other.csv"}) folder_.Write(name, "x");
  EXPECT_THAT(Offered({"import", "rat"}), UnorderedElementsAre("ratings 1.csv", "ratings2.csv"));
  EXPECT_THAT(Offered({"import", "--format", "csv", "o"}), ElementsAre("other.csv"));
  EXPECT_THAT(Offered({"recommend", "15", "--titles", "o"}), ElementsAre("other.csv"));
  EXPECT_THAT(Offered({"recommend", "15", "--titles", "=", "o"}), ElementsAre("other.csv"));
  EXPECT_THAT(Offered({"recommend", "o"}), IsEmpty());
  EXPECT_THAT(Offered({"import", "other.csv", "o"}), IsEmpty());  // it takes one file
}

// zsh and fish have "--flag=value" as one word, and want it back as one.
TEST(CompleteTest, AnAssignmentInOneWordComesBackAsOne) {
  const std::vector<CompletableCommand> commands = {
      {"import", "FILE", "", {{"format", "auto|csv", ""}, {"titles", "FILE", ""}}}};
  EXPECT_THAT(Complete(commands, {}, {"import", "--format=c"}), ElementsAre("--format=csv"));
  EXPECT_THAT(Complete(commands, {}, {"import", "--titles=c"}), ElementsAre(kCompleteFiles));
  EXPECT_THAT(Complete(commands, {}, {}), Contains("import"));
}

}  // namespace
}  // namespace factord
