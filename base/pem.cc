#include "base/pem.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

namespace factord {
namespace {

int NoPassPhrase(char*, int, int, void*) { return -1; }

// Calls one of OpenSSL's PEM_read_bio_...
template <typename Read>
auto ReadFrom(const std::string& pem, Read read) {
  BIO* const bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  auto* const object = read(bio, nullptr, NoPassPhrase, nullptr);
  BIO_free(bio);
  ERR_clear_error();
  return object;
}

}  // namespace

CertificatePtr FirstCertificate(const std::string& pem) {
  return CertificatePtr(ReadFrom(pem, PEM_read_bio_X509));
}

PrivateKeyPtr FirstPrivateKey(const std::string& pem) {
  return PrivateKeyPtr(ReadFrom(pem, PEM_read_bio_PrivateKey));
}

bool IsKeyOf(const CertificatePtr& certificate, const PrivateKeyPtr& key) {
  const bool is = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  return is;
}

}  // namespace factord
