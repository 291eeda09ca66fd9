#include "server/certificates.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <ctime>

#include "absl/strings/str_cat.h"
#include "storage/file_util.h"

namespace factord {
namespace {

template <auto kFree>
struct Free {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Bio = std::unique_ptr<BIO, Free<BIO_free>>;
using X509Ptr = std::unique_ptr<X509, Free<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;

Bio Open(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// Nobody is there to type one: a key that wants it cannot be read.
int NoPassphrase(char*, int, int, void*) { return -1; }

absl::StatusOr<X509Ptr> FirstCertificate(const std::string& file, const std::string& pem) {
  X509Ptr certificate(PEM_read_bio_X509(Open(pem).get(), nullptr, NoPassphrase, nullptr));
  ERR_clear_error();
  if (certificate == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": has no PEM certificate"));
  }
  return certificate;
}

absl::StatusOr<Key> PrivateKey(const std::string& file, const std::string& pem) {
  Key key(PEM_read_bio_PrivateKey(Open(pem).get(), nullptr, NoPassphrase, nullptr));
  ERR_clear_error();
  if (key == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": has no PEM private key, or an encrypted one"));
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
  FACTORD_ASSIGN_OR_RETURN(result.cert_chain, ReadSmallFile(files.cert_file));
  FACTORD_ASSIGN_OR_RETURN(result.key, ReadSmallFile(files.key_file));
  FACTORD_ASSIGN_OR_RETURN(const X509Ptr certificate,
                           FirstCertificate(files.cert_file, result.cert_chain));
  FACTORD_ASSIGN_OR_RETURN(const Key key, PrivateKey(files.key_file, result.key));
  const bool fits = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (!fits) {
    return absl::InvalidArgumentError(
        absl::StrCat(files.key_file, ": is not the key of the certificate in ", files.cert_file));
  }
  if (!files.client_ca_file.empty()) {
    FACTORD_ASSIGN_OR_RETURN(result.client_ca, ReadSmallFile(files.client_ca_file));
    FACTORD_RETURN_IF_ERROR(FirstCertificate(files.client_ca_file, result.client_ca).status());
  }
  result.expires = SecondsOf(X509_get0_notAfter(certificate.get()));
  return result;
}

std::shared_ptr<grpc::ServerCredentials> TlsServerCredentials(const CertificateStore* store) {
  return std::make_shared<ReloadingCredentials>(store);
}

}  // namespace factord
