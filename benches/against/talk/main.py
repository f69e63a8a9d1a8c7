"""trendmark against the three designs of the talk "Trending Now", without and with a crash."""

import argparse
from collections.abc import Sequence
from statistics import median

from common.context import Context, note
from common.difference import share
from common.logs import SCATTERED, count_lines, generate
from common.store import Unequal
from common.tables import Commands, table, values
from talk.runs import Case, Outcome, Runner

EXAMPLES = ("batch_sql", "talk")
IMPRESSIONS_SMALL, IMPRESSIONS = 40_000, 4_000_000
CASES = (
    Case("I: windows of 30 min joined", "window-join", 30),
    Case("II: `mapWithState`, timeout 30 min", "map-with-state", 30),
    Case("II: `mapWithState`, timeout 2 h 30 min", "map-with-state", 150),
    Case("III: batch joined with windows of 30 min", "batch-join", 30),
    Case("III: batch joined with windows of 2 h 30 min", "batch-join", 150),
)
RECOVERIES = {"offsets": "offsets alone", "checkpoint": "checkpoint"}
# Longer than any log.
WHOLE_LOG = 1_000

INTRODUCTION = """# trendmark against the three designs of the talk

The same log, whose requests are scattered, was read by the three designs of the talk, each on
timely with two workers, and by trendmark with two workers. [README.md](README.md) explains them.
The exact rows are those of DuckDB and of trendmark, which were equal. Lost is what the exact rows
have and these do not. No design had anything that the exact rows do not have. Written twice are
elements of the sets that were written more than once: by so much, counters in place of sets would
be too high. Held is the largest number of events in memory. Times are those of whole processes, a
median with all values beside it; memory is peak resident size."""

KILLED = """Each job was ended by `kill -9` once it had processed half of the events, and started
again. With offsets alone the second process begins with the next batch, and what was in memory is
lost. With a checkpoint it restores the state (II), or reads the batches again that were in memory
(I, III). Read again are the events that both processes read. Times are those of both processes
together."""


def add_flags(_: argparse.ArgumentParser) -> None:
    """No flags of its own."""


def prepared(context: Context) -> tuple[Runner, Sequence[str]]:
    """A runner over a scattered log, and the flags of its generation."""
    log = context.data / "scattered"
    impressions = context.impressions(IMPRESSIONS_SMALL, IMPRESSIONS)
    made_with = generate(context.sides.trendmark, log, impressions, SCATTERED)
    return Runner(context, log, sum(count_lines(path) for path in log.glob("*.jsonl"))), made_with


def check(context: Context) -> None:
    """Every design gives the exact rows if its window holds the whole log, killed or not, never
    more than the exact rows, and the same ones in each run."""
    runner, _ = prepared(context)
    for design in dict.fromkeys(case.design for case in CASES):
        case = Case(design, design, WHOLE_LOG)
        for outcome in (runner.whole(case), runner.killed(case, "checkpoint")):
            if not outcome.found.is_exact():
                raise Unequal(f"{design} with the whole log in its window: {outcome.found}")
    for case in CASES:
        outcomes = [runner.whole(case), *(runner.killed(case, name) for name in RECOVERIES)]
        if runner.killed(case, "offsets").results() != outcomes[1].results():
            raise Unequal(f"{case.name}: not the same in two runs")
        found = [outcome.found for outcome in outcomes]
        lost = ", ".join(f"{one.lost_impressions}/{one.lost_plays}" for one in found)
        print(f"{case.name}: lost impressions/plays whole, killed, with checkpoint: {lost}")


def measure(context: Context) -> str:
    """Measures everything and returns the report as text."""
    runner, made_with = prepared(context)
    size = f"{runner.events:,} events, {len(runner.exact):,} rows"
    note(size)
    whole: dict[str, list[Outcome]] = {}
    killed: dict[tuple[str, str], list[Outcome]] = {}
    for number in range(context.arguments.rounds):
        for case in CASES:
            whole.setdefault(case.name, []).append(runner.whole(case))
            for recovery, name in RECOVERIES.items():
                outcome = runner.killed(case, recovery)
                killed.setdefault((case.name, name), []).append(outcome)
        whole.setdefault("trendmark", []).append(runner.trendmark())
        killed.setdefault(("trendmark", "its store"), []).append(runner.trendmark_killed())
        note(f"round {number + 1}")
    return "\n\n".join(
        [
            INTRODUCTION,
            context.platform({"log": size}),
            "## Without a crash",
            table(
                ("", *WHAT, "held, events", "peak memory", "time", "events/s"),
                (line(name, outcomes, runner) for name, outcomes in whole.items()),
            ),
            "## Killed in the middle",
            KILLED,
            table(
                ("", "restarts from", *WHAT, "read again", "peak memory", "time"),
                (line_killed(name, outcomes, runner) for name, outcomes in killed.items()),
            ),
            "## Commands",
            commands(context, runner, made_with),
        ]
    )


WHAT = ("impressions lost", "plays lost", "written twice")


def what(outcomes: Sequence[Outcome], runner: Runner) -> list[str]:
    """What was lost, and written twice. Only for trendmark the moment of the kill differs."""
    plays, impressions = (sum(row[column] for row in runner.exact) for column in (2, 3))
    return [
        share(round(median(outcome.found.lost_impressions for outcome in outcomes)), impressions),
        share(round(median(outcome.found.lost_plays for outcome in outcomes)), plays),
        f"{round(median(outcome.written_again for outcome in outcomes)):,}",
    ]


def line(name: str, outcomes: Sequence[Outcome], runner: Runner) -> Sequence[str]:
    wall_s = median(outcome.wall_s() for outcome in outcomes)
    held = outcomes[0].held_max
    return (
        name,
        *what(outcomes, runner),
        "" if held is None else f"{held:,}",
        f"{median(outcome.peak_bytes() for outcome in outcomes) / 1e9:.2f} GB",
        values((outcome.wall_s() for outcome in outcomes), "{:.2f}") + " s",
        f"{runner.events / wall_s / 1e6:.2f} M",
    )


def line_killed(
    name: tuple[str, str], outcomes: Sequence[Outcome], runner: Runner
) -> Sequence[str]:
    read_again = round(median(outcome.read_again for outcome in outcomes))
    return (
        *name,
        *what(outcomes, runner),
        share(read_again, runner.events),
        f"{median(outcome.peak_bytes() for outcome in outcomes) / 1e9:.2f} GB",
        values((outcome.wall_s() for outcome in outcomes), "{:.2f}") + " s",
    )


def commands(context: Context, runner: Runner, made_with: Sequence[str]) -> str:
    """The commands: of the generation, of trendmark, and of the designs, some of them killed."""
    listed = Commands(context.sides.trendmark, context.data, talk=context.programs["talk"])
    listed.add([context.sides.trendmark, "generate", "--out", runner.log, *made_with])
    listed.add(context.sides.job_command(runner.log))
    for case in CASES:
        listed.add(runner.command(case))
        listed.add(runner.command(case, "checkpoint", True))
    return listed.text()
