#include "server/flag_help.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace factord {
namespace {

constexpr size_t kColumns = 96;

// `text` in lines of at most kColumns, each after `indent` blanks.
std::string Wrap(absl::string_view text, size_t indent) {
  std::string wrapped, line;
  const auto flush = [&] {
    absl::StrAppend(&wrapped, std::string(indent, ' '), line, "\n");
    line.clear();
  };
  for (const absl::string_view word : absl::StrSplit(text, ' ')) {
    if (!line.empty() && indent + line.size() + 1 + word.size() > kColumns) flush();
    absl::StrAppend(&line, line.empty() ? "" : " ", word);
  }
  flush();
  return wrapped;
}

}  // namespace

std::string PlainHelp(const std::vector<FlagSection>& sections, const FlagsByName& flags) {
  std::string text =
      "factord: an online recommendation service.\n\n"
      "  factord --data_dir=DIR [flags]\n\n"
      "Each flag may also be given in the environment, as FACTORD_ and its name in capitals, or in "
      "a\n"
      "flag file. --help=markdown prints this as Markdown, --version the version.\n";
  for (const FlagSection& section : sections) {
    absl::StrAppend(&text, "\n", section.title, "\n");
    if (*section.introduction != '\0') absl::StrAppend(&text, Wrap(section.introduction, 2));
    for (const std::string& name : section.flags) {
      const absl::CommandLineFlag& flag = *flags.at(name);
      absl::StrAppend(&text, "  --", name);
      if (!flag.DefaultValue().empty()) absl::StrAppend(&text, "=", flag.DefaultValue());
      absl::StrAppend(&text, "\n", Wrap(flag.Help(), 6));
    }
  }
  return text;
}

std::string MarkdownHelp(const std::vector<FlagSection>& sections, const FlagsByName& flags) {
  std::string text =
      "# Configuration\n\n"
      "<!-- Made by `factord --help=markdown`; a test compares. -->\n\n"
      "A flag is given on the command line (`--rank=64`), in the environment (`FACTORD_RANK=64`) "
      "or in a "
      "file named by\n`--flagfile` (a line `rank=64`; a line that begins with `#` is a comment). "
      "The "
      "command line wins over the environment, the\nenvironment over the file. Mistakes are "
      "reported all at once, and the server does not start (exit code 2). One exception: a\n"
      "variable FACTORD_... that is no flag is a warning in the log, since Kubernetes sets such "
      "ones "
      "for a service named factord.\n\n"
      "Durations are written `1.5s`, `200ms`, `5m`; sizes in bytes, or `64KiB`, `256MiB`, "
      "`1GiB`.\n";
  for (const FlagSection& section : sections) {
    absl::StrAppend(&text, "\n## ", section.title, "\n\n");
    if (*section.introduction != '\0') absl::StrAppend(&text, section.introduction, "\n\n");
    absl::StrAppend(&text, "| flag | default | meaning |\n|---|---|---|\n");
    for (const std::string& name : section.flags) {
      const absl::CommandLineFlag& flag = *flags.at(name);
      const std::string value = flag.DefaultValue();
      absl::StrAppend(&text, "| `--", name, "` | ",
                      value.empty() ? "" : absl::StrCat("`", value, "`"), " | ",
                      absl::StrReplaceAll(flag.Help(), {{"|", "\\|"}}), " |\n");
    }
  }
  return text;
}

}  // namespace factord
