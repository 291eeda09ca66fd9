#include "server/flag_sources.h"

#include <unistd.h>

#include <optional>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "storage/file_util.h"

namespace factord {
namespace {

constexpr char kFlagFile[] = "flagfile";
constexpr char kPrefix[] = "FACTORD_";
// What our other programs, and the choice of kernels (model/kernels.h), take from the environment.
const std::set<std::string>& VariablesOfOthers() {
  static const auto* const names = new std::set<std::string>{"FACTORD_SERVER", "FACTORD_TOKEN",
                                                             "FACTORD_CA_FILE", "FACTORD_SIMD"};
  return *names;
}

// Sets one flag after the other, from one source.
class Setter {
 public:
  Setter(const FlagsByName& flags, std::vector<std::string>* mistakes)
      : flags_(flags), mistakes_(mistakes) {}

  // Null, and a mistake, if there is none of that name.
  absl::CommandLineFlag* Find(const std::string& name, const std::string& origin) {
    const auto found = flags_.find(name);
    if (found != flags_.end()) return found->second;
    Mistake(absl::StrCat("--", name), origin, "unknown flag");
    return nullptr;
  }

  // `shown`: what the one who wrote it calls the flag.
  void Set(absl::CommandLineFlag* flag, const std::string& value, const std::string& shown,
           const std::string& origin) {
    std::string error;
    if (flag->ParseFrom(value, &error)) return;
    // The error quotes the value, and may say after a semicolon what it must be.
    const size_t reason = error.find("; ");
    Mistake(shown, origin,
            absl::StrCat("cannot be \"", value, "\"",
                         reason == std::string::npos ? "" : error.substr(reason)));
  }

  void Mistake(const std::string& shown, const std::string& origin, const std::string& what) {
    mistakes_->push_back(
        absl::StrCat(shown, origin.empty() ? "" : absl::StrCat(" (", origin, ")"), ": ", what));
  }

 private:
  const FlagsByName& flags_;
  std::vector<std::string>* const mistakes_;
};

// "name=value", and only "name" for a switch. Without a value: null.
struct Assignment {
  std::string name;
  std::optional<std::string> value;
};

Assignment Split(absl::string_view text) {
  const size_t equals = text.find('=');
  if (equals == absl::string_view::npos) return {std::string(text), std::nullopt};
  return {std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

// Blanks around a file's = do not count.
Assignment SplitLine(absl::string_view text) {
  Assignment assignment = Split(text);
  absl::StripAsciiWhitespace(&assignment.name);
  if (assignment.value.has_value()) absl::StripAsciiWhitespace(&*assignment.value);
  return assignment;
}

void ReadFile(const std::string& path, const std::string& named_by, Setter* setter) {
  const absl::StatusOr<std::string> content = ReadSmallFile(path);
  if (!content.ok()) {
    setter->Mistake(named_by, "", std::string(content.status().message()));
    return;
  }
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(*content, '\n')) {
    ++number;
    absl::string_view text = absl::StripAsciiWhitespace(line);
    if (text.empty() || text[0] == '#') continue;
    absl::ConsumePrefix(&text, "--");
    const std::string origin = absl::StrCat(path, ":", number);
    const Assignment assignment = SplitLine(text);
    const std::string shown = absl::StrCat("--", assignment.name);
    if (assignment.name == kFlagFile) {
      setter->Mistake(shown, origin, "a flag file cannot name another one");
      continue;
    }
    absl::CommandLineFlag* const flag = setter->Find(assignment.name, origin);
    if (flag == nullptr) continue;
    if (!assignment.value.has_value() && !flag->IsOfType<bool>()) {
      setter->Mistake(shown, origin, "needs a value");
      continue;
    }
    setter->Set(flag, assignment.value.value_or("true"), shown, origin);
  }
}

}  // namespace

Environment ProcessEnvironment() {
  Environment environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    Assignment assignment = Split(*entry);
    environment.emplace(std::move(assignment.name), assignment.value.value_or(""));
  }
  return environment;
}

FlagSources SetFlags(const FlagsByName& flags, const std::vector<std::string>& arguments,
                     const Environment& environment) {
  FlagSources result;
  // The command line is read first, for it may name the file, and applied last.
  struct Given {
    absl::CommandLineFlag* flag;
    std::string name, value;
  };
  std::vector<Given> given;
  std::vector<std::string> line_mistakes;
  Setter line(flags, &line_mistakes);
  for (size_t i = 0; i < arguments.size(); ++i) {
    absl::string_view argument = arguments[i];
    if (argument == "-h") argument = "--help";
    if (!absl::ConsumePrefix(&argument, "--")) {
      line_mistakes.push_back(absl::StrCat("unexpected argument: ", arguments[i]));
      continue;
    }
    Assignment assignment = Split(argument);
    if (assignment.name == "help" || assignment.name == "version") {
      result.help = result.help || assignment.name == "help";
      result.help_markdown = result.help_markdown || assignment.value == "markdown";
      result.version = result.version || assignment.name == "version";
      continue;
    }
    absl::CommandLineFlag* const flag = line.Find(assignment.name, "");
    if (flag == nullptr) continue;
    if (!assignment.value.has_value()) {
      if (flag->IsOfType<bool>()) {
        assignment.value = "true";
      } else if (i + 1 < arguments.size()) {
        assignment.value = arguments[++i];
      } else {
        line.Mistake(absl::StrCat("--", assignment.name), "", "needs a value");
        continue;
      }
    }
    given.push_back({flag, std::move(assignment.name), *std::move(assignment.value)});
  }

  std::string file, file_named_by;
  if (const auto found = environment.find(absl::StrCat(kPrefix, "FLAGFILE"));
      found != environment.end()) {
    file = found->second;
    file_named_by = found->first;
  }
  for (const Given& value : given) {
    if (value.name != kFlagFile) continue;
    file = value.value;
    file_named_by = absl::StrCat("--", kFlagFile);
  }
  Setter setter(flags, &result.mistakes);
  if (!file.empty()) ReadFile(file, file_named_by, &setter);

  for (const auto& [variable, value] : environment) {
    absl::string_view rest = variable;
    if (!absl::ConsumePrefix(&rest, kPrefix) || VariablesOfOthers().count(variable) != 0) continue;
    const auto found = flags.find(absl::AsciiStrToLower(rest));
    if (found == flags.end() || absl::AsciiStrToUpper(rest) != rest) {
      result.unknown_variables.push_back(variable);
    } else {
      setter.Set(found->second, value, variable, "");
    }
  }

  for (const Given& value : given) {
    line.Set(value.flag, value.value, absl::StrCat("--", value.name), "");
  }
  result.mistakes.insert(result.mistakes.end(), line_mistakes.begin(), line_mistakes.end());
  return result;
}

}  // namespace factord
