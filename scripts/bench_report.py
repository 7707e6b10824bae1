"""Writes what benchmarks found into docs/performance.md, and plots it: FIGURES-AS-JSON FOLDER.

The tables stand between two markers, so that the prose around them stays; the plot is a picture of
its own, with colours that are told apart on light and on dark.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

BEGIN = "<!-- measured: begin; written by `make bench` -->"
END = "<!-- measured: end -->"
PLOT = "performance.svg"
OURS, THEIRS, LIMIT, TEXT = "#2f81c7", "#9a9a9a", "#c98a1b", "#808080"
# What is plotted, of those that a run has.
PLOTTED = (
    "publish 1 GiB NumPy",
    "publish 1.18 GiB Arrow",
    "open to the first value, 10 columns",
    "open to the first value, 10,000 columns",
    "hand over 1 GiB, array",
    "hand over 1 GiB, table",
)


def by_measure(sides: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    """Put the sides of a measure together, in the order they were found."""
    found: dict[str, list[dict[str, str]]] = {}
    for side in sides:
        found.setdefault(side["measure"], []).append(side)
    return found


def short(value: float, digits: int) -> str:
    """Write a figure with so many digits, and large ones without an exponent.

    >>> short(1234.5, 2), short(0.1234, 2)
    ('1,234', '0.12')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.{digits}g}"  # noqa: PLR2004 - whole


def ratio(side: dict[str, str], ours: dict[str, str]) -> str:
    """Tell how many times as fast as this one ours is.

    >>> ratio({"median": "4", "unit": "ms"}, {"median": "2", "unit": "ms"})
    '2'
    >>> ratio({"median": "4", "unit": "GB/s"}, {"median": "2", "unit": "GB/s"})
    '0.5'
    """
    theirs, own = float(side["median"]), float(ours["median"])
    times = own / theirs if side["unit"] == "GB/s" else theirs / own
    return short(times, 2)


def tables(found: dict[str, Any]) -> str:
    """Show the goals, and then the sides of each measure."""
    lines = ["| what | found | goal | |", "|---|---|---|---|"]
    for each in found["figures"]:
        missed = "" if each["met"] else "**missed** "
        name = each["name"].replace("|", "/")
        figure = short(float(each["found"]), 3)
        lines.append(f"| {name} | {figure} | {each['bound']} | {missed}{each['detail']} |")
    lines += ["", f"![What publishing, opening and handing over take]({PLOT})", ""]
    lines += ["Medians, and the least and the most of the rounds.", ""]
    lines += [
        "| measure | side | median | least .. most | famfs is faster by |",
        "|---|---|---|---|---|",
    ]
    for measure, sides in by_measure(found["sides"]).items():
        ours = next((side for side in sides if side["name"].startswith("famfs")), None)
        for side in sides:
            if side["median"] == "-":
                lines.append(f"| {measure} | {side['name']} | not measured | {side['spread']} | |")
                continue
            theirs = ours is not None and not side["name"].startswith("famfs")
            times = ratio(side, ours) if ours and theirs else ""
            median = f"{side['median']} {side['unit']}"
            lines.append(f"| {measure} | {side['name']} | {median} | {side['spread']} | {times} |")
    return "\n".join(lines)


def between(text: str, written: str) -> str:
    """Put what is written between the markers.

    >>> between(f"a {BEGIN} old {END} z", "new").splitlines()[2]
    'new'
    """
    before, found, rest = text.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise SystemExit(f"docs/performance.md lacks the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{written}\n\n{END}{after}"


def colour(name: str) -> str:
    """Tell ours, the limit and the others apart."""
    return OURS if name.startswith("famfs") else LIMIT if "limit" in name else THEIRS


def plot(found: dict[str, Any], path: Path) -> None:
    """Draw a panel for each measure: bars, by logarithm where they are far apart."""
    import matplotlib as mpl  # noqa: PLC0415 - the tables are written without it

    mpl.use("svg")
    # The same run draws the same file.
    mpl.rcParams |= {"svg.hashsalt": "famfs", "svg.fonttype": "none", "font.size": 9}
    mpl.rcParams |= dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), TEXT
    )
    import matplotlib.pyplot as plt  # noqa: PLC0415 - as above

    measures = {name: each for name, each in by_measure(found["sides"]).items() if name in PLOTTED}
    if not measures:
        return
    rows = math.ceil(len(measures) / 2)
    figure, panels = plt.subplots(rows, 2, figsize=(9, 2.3 * rows), squeeze=False)
    for panel in panels.flat[len(measures) :]:
        panel.set_visible(False)
    for panel, (measure, sides) in zip(panels.flat, measures.items(), strict=False):
        shown = [side for side in sides if side["median"] != "-"][::-1]
        values = [float(side["median"]) for side in shown]
        names = [side["name"] for side in shown]
        unit = shown[0]["unit"]
        bars = panel.barh(names, values, color=[colour(name) for name in names], height=0.7)
        panel.bar_label(
            bars,
            [short(value, 3) for value in values],
            padding=3,
            color=TEXT,
        )
        if max(values) > 20 * min(values):  # what linear bars would hide
            panel.set_xscale("log")
            panel.set_xlim(min(values) / 3, max(values) * 8)
        else:
            panel.set_xlim(0, max(values) * 1.2)
        better = "more is better" if unit == "GB/s" else "less is better"
        panel.set_title(f"{measure}\n{unit}, {better}", loc="left", fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, transparent=True, metadata={"Date": None})


def main() -> int:
    """Write the tables and the plot."""
    figures, folder = sys.argv[1:]
    found = json.loads(Path(figures).read_text())
    page = Path(folder, "performance.md")
    page.write_text(between(page.read_text(), tables(found)))
    plot(found, Path(folder, PLOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
