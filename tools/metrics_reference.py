#!/usr/bin/python3
"""Prints docs/metrics.md, made from a server's answer to GET /metrics on standard input.

  curl -s http://127.0.0.1:7071/metrics | python3 tools/metrics_reference.py > docs/metrics.md

Give the server TLS and tokens: the metrics of their files are there only then. A test compares.
"""

import re
import sys

INTRODUCTION = """\
# Metrics

<!-- Made by tools/metrics_reference.py; a test compares. -->

What `GET /metrics` on `--metrics_listen` answers, in the order of the answer. Counters and histograms begin at 0 with the
process, unless they say otherwise. A histogram has `_bucket`, `_sum` and `_count`. What to do when one is out of bounds:
the alerts in [operations.md](operations.md#what-to-watch).

Series are there from the start, with three exceptions. Those of the model, from `factord_sequence` on, but for
`factord_refused_total`, come when recovery has ended. The certificate's needs TLS, `factord_tokens` needs tokens,
`factord_reloads_total` one of both. The label `code` has the names of gRPC's status codes: OK at once, others when they occur.

| Metric | Type | Labels | Meaning |
|---|---|---|---|
"""

# Whose values are a matter of the machine, or are as many as there are RPCs.
OPEN_LABELS = {"version", "kernel", "service", "method", "code"}
# Of the type, not of the metric.
TYPE_LABELS = {"le", "quantile"}


def label_values(exposition, name):
    """{label: its values}, both in order."""
    labels = {}
    for sample in re.findall(rf"^{name}(?:_bucket|_sum|_count)?{{(.*)}} ", exposition, re.MULTILINE):
        for label, value in re.findall(r'(\w+)="([^"]*)"', sample):
            if label not in TYPE_LABELS:
                labels.setdefault(label, {})[value] = None
    return labels


def labels_text(labels):
    return "; ".join(f"`{label}`" if label in OPEN_LABELS else f"`{label}`: {', '.join(values)}"
                     for label, values in labels.items())


def reference(exposition):
    rows = [f"| `{name}` | {kind} | {labels_text(label_values(exposition, name))} | {help_text} |\n"
            for name, help_text, kind in re.findall(r"^# HELP (\w+) (.*)\n# TYPE \1 (\w+)$", exposition, re.MULTILINE)]
    return INTRODUCTION + "".join(rows)


if __name__ == "__main__":
    sys.stdout.write(reference(sys.stdin.read()))
