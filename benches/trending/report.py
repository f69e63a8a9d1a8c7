"""Writes the tables and the plot of docs/trending.md from what `cargo bench --bench trending` prints.

`target/scaling/python/bin/python benches/trending/report.py FILE…`, with the environment of
benches/scaling/setup.sh. It replaces what is between `<!-- results -->` and `<!-- end -->`.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = ROOT / "docs/trending.md"
PLOT = ROOT / "docs/trending.svg"

pyplot.rcParams.update(
    {"svg.fonttype": "none", "svg.hashsalt": "trending", "font.size": 8, "font.family": "sans-serif"}
)

Result = dict[str, Any]


def main() -> None:
    lines = [line for name in sys.argv[1:] for line in Path(name).read_text().splitlines()]
    results = [json.loads(line) for line in lines if line.startswith("{")]
    judged = group((one for one in results if "method" in one), "method")
    partial = group((one for one in results if "minutes" in one), "minutes")
    kinds = list(dict.fromkeys(one["kind"] for one in results))
    kinds.sort(key=lambda kind: ("strong" in kind, "moderate" in kind))
    methods = list(dict.fromkeys(method for _, method in judged))
    parts = [found(judged, kinds, methods), f"![Found within one epoch]({PLOT.name})"]
    parts += [calibrated(judged, kinds), provisional(partial, kinds)]
    text = DOCUMENT.read_text()
    begin, end = "<!-- results -->\n", "<!-- end -->\n"
    before, after = text.split(begin)
    after = after.split(end)[-1] if end in after else after
    DOCUMENT.write_text(before + begin + "\n" + "\n\n".join(parts) + "\n\n" + end + after)
    draw(judged, kinds, methods)


def group(results: Iterable[Result], by: str) -> dict[tuple[str, Any], list[Result]]:
    """Results by kind of world and something else."""
    grouped = defaultdict(list)
    for one in results:
        grouped[one["kind"], one[by]].append(one)
    return grouped


def mean(results: Sequence[Result], value: str, weight: str) -> float:
    weights = sum(one[weight] for one in results)
    return sum(one[value] * one[weight] for one in results) / weights


def share_beyond(results: Sequence[Result], at: int) -> float:
    """The rows beyond 2, 3 or 4, as a multiple of those of a normal distribution."""
    rows = sum(one["rows"] for one in results)
    return sum((one["beyond"][at] or 0) * one["rows"] for one in results) / rows


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def found(judged: dict, kinds: Sequence[str], methods: Sequence[str]) -> str:
    def cell(results: Sequence[Result]) -> str:
        values = (mean(results, value, "surges") for value in ("within_one", "precision"))
        return " / ".join(f"{value:.2f}" for value in values)

    surges = sum(one["surges"] for kind in kinds for one in judged[kind, methods[0]])
    rows = [(kind, *(cell(judged[kind, method]) for method in methods)) for kind in kinds]
    return (
        f"Found within one epoch / precision, of {surges:,} surges of titles with 50 plays or more an "
        "epoch. Precision is the share of surges among the k highest rows of an epoch, where k is the "
        "number of such surges in it, at most 10.\n\n" + table(("", *methods), rows)
    )


def calibrated(judged: dict, kinds: Sequence[str]) -> str:
    methods = ("trending: score", "trending: momentum", "surge: score", "ceiling")
    head = ("rows beyond 2, 3, 4, as multiples of the normal's", *methods)
    rows = [
        (kind, *(", ".join(f"{share_beyond(judged[kind, one], at):.2f}" for at in range(3))
                 for one in methods))
        for kind in kinds
    ]
    return (
        "Final rows of titles without a surge. `surge` also notices the titles that are only shown more, "
        "as it should.\n\n" + table(head, rows)
    )


def provisional(partial: dict, kinds: Sequence[str]) -> str:
    minutes = sorted({at for _, at in partial})
    head = ("the score of provisional rows, after", *(f"{at} min" for at in minutes))
    rows = [
        (kind, *(", ".join(f"{share_beyond(partial[kind, at], part):.2f}" for part in range(3))
                 for at in minutes))
        for kind in kinds
    ]
    count = sum(one["rows"] for one in partial[kinds[0], minutes[0]])
    return f"The same while an epoch goes on, {count:,} rows each:\n\n" + table(head, rows)


def draw(judged: dict, kinds: Sequence[str], methods: Sequence[str]) -> None:
    figure, panel = pyplot.subplots(figsize=(9, 3.2), layout="constrained")
    width = 0.8 / len(methods)
    for number, method in enumerate(methods):
        places = [at + (number - len(methods) / 2 + 0.5) * width for at in range(len(kinds))]
        values = [mean(judged[kind, method], "within_one", "surges") for kind in kinds]
        panel.bar(places, values, width, label=method)
    names = [kind.replace("overdispersion", "over-\ndispersion").replace(", ", ",\n") for kind in kinds]
    panel.set_xticks(range(len(kinds)), names, fontsize=7)
    panel.set_ylabel("found within one epoch")
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(fontsize=7, frameon=False, ncols=4, loc="upper right")
    figure.savefig(PLOT, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    main()
