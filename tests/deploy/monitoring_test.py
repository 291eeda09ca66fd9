#!/usr/bin/python3
"""The alert rules and the Grafana board, against promtool, a real server and a real Prometheus."""

import json
import os
import re
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import deploy_files as files
from server import Server, compose_settings, make_certs

ALERTS = files.DEPLOY / "prometheus/alerts.yaml"
BOARD = json.loads((files.DEPLOY / "grafana/factord.json").read_text())
RULES = [rule for group in files.load("deploy/prometheus/alerts.yaml")["groups"] for rule in group["rules"]]


def queries():
    """All of the board, as (panel, expression), as Grafana would send them."""
    for panel in BOARD["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
            assert "$" not in expression, expression
            yield panel["title"], expression


def names(expression):
    """The metrics of an expression; parts of a histogram under the histogram's name."""
    return {re.sub(r"(_duration_seconds|_group_events)_(bucket|count|sum)$", r"\1", name)
            for name in re.findall(r"\b(?:factord|process|exposer)_\w+", expression)}


def promtool(*arguments, stdin=None):
    files.need("promtool", "tools/install_deps.sh --checks installs prometheus")
    return subprocess.run(["promtool", *arguments], input=stdin, capture_output=True, text=True)


class Files(unittest.TestCase):
    def assert_passes(self, run):
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_promtool_takes_the_configuration_and_its_rules(self):
        self.assert_passes(promtool("check", "config", str(files.DEPLOY / "prometheus/prometheus.yaml")))

    def test_alerts_fire_when_they_should(self):
        self.assert_passes(promtool("test", "rules", str(files.DEPLOY / "prometheus/alerts_test.yaml")))

    def test_every_alert_has_a_test(self):
        cases = files.load("deploy/prometheus/alerts_test.yaml")["tests"]
        fired = {case["alertname"] for test in cases for case in test["alert_rule_test"] if case["exp_alerts"]}
        quiet = {case["alertname"] for case in cases[0]["alert_rule_test"]}
        self.assertEqual(fired, {rule["alert"] for rule in RULES})
        self.assertEqual(quiet, fired)

    def test_every_alert_has_a_section_in_the_runbook(self):
        runbook = (files.ROOT / "docs/operations.md").read_text()
        anchors = {heading.strip().lower().replace(" ", "-")
                   for heading in re.findall(r"^#+ (.*)$", runbook, re.MULTILINE)}
        for rule in RULES:
            page, anchor = rule["annotations"]["runbook"].split("#")
            self.assertEqual(page, "docs/operations.md")
            self.assertIn(anchor, anchors)

    # Symptom: a new folder's snapshot was 56 years old.
    def test_the_board_has_no_age_before_the_first_snapshot(self):
        ages = {expression for panel, expression in queries() if panel == "Snapshot age"}
        self.assertTrue(ages)
        tests = [{"interval": "1m",
                  "input_series": [{"series": "factord_snapshot_timestamp_seconds", "values": "0 30"}],
                  "promql_expr_test": [{"expr": age, "eval_time": "0m", "exp_samples": []},
                                       {"expr": age, "eval_time": "1m",
                                        "exp_samples": [{"labels": "{}", "value": 30}]}]} for age in ages]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            files.yaml.safe_dump({"tests": tests}, file)
            file.flush()
            self.assert_passes(promtool("test", "rules", file.name))

    def test_the_board_is_well_formed(self):
        panels = BOARD["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        places = set()
        for panel in panels:
            at = panel["gridPos"]
            self.assertLessEqual(at["x"] + at["w"], 24, panel["title"])
            for x in range(at["x"], at["x"] + at["w"]):
                for y in range(at["y"], at["y"] + at["h"]):
                    self.assertNotIn((x, y), places, panel["title"])
                    places.add((x, y))
            if panel["type"] != "row":
                self.assertEqual(panel["datasource"]["uid"], "${datasource}")
                self.assertTrue(panel["targets"])


class Live(unittest.TestCase):
    """Against a server with TLS and tokens, after some traffic of every kind."""

    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = temporary.name
        make_certs(cls.folder)
        cls.server = Server(**compose_settings(cls.folder))
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__)
        cls.traffic()

    @classmethod
    def traffic(cls):
        ca = f"--tls_ca_file={cls.folder}/client/ca.crt"
        token = f"--token_file={cls.folder}/client/token"
        with open(f"{cls.folder}/ratings.csv", "w") as csv:
            csv.write("userId,movieId,rating,timestamp\n")
            csv.writelines(f"u{i % 10},i{i % 7},{i % 5 + 1},{1000 + i}\n" for i in range(100))
        cls.server.factorctl("import", csv.name, ca, token)
        cls.server.factorctl("rate", "alice", "The Matrix", "4.5", ca, token)
        cls.server.factorctl("recommend", "alice", ca, token)
        cls.server.factorctl("predict", "alice", "i1", ca, token)
        cls.server.factorctl("snapshot", ca, token)
        cls.server.factorctl("rate", "alice", "The Matrix", "4.5", ca, check=False)  # no token

    def exposition(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.server.ports['metrics']}/metrics", timeout=10) as page:
            return page.read().decode()

    def exposed(self):
        return set(re.findall(r"^# TYPE (\w+) ", self.exposition(), re.MULTILINE))

    def test_promtool_takes_the_exposition(self):
        run = promtool("check", "metrics", stdin=self.exposition())
        self.assertEqual((run.returncode, run.stdout + run.stderr), (0, ""))

    def test_the_board_and_the_alerts_know_no_other_metrics(self):
        used = set().union(*(names(expression) for _, expression in queries()),
                           *(names(rule["expr"]) for rule in RULES))
        self.assertEqual(used - self.exposed(), set())

    def test_the_board_has_every_metric(self):
        shown = set().union(*(names(expression) for _, expression in queries()))
        self.assertEqual(self.exposed() - shown, set())

    def test_the_reference_is_that_of_the_server(self):
        page = files.ROOT / "docs/metrics.md"
        made = subprocess.run(["/usr/bin/python3", files.ROOT / "tools/metrics_reference.py"],
                              input=self.exposition(), capture_output=True, text=True, check=True).stdout
        self.assertEqual(page.read_text(), made, f"{page}: tools/metrics_reference.py says how to make it")

    def test_prometheus_has_an_answer_for_every_panel_and_no_alert(self):
        files.need("prometheus", "tools/install_deps.sh --checks installs it")
        configuration = files.load("deploy/prometheus/prometheus.yaml")
        configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        configuration["rule_files"] = [str(ALERTS)]
        configuration["scrape_configs"][0]["static_configs"] = [
            {"targets": [f"127.0.0.1:{self.server.ports['metrics']}"]}]
        with open(f"{self.folder}/prometheus.yaml", "w") as file:
            files.yaml.safe_dump(configuration, file)
        with Prometheus(self.folder) as prometheus:
            missing = dict(queries())
            deadline = time.monotonic() + 60
            while missing and time.monotonic() < deadline:
                time.sleep(0.5)  # a rate takes two scrapes
                missing = {(panel, expression) for panel, expression in queries()
                           if not prometheus.query(expression)}
            self.assertEqual(missing, set())
            # Rules with "for" take longer than this; what fires at once would have.
            self.assertEqual(prometheus.query('ALERTS{alertstate="firing"}'), [])


class Prometheus:
    """A Prometheus on a free port, while the `with` block runs."""

    def __init__(self, folder):
        self._folder = folder

    def __enter__(self):
        self._log = open(f"{self._folder}/prometheus.log", "w+")
        self._process = subprocess.Popen(
            ["prometheus", f"--config.file={self._folder}/prometheus.yaml",
             f"--storage.tsdb.path={self._folder}/tsdb", "--web.listen-address=127.0.0.1:0"],
            stderr=self._log)
        self._port = None
        deadline = time.monotonic() + 60
        while self._port is None:  # it opens port 0, and /proc knows which that became
            assert self._process.poll() is None and time.monotonic() < deadline, Path(self._log.name).read_text()
            time.sleep(0.1)
            self._port = listening_port(self._process.pid)
        return self

    def query(self, expression):
        query = urllib.parse.urlencode({"query": expression})
        url = f"http://127.0.0.1:{self._port}/api/v1/query?{query}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            if error.code == 503:  # still starting
                return []
            raise AssertionError(f"{expression}: {error.read()}") from error

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(60)
        self._log.close()


def listening_port(pid):
    """The TCP port on which a process listens, or None."""
    sockets = set()
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            sockets.add(target[len("socket:["):-1])
    with open(f"/proc/{pid}/net/tcp") as table:
        for line in list(table)[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                return int(fields[1].split(":")[1], 16)
    return None


if __name__ == "__main__":
    files.main()
