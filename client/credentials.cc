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
#include "absl/strings/strip.h"
#include "base/mutex.h"
#include "base/pem.h"
#include "client/target.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"

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

absl::StatusOr<CertificatePtr> ReadCertificate(const std::string& path) {
  FACTORD_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  CertificatePtr certificate = FirstCertificate(text);
  if (certificate != nullptr) return certificate;
  return absl::InvalidArgumentError(
      absl::StrCat(path, " holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"));
}

absl::StatusOr<PrivateKeyPtr> ReadKey(const std::string& path) {
  FACTORD_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  PrivateKeyPtr key = FirstPrivateKey(text);
  if (key != nullptr) return key;
  return absl::InvalidArgumentError(absl::StrCat(
      path, " holds no private key in PEM (-----BEGIN PRIVATE KEY-----), or an encrypted one"));
}

void CheckTls(const Client::Options& options, std::vector<std::string>* bad) {
  const auto add = [bad](absl::string_view option, const absl::Status& status) {
    if (!status.ok()) bad->push_back(absl::StrCat(option, ": ", status.message()));
  };
  if (!options.tls_ca_file.empty()) {
    add("tls_ca_file", ReadCertificate(options.tls_ca_file).status());
  }
  if (options.tls_reload_interval < absl::Seconds(1)) {
    bad->push_back("tls_reload_interval: must be at least a second");
  }
  if (options.tls_cert_file.empty() != options.tls_key_file.empty()) {
    bad->push_back("tls_cert_file, tls_key_file: must both be given, or none");
    return;
  }
  if (options.tls_cert_file.empty()) return;
  const absl::StatusOr<CertificatePtr> certificate = ReadCertificate(options.tls_cert_file);
  const absl::StatusOr<PrivateKeyPtr> key = ReadKey(options.tls_key_file);
  add("tls_cert_file", certificate.status());
  add("tls_key_file", key.status());
  if (certificate.ok() && key.ok() && !IsKeyOf(*certificate, *key)) {
    bad->push_back(absl::StrCat("tls_key_file: ", options.tls_key_file,
                                " is not the key of the first certificate in ",
                                options.tls_cert_file));
  }
}

std::shared_ptr<grpc::ChannelCredentials> MakeTlsCredentials(const Client::Options& options) {
  namespace tls = grpc::experimental;
  tls::TlsChannelCredentialsOptions tls_options;
  if (!options.tls_ca_file.empty() || !options.tls_cert_file.empty()) {
    tls_options.set_certificate_provider(std::make_shared<tls::FileWatcherCertificateProvider>(
        options.tls_key_file, options.tls_cert_file, options.tls_ca_file,
        static_cast<unsigned>(absl::ToInt64Seconds(options.tls_reload_interval))));
  }
  if (!options.tls_ca_file.empty()) tls_options.watch_root_certs();
  if (!options.tls_cert_file.empty()) tls_options.watch_identity_key_cert_pairs();
  return tls::TlsCredentials(tls_options);
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

std::unique_ptr<TokenPlugin> MakeTokenPlugin(const Client::Options& options) {
  std::string token = options.token;
  if (token.empty()) token = ReadTokenFile(options.token_file).value_or("");
  return std::make_unique<TokenPlugin>(std::move(token), options.token_file);
}

}  // namespace

void CheckCredentials(const Client::Options& options, std::vector<std::string>* bad) {
  if (UsesTls(options)) CheckTls(options, bad);
  CheckTokenOptions(options, bad);
}

std::shared_ptr<grpc::ChannelCredentials> MakeChannelCredentials(const Client::Options& options) {
  if (UsesTls(options)) {
    const auto tls = MakeTlsCredentials(options);
    if (!HasToken(options)) return tls;
    return grpc::CompositeChannelCredentials(
        tls, grpc::MetadataCredentialsFromPlugin(MakeTokenPlugin(options)));
  }
  if (!HasToken(options)) return grpc::InsecureChannelCredentials();
  // Plain text, but for a check of the connection's own address, whatever a name resolved to.
  return grpc::CompositeChannelCredentials(
      grpc::experimental::LocalCredentials(absl::StartsWith(options.target, "unix") ? UDS
                                                                                    : LOCAL_TCP),
      grpc::experimental::MetadataCredentialsFromPlugin(MakeTokenPlugin(options),
                                                        GRPC_SECURITY_NONE));
}

}  // namespace factord
