"""trendmark against the engines that a user would pick: Spark, Flink and Feldera's dbsp."""

import argparse
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from common.context import Context, note
from common.difference import Difference, difference, share
from common.logs import SCATTERED, count_lines, generate
from common.process import Usage, run
from common.store import Row, Unequal
from common.tables import Commands, table, values
from streaming.engines import ENGINES, Engine, java, printed, rows_in

EXAMPLES = ("batch_sql",)
IMPRESSIONS_SMALL, IMPRESSIONS = 40_000, 1_000_000

INTRODUCTION = """# trendmark against other engines

The same scattered log, without late, future or malformed events, on the same two cores. The rows of
each run are compared with the exact ones, of DuckDB and trendmark, which were equal. The sides run
in turn. Time is that of the whole process; without start-up, it begins when the engine is ready for
the query. Each number is a median, with all values beside it. Memory is peak resident size.
[README.md](README.md) has the queries."""


@dataclass(frozen=True)
class Measured:
    """One run of a side."""

    wall_s: float
    run_s: float
    cpu_s: float
    peak_bytes: float
    found: Difference


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engines",
        default=",".join(ENGINES),
        help="engines to run, separated by commas [default: all]",
    )
    parser.add_argument("--keep", action="store_true", help="use what is set up already")


def check(context: Context) -> None:
    """Compares the rows of every engine on a small log."""
    log, exact, _ = prepared(context)
    for engine in chosen(context):
        found = run_engine(context, engine, log, exact).found
        print(f"{engine.name}: {len(exact)} rows, {found.rows} differ: {found}", flush=True)
        if not found.is_exact():
            raise Unequal(f"{engine.name}: {found}")


def prepared(context: Context) -> tuple[Path, list[Row], Sequence[str]]:
    """A scattered log, its exact rows, and the flags of its generation."""
    log = context.data / "scattered"
    impressions = context.impressions(IMPRESSIONS_SMALL, IMPRESSIONS)
    made_with = generate(context.sides.trendmark, log, impressions, SCATTERED)
    exact = context.sides.exact_rows(log, context.queries()[0])
    if not context.arguments.keep:
        for engine in chosen(context):
            engine.set_up()
    return log, exact, made_with


def chosen(context: Context) -> list[Engine]:
    return [ENGINES[name] for name in context.arguments.engines.split(",")]


def run_engine(context: Context, engine: Engine, log: Path, exact: list[Row]) -> Measured:
    """Runs an engine over a log, laid out for it."""
    out = context.data / "result"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    usage = run(engine.command(engine.lay_out(log), out), context.data / "engine.txt")
    said = printed(usage.output)
    return Measured(
        usage.wall_s,
        said["run_s"],
        # Of the Python process and the JVM that it starts.
        usage.cpu_s + said.get("cpu_s", 0),
        usage.peak_bytes + said.get("peak_bytes", 0),
        difference(rows_in(out), exact),
    )


def own(usage: Usage, rows: list[Row], exact: list[Row]) -> Measured:
    """A run of trendmark or DuckDB, whose start-up is not apart."""
    found = difference(rows, exact)
    return Measured(usage.wall_s, usage.wall_s, usage.cpu_s, usage.peak_bytes, found)


def round_of(context: Context, log: Path, exact: list[Row]) -> Iterable[tuple[str, Measured]]:
    """One run of each side."""
    sides, trends = context.sides, context.queries()[0]
    usage = sides.run_job(log)
    yield "trendmark", own(usage, sides.job_rows(trends), exact)
    usage, _ = sides.run_batch(log, trends)
    yield "DuckDB, one batch run", own(usage, sides.batch_rows(trends), exact)
    for engine in chosen(context):
        yield engine.name, run_engine(context, engine, log, exact)


def measure(context: Context) -> str:
    """Measures everything and returns the report as text."""
    log, exact, made_with = prepared(context)
    events = sum(count_lines(path) for path in log.glob("*.jsonl"))
    runs: dict[str, list[Measured]] = {}
    for number in range(context.arguments.rounds):
        for name, measured in round_of(context, log, exact):
            runs.setdefault(name, []).append(measured)
            note(f"round {number + 1}: {name}: {measured.wall_s:.1f} s")
    commands = Commands(context.sides.trendmark, context.data)
    commands.add([context.sides.trendmark, "generate", "--out", log, *made_with])
    commands.add(context.sides.job_command(log))
    for engine in chosen(context):
        commands.add(engine.command(engine.lay_out(log), context.data / "result"))
    head = ("", "rows that differ", "time, s", "without start-up, s", "events/s")
    head += ("processor time, s", "peak memory, GB")
    return "\n\n".join(
        [
            INTRODUCTION,
            context.platform({"Java": java(), "log": f"{events:,} events, {len(exact):,} rows"}),
            table(head, (line(name, these, exact, events) for name, these in runs.items())),
            "## Commands",
            commands.text(),
        ]
    )


def line(
    name: str, runs: Sequence[Measured], exact: Sequence[Row], events: int
) -> Sequence[str]:
    differing = {run.found.rows for run in runs}
    run_s = median(run.run_s for run in runs)
    return (
        name,
        " or ".join(share(rows, len(exact)) for rows in sorted(differing)),
        values((run.wall_s for run in runs), "{:.2f}"),
        values((run.run_s for run in runs), "{:.2f}"),
        f"{events / run_s / 1e6:.3f} M",
        values((run.cpu_s for run in runs), "{:.1f}"),
        values((run.peak_bytes / 1e9 for run in runs), "{:.2f}"),
    )
