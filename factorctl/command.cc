#include "factorctl/command.h"

#include <cstdlib>
#include <utility>

namespace factord {

std::string Context::server() const {
  if (!server_flags_.server.empty()) return server_flags_.server;
  const char* const environment = std::getenv("FACTORD_SERVER");
  if (environment != nullptr && *environment != '\0') return environment;
  return Client::Options().target;
}

absl::StatusOr<Client*> Context::client() {
  if (client_ == nullptr) {
    FACTORD_ASSIGN_OR_RETURN(client_, Client::Create({.target = server()}));
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
