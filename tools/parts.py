#!/usr/bin/python3
"""Finds topics in this project's documentation and parts in pictures. Zeros are observations.

  tools/build.sh --target factor-eval && tools/parts.py
  tools/parts.py FACTOR_EVAL SVG        uses that program, writes that file

Prints the tables of docs/parts.md; the picture goes to docs/parts.svg. Fails where a part is not
one of the segments that the pictures are made of. Takes a second."""

import collections
import csv
import pathlib
import random
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
STOP = set("""about above after again also another because been before being below between both
  cannot could does each else even ever every first from have here into itself just least less like
  made make makes many more most much must need needs never none nothing once only other others over
  same since some such than that their them then there these they this those three until used uses
  very want wants well were what when where which while whose will with within without would
  your""".split())
WIDTH, HEIGHT = 12, 20
SEGMENTS = {  # left, top, width, height
    "top": (3, 1, 6, 2), "middle": (3, 9, 6, 2), "bottom": (3, 17, 6, 2),
    "upper left": (1, 3, 2, 6), "upper right": (9, 3, 2, 6),
    "lower left": (1, 11, 2, 6), "lower right": (9, 11, 2, 6)}


def factors_of(factor_eval, folder, counts, *flags):
    """Of {(row, column): value}: a {column: value} a factor."""
    ratings, factors = folder / "ratings.csv", folder / "factors.csv"
    with open(ratings, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows((*pair, value) for pair, value in counts.items())
    subprocess.run([factor_eval, f"--data={ratings}", "--split=none", "--zeros=observed",
                    f"--factors={factors}", "--json", *flags],
                   check=True, stdout=subprocess.DEVNULL)
    with open(factors, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    return [{row[0]: float(row[k]) for row in rows} for k in range(1, len(rows[0]))]


def words_of_sections():
    """How often each word is in each section of the documentation."""
    sections = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        if page.name != "parts.md":
            sections += re.split(r"^(?=#+ )", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    words = [collections.Counter(word for word in re.findall("[a-z]{4,}", section.lower())
                                 if word not in STOP) for section in sections]
    in_sections = collections.Counter(word for counter in words for word in counter)
    return {(i, word): count for i, counter in enumerate(words)
            for word, count in counter.items() if in_sections[word] >= 3}


def pixels_of_pictures(pictures):
    """The pixels of pictures of some of the segments, each with its own brightness, and noise."""
    draw = random.Random(20141)
    pixels = {}
    for picture in range(pictures):
        brightness = draw.uniform(0.4, 0.8)
        for left, top, width, height in SEGMENTS.values():
            if draw.random() < 0.5:
                continue
            for x in range(left, left + width):
                for y in range(top, top + height):
                    pixels[picture, f"{x}x{y}"] = round(brightness * draw.uniform(0.75, 1.25), 3)
    return pixels


def segment_of(pixel):
    x, y = map(int, pixel.split("x"))
    return next(name for name, (left, top, width, height) in SEGMENTS.items()
                if left <= x < left + width and top <= y < top + height)


def svg_of(rows):
    """Rows of pictures, each a {pixel: brightness, 0 to 1}."""
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{64 * len(rows[0])}" '
             f'height="{96 * len(rows)}">']
    for i, row in enumerate(rows):
        for j, pixels in enumerate(row):
            lines.append(f'<g transform="translate({64 * j + 8} {96 * i + 8}) scale(4)">')
            lines.append(f'<path d="M0 0h{WIDTH}v{HEIGHT}h-{WIDTH}z"/>')
            for pixel, brightness in pixels.items():
                x, y = pixel.split("x")
                gray = f"{round(15 * brightness):x}"
                lines.append(f'<path fill="#{3 * gray}" d="M{x} {y}h1v1h-1z"/>')
            lines.append("</g>")
    return "\n".join([*lines, "</svg>", ""])


def main():
    factor_eval = sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/release/evaluation/factor-eval"
    svg = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else ROOT / "docs/parts.svg")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        words = words_of_sections()
        topics = factors_of(factor_eval, folder, words, "--method=multiplicative-kl", "--rank=10",
                            "--l2=0", "--passes=300", "--seed=2")
        pixels = pixels_of_pictures(300)
        parts = factors_of(factor_eval, folder, pixels, "--method=coordinate-descent", "--rank=7",
                           "--l2=0.1", "--passes=100")

    print(f"{len({section for section, _ in words})} sections, {len({word for _, word in words})} "
          f"words, {len(words)} counts above 0\n\n| topic | its ten largest words |\n|---|---|")
    for number, topic in enumerate(topics, 1):
        print(f"| {number} | {', '.join(sorted(topic, key=topic.get, reverse=True)[:10])} |")

    print("\n| factor | segments of its large pixels | weight in there |\n|---|---|---|")
    found = []
    for number, part in enumerate(parts, 1):
        large = max(part.values()) / 2
        segments = {segment_of(pixel) for pixel, weight in part.items() if weight > large}
        inside = sum(weight for pixel, weight in part.items() if segment_of(pixel) in segments)
        share = inside / max(sum(part.values()), 1e-9)
        print(f"| {number} | {', '.join(sorted(segments))} | {100 * share:.1f}% |")
        found.append(segments)
    if sorted(found, key=sorted) != sorted(({name} for name in SEGMENTS), key=sorted):
        sys.exit("parts: a factor is not one segment")

    pictures = [{pixel: min(value, 1) for (picture, pixel), value in pixels.items() if picture == i}
                for i in range(7)]
    scaled = [{pixel: weight / max(part.values()) for pixel, weight in part.items()}
              for part in parts]
    svg.write_text(svg_of([pictures, scaled]), encoding="utf-8")


if __name__ == "__main__":
    main()
