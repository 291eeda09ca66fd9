// factord-bench: measures rows, prints one JSON object a measurement. tools/bench.sh makes a table
// of them.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/str_cat.h"
#include "benchmarks/row.h"

ABSL_FLAG(bool, smoke, false, "A short run that shows that everything works; figures say nothing.");
ABSL_FLAG(uint64_t, seed, 1, "Of generated ratings.");
ABSL_FLAG(
    std::string, scratch_dir, "",
    "An empty or new folder for data, on the disk that is to be measured. Empty: made below the "
    "temporary folder, and removed.");

namespace factord {
namespace {

std::string Usage() {
  std::string text = "factord-bench [--smoke] [ROW...]\n\n";
  for (const NamedRow& row : AllRows())
    absl::StrAppend(&text, "  ", row.name, ": ", row.what, "\n");
  return text;
}

bool IsMet(const Measurement& m) {
  const double ratio = m.value / m.reference_value;
  return !(m.at_least.has_value() && ratio < *m.at_least) &&
         !(m.at_most.has_value() && ratio > *m.at_most);
}

nlohmann::json ToJson(const Measurement& m) {
  nlohmann::json json = {{"name", m.name},       {"value", m.value}, {"unit", m.unit},
                         {"reference", nullptr}, {"ratio", nullptr}, {"target", nullptr},
                         {"met", nullptr}};
  if (!m.reference.empty()) {
    json["reference"] = m.reference;
    json["reference_value"] = m.reference_value;
    json["ratio"] = m.value / m.reference_value;
  }
  if (m.at_least.has_value()) json["target"] = absl::StrCat(">= ", *m.at_least);
  if (m.at_most.has_value()) json["target"] = absl::StrCat("<= ", *m.at_most);
  if (m.at_least.has_value() || m.at_most.has_value()) json["met"] = IsMet(m);
  return json;
}

absl::Status RunRows(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const auto& rows = AllRows();
    if (std::none_of(rows.begin(), rows.end(), [&](const NamedRow& r) { return r.name == name; })) {
      return absl::InvalidArgumentError(absl::StrCat("no row '", name, "'\n", Usage()));
    }
  }
  BenchOptions options = {.smoke = absl::GetFlag(FLAGS_smoke),
                          .seed = absl::GetFlag(FLAGS_seed),
                          .scratch_dir = absl::GetFlag(FLAGS_scratch_dir)};
  const bool is_ours = options.scratch_dir.empty();
  if (is_ours) {
    options.scratch_dir = std::filesystem::temp_directory_path() /
                          absl::StrCat("factord-bench-", static_cast<int64_t>(getpid()));
  }
  std::filesystem::create_directories(options.scratch_dir);
  absl::Status status;
  for (const NamedRow& row : AllRows()) {
    if (!names.empty() && std::find(names.begin(), names.end(), row.name) == names.end()) continue;
    std::cerr << "measuring " << row.name << "\n";
    std::vector<Measurement> results;
    const absl::Status ran = row.run(options, &results);
    if (!ran.ok()) {
      status.Update(absl::Status(ran.code(), absl::StrCat(row.name, ": ", ran.message())));
    }
    for (const Measurement& result : results) std::cout << ToJson(result).dump() << std::endl;
  }
  if (is_ours) std::filesystem::remove_all(options.scratch_dir);
  return status;
}

}  // namespace
}  // namespace factord

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(factord::Usage());
  const std::vector<char*> arguments = absl::ParseCommandLine(argc, argv);
  const absl::Status status = factord::RunRows({arguments.begin() + 1, arguments.end()});
  if (status.ok()) return 0;
  std::cerr << "factord-bench: " << status.message() << "\n";
  return absl::IsInvalidArgument(status) ? 2 : 1;
}
