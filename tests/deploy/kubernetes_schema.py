"""Checks Kubernetes objects strictly: an unknown field, a wrong type or a missing field is a mistake.

`kubectl kustomize` renders a misspelt field without a word, and the API server drops it. The schema is
Debian's python3-kubernetes, whose models are generated from the API's own description.
"""

from kubernetes.client import models

# Newer than python3-kubernetes 22: gRPC probes (stable since Kubernetes 1.27).
ADDED = {"V1Probe": {"grpc": {"port": int, "service": str}}}

# Not part of Kubernetes: what we use of the Prometheus operator's kind.
SERVICE_MONITOR = {
    "apiVersion": str, "kind": str,
    "metadata": {"name": str, "namespace": str, "labels": {"*": str}},
    "spec": {
        "jobLabel": str,
        "selector": {"matchLabels": {"*": str}},
        "endpoints": [{"port": str, "path": str, "interval": str, "scrapeTimeout": str}],
    },
}

KINDS = {
    ("v1", "Namespace"): "V1Namespace",
    ("v1", "ConfigMap"): "V1ConfigMap",
    ("v1", "Secret"): "V1Secret",
    ("v1", "Service"): "V1Service",
    ("v1", "ServiceAccount"): "V1ServiceAccount",
    ("apps/v1", "StatefulSet"): "V1StatefulSet",
    ("policy/v1", "PodDisruptionBudget"): "V1PodDisruptionBudget",
    ("networking.k8s.io/v1", "NetworkPolicy"): "V1NetworkPolicy",
    ("monitoring.coreos.com/v1", "ServiceMonitor"): SERVICE_MONITOR,
}


def mistakes(thing):
    """What is wrong with one object, as a list of lines."""
    kind = (thing.get("apiVersion"), thing.get("kind"))
    if kind not in KINDS:
        return [f"unknown apiVersion and kind: {kind}"]
    found = []
    name = f"{kind[1]}/{thing.get('metadata', {}).get('name')}"
    schema = KINDS[kind]
    if isinstance(schema, str):
        _check_model(thing, schema, name, found)
    else:
        _check_plain(thing, schema, name, found)
    return found


def _check_model(value, type_name, path, found):
    if type_name.startswith("list["):
        if not isinstance(value, list):
            found.append(f"{path}: is no list")
            return
        for i, element in enumerate(value):
            _check_model(element, type_name[5:-1], f"{path}[{i}]", found)
    elif type_name.startswith("dict("):
        if not isinstance(value, dict):
            found.append(f"{path}: is no map")
            return
        for key, element in value.items():
            _check_model(element, type_name[5:-1].split(", ", 1)[1], f"{path}.{key}", found)
    elif type_name == "object":  # a number or a name: ports, maxUnavailable
        if not isinstance(value, (int, str)):
            found.append(f"{path}: is neither number nor text")
    elif type_name in ("str", "int", "bool"):
        _check_plain(value, {"str": str, "int": int, "bool": bool}[type_name], path, found)
    else:
        _check_fields(value, type_name, path, found)


def _check_fields(value, type_name, path, found):
    if not isinstance(value, dict):
        found.append(f"{path}: is no map")
        return
    model = getattr(models, type_name)
    by_json_name = {json: python for python, json in model.attribute_map.items()}
    for key, element in value.items():
        if key in by_json_name:
            _check_model(element, model.openapi_types[by_json_name[key]], f"{path}.{key}", found)
        elif key in ADDED.get(type_name, {}):
            _check_plain(element, ADDED[type_name][key], f"{path}.{key}", found)
        else:
            found.append(f"{path}.{key}: no field of {type_name}")
    try:  # the setters of the model know which fields have to be there
        model(**{by_json_name[key]: element for key, element in value.items() if key in by_json_name})
    except ValueError as error:
        found.append(f"{path}: {error}")


def _check_plain(value, schema, path, found):
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            found.append(f"{path}: is no map")
            return
        for key, element in value.items():
            if key not in schema and "*" not in schema:
                found.append(f"{path}.{key}: unknown field")
            else:
                _check_plain(element, schema.get(key, schema.get("*")), f"{path}.{key}", found)
    elif isinstance(schema, list):
        if not isinstance(value, list):
            found.append(f"{path}: is no list")
            return
        for i, element in enumerate(value):
            _check_plain(element, schema[0], f"{path}[{i}]", found)
    elif type(value) is not schema:  # not isinstance: a bool is an int
        found.append(f"{path}: must be {schema.__name__}, is {value!r}")
