// Certificates for tests, made on the spot.
//
//   TestCa ca("CA of this test");
//   const TestCertificate server = ca.Issue("server", {"localhost"});
//   ... ca.pem(), server.certificate, server.key: PEM ...
#pragma once

#include <string>
#include <vector>

#include "base/pem.h"

namespace factord {

struct TestCertificate {
  std::string certificate;
  std::string key;
};

// The PEM text of one certificate, with a character in it that base64 does not have.
std::string Damaged(std::string pem);

// Thread-compatible.
class TestCa {
 public:
  explicit TestCa(const std::string& common_name);

  const std::string& pem() const { return pem_; }
  // Valid for a day, for client and server, under these DNS names and for 127.0.0.1 if
  // `with_loopback`. `is_weak`: with a key that TLS does not take any more.
  TestCertificate Issue(const std::string& common_name, const std::vector<std::string>& dns_names,
                        bool with_loopback = false, bool is_weak = false);

 private:
  static CertificatePtr Make(const std::string& common_name, EVP_PKEY* key,
                             const std::string& names, const char* constraints, X509* issuer,
                             EVP_PKEY* issuer_key, long serial);

  PrivateKeyPtr key_;
  CertificatePtr certificate_;
  std::string pem_;
  long last_serial_ = 1;
};

}  // namespace factord
