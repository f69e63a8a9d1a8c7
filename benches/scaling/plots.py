"""The plots of docs/scaling: one file for each axis, with speed, memory and the store."""

from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot
from matplotlib.axes import Axes

from points import AXES, BASE, Axis
from report import digest
from results import Results, rate

# Text stays text, and the same results give the same file.
pyplot.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "scaling",
        "font.size": 8,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
    }
)

# A panel whose greatest value is more than so many times its least has a logarithmic scale.
LINEAR_RATIO_MAX = 20

PANELS = (
    ("M events/s", rate),
    ("peak memory, MiB", lambda run: run["memory_mib"]),
    ("store, MB", lambda run: run["store_bytes"] / 1e6),
)


def draw(results: Results, folder: Path) -> None:
    """Writes all plots."""
    folder.mkdir(parents=True, exist_ok=True)
    for axis in AXES:
        figure, panels = pyplot.subplots(1, len(PANELS), figsize=(9, 2.6), layout="constrained")
        for panel, (title, value) in zip(panels, PANELS, strict=True):
            draw_panel(panel, axis, results, title, value)
        if any(axis.series):
            panels[0].legend(fontsize=7, frameon=False, loc="lower left")
        figure.savefig(
            folder / f"{axis.name}.svg",
            metadata={"Date": None, "Description": f"runs {digest(axis, results)}"},
        )
        pyplot.close(figure)


def draw_panel(panel: Axes, axis: Axis, results: Results, title: str, value) -> None:
    """A curve for each series; its bars go from the least to the most of all runs."""
    runs = results.by_point()
    texts = list(dict.fromkeys(text for series in axis.series.values() for text, _ in series))
    drawn = []
    for name, series in axis.series.items():
        places = [texts.index(text) for text, _ in series]
        values = [[value(run) for run in runs[point.key()]] for _, point in series]
        middles = [median(some) for some in values]
        drawn += middles
        below = [middle - min(some) for middle, some in zip(middles, values)]
        above = [max(some) - middle for middle, some in zip(middles, values)]
        panel.errorbar(
            places, middles, yerr=(below, above), marker="o", markersize=3, lw=1, label=name
        )
    if title == PANELS[0][0]:
        control = [value(run) for run in runs[BASE.key()]]
        panel.axhspan(min(control), max(control), color="0.92", zorder=0)
    panel.set_xticks(range(len(texts)), texts, rotation=30, ha="right")
    panel.set_xlabel(axis.title)
    panel.set_title(title, fontsize=8)
    if max(drawn) > LINEAR_RATIO_MAX * min(drawn):
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    else:
        panel.set_ylim(bottom=0)
    panel.spines[["top", "right"]].set_visible(False)
