// What PEM texts hold, for those who check certificates and keys before they use them.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace factord {

struct OpensslDeleter {
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using CertificatePtr = std::unique_ptr<X509, OpensslDeleter>;
using PrivateKeyPtr = std::unique_ptr<EVP_PKEY, OpensslDeleter>;

// All of these are thread-safe and leave OpenSSL's queue of errors empty.

// The first certificate in the text. INVALID_ARGUMENT, to be put after the file's name: there is
// none, or any of them, be it a later one, cannot be read. Whoever uses them all, as TLS does,
// would go without it and say nothing.
absl::StatusOr<CertificatePtr> FirstCertificate(const std::string& pem);
// The first private key. Null: there is none, or it is encrypted: nobody is asked for a pass
// phrase.
PrivateKeyPtr FirstPrivateKey(const std::string& pem);

// Whether `key` is the private key of `certificate`. REQUIRES: neither is null.
bool IsKeyOf(const CertificatePtr& certificate, const PrivateKeyPtr& key);

}  // namespace factord
