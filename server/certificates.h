// The server's certificate, its key, and the authority that clients' certificates must come from.
//
//   CertificateStore store("certificates", [files] { return ReadCertificates(files); });
//   FACTORD_RETURN_IF_ERROR(store.Load());
//   builder.AddListeningPort(address, TlsServerCredentials(&store));
//
// A connection uses what store.Get() returns at its handshake; those that are open stay as they
// are. So certificates are replaced by replacing the files, one after the other: a pair that does
// not fit is not taken (server/reloadable.h).
#pragma once

#include <grpcpp/security/server_credentials.h>

#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "server/reloadable.h"

namespace factord {

// PEM files.
struct TlsFiles {
  std::string cert_file;       // the server's certificate, then intermediate ones. Empty: no TLS
  std::string key_file;        // its private key, not encrypted
  std::string client_ca_file;  // empty: clients need no certificate

  bool is_on() const { return !cert_file.empty(); }
};

// Their contents, which fit each other.
struct Certificates {
  std::string cert_chain;
  std::string key;
  std::string client_ca;  // empty: clients need no certificate
  int64_t expires = 0;    // seconds since 1970: the certificate's end

  bool operator==(const Certificates&) const = default;
};

using CertificateStore = Reloadable<Certificates>;

// INVALID_ARGUMENT: all that is wrong, naming the files: not readable, not PEM, no certificate in
// it, an encrypted key, a key of another certificate. A certificate that has expired is none of it.
absl::StatusOr<Certificates> ReadCertificates(const TlsFiles& files);

// TLS 1.2 or 1.3. `store` is loaded and outlives the server.
std::shared_ptr<grpc::ServerCredentials> TlsServerCredentials(const CertificateStore* store);

}  // namespace factord
