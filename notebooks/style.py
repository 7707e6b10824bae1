"""How the notebooks look: one set of colours, and the pictures that several of them draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from matplotlib_inline.backend_inline import set_matplotlib_formats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

OURS = "#d9480f"
"""What famfs does, and where published data lies."""
OTHERS = "#868e96"
"""What the alternatives do."""
CALM = "#e9ecef"
"""What is there and not in question: free space, frames."""
SERIES = ("#d9480f", "#1c7ed6", "#2b8a3e", "#862e9c", "#e67700", "#0b7285", "#a61e4d", "#5c940d")
"""Colours for things that are told apart, in this order."""

UNIT = 2 << 20
"""What a volume gives space in."""


def use() -> None:
    """Sets the look of all figures of a notebook."""
    set_matplotlib_formats("svg")
    plt.rcParams.update(
        {
            "figure.figsize": (8.5, 3.2),
            "figure.constrained_layout.use": True,
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "#adb5bd",
            "axes.titlesize": 10,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "axes.prop_cycle": plt.cycler(color=SERIES),
            "axes.axisbelow": True,
            "grid.color": CALM,
            "legend.frameon": False,
            # Text stays text, and the same figure is the same bytes.
            "svg.fonttype": "none",
            "svg.hashsalt": "famfs",
        }
    )


def bars(
    axes: Axes,
    values: Mapping[str, float],
    label: str,
    *,
    ours: str = "famfs",
    log: bool = False,
    sort: bool = True,
) -> None:
    """Draws horizontal bars, those whose names begin with `ours` in colour.

    Args:
        axes: Where.
        values: What was measured, by name.
        label: What the numbers are, with their unit.
        ours: How the names of our own bars begin.
        log: Whether the axis is logarithmic.
        sort: Whether the longest bar is at the bottom; else the last one is.
    """
    ordered = list(values.items())[::-1]
    if sort:
        ordered.sort(key=lambda item: -item[1])
    colours = [OURS if name.startswith(ours) else OTHERS for name, _ in ordered]
    drawn = axes.barh([name for name, _ in ordered], [v for _, v in ordered], color=colours)
    labels = [_shown(value) for _, value in ordered]
    axes.bar_label(drawn, labels=labels, color="#495057", padding=3)
    axes.set_xlabel(f"{label}, log scale" if log else label)
    axes.margins(x=0.18)
    if log:
        # From 1 on: where a logarithmic axis begins is what a bar's length means.
        axes.set_xscale("log")
        axes.set_xlim(left=1)
    axes.tick_params(axis="y", length=0)


def device(
    axes: Axes,
    size: int,
    places: Sequence[tuple[str, int, int, str]],
    *,
    across: int = 32,
    dead: Sequence[str] = (),
) -> None:
    """Draws a device as squares, one for each unit of 2 MiB, in lines from left to right.

    Args:
        axes: Where.
        size: Bytes of the device.
        places: Name, offset, length and colour of what lies there; offset and length in bytes.
        across: Squares in a line.
        dead: Names that are drawn hatched: allocated, and nobody's any more.
    """
    units = size // UNIT
    for unit in range(units):
        _square(axes, unit, across, CALM)
    legend = {}
    for name, offset, length, colour in places:
        hatch = "////" if name in dead else None
        for unit in range(offset // UNIT, -(-(offset + length) // UNIT)):
            legend[name] = _square(axes, unit, across, colour, hatch)
    lines = -(-units // across)
    axes.set(xlim=(0, across), ylim=(lines, 0), aspect="equal")
    axes.set_yticks(np.arange(lines) + 0.5, [_mib(line * across * UNIT) for line in range(lines)])
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.legend(
        legend.values(), legend, loc="upper left", bbox_to_anchor=(0, 0), ncols=4, handlelength=1
    )


def _square(axes: Axes, unit: int, across: int, colour: str, hatch: str | None = None) -> Rectangle:
    square = Rectangle(
        (unit % across + 0.06, unit // across + 0.06),
        *(0.88, 0.88),
        facecolor=colour,
        edgecolor="white" if hatch else colour,
        linewidth=0,
        hatch=hatch,
    )
    axes.add_patch(square)
    return square


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _mib(count: int) -> str:
    return f"{count >> 20} MiB"
