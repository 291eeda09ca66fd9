// What a command of factorctl is. Each lives in a file of its own name, which holds its help, its
// flags and what it does; commands.h lists them.
#pragma once

#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "client/client.h"
#include "factorctl/flag_set.h"
#include "ratings/title_reader.h"

namespace factord {

// The flags that every command has which talks to a server.
struct ServerFlags {
  std::string server;  // empty: $FACTORD_SERVER, or the default
  std::string model;
  double timeout = 0;  // seconds; 0: the default of the kind of call
  // As in Client::Options.
  bool tls = false;
  std::string tls_ca_file;  // empty: $FACTORD_CA_FILE
  std::string tls_cert_file;
  std::string tls_key_file;
  std::string tls_server_name;
  std::string token_file;  // empty: the token is $FACTORD_TOKEN
};

// What a command works with. Thread-compatible.
class Context {
 public:
  Context(std::ostream& out, std::ostream& err, bool err_is_terminal)
      : out_(out), err_(err), err_is_terminal_(err_is_terminal) {}

  std::ostream& out() { return out_; }
  std::ostream& err() { return err_; }
  bool err_is_terminal() const { return err_is_terminal_; }

  // --json was given: one JSON object, or one a line, instead of tables.
  bool json() const { return json_; }
  const std::string& model() const { return server_flags_.model; }
  // For a call of the client.
  absl::Duration timeout() const { return absl::Seconds(server_flags_.timeout); }
  // host:port.
  std::string server() const;
  // Made at the first use.
  absl::StatusOr<Client*> client();
  // Whether calls carry a token.
  bool has_token() const;

  // For the parser of the command line.
  bool* mutable_json() { return &json_; }
  ServerFlags* mutable_server_flags() { return &server_flags_; }

 private:
  std::ostream& out_;
  std::ostream& err_;
  const bool err_is_terminal_;
  bool json_ = false;
  ServerFlags server_flags_;
  std::unique_ptr<Client> client_;
};

class Command {
 public:
  struct Info {
    absl::string_view name;
    absl::string_view arguments;  // as the usage line shows them: "USER [ITEM...]"
    absl::string_view summary;    // for the list of commands
    absl::string_view help;       // what it does and examples, before the flags
    size_t min_arguments = 0;
    size_t max_arguments = 0;
    bool offline = false;  // works on files: has no --server
  };

  virtual ~Command() = default;
  virtual Info info() const = 0;
  virtual void AddFlags(FlagSet* flags) { (void)flags; }
  // `arguments`: as many as info() allows.
  virtual absl::Status Run(const std::vector<std::string>& arguments, Context& context) = 0;
};

// The flag --titles of the commands that show items.
class TitleFlag {
 public:
  void AddTo(FlagSet* flags);
  // To be called before the first Title().
  absl::Status Read();
  bool given() const { return !path_.empty(); }
  // Empty: unknown.
  std::string Title(const std::string& item_id) const;
  // The title, or the item's id where there is none.
  std::string TitleOrId(const std::string& item_id) const;

 private:
  std::string path_;
  Titles titles_;
};

}  // namespace factord
