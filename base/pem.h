// What PEM texts hold, for those who check certificates and keys before they use them.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

namespace factord {

struct OpensslDeleter {
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using CertificatePtr = std::unique_ptr<X509, OpensslDeleter>;
using PrivateKeyPtr = std::unique_ptr<EVP_PKEY, OpensslDeleter>;

// The first one in the text. Null: there is none, or it is encrypted: nobody is asked for a pass
// phrase. OpenSSL's queue of errors is left empty. Thread-safe.
CertificatePtr FirstCertificate(const std::string& pem);
PrivateKeyPtr FirstPrivateKey(const std::string& pem);

// Whether `key` is the private key of `certificate`. REQUIRES: neither is null.
bool IsKeyOf(const CertificatePtr& certificate, const PrivateKeyPtr& key);

}  // namespace factord
