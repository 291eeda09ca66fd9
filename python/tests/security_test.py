"""TLS, client certificates and tokens against the real server."""

from __future__ import annotations

import os
import socket
import subprocess
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import support

import factord
import grpc
from factord import Tls, _channel

READ, WRITE, ADMIN = "reader-" + "r" * 20, "writer-" + "w" * 20, "admin-" + "a" * 20


class TlsTest(support.ServerTestCase):
    def setUp(self) -> None:
        self.authority = support.Authority(self.folder())
        self.tls = Tls(ca_file=self.authority.ca_file)

    def tls_server(self, names: str, *flags: str) -> support.Server:
        certificate, key = self.authority.issue("server", names)
        return self.server(f"--tls_cert_file={certificate}", f"--tls_key_file={key}", *flags)

    def check_fails(self, target: str, reason: str, tls: Tls | None) -> None:
        with self.assertRaisesRegex(factord.FactordError, f"(?i){reason}", msg=str(tls)):
            self.client(target, tls=tls, write_timeout=1).rate("ann", "i", 3)

    def check_works(self, target: str, tls: Tls) -> None:
        client = self.client(target, tls=tls)
        sequence = client.rate("ann", "i", 3).sequence
        self.assertEqual(client.recommend("ann", min_sequence=sequence).sequence, sequence)
        self.assertIs(client.health(), True)
        with client.rating_stream(f"p{sequence}") as stream:
            stream.write(factord.Rating("bob", "j", 3))
        self.assertEqual(client.model().sequence, sequence + 1)

    def test_the_certificate_of_the_server_is_checked(self) -> None:
        server = self.tls_server("DNS:localhost,IP:127.0.0.1")
        self.check_works(server.target, self.tls)
        self.check_works(f"localhost:{server.port}", self.tls)
        self.check_fails(
            server.target, "certificate", Tls(support.Authority(self.folder()).ca_file)
        )
        self.check_fails(server.target, "certificate", Tls())  # no CA of the system's
        self.check_fails(server.target, "", None)

    def test_an_error_of_the_connection_says_what_to_do(self) -> None:
        tls_server = self.tls_server("DNS:factord.example")
        plain_server = self.server()
        wary_server = self.tls_server(
            "IP:127.0.0.1", f"--tls_client_ca_file={self.authority.ca_file}"
        )
        other = Tls(support.Authority(self.folder()).ca_file)
        for target, tls, advice in (
            (tls_server.target, None, "it may want TLS"),
            (tls_server.target, other, r"a CA in Tls\(ca_file=...\)"),
            (tls_server.target, self.tls, r"for another name: .* Tls\(server_name=...\)"),
            (plain_server.target, self.tls, "does not speak TLS on this port"),
            (wary_server.target, self.tls, r"a client certificate \(Tls\(cert_file=..."),
        ):
            client = self.client(target, tls=tls, write_timeout=1)
            calls: list[Callable[[], Any]] = [client.health, lambda: client.rate("ann", "i", 3)]
            for call in calls:
                with self.assertRaisesRegex(factord.Unavailable, f"; .*{advice}") as raised:
                    call()
            stream = client.rating_stream("p", give_up_after=0.2)
            with self.assertRaisesRegex(factord.Unavailable, f"; .*{advice}"):
                stream.write(factord.Rating("ann", "i", 3))

    # Symptom: the first call waited until its time was over, for an "empty address list".
    def test_bad_files_are_refused_when_the_client_is_made(self) -> None:
        certificate, key = self.authority.issue("ann")
        other_certificate, other_key = self.authority.issue("bob")
        junk = Path(self.folder(), "junk")
        junk.write_text("-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n")
        empty = Path(self.folder(), "empty")
        empty.touch()
        encrypted = str(Path(self.folder(), "encrypted"))
        command = ["openssl", "pkcs8", "-topk8", "-in", key, "-passout", "pass:secret"]
        subprocess.run([*command, "-out", encrypted], check=True, capture_output=True)
        for bad, message in (
            (Tls(str(junk)), f"^ca_file: {junk} "),
            (Tls(str(empty)), f"^ca_file: {empty} "),
            (Tls(key), "^ca_file: "),
            (Tls(cert_file=str(junk), key_file=key), "^cert_file: "),
            (Tls(cert_file=key, key_file=key), "^cert_file: "),
            (Tls(cert_file=certificate, key_file=str(empty)), "^key_file: "),
            (Tls(cert_file=certificate, key_file=certificate), "^key_file: "),
            (Tls(cert_file=certificate, key_file=encrypted), "^key_file: .*encrypted"),
            (Tls(cert_file=certificate, key_file=other_key), "^key_file: .* not the key"),
            (Tls(cert_file=certificate), "^cert_file, key_file: "),
            (Tls(key_file=key), "^cert_file, key_file: "),
        ):
            with self.assertRaisesRegex(ValueError, message, msg=str(bad)):
                factord.Client("localhost:1", tls=bad)
        # A bundle, as the system's, and a chain.
        bundle = Path(self.folder(), "bundle")
        bundle.write_text(
            f"of ours\n{Path(certificate).read_text()}{Path(other_certificate).read_text()}"
        )
        factord.Client("localhost:1", tls=Tls(str(bundle), str(bundle), key)).close()

    def test_server_name_is_what_the_certificate_must_hold(self) -> None:
        server = self.tls_server("DNS:factord.example")
        self.check_fails(server.target, "certificate|hostname|peer", self.tls)
        name = Tls(self.authority.ca_file, server_name="factord.example")
        self.check_works(server.target, name)

    def test_the_cas_of_the_system_go_without_saying(self) -> None:
        server = self.tls_server("IP:127.0.0.1")
        with mock.patch.dict(os.environ, {"SSL_CERT_FILE": self.authority.ca_file}):
            self.check_works(server.target, Tls())

    def test_a_client_certificate_where_the_server_asks_for_one(self) -> None:
        ca = f"--tls_client_ca_file={self.authority.ca_file}"
        server = self.tls_server("IP:127.0.0.1", ca)
        certificate, key = self.authority.issue("ann")
        self.check_works(server.target, Tls(self.authority.ca_file, certificate, key))
        self.check_fails(server.target, "", self.tls)
        stranger = support.Authority(self.folder()).issue("ann")
        self.check_fails(server.target, "", Tls(self.authority.ca_file, *stranger))

    # Symptom: when its certificate had ended, a program that ran on never got a connection again.
    @mock.patch.object(_channel, "LOOK_SECONDS", 0)
    def test_certificates_are_read_again(self) -> None:
        def move(authority: support.Authority) -> None:
            """Everybody gets certificates of this authority, one file after the other."""
            certificates = authority.issue("server", "IP:127.0.0.1"), authority.issue("ann")
            sources = authority.ca_file, *certificates[0], *certificates[1]
            for name, source in zip(names, sources):
                new = Path(folder, "new")
                new.write_bytes(Path(source).read_bytes())
                new.replace(Path(folder, name))

        folder = self.folder()
        names = "ca", "server_cert", "server_key", "cert", "key"
        ca, server_cert, server_key, cert, key = (str(Path(folder, name)) for name in names)
        move(self.authority)
        server = self.server(
            f"--tls_cert_file={server_cert}",
            f"--tls_key_file={server_key}",
            f"--tls_client_ca_file={ca}",
        )
        client = self.client(server.target, tls=Tls(ca, cert, key))
        with client.rating_stream("p") as stream:
            stream.write(factord.Rating("bob", "j", 3))
            stream.flush()
            move(support.Authority(self.folder()))
            Path(cert).rename(f"{cert}.away")
            client.model()  # they are missing: the former ones are as good as any
            Path(f"{cert}.away").rename(cert)
            server.kill()
            server.start()
            client.rate("ann", "i", 3, timeout=support.PATIENCE)
            stream.write(factord.Rating("bob", "k", 3))
        self.assertEqual(client.model().sequence, 3)

    # What is under way is not cut off.
    @mock.patch.object(_channel, "LOOK_SECONDS", 0)
    def test_a_stream_goes_on_when_certificates_change(self) -> None:
        server = self.tls_server("IP:127.0.0.1")
        client = self.client(server.target, tls=self.tls)
        with client.rating_stream("p") as stream:
            stream.write(factord.Rating("bob", "j", 3))
            stream.flush()
            os.utime(self.authority.ca_file)
            client.rate("ann", "i", 3)
            stream.write(factord.Rating("bob", "k", 3))
            stream.flush()
            self.assertEqual(stream.stats().reconnects, 0)

    def test_the_environment(self) -> None:
        tokens = Path(self.folder(), "tokens")
        tokens.write_text(f"all read,write {WRITE}\n")
        server = self.tls_server("IP:127.0.0.1", f"--token_file={tokens}")
        environment = {
            "FACTORD_SERVER": server.target,
            "FACTORD_CA_FILE": self.authority.ca_file,
            "FACTORD_TOKEN": WRITE,
        }
        with mock.patch.dict(os.environ, environment):
            with factord.Client.from_environment() as client:
                self.assertEqual(client.rate("ann", "i", 3).sequence, 1)


class TokenTest(support.ServerTestCase):
    def token_server(self) -> support.Server:
        self.tokens = Path(self.folder(), "tokens")
        self.tokens.write_text(f"r read {READ}\nw write {WRITE}\na admin {ADMIN}\n")
        server = self.server(f"--token_file={self.tokens}", "--reload_interval=100ms")
        self.client(server.target, token=READ).model()  # it serves
        return server

    def check_code(self, code: grpc.StatusCode, call: Callable[[], Any]) -> None:
        with self.assertRaises(factord.FactordError) as raised:
            call()
        self.assertEqual(raised.exception.code, code)
        self.assertIs(raised.exception.outcome_unknown, False)

    def test_a_token_opens_what_its_scopes_say(self) -> None:
        server = self.token_server()
        denied = grpc.StatusCode.PERMISSION_DENIED
        for token, scope in ((READ, "read"), (WRITE, "write"), (ADMIN, "admin")):
            client = self.client(server.target, token=token)
            self.assertIs(client.health(), True)
            calls: dict[str, Callable[[], Any]] = {
                "read": client.model,
                "write": lambda: client.rate("ann", "i", 3),
                "admin": client.compute_hash,
            }
            for needed, call in calls.items():
                if needed == scope:
                    call()
                else:
                    self.check_code(denied, call)
        # As open(file).read() gives it.
        self.client(server.target, token=f"{READ} \r\n").model()
        for bad, advice in ((None, "token_file"), ("x" * 16, "factorctl token")):
            client = self.client(server.target, token=bad)
            self.assertIs(client.health(), True)
            self.check_code(grpc.StatusCode.UNAUTHENTICATED, client.model)
            # Symptom: it did not say what to do with a client of ours.
            with self.assertRaisesRegex(factord.FactordError, advice):
                client.model()

    def test_a_stream_sends_the_token(self) -> None:
        server = self.token_server()
        with self.client(server.target, token=WRITE).rating_stream("p") as stream:
            stream.write(factord.Rating("ann", "i", 3))
        self.assertEqual(stream.stats().applied, 1)
        for token, code in (
            (READ, grpc.StatusCode.PERMISSION_DENIED),
            ("x" * 16, grpc.StatusCode.UNAUTHENTICATED),
        ):
            stream = self.client(server.target, token=token).rating_stream("p")
            self.check_code(code, lambda: stream.write(factord.Rating("ann", "i", 3)))

    def test_a_token_file_is_read_again(self) -> None:
        server = self.token_server()
        file = Path(self.folder(), "token")
        file.write_text(f"{READ} of the reader\nsecond line\n")
        client = self.client(server.target, token_file=str(file))
        client.model()
        self.tokens.write_text(f"r read {READ}\nn read new-{READ}\n")
        for bad in ("", "short", None):  # while it is being replaced
            file.unlink()
            if bad is not None:
                file.write_text(bad)
            client.model()
        file.write_text(f"new-{READ}\n")
        support.wait_until(lambda: self.works(client.model), "the new token")
        # The server forgets the old one: the client must not send it any more.
        self.tokens.write_text(f"n read new-{READ}\n")
        old = self.client(server.target, token=READ)
        support.wait_until(lambda: not self.works(old.model), "the end of the old token")
        client.model()

    # Symptom: where the environment has a proxy, a health check failed beside the server.
    def test_a_server_on_this_machine_is_not_reached_through_a_proxy(self) -> None:
        server = self.token_server()
        with socket.create_server(("127.0.0.1", 0)) as proxy:
            url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
            names = {"http_proxy": url, "grpc_proxy": url, "no_proxy": "", "no_grpc_proxy": ""}
            with mock.patch.dict(os.environ, names):
                for host in ("127.0.0.1", "localhost"):
                    for token in (None, READ):
                        client = self.client(f"{host}:{server.port}", token=token)
                        self.assertIs(client.health(), True)
            proxy.settimeout(0)
            self.assertRaises(BlockingIOError, proxy.accept)

    def works(self, call: Callable[[], Any]) -> bool:
        try:
            call()
        except factord.FactordError as error:
            self.assertEqual(error.code, grpc.StatusCode.UNAUTHENTICATED)
            return False
        return True


if __name__ == "__main__":
    unittest.main()
