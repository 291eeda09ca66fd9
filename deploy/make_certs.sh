#!/usr/bin/env bash
# Makes what a secured factord and its first client need, for development and for trying it out: a CA, the
# server's certificate, a client's certificate, tokens. Production has a CA and tokens of its own.
#   deploy/make_certs.sh [--dir=deploy/secrets] [--days=90] [NAME...]
# NAME: further names or addresses by which clients reach the server; later runs keep them.
#
#   tls/     for the server: tls.crt tls.key ca.crt (under the names that Kubernetes gives them)
#   tokens/  for the server: tokens, as SHA-256
#   client/  for clients: ca.crt; token (all scopes) and read_token; tls.crt tls.key for mTLS
#   ca.key   for the next run, which keeps the CA and the tokens and renews the certificates
#   kustomization.yaml  makes the server's files Secrets: kubectl -n NAMESPACE apply -k deploy/secrets
#
# The server looks at its files every --reload_interval: running this again is a rotation.
set -euo pipefail

dir="$(dirname "${BASH_SOURCE[0]}")/secrets"
days=90
names=(localhost factord 127.0.0.1 ::1)
usage() { sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
die() { echo "make_certs: $*" >&2; exit 2; }
for argument in "$@"; do
  case "$argument" in
    --dir=*) dir="${argument#*=}" ;;
    --days=*) days="${argument#*=}" ;;
    --help) usage; exit 0 ;;
    -*) die "unknown argument $argument (--help)" ;;
    *) names+=("$argument") ;;
  esac
done
[[ "$days" =~ ^[1-9][0-9]{0,4}$ ]] || die "--days must be 1 to 99999, is $days"
if [[ -e "$dir/names" ]]; then
  mapfile -t former <"$dir/names"
  mapfile -t names < <(printf '%s\n' "${names[@]}" "${former[@]}" | awk '!seen[$0]++')
fi

command -v openssl >/dev/null || die "needs openssl (apt-get install openssl)"
umask 077
mkdir -p "$dir"/{tls,tokens,client}
work="$(mktemp -d "$dir/new.XXXXXX")"  # on the same file system, so that mv replaces in one step
trap 'rm -rf "$work"' EXIT

san=""
for name in "${names[@]}"; do
  if [[ "$name" =~ ^[0-9.]+$|: ]]; then kind=IP; else kind=DNS; fi
  san+="${san:+,}$kind:$name"
done

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

if [[ ! -e "$dir/ca.key" ]]; then
  new_key "$work/ca.key"
  openssl req -x509 -new -key "$work/ca.key" -subj "/CN=factord development CA" -days 3650 \
    -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign \
    -out "$work/ca.crt"
  install -m 644 "$work/ca.crt" "$dir/client/ca.crt"
  mv -f "$work/ca.key" "$dir/ca.key"
fi

sign() {  # KEY CERTIFICATE CN USAGE [SAN]
  new_key "$1"
  local log="$work/log"
  openssl req -new -key "$1" -subj "/CN=$3" -out "$work/csr"
  {
    echo "basicConstraints=critical,CA:FALSE"
    echo "keyUsage=critical,digitalSignature"
    echo "extendedKeyUsage=$4"
    [[ -z "${5:-}" ]] || echo "subjectAltName=$5"
  } >"$work/extensions"
  openssl x509 -req -in "$work/csr" -CA "$dir/client/ca.crt" -CAkey "$dir/ca.key" -days "$days" \
    -set_serial "0x$(openssl rand -hex 16)" -extfile "$work/extensions" -out "$2" 2>"$log" ||
    { cat "$log" >&2; die "cannot sign the certificate of $3"; }
}
sign "$work/tls.key" "$work/tls.crt" factord serverAuth "$san"
sign "$work/client.key" "$work/client.crt" development clientAuth

# The server keeps only what a token hashes to.
if [[ ! -e "$dir/tokens/tokens" ]]; then
  openssl rand -hex 32 >"$dir/client/token"
  openssl rand -hex 32 >"$dir/client/read_token"
  hash() { tr -d '\n' <"$1" | sha256sum | cut -d' ' -f1; }
  {
    echo "# NAME SCOPES TOKEN"
    echo "development read,write,admin sha256:$(hash "$dir/client/token")"
    echo "reader read sha256:$(hash "$dir/client/read_token")"
  } >"$work/tokens"
fi

# The server in a container is user 10001 and has to read its files. Without root nobody can give
# them to it, and then all users of this machine can read them.
for_server() {  # FROM TO
  chmod 444 "$1"
  if [[ $EUID -eq 0 ]]; then chown 10001:10001 "$1" && chmod 400 "$1"; fi
  mv -f "$1" "$2"
}
chmod 755 "$dir" "$dir/tls" "$dir/tokens"
install -m 444 "$dir/client/ca.crt" "$dir/tls/ca.crt"
for_server "$work/tls.key" "$dir/tls/tls.key"
for_server "$work/tls.crt" "$dir/tls/tls.crt"
[[ ! -e "$work/tokens" ]] || for_server "$work/tokens" "$dir/tokens/tokens"
cat >"$dir/kustomization.yaml" <<'YAML'
# The Secrets that deploy/kubernetes expects.
secretGenerator:
- name: factord-tls
  files: [tls/tls.crt, tls/tls.key, tls/ca.crt]
- name: factord-tokens
  files: [tokens/tokens]
generatorOptions:
  disableNameSuffixHash: true  # the pod reads them again when they change, so it need not restart
YAML
printf '%s\n' "${names[@]}" >"$dir/names"
mv -f "$work/client.key" "$dir/client/tls.key"
mv -f "$work/client.crt" "$dir/client/tls.crt"

echo "make_certs: $dir is ready; the certificates are for ${names[*]} and end in $days days"
[[ $EUID -eq 0 ]] || echo "make_certs: all users of this machine can read the server's key: for development only" >&2
