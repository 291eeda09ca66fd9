#include "base/pem.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace factord {
namespace {

int NoPassPhrase(char*, int, int, void*) { return -1; }

struct BioDeleter {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using BioPtr = std::unique_ptr<BIO, BioDeleter>;

BioPtr Open(const std::string& text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

size_t Count(const std::string& text, const std::string& what) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; ++at) ++count;
  return count;
}

}  // namespace

absl::StatusOr<CertificatePtr> FirstCertificate(const std::string& pem) {
  const BioPtr bio = Open(pem);
  CertificatePtr first;
  for (int number = 1;; ++number) {
    CertificatePtr certificate(PEM_read_bio_X509(bio.get(), nullptr, NoPassPhrase, nullptr));
    if (certificate == nullptr) {
      const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
      ERR_clear_error();
      // OpenSSL passes over what has no good first line, and over all behind a lost last line.
      const bool is_whole = Count(pem, "-----BEGIN ") == Count(pem, "-----END ");
      if (at_end && first != nullptr && is_whole) return first;
      if (at_end && first != nullptr) {
        return absl::InvalidArgumentError("has not as many -----BEGIN as -----END lines");
      }
      return absl::InvalidArgumentError(
          at_end ? "holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"
                 : absl::StrCat("certificate ", number, " in it is damaged"));
    }
    if (first == nullptr) first = std::move(certificate);
  }
}

PrivateKeyPtr FirstPrivateKey(const std::string& pem) {
  PrivateKeyPtr key(PEM_read_bio_PrivateKey(Open(pem).get(), nullptr, NoPassPhrase, nullptr));
  ERR_clear_error();
  return key;
}

bool IsKeyOf(const CertificatePtr& certificate, const PrivateKeyPtr& key) {
  const bool is = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  return is;
}

}  // namespace factord
