#include "client/credentials.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/mutex.h"
#include "base/pem.h"
#include "client/target.h"

namespace factord {
namespace {

bool UsesTls(const Client::Options& options) {
  return options.tls || !options.tls_ca_file.empty() || !options.tls_cert_file.empty() ||
         !options.tls_key_file.empty() || !options.tls_server_name.empty();
}

bool HasToken(const Client::Options& options) {
  return !options.token.empty() || !options.token_file.empty();
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  std::string text;
  char buffer[4096];
  while (in.read(buffer, sizeof(buffer)), in.gcount() > 0) {
    text.append(buffer, static_cast<size_t>(in.gcount()));
  }
  if (in.bad() || !in.is_open()) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot read ", path, ": ", std::strerror(errno != 0 ? errno : EIO)));
  }
  return text;
}

// --- Certificates ---

// *text: the whole file.
absl::StatusOr<CertificatePtr> ReadCertificate(const std::string& path, std::string* text) {
  FACTORD_ASSIGN_OR_RETURN(*text, ReadFile(path));
  absl::StatusOr<CertificatePtr> certificate = FirstCertificate(*text);
  if (certificate.ok()) return certificate;
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", certificate.status().message()));
}

absl::StatusOr<PrivateKeyPtr> ReadKey(const std::string& path, std::string* text) {
  FACTORD_ASSIGN_OR_RETURN(*text, ReadFile(path));
  PrivateKeyPtr key = FirstPrivateKey(*text);
  if (key != nullptr) return key;
  return absl::InvalidArgumentError(absl::StrCat(
      path, " holds no private key in PEM (-----BEGIN PRIVATE KEY-----), or an encrypted one"));
}

// Appends to *bad what is wrong with the files.
TlsMaterial ReadTlsMaterial(const Client::Options& options, std::vector<std::string>* bad) {
  TlsMaterial material;
  const auto add = [bad](absl::string_view option, const absl::Status& status) {
    if (!status.ok()) bad->push_back(absl::StrCat(option, ": ", status.message()));
  };
  if (!options.tls_ca_file.empty()) {
    add("tls_ca_file", ReadCertificate(options.tls_ca_file, &material.ca).status());
  }
  if (options.tls_cert_file.empty() != options.tls_key_file.empty()) {
    bad->push_back("tls_cert_file, tls_key_file: must both be given, or none");
    return material;
  }
  if (options.tls_cert_file.empty()) return material;
  const absl::StatusOr<CertificatePtr> certificate =
      ReadCertificate(options.tls_cert_file, &material.cert_chain);
  const absl::StatusOr<PrivateKeyPtr> key = ReadKey(options.tls_key_file, &material.key);
  add("tls_cert_file", certificate.status());
  add("tls_key_file", key.status());
  if (certificate.ok() && key.ok() && !IsKeyOf(*certificate, *key)) {
    bad->push_back(absl::StrCat("tls_key_file: ", options.tls_key_file,
                                " is not the key of the first certificate in ",
                                options.tls_cert_file));
  }
  return material;
}

// --- Tokens ---

absl::Status CheckToken(absl::string_view token) {
  constexpr size_t kMinBytes = 16, kMaxBytes = 256;
  if (token.size() >= kMinBytes && token.size() <= kMaxBytes &&
      std::all_of(token.begin(), token.end(), [](char c) { return absl::ascii_isgraph(c); })) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("a token has 16 to 256 visible ASCII characters");
}

// The first word of the file.
absl::StatusOr<std::string> ReadTokenFile(const std::string& path) {
  FACTORD_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const absl::string_view trimmed = absl::StripLeadingAsciiWhitespace(text);
  std::string token(trimmed.begin(), std::find_if(trimmed.begin(), trimmed.end(),
                                                  [](char c) { return absl::ascii_isspace(c); }));
  const absl::Status status = CheckToken(token);
  if (status.ok()) return token;
  // Never with what is in the file, which may be a secret.
  return absl::InvalidArgumentError(
      absl::StrCat("the first word of ", path, " is no token: ", status.message()));
}

void CheckTokenOptions(const Client::Options& options, std::vector<std::string>* bad) {
  if (!options.token.empty() && !options.token_file.empty()) {
    bad->push_back("token, token_file: must not both be given");
  } else if (!options.token.empty()) {
    const absl::Status status = CheckToken(options.token);
    if (!status.ok()) bad->push_back(absl::StrCat("token: ", status.message()));
  } else if (!options.token_file.empty()) {
    const absl::Status status = ReadTokenFile(options.token_file).status();
    if (!status.ok()) bad->push_back(absl::StrCat("token_file: ", status.message()));
  }
  if (HasToken(options) && !UsesTls(options) && !IsLoopback(options.target)) {
    bad->push_back(absl::StrCat(options.token.empty() ? "token_file" : "token", ": would go to ",
                                options.target,
                                " in plain text, for all to read; use TLS (tls or tls_ca_file)"));
  }
}

// Gives gRPC the token for each call.
class TokenPlugin final : public grpc::MetadataCredentialsPlugin {
 public:
  // `file` may be empty: `token` for ever.
  TokenPlugin(std::string token, std::string file)
      : file_(std::move(file)), token_(std::move(token)) {}

  bool IsBlocking() const override { return false; }  // it asks for the file's time, and no more

  grpc::Status GetMetadata(grpc::string_ref, grpc::string_ref, const grpc::AuthContext&,
                           std::multimap<std::string, std::string>* metadata) override {
    MutexLock lock(&mu_);
    if (!file_.empty()) LookAtFile();
    metadata->emplace("authorization", absl::StrCat("Bearer ", token_));
    return grpc::Status::OK;
  }

 private:
  // Tells one state of a file from another; a file that was replaced has another inode.
  struct Version {
    ino_t inode = 0;
    off_t bytes = 0;
    int64_t seconds = 0;
    int64_t nanos = 0;
    bool operator==(const Version&) const = default;
  };

  void LookAtFile() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    struct stat info;
    if (stat(file_.c_str(), &info) != 0) return;
    const Version now = {info.st_ino, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
    if (version_ == now) return;
    absl::StatusOr<std::string> token = ReadTokenFile(file_);
    if (!token.ok()) return;
    token_ = *std::move(token);
    version_ = now;
  }

  const std::string file_;
  Mutex mu_;
  std::string token_ ABSL_GUARDED_BY(mu_);
  std::optional<Version> version_ ABSL_GUARDED_BY(mu_);
};

// Null: no token.
std::shared_ptr<grpc::CallCredentials> MakeToken(const Client::Options& options) {
  if (!HasToken(options)) return nullptr;
  std::string token = options.token;
  if (token.empty()) token = ReadTokenFile(options.token_file).value_or("");
  return grpc::experimental::MetadataCredentialsFromPlugin(
      std::make_unique<TokenPlugin>(std::move(token), options.token_file),
      UsesTls(options) ? GRPC_PRIVACY_AND_INTEGRITY : GRPC_SECURITY_NONE);
}

}  // namespace

void CheckCredentials(const Client::Options& options, std::vector<std::string>* bad) {
  if (UsesTls(options)) {
    (void)ReadTlsMaterial(options, bad);
    if (options.tls_reload_interval < absl::Seconds(1)) {
      bad->push_back("tls_reload_interval: must be at least a second");
    }
  }
  CheckTokenOptions(options, bad);
}

absl::StatusOr<Credentials> Credentials::Create(const Client::Options& options) {
  std::vector<std::string> bad;
  TlsMaterial material = ReadTlsMaterial(options, &bad);
  if (!bad.empty()) return absl::InvalidArgumentError(absl::StrJoin(bad, "; "));
  return Credentials(options, std::move(material));
}

Credentials::Credentials(const Client::Options& options, TlsMaterial material)
    : options_(options), material_(std::move(material)), token_(MakeToken(options)) {
  MakeCurrent();
}

const std::shared_ptr<grpc::ChannelCredentials>& Credentials::Current() {
  const auto now = Clock::now();
  if (absl::FromChrono(now - last_look_) < options_.tls_reload_interval) return current_;
  last_look_ = now;
  std::vector<std::string> bad;
  TlsMaterial material = ReadTlsMaterial(options_, &bad);
  if (!bad.empty() || material == material_) return current_;
  material_ = std::move(material);
  MakeCurrent();
  return current_;
}

void Credentials::MakeCurrent() {
  if (UsesTls(options_)) {
    current_ = grpc::SslCredentials({.pem_root_certs = material_.ca,
                                     .pem_private_key = material_.key,
                                     .pem_cert_chain = material_.cert_chain});
  } else if (token_ == nullptr) {
    current_ = grpc::InsecureChannelCredentials();
  } else {
    // Plain text, but for a check of the connection's own address, whatever a name resolved to.
    current_ = grpc::experimental::LocalCredentials(
        absl::StartsWith(options_.target, "unix") ? UDS : LOCAL_TCP);
  }
  if (token_ != nullptr) current_ = grpc::CompositeChannelCredentials(current_, token_);
}

}  // namespace factord
