#include "server/certificates.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <openssl/asn1.h>
#include <openssl/x509.h>

#include <ctime>

#include "absl/strings/str_cat.h"
#include "base/pem.h"
#include "storage/file_util.h"

namespace factord {
namespace {

absl::StatusOr<CertificatePtr> CertificateOf(const std::string& file, const std::string& pem) {
  CertificatePtr certificate = FirstCertificate(pem);
  if (certificate != nullptr) return certificate;
  return absl::InvalidArgumentError(absl::StrCat(file, ": has no PEM certificate"));
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
  FACTORD_ASSIGN_OR_RETURN(result.cert_chain, ReadSmallFile(files.cert_file));
  FACTORD_ASSIGN_OR_RETURN(result.key, ReadSmallFile(files.key_file));
  FACTORD_ASSIGN_OR_RETURN(const CertificatePtr certificate,
                           CertificateOf(files.cert_file, result.cert_chain));
  const PrivateKeyPtr key = FirstPrivateKey(result.key);
  if (key == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(files.key_file, ": has no PEM private key, or an encrypted one"));
  }
  if (!IsKeyOf(certificate, key)) {
    return absl::InvalidArgumentError(
        absl::StrCat(files.key_file, ": is not the key of the certificate in ", files.cert_file));
  }
  if (!files.client_ca_file.empty()) {
    FACTORD_ASSIGN_OR_RETURN(result.client_ca, ReadSmallFile(files.client_ca_file));
    FACTORD_RETURN_IF_ERROR(CertificateOf(files.client_ca_file, result.client_ca).status());
  }
  result.expires = SecondsOf(X509_get0_notAfter(certificate.get()));
  return result;
}

std::shared_ptr<grpc::ServerCredentials> TlsServerCredentials(const CertificateStore* store) {
  return std::make_shared<ReloadingCredentials>(store);
}

}  // namespace factord
