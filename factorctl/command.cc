#include "factorctl/command.h"

#include <cstdlib>
#include <utility>

namespace factord {

namespace {

// `value`, or else the environment variable; empty: neither is there.
std::string OrEnvironment(const std::string& value, const char* name) {
  if (!value.empty()) return value;
  const char* const environment = std::getenv(name);
  return environment == nullptr ? "" : environment;
}

}  // namespace

std::string Context::server() const {
  const std::string server = OrEnvironment(server_flags_.server, "FACTORD_SERVER");
  return server.empty() ? Client::Options().target : server;
}

bool Context::has_token() const {
  return !OrEnvironment(server_flags_.token_file, "FACTORD_TOKEN").empty();
}

absl::StatusOr<Client*> Context::client() {
  if (client_ == nullptr) {
    const ServerFlags& flags = server_flags_;
    Client::Options options = {.target = server(),
                               .tls = flags.tls,
                               .tls_ca_file = OrEnvironment(flags.tls_ca_file, "FACTORD_CA_FILE"),
                               .tls_cert_file = flags.tls_cert_file,
                               .tls_key_file = flags.tls_key_file,
                               .tls_server_name = flags.tls_server_name,
                               .token_file = flags.token_file};
    if (options.token_file.empty()) options.token = OrEnvironment("", "FACTORD_TOKEN");
    FACTORD_ASSIGN_OR_RETURN(client_, Client::Create(std::move(options)));
  }
  return client_.get();
}

void TitleFlag::AddTo(FlagSet* flags) {
  flags->Add("titles", &path_, "FILE", "show titles from a movies.csv, movies.dat or u.item");
}

absl::Status TitleFlag::Read() {
  if (path_.empty()) return absl::OkStatus();
  FACTORD_ASSIGN_OR_RETURN(titles_, ReadTitles(path_));
  return absl::OkStatus();
}

std::string TitleFlag::Title(const std::string& item_id) const {
  const auto it = titles_.find(item_id);
  return it == titles_.end() ? "" : it->second.title;
}

std::string TitleFlag::TitleOrId(const std::string& item_id) const {
  const std::string title = Title(item_id);
  return title.empty() ? item_id : title;
}

}  // namespace factord
