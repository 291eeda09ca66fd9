#!/usr/bin/python3
"""Renders deploy/kubernetes as an operator would, and checks what comes out."""

import re
import subprocess
import sys
import tempfile
import unittest

import deploy_files as files
from server import make_certs

try:
    import kubernetes_schema as schema
except ImportError as missing:
    print(f"skipped: {missing} (tools/install_deps.sh --python installs it)")
    sys.exit(files.SKIPPED)


def setUpModule():
    files.need("kubectl", "tools/install_deps.sh --python installs kubernetes-client")


def render(folder):
    run = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    if run.returncode != 0:
        raise AssertionError(run.stderr)
    return [thing for thing in files.yaml.safe_load_all(run.stdout) if thing]


class Rendered:
    """The tests of one rendered folder; the classes below say which."""

    @classmethod
    def setUpClass(cls):
        cls.things = render(files.DEPLOY / "kubernetes" / cls.folder)

    def one(self, kind, name="factord"):
        found = [thing for thing in self.things
                 if thing["kind"] == kind and re.fullmatch(name, thing["metadata"]["name"])]
        self.assertEqual(len(found), 1, f"{kind} {name}")
        return found[0]

    def pod(self):
        return self.one("StatefulSet")["spec"]["template"]

    def container(self):
        (container,) = self.pod()["spec"]["containers"]
        return container

    def settings(self):
        """The environment of the process: the image's, then that of the pod."""
        variables = files.image_environment()
        for source in self.container()["envFrom"]:
            name = source["configMapRef"]["name"]
            variables.update(self.one("ConfigMap", re.escape(name))["data"])
        variables.update({entry["name"]: entry["value"] for entry in self.container().get("env", [])})
        return variables

    def test_every_object_fits_the_schema(self):
        for thing in self.things:
            with self.subTest(thing["kind"]):
                self.assertEqual(schema.mistakes(thing), [])

    def test_kinds(self):
        self.assertEqual(sorted(thing["kind"] for thing in self.things), self.kinds)

    def test_probes(self):
        container = self.container()
        for probe, service in [("startupProbe", "liveness"), ("livenessProbe", "liveness"),
                               ("readinessProbe", "factord.v1.RecommendationService")]:
            with self.subTest(probe):
                self.assertEqual(container[probe]["grpc"],
                                 {"port": files.PORTS["health"], "service": service})
                self.assertFalse({"exec", "httpGet", "tcpSocket"} & set(container[probe]))
        startup = container["startupProbe"]
        self.assertGreaterEqual(startup["periodSeconds"] * startup["failureThreshold"], 300)

    def test_ports(self):
        ports = {port["name"]: port["containerPort"] for port in self.container()["ports"]}
        self.assertEqual(ports, files.PORTS)
        settings = self.settings()
        for name, variable in [("api", "FACTORD_LISTEN"), ("metrics", "FACTORD_METRICS_LISTEN"),
                               ("health", "FACTORD_HEALTH_LISTEN")]:
            self.assertEqual(settings[variable], f"0.0.0.0:{ports[name]}")
        for service in [thing for thing in self.things if thing["kind"] == "Service"]:
            for port in service["spec"]["ports"]:
                self.assertEqual(ports[port["targetPort"]], port["port"])

    def test_selectors_find_the_pod(self):
        labels = self.pod()["metadata"]["labels"]
        selectors = [self.one("StatefulSet")["spec"]["selector"]["matchLabels"],
                     self.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
                     self.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
                     self.one("Service")["spec"]["selector"],
                     self.one("Service", "factord-headless")["spec"]["selector"]]
        for selector in selectors:
            self.assertTrue(selector)
            self.assertLessEqual(selector.items(), labels.items())

    def test_services(self):
        stateful_set = self.one("StatefulSet")
        headless = self.one("Service", stateful_set["spec"]["serviceName"])
        self.assertEqual(headless["spec"]["clusterIP"], "None")
        self.assertTrue(headless["spec"]["publishNotReadyAddresses"])
        self.assertEqual(self.one("Service")["spec"]["type"], "ClusterIP")

    def test_mounts_have_volumes(self):
        claims = self.one("StatefulSet")["spec"]["volumeClaimTemplates"]
        volumes = {volume["name"] for volume in self.pod()["spec"]["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in claims}
        mounts = {mount["name"]: mount for mount in self.container()["volumeMounts"]}
        self.assertEqual(set(mounts), volumes)
        # A file mounted alone is never replaced: no certificate would be rotated.
        self.assertFalse([mount for mount in mounts.values() if "subPath" in mount])
        # Every path that is configured lies on one of them. A volume's root has lost+found, and
        # both folders have to be on one file system.
        paths = [mount["mountPath"] for mount in mounts.values()]
        for variable, value in self.settings().items():
            if value.startswith("/"):
                with self.subTest(variable):
                    self.assertTrue([path for path in paths if value.startswith(path + "/")], value)

    def test_settings_are_flags(self):
        self.assertEqual(files.unknown_settings(self.settings()), [])

    def test_secrets_exist(self):
        files.need("openssl", "tools/install_deps.sh --python installs it")
        with tempfile.TemporaryDirectory() as folder:
            make_certs(folder)
            made = {thing["metadata"]["name"]: set(thing["data"]) for thing in render(folder)}
        mounts = {mount["name"]: mount["mountPath"] for mount in self.container()["volumeMounts"]}
        for volume in self.pod()["spec"]["volumes"]:
            name = volume["secret"]["secretName"]
            self.assertIn(name, made)
            used = {value.rsplit("/", 1)[1] for value in self.settings().values()
                    if value.startswith(mounts[volume["name"]] + "/")}
            self.assertTrue(used)
            self.assertLessEqual(used, made[name])

    def test_the_grace_period_outlasts_the_drain(self):
        drain = files.seconds(self.settings()["FACTORD_DRAIN_TIMEOUT"])
        self.assertGreaterEqual(self.pod()["spec"]["terminationGracePeriodSeconds"], drain + 15)

    def test_no_service_links(self):
        self.assertIs(self.pod()["spec"]["enableServiceLinks"], False)

    def test_least_privilege(self):
        pod, container = self.pod()["spec"], self.container()
        self.assertEqual({key: pod["securityContext"][key] for key in
                          ("runAsNonRoot", "runAsUser", "fsGroup", "seccompProfile")},
                         {"runAsNonRoot": True, "runAsUser": files.UID, "fsGroup": files.UID,
                          "seccompProfile": {"type": "RuntimeDefault"}})
        self.assertEqual(container["securityContext"],
                         {"allowPrivilegeEscalation": False, "privileged": False, "runAsNonRoot": True,
                          "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}})
        self.assertIs(pod["automountServiceAccountToken"], False)
        self.assertEqual(pod["serviceAccountName"], self.one("ServiceAccount")["metadata"]["name"])
        self.assertNotIn("FACTORD_ALLOW_PLAINTEXT", self.settings())
        self.assertEqual(self.settings()["FACTORD_REFLECTION"], "false")

    def test_limits(self):
        resources = self.container()["resources"]
        self.assertEqual(resources["requests"]["memory"], resources["limits"]["memory"])
        limit = files.quantity(resources["limits"]["memory"])
        self.assertLess(files.planned_memory(self.settings()), limit * 5 / 6)
        self.assertGreater(int(self.settings()["FACTORD_MAX_CONNECTIONS"]), files.IDLE_CONNECTIONS)

    def test_the_network_policy(self):
        spec = self.one("NetworkPolicy")["spec"]
        self.assertEqual(spec["policyTypes"], ["Ingress", "Egress"])
        self.assertEqual(spec["egress"], [])
        self.assertEqual([[port["port"] for port in rule["ports"]] for rule in spec["ingress"]],
                         [[files.PORTS["api"]], [files.PORTS["metrics"]]])
        for rule in spec["ingress"]:  # a rule without "from", or an empty selector, lets everybody in
            self.assertTrue(rule["from"])
            for peer in rule["from"]:
                for selector in peer.values():
                    self.assertTrue(selector["matchLabels"])


class Base(Rendered, unittest.TestCase):
    folder = "base"
    kinds = ["ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "Service", "Service",
             "ServiceAccount", "StatefulSet"]


class Production(Rendered, unittest.TestCase):
    folder = "overlays/production"
    kinds = ["ConfigMap", "Namespace", "NetworkPolicy", "PodDisruptionBudget", "Service", "Service",
             "ServiceAccount", "ServiceMonitor", "StatefulSet"]

    def test_namespace(self):
        namespace = self.one("Namespace")["metadata"]["name"]
        for thing in self.things:
            if thing["kind"] != "Namespace":
                self.assertEqual(thing["metadata"]["namespace"], namespace, thing["kind"])

    def test_image_has_a_version(self):
        self.assertRegex(self.container()["image"], r"/factord:\d+\.\d+\.\d+$")

    def test_service_monitor_finds_the_metrics(self):
        spec = self.one("ServiceMonitor")["spec"]
        found = [thing for thing in self.things if thing["kind"] == "Service" and
                 spec["selector"]["matchLabels"].items() <= thing["metadata"]["labels"].items()]
        self.assertEqual([thing["metadata"]["name"] for thing in found], ["factord-headless"])
        (endpoint,) = spec["endpoints"]
        self.assertIn((endpoint["port"], files.PORTS["metrics"]),
                      [(port["name"], port["port"]) for port in found[0]["spec"]["ports"]])


if __name__ == "__main__":
    files.main()
