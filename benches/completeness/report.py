"""Writes the tables of docs/completeness.md from what `cargo bench --bench completeness` prints.

`python3 benches/completeness/report.py FILE…` replaces what is between `<!-- results -->` and
`<!-- end -->`.
"""

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parent.parent.parent / "docs/completeness.md"
# The ages at which the width of the interval is told.
WIDTHS = ("5", "15", "25", "40")
# Ages at which the interval is narrower, on average, cannot miss: they are left out.
NARROW = 0.001

Result = dict[str, Any]
Case = tuple[str, str]


def main() -> None:
    lines = [line for name in sys.argv[1:] for line in Path(name).read_text().splitlines()]
    results = [json.loads(line) for line in lines if line.startswith("{")]
    order = list(dict.fromkeys(one["log"] for one in results))
    results.sort(key=lambda one: order.index(one["log"]))
    groups: dict[str, dict[Case, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for one in results:
        what = "flights" if one["log"].startswith("flights") else "made up"
        groups[f"{what}, {one['of']}"][one["log"], one["kind"]].append(one)
    parts = []
    for title, name in (
        ("Made-up logs, whole jobs: the rows in the store", "made up, job"),
        ("Made-up logs, the module alone", "made up, module"),
        ("The flights of 2013, whole jobs", "flights, job"),
        ("The flights of 2013, the module alone", "flights, module"),
    ):
        if name in groups:
            parts.append(f"**{title}**\n\n{figures(groups[name])}")
            parts.append(outages(groups[name]))
    text = DOCUMENT.read_text()
    begin, end = "<!-- results -->\n", "<!-- end -->\n"
    before, after = text.split(begin)
    after = after.split(end)[1]
    written = "\n\n".join(part for part in parts if part)
    DOCUMENT.write_text(f"{before}{begin}\n{written}\n\n{end}{after}")


def added(tallies: Iterable[Result]) -> Counter:
    """The sums of tallies."""
    total = Counter()
    for one in tallies:
        total.update(one)
    return total


def known(tally: Counter) -> int:
    return tally["answers"] - tally["unknown"]


def coverage(tally: Counter) -> str:
    missed = tally["below"] + tally["above"]
    return f"{100 * (1 - missed / known(tally)):.1f}" if known(tally) else "–"


def width(tally: Counter) -> float:
    return tally["width"] / known(tally) if known(tally) else 0.0


def figures(cases: dict[Case, list[Result]]) -> str:
    head = (
        "log", "events", "seeds × epochs", "an epoch has", "holds %", "all ages", "below, above",
        "unlike %", "odd epochs %", "no basis %", *(f"width at {age}" for age in WIDTHS),
    )
    rows = [row(case, results) for case, results in cases.items()]
    return table(head, rows)


def row(case: Case, results: Sequence[Result]) -> Sequence[str]:
    ages = {age: added(one["ages"][age] for one in results) for age in results[0]["ages"]}
    wide = added(tally for tally in ages.values() if width(tally) > NARROW)
    everything = added(ages.values())
    epochs = sum(one["epochs"] for one in results)
    few = everything["unknown"] - everything["unlike"]
    percent = 100 / everything["answers"]
    return (
        *case,
        f"{len(results)} × {epochs // len(results)}",
        f"{sum(one['events'] for one in results) / epochs:,.0f}",
        f"**{coverage(wide)}**",
        coverage(everything),
        f"{100 * wide['below'] / known(wide):.1f}, {100 * wide['above'] / known(wide):.1f}",
        f"{everything['unlike'] * percent:.1f}",
        f"{100 * sum(one['odd'] for one in results) / epochs:.1f}",
        f"{few * percent:.1f}",
        *(f"{100 * width(ages[age]):.1f}" for age in WIDTHS),
    )


def outages(cases: dict[Case, list[Result]]) -> str:
    """What was said within an hour of the beginning of an outage."""
    rows = []
    for case, results in cases.items():
        tally = added(one["after_outages"] for one in results)
        if tally["answers"]:
            unlike = 100 * tally["unlike"] / tally["answers"]
            figures = (coverage(tally), f"{unlike:.0f}", f"{100 * tally['far'] / known(tally):.1f}")
            rows.append((*case, f"{tally['answers']:,}", *figures))
    head = ("within an hour", "events", "answers", "holds %", "unlike %", "off by > 5 points %")
    return table(head, rows) if rows else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


if __name__ == "__main__":
    main()
