#include "client/test_certificates.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

namespace factord {
namespace {

constexpr long kDay = 24 * 60 * 60;

// What `write` writes into a BIO.
template <typename Write>
std::string ToPem(Write write) {
  BIO* const bio = BIO_new(BIO_s_mem());
  write(bio);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string pem(data, static_cast<size_t>(size));
  BIO_free(bio);
  return pem;
}

void AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

}  // namespace

CertificatePtr TestCa::Make(const std::string& common_name, EVP_PKEY* key, const std::string& names,
                            const char* constraints, X509* issuer, EVP_PKEY* issuer_key,
                            long serial) {
  CertificatePtr certificate(X509_new());
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -kDay);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), kDay);
  X509_set_pubkey(certificate.get(), key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1,
                             0);
  X509* const signer = issuer == nullptr ? certificate.get() : issuer;
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(signer));
  AddExtension(certificate.get(), signer, NID_basic_constraints, constraints);
  if (!names.empty()) AddExtension(certificate.get(), signer, NID_subject_alt_name, names);
  X509_sign(certificate.get(), issuer_key, EVP_sha256());
  return certificate;
}

std::string Damaged(std::string pem) {
  pem[pem.find("-----\n") + 6] = '!';
  return pem;
}

TestCa::TestCa(const std::string& common_name)
    : key_(EVP_EC_gen("P-256")),
      certificate_(Make(common_name, key_.get(), "", "critical,CA:TRUE", nullptr, key_.get(), 1)),
      pem_(ToPem([&](BIO* bio) { PEM_write_bio_X509(bio, certificate_.get()); })) {}

TestCertificate TestCa::Issue(const std::string& common_name,
                              const std::vector<std::string>& dns_names, bool with_loopback,
                              bool is_weak) {
  std::string names;
  for (const std::string& name : dns_names) names += (names.empty() ? "DNS:" : ",DNS:") + name;
  if (with_loopback) names += names.empty() ? "IP:127.0.0.1" : ",IP:127.0.0.1";
  const PrivateKeyPtr key(is_weak ? EVP_RSA_gen(1'024) : EVP_EC_gen("P-256"));
  const CertificatePtr certificate = Make(common_name, key.get(), names, "CA:FALSE",
                                          certificate_.get(), key_.get(), ++last_serial_);
  return {.certificate = ToPem([&](BIO* bio) { PEM_write_bio_X509(bio, certificate.get()); }),
          .key = ToPem([&](BIO* bio) {
            PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
          })};
}

}  // namespace factord
