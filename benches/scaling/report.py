"""Writes the tables of docs/scaling.md from the results, and checks that they are up to date.

`python3 benches/scaling/report.py` writes them, `--check` fails if they or the plots are not those
of the results. It needs nothing but Python.
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Sequence
from statistics import quantiles

from points import AXES, BASE, Axis, Point
from results import RESULTS, ROOT, Results, Run, load, middle, rate

DOCUMENT = ROOT / "docs/scaling.md"
PLOTS = ROOT / "docs/scaling"
COLUMNS = (
    "time, s",
    "M events/s",
    "user time, ns an event",
    "peak memory, MiB",
    "store, MB",
    "rows",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if it would")
    arguments = parser.parse_args()
    results = load()
    text = DOCUMENT.read_text()
    made = fill(text, results)
    if not arguments.check:
        DOCUMENT.write_text(made)
        return
    stale = [DOCUMENT] if made != text else []
    for axis in AXES:
        plot = PLOTS / f"{axis.name}.svg"
        if not plot.exists() or digest(axis, results) not in plot.read_text():
            stale.append(plot)
    if stale:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        sys.exit(f"not made from {RESULTS.relative_to(ROOT)}: {names}; see benches/scaling")
    print("docs/scaling.md and its plots are those of the results")


def fill(document: str, results: Results) -> str:
    """Replaces what is between `<!-- NAME -->` and `<!-- end -->`."""
    parts = {"machine": machine(results), "claims": claims(results)}
    parts |= {axis.name: table(axis, results) for axis in AXES}
    for name, part in parts.items():
        begin = f"<!-- {name} -->\n"
        pattern = re.compile(re.escape(begin) + r".*?<!-- end -->\n", re.DOTALL)
        if not pattern.search(document):
            sys.exit(f"{DOCUMENT.relative_to(ROOT)} has no place for `{name}`")
        document = pattern.sub(lambda _: f"{begin}\n{part}\n\n<!-- end -->\n", document)
    return document


def digest(axis: Axis, results: Results) -> str:
    """Names the runs of an axis; its plot has it."""
    runs = [results.by_point()[point.key()] for point in points_of(axis)]
    control = results.by_point()[BASE.key()]
    return hashlib.sha256(json.dumps([runs, control]).encode()).hexdigest()[:16]


def points_of(axis: Axis) -> Iterable[Point]:
    return (point for series in axis.series.values() for _, point in series)


def machine(results: Results) -> str:
    return "\n".join(f"- {name}: {fact}" for name, fact in results.about.items())


def table(axis: Axis, results: Results) -> str:
    """The medians of an axis, a row for each point."""
    runs = results.by_point()
    rows = []
    for name, series in axis.series.items():
        for text, point in series:
            rows.append((f"{text}, {name}" if name else text, *cells(runs[point.key()])))
    return markdown((axis.title.lower(), *COLUMNS), rows)


def cells(runs: list[Run]) -> list[str]:
    times = [run["wall_s"] for run in runs]
    return [
        f"{middle(runs, 'wall_s'):.2f} ({min(times):.2f}–{max(times):.2f})",
        f"{speed(runs):.1f}",
        f"{user_ns(runs):.0f}",
        f"{middle(runs, 'memory_mib'):,.0f}",
        f"{middle(runs, 'store_bytes') / 1e6:,.1f}",
        f"{middle(runs, 'rows'):,.0f}",
    ]


def claims(results: Results) -> str:
    """What the results say about noise, about the source, and about logs that go on."""
    runs = results.by_point()
    control = runs[BASE.key()]
    rates = sorted(rate(run) for run in control)
    quarters = quantiles(rates, n=4) if len(rates) > 1 else rates * 3
    lines = [
        f"- The control, the base, ran {len(control)} times, from the first to the last: median "
        f"{quarters[1]:.1f} M events/s, half of the runs {quarters[0]:.1f}–{quarters[2]:.1f}, "
        f"all {rates[0]:.1f}–{rates[-1]:.1f}.",
        f"- The source alone took {middle(results.runs, 'source_ns'):.1f} ns an event (median of "
        "all runs), on one core.",
    ]
    lines += [f"- {line}" for line in long_log(results)]
    return "\n".join(lines)


def long_log(results: Results) -> Iterable[str]:
    """The longest log next to one of 20 M events, for each series of the axis of events."""
    runs = results.by_point()
    (axis,) = (axis for axis in AXES if axis.name == "events")
    for name, series in axis.series.items():
        last, longest = series[-1]
        short, long = runs[dict(series)["20 M"].key()], runs[longest.key()]
        tenths = ", ".join(str(mib) for mib in long[0]["memory_mib_by_tenth"])
        yield (
            f"{last} events, {name}: {speed(long) / speed(short):.2f} times the speed of 20 M "
            f"({speed(long):.1f} and {speed(short):.1f} M events/s; {user_ns(long):.0f} and "
            f"{user_ns(short):.0f} ns of user time an event). The most memory in each tenth of one "
            f"run's time: {tenths} MiB."
        )


def speed(runs: list[Run]) -> float:
    """Millions of events a second."""
    return middle(runs, "events") / middle(runs, "wall_s") / 1e6


def user_ns(runs: list[Run]) -> float:
    return middle(runs, "user_s") * 1e9 / middle(runs, "events")


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])


if __name__ == "__main__":
    main()
