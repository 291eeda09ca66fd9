#include "factorctl/completion.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "factorctl/commands.h"

namespace factord {
namespace {

constexpr char kBash[] = R"(# factorctl in bash: source <(factorctl completion bash)
_factorctl() {
  local line current="${COMP_WORDS[COMP_CWORD]}"
  [[ $current != = ]] || current=
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      compopt -o filenames
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$current")
    else
      COMPREPLY+=("${line%%$'\t'*}")
    fi
  done < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _factorctl factorctl
)";

constexpr char kZsh[] = R"(#compdef factorctl
# factorctl in zsh: source <(factorctl completion zsh)
_factorctl() {
  local line files=
  local -a candidates
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      files=1
    else
      line=${line//:/\\:}
      candidates+=("${line/$'\t'/:}")
    fi
  done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
  (( ${#candidates} == 0 )) || _describe factorctl candidates
  if [[ -n $files ]]; then
    compset -P '--*='
    _files
  fi
}
if [[ ${funcstack[1]} == _factorctl ]]; then _factorctl "$@"; else compdef _factorctl factorctl; fi
)";

constexpr char kFish[] = R"(# factorctl in fish: factorctl completion fish | source
function __factorctl_complete
  set -l words (commandline -opc)
  set -l current (commandline -ct)
  for line in ($words[1] __complete $words[2..-1] "$current" 2>/dev/null)
    if test "$line" = ":files"
      set -l flag (string match -r -- '^--[^=]*=' "$current")
      for file in (__fish_complete_path (string replace -r -- '^--[^=]*=' '' "$current"))
        echo "$flag$file"
      end
    else
      echo $line
    end
  end
end
complete -c factorctl -f -a '(__factorctl_complete)'
)";

// "--flag", "=", "value" -> "--flag=value". True: the last word was split.
bool JoinAssignments(std::vector<std::string>* words) {
  bool is_split = false;
  for (size_t i = 1; i < words->size(); ++i) {
    if ((*words)[i] != "=" || !absl::StartsWith((*words)[i - 1], "--")) continue;
    const bool has_value = i + 1 < words->size();
    absl::StrAppend(&(*words)[i - 1], "=", has_value ? (*words)[i + 1] : "");
    words->erase(words->begin() + static_cast<std::ptrdiff_t>(i),
                 words->begin() + static_cast<std::ptrdiff_t>(i + (has_value ? 2 : 1)));
    is_split = i == words->size();
  }
  return is_split;
}

const FlagSet::Info* FindFlag(const std::vector<FlagSet::Info>& flags, absl::string_view word) {
  if (!absl::ConsumePrefix(&word, "--")) return nullptr;
  const std::string name = absl::StrReplaceAll(word, {{"-", "_"}});
  const auto it = std::find_if(flags.begin(), flags.end(),
                               [&](const FlagSet::Info& flag) { return flag.name == name; });
  return it == flags.end() ? nullptr : &*it;
}

class Candidates {
 public:
  // Offers what begins with `prefix`, behind `before`.
  Candidates(std::string before, std::string prefix)
      : before_(std::move(before)), prefix_(std::move(prefix)) {}

  void Offer(absl::string_view word, absl::string_view meaning = "") {
    if (!absl::StartsWith(word, prefix_)) return;
    lines_.push_back(absl::StrCat(before_, word, meaning.empty() ? "" : "\t", meaning));
  }
  // What a value or an argument may be, as the help calls it: "a|b", "FILE", "USER".
  void OfferValues(absl::string_view name) {
    if (name == "FILE" || name == "PEM" || name == "DIR") {
      lines_.emplace_back(kCompleteFiles);
    } else if (absl::StrContains(name, '|')) {
      for (const absl::string_view value : absl::StrSplit(name, '|')) Offer(value);
    }
  }
  std::vector<std::string> Take() { return std::move(lines_); }

 private:
  const std::string before_;
  const std::string prefix_;
  std::vector<std::string> lines_;
};

class CompletionCommand : public Command {
 public:
  Info info() const override {
    return {
        .name = "completion",
        .arguments = "bash|zsh|fish",
        .summary = "print a script that completes command lines in your shell",
        .help =
            R"(Prints a script for the shell, which completes commands, flags, their values, and the names of files.

  factorctl completion bash > /etc/bash_completion.d/factorctl     # for everybody, or:
  source <(factorctl completion bash)                              # in ~/.bashrc
  source <(factorctl completion zsh)                               # in ~/.zshrc, after compinit
  factorctl completion fish | source                               # in ~/.config/fish/config.fish
)",
        .min_arguments = 1,
        .max_arguments = 1,
        .offline = true};
  }

  absl::Status Run(const std::vector<std::string>& arguments, Context& context) override {
    for (const auto& [shell, script] :
         {std::pair{"bash", kBash}, std::pair{"zsh", kZsh}, std::pair{"fish", kFish}}) {
      if (arguments[0] != shell) continue;
      context.out() << script;
      return absl::OkStatus();
    }
    return UsageError(absl::StrCat("no script for '", arguments[0], "': bash, zsh or fish"));
  }
};

}  // namespace

std::vector<std::string> Complete(const std::vector<CompletableCommand>& commands,
                                  const std::vector<FlagSet::Info>& leading_flags,
                                  const std::vector<std::string>& line) {
  std::vector<std::string> words = line;
  if (words.empty()) words.emplace_back();
  const bool is_split = JoinAssignments(&words);
  const std::string current = words.back();
  words.pop_back();

  // The words before: the command, how many arguments, and a flag that waits for its value.
  const CompletableCommand* command = nullptr;
  bool only_arguments = false, wants_help = false;
  size_t arguments = 0;
  const FlagSet::Info* waiting = nullptr;
  const std::vector<FlagSet::Info>* flags = &leading_flags;
  for (const std::string& word : words) {
    if (std::exchange(waiting, nullptr) != nullptr) continue;
    if (!only_arguments && word == "--") {
      only_arguments = true;
    } else if (!only_arguments && absl::StartsWith(word, "-") && word.size() > 1) {
      waiting = FindFlag(*flags, word);
      if (waiting != nullptr && waiting->value_name.empty()) waiting = nullptr;
    } else if (command != nullptr) {
      ++arguments;
    } else if (word == "help" && !wants_help) {
      wants_help = true;
    } else {
      const auto it = std::find_if(commands.begin(), commands.end(),
                                   [&](const CompletableCommand& c) { return c.name == word; });
      if (it == commands.end()) return {};
      command = &*it;
      flags = &command->flags;
    }
  }

  const size_t equals = current.find('=');
  if (waiting == nullptr && !only_arguments && absl::StartsWith(current, "--") &&
      equals != std::string::npos) {
    const FlagSet::Info* const flag = FindFlag(*flags, current.substr(0, equals));
    if (flag == nullptr) return {};
    Candidates values(is_split ? "" : current.substr(0, equals + 1), current.substr(equals + 1));
    values.OfferValues(flag->value_name);
    return values.Take();
  }
  Candidates candidates("", current);
  if (waiting != nullptr) {
    candidates.OfferValues(waiting->value_name);
  } else if (!only_arguments && absl::StartsWith(current, "-")) {
    for (const FlagSet::Info& flag : *flags) {
      candidates.Offer(absl::StrCat("--", flag.name), flag.help);
    }
  } else if (command == nullptr) {
    for (const CompletableCommand& c : commands) candidates.Offer(c.name, c.summary);
    if (!wants_help) candidates.Offer("help", "explains a command");
  } else if (!wants_help) {
    const std::vector<absl::string_view> names = absl::StrSplit(command->arguments, ' ');
    if (arguments < names.size()) candidates.OfferValues(names[arguments]);
  }
  return candidates.Take();
}

std::unique_ptr<Command> NewCompletionCommand() { return std::make_unique<CompletionCommand>(); }

}  // namespace factord
