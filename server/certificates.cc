#include "server/certificates.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <openssl/asn1.h>
#include <openssl/x509.h>

#include <ctime>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/pem.h"
#include "storage/file_util.h"

namespace factord {
namespace {

// False, and a mistake, if it cannot be read.
bool Read(const std::string& file, std::string* pem, std::vector<std::string>* mistakes) {
  absl::StatusOr<std::string> content = ReadSmallFile(file);
  if (content.ok()) {
    *pem = *std::move(content);
  } else {
    mistakes->emplace_back(content.status().message());
  }
  return content.ok();
}

// Null, and a mistake, if there is none or one is damaged.
CertificatePtr ReadCertificate(const std::string& file, std::string* pem,
                               std::vector<std::string>* mistakes) {
  if (!Read(file, pem, mistakes)) return nullptr;
  absl::StatusOr<CertificatePtr> certificate = FirstCertificate(*pem);
  if (certificate.ok()) return *std::move(certificate);
  mistakes->push_back(absl::StrCat(file, ": ", certificate.status().message()));
  return nullptr;
}

PrivateKeyPtr ReadKey(const std::string& file, std::string* pem,
                      std::vector<std::string>* mistakes) {
  if (!Read(file, pem, mistakes)) return nullptr;
  PrivateKeyPtr key = FirstPrivateKey(*pem);
  if (key == nullptr) {
    mistakes->push_back(absl::StrCat(file, ": has no PEM private key, or an encrypted one"));
  }
  return key;
}

int64_t SecondsOf(const ASN1_TIME* time) {
  std::tm parts = {};
  return ASN1_TIME_to_tm(time, &parts) == 1 ? static_cast<int64_t>(timegm(&parts)) : 0;
}

// gRPC's own way to credentials that may change: it asks at each handshake. Its C++ wrapper has no
// such thing, hence this class of our own around the C interface.
class ReloadingCredentials final : public grpc::ServerCredentials {
 public:
  explicit ReloadingCredentials(const CertificateStore* store) : store_(store) {
    const auto request = store->Get()->client_ca.empty()
                             ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                             : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
    credentials_ = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(request, Fetch, this));
  }
  ~ReloadingCredentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  static grpc_ssl_certificate_config_reload_status Fetch(
      void* self, grpc_ssl_server_certificate_config** config) {
    return static_cast<ReloadingCredentials*>(self)->Fetch(config);
  }

  // gRPC makes the calls one after the other.
  grpc_ssl_certificate_config_reload_status Fetch(grpc_ssl_server_certificate_config** config) {
    std::shared_ptr<const Certificates> now = store_->Get();
    if (now == given_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    given_ = std::move(now);
    const grpc_ssl_pem_key_cert_pair pair = {given_->key.c_str(), given_->cert_chain.c_str()};
    // gRPC insists on authorities, also where it asks no client for a certificate; any will do
    // then.
    const std::string& authorities =
        given_->client_ca.empty() ? given_->cert_chain : given_->client_ca;
    *config = grpc_ssl_server_certificate_config_create(authorities.c_str(), &pair, 1);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  const CertificateStore* const store_;
  grpc_server_credentials* credentials_ = nullptr;
  std::shared_ptr<const Certificates> given_;
};

}  // namespace

absl::StatusOr<Certificates> ReadCertificates(const TlsFiles& files) {
  Certificates result;
  std::vector<std::string> mistakes;
  const CertificatePtr certificate =
      ReadCertificate(files.cert_file, &result.cert_chain, &mistakes);
  const PrivateKeyPtr key = ReadKey(files.key_file, &result.key, &mistakes);
  if (!files.client_ca_file.empty()) {
    ReadCertificate(files.client_ca_file, &result.client_ca, &mistakes);
  }
  if (certificate != nullptr && key != nullptr && !IsKeyOf(certificate, key)) {
    mistakes.push_back(
        absl::StrCat(files.key_file, ": is not the key of the certificate in ", files.cert_file));
  }
  if (!mistakes.empty()) return absl::InvalidArgumentError(absl::StrJoin(mistakes, "; "));
  result.expires = SecondsOf(X509_get0_notAfter(certificate.get()));
  return result;
}

std::shared_ptr<grpc::ServerCredentials> TlsServerCredentials(const CertificateStore* store) {
  return std::make_shared<ReloadingCredentials>(store);
}

}  // namespace factord
