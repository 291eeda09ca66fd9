#!/usr/bin/python3
"""Draws what `tools/bench.sh --json FILE` has measured, as SVG on standard output.

  python3 benchmarks/plot.py FILE > benchmarks/results.svg

On the left each row against its target: a bar to the right of the line is better than the target, one to
the left misses it. On the right how times grow with users and items, and what they are held against.
"""

import html
import json
import math
import sys

ROW_HEIGHT = 22
TOP = 46
LABEL_WIDTH = 330
BAR_WIDTH = 330
GROWTH_WIDTH = 330
GROWTH_HEIGHT = 150
MET, MISSED, MEASURED, REFERENCE = "#2e7d32", "#c62828", "#1565c0", "#9e9e9e"
MOST = 8  # times the target; a bar ends there


def text(x, y, content, anchor="start", size=12, color="#212121"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{color}">'
            f"{html.escape(content)}</text>")


def line(x1, y1, x2, y2, color="#bdbdbd", width=1):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" stroke-width="{width}"/>'


def times_better(row):
    """By what factor a row is better than its target."""
    comparison, limit = row["target"].split()
    ratio = row["ratio"] / float(limit)
    return ratio if comparison == ">=" else 1 / ratio


def targets(rows):
    middle = LABEL_WIDTH + BAR_WIDTH / 2
    y = TOP
    for row in rows:
        better = times_better(row)
        length = BAR_WIDTH / 2 * max(-1, min(1, math.log(better) / math.log(MOST)))
        color = MET if row["met"] else MISSED
        yield text(LABEL_WIDTH - 8, y + 15, row["name"], "end")
        yield (f'<rect x="{min(middle, middle + length):.1f}" y="{y + 4}" width="{max(abs(length), 1):.1f}" '
               f'height="{ROW_HEIGHT - 8}" fill="{color}"/>')
        yield text(LABEL_WIDTH + BAR_WIDTH + 8, y + 15, f"{row['ratio']:.3g}, target {row['target']}", size=11)
        y += ROW_HEIGHT
    for factor in (1 / MOST, 1 / 4, 1 / 2, 1, 2, 4, MOST):
        x = middle + BAR_WIDTH / 2 * math.log(factor) / math.log(MOST)
        yield line(x, TOP, x, y, "#212121" if factor == 1 else "#e0e0e0")
        yield text(x, TOP - 6, f"{factor:g}", "middle", 10)
    yield text(LABEL_WIDTH, TOP - 24, "times as good as the target")


def growth(name, rows, left, top):
    """Times of one series; the first size is 1 by definition, and not in the file."""
    sizes = [int(row["name"].rsplit("-", 1)[1]) for row in rows]
    step = sizes[1] / sizes[0] if len(sizes) > 1 else 10
    xs = [math.log(sizes[0] / step)] + [math.log(size) for size in sizes]
    series = [(MEASURED, [1] + [row["value"] for row in rows]),
              (REFERENCE, [1] + [row["reference_value"] for row in rows])]
    highest = math.log(max(max(values) for _, values in series) * 1.2)

    def place(x, value):
        return (left + GROWTH_WIDTH * (x - xs[0]) / (xs[-1] - xs[0]),
                top + GROWTH_HEIGHT * (1 - max(0, math.log(value)) / highest))

    yield text(left, top - 10, f"{name}: times as long as the smallest")
    yield line(left, top + GROWTH_HEIGHT, left + GROWTH_WIDTH, top + GROWTH_HEIGHT)
    for x, size in zip(xs, [sizes[0] / step] + sizes):
        yield text(place(x, 1)[0], top + GROWTH_HEIGHT + 16, f"{size:,.0f}", "middle", 10)
    for color, values in series:
        points = [place(x, value) for x, value in zip(xs, values)]
        yield (f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" fill="none" '
               f'stroke="{color}" stroke-width="2"/>')
        x, y = points[-1]
        yield text(x + 6, y + 4, f"{values[-1]:.3g}", size=11, color=color)


def plot(rows):
    aimed = [row for row in rows if row["met"] is not None]
    series = {}
    for row in rows:
        if row["name"].startswith("growth/"):
            series.setdefault(row["name"].split("/")[1].rsplit("-", 1)[0], []).append(row)
    left = LABEL_WIDTH + BAR_WIDTH + 230
    width = left + (GROWTH_WIDTH + 70 if series else 0)
    height = max(TOP + ROW_HEIGHT * len(aimed), TOP + (GROWTH_HEIGHT + 70) * len(series)) + 16
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           f'viewBox="0 0 {width} {height}" font-family="sans-serif">')
    yield f'<rect width="{width}" height="{height}" fill="white"/>'
    yield from targets(aimed)
    for place, (name, its) in enumerate(series.items()):
        yield from growth(name, its, left, TOP + place * (GROWTH_HEIGHT + 70))
    if series:
        yield text(left, height - 10, "factord", color=MEASURED)
        yield text(left + 60, height - 10, "what it is held against", color=REFERENCE)
    yield "</svg>"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1]) as file:
        print("\n".join(plot([json.loads(line_) for line_ in file])))
