#!/usr/bin/python3
"""deploy/compose.yaml and deploy/make_certs.sh: the path from nothing to a secured server, without the
containers around it."""

import os
import pty
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import deploy_files as files
from server import Server, compose_settings, make_certs

COMPOSE = files.load("deploy/compose.yaml")
FACTORD = COMPOSE["services"]["factord"]


def certificate(path):
    return subprocess.run(["openssl", "x509", "-in", path, "-noout", "-serial", "-ext", "subjectAltName"],
                          check=True, capture_output=True, text=True).stdout


class Compose(unittest.TestCase):
    def test_settings_are_flags(self):
        self.assertEqual(files.unknown_settings(FACTORD["environment"]), [])

    def test_least_privilege(self):
        for name, service in COMPOSE["services"].items():
            with self.subTest(name):
                self.assertIs(service["read_only"], True)
                self.assertEqual(service["cap_drop"], ["ALL"])
                self.assertEqual(service["security_opt"], ["no-new-privileges:true"])
                self.assertTrue(service["mem_limit"] and service["pids_limit"])
                for port in service["ports"]:
                    self.assertTrue(port.startswith("127.0.0.1:"), port)

    def test_stopping_outlasts_the_drain(self):
        self.assertGreaterEqual(files.seconds(FACTORD["stop_grace_period"]),
                                files.seconds(FACTORD["environment"]["FACTORD_DRAIN_TIMEOUT"]) + 10)

    def test_reflection_is_off(self):
        self.assertEqual(FACTORD["environment"]["FACTORD_REFLECTION"], "false")

    def test_memory_has_room_for_the_rest(self):
        self.assertLess(files.planned_memory(FACTORD["environment"]),
                        files.quantity(FACTORD["mem_limit"]) * 5 / 6)
        self.assertGreater(int(FACTORD["environment"]["FACTORD_MAX_CONNECTIONS"]), files.IDLE_CONNECTIONS)

    def test_mounts_exist(self):
        for name, service in COMPOSE["services"].items():
            for mount in service["volumes"]:
                source, target = mount.split(":")[:2]
                with self.subTest(name, mount=mount):
                    if source.startswith("./secrets/"):
                        self.assertIn(source.removeprefix("./secrets/"), ("tls", "tokens"))
                    elif source.startswith("./"):
                        self.assertTrue((files.DEPLOY / source).exists())
                    else:
                        self.assertIn(source, COMPOSE["volumes"])
        paths = [mount.split(":")[1] for mount in FACTORD["volumes"]]
        settings = files.image_environment() | FACTORD["environment"]
        for variable, value in settings.items():
            if value.startswith("/"):
                self.assertTrue([path for path in paths if value.startswith(path + "/")], variable)

    def test_prometheus_and_grafana_find_each_other(self):
        (job,) = files.load("deploy/prometheus/prometheus.yaml")["scrape_configs"]
        self.assertEqual(job["static_configs"], [{"targets": [f"factord:{files.PORTS['metrics']}"]}])
        (source,) = files.load("deploy/grafana/provisioning/datasources/prometheus.yaml")["datasources"]
        self.assertEqual(source["url"], "http://prometheus:9090")
        (boards,) = files.load("deploy/grafana/provisioning/dashboards/factord.yaml")["providers"]
        board = COMPOSE["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        self.assertEqual(board, boards["options"]["path"] + "/factord.json")
        self.assertIn(f"./grafana/factord.json:{board}:ro", COMPOSE["services"]["grafana"]["volumes"])
        networks = [set(COMPOSE["services"][name]["networks"]) for name in ("factord", "prometheus", "grafana")]
        self.assertTrue(networks[0] & networks[1] and networks[1] & networks[2])
        self.assertFalse(networks[0] == networks[1])


class Certificates(unittest.TestCase):
    def setUp(self):
        files.need("openssl", "tools/install_deps.sh --python installs it")
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = temporary.name
        make_certs(self.folder)

    def test_a_second_run_renews_the_certificate_alone(self):
        before = {name: Path(self.folder, name).read_text()
                  for name in ("tls/tls.crt", "client/ca.crt", "tokens/tokens", "client/token")}
        make_certs(self.folder, "factord.example.com", "192.0.2.1")
        after = {name: Path(self.folder, name).read_text() for name in before}
        self.assertNotEqual(after.pop("tls/tls.crt"), before.pop("tls/tls.crt"))
        self.assertEqual(after, before)
        names = certificate(f"{self.folder}/tls/tls.crt")
        for name in ("DNS:localhost", "DNS:factord", "IP Address:127.0.0.1", "DNS:factord.example.com",
                     "IP Address:192.0.2.1"):
            self.assertIn(name, names)
        for name in ("tls", "client"):
            subprocess.run(["openssl", "verify", "-CAfile", f"{self.folder}/client/ca.crt",
                            f"{self.folder}/{name}/tls.crt"], check=True, capture_output=True)

    def test_a_second_run_asks_nothing(self):
        """Symptom: on a terminal, `mv: replace tls.key, overriding mode 0444?`, for who is not root."""
        with tempfile.TemporaryDirectory() as folder:
            script = shutil.copy(files.DEPLOY / "make_certs.sh", folder)
            user = os.getuid() or 65534
            os.chown(folder, user, -1)
            try:
                ours, terminal = pty.openpty()
            except OSError as error:  # a root without /dev/pts
                self.skipTest(str(error))
            self.addCleanup(os.close, ours)
            self.addCleanup(os.close, terminal)
            serials = set()
            for _ in range(2):
                run = subprocess.run(["bash", script, f"--dir={folder}/secrets"], stdin=terminal, user=user,
                                     capture_output=True, text=True, timeout=60)
                self.assertEqual(run.returncode, 0, run.stderr)
                self.assertNotIn("mv:", run.stderr)
                serials.add(certificate(f"{folder}/secrets/tls/tls.crt"))
            self.assertEqual(len(serials), 2)

    def test_the_server_takes_them(self):
        with Server(**compose_settings(self.folder)) as server:
            ca = f"--tls_ca_file={self.folder}/client/ca.crt"
            token = f"--token_file={self.folder}/client/token"
            reader = f"--token_file={self.folder}/client/read_token"
            server.factorctl("rate", "alice", "The Matrix", "4.5", ca, token)
            server.factorctl("rate", "bob", "Alien", "5", ca, token)
            self.assertIn("Alien", server.factorctl("recommend", "alice", ca, reader).stdout)
            refused = server.factorctl("rate", "alice", "Alien", "1", ca, reader, check=False)
            self.assertIn("PERMISSION_DENIED", refused.stderr)
            refused = server.factorctl("recommend", "alice", ca, check=False)
            self.assertIn("UNAUTHENTICATED", refused.stderr)
            self.assertNotEqual(server.factorctl("recommend", "alice", check=False).returncode, 0)
            self.assertEqual(server.stop(), 0)

    def test_the_server_takes_them_for_mutual_tls(self):
        with Server(**compose_settings(self.folder), FACTORD_TLS_CLIENT_CA_FILE=f"{self.folder}/tls/ca.crt") as server:
            common = [f"--tls_ca_file={self.folder}/client/ca.crt", f"--token_file={self.folder}/client/token"]
            own = [f"--tls_cert_file={self.folder}/client/tls.crt", f"--tls_key_file={self.folder}/client/tls.key"]
            server.factorctl("state", *common, *own)
            self.assertNotEqual(server.factorctl("state", *common, check=False).returncode, 0)


if __name__ == "__main__":
    files.main()
