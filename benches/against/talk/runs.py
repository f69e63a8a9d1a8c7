"""Runs a design of the talk, or trendmark, over a log: whole, or killed in the middle and started
again."""

import json
import shutil
import signal
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from common.context import Context
from common.difference import Difference, difference
from common.process import Command, Usage, run
from common.store import (
    Unequal,
    assert_equal,
    has_tables,
    open_store,
    records_in,
    records_to_replay,
)

POLL_S, LIMIT_S = 0.002, 600


@dataclass(frozen=True)
class Case:
    """A design with the length of its window or timeout, in batches of a minute."""

    name: str
    design: str
    window_batches: int


@dataclass(frozen=True)
class Outcome:
    """How the rows of one run over a log differ from the exact ones, and what it took: of both
    processes, if it was killed."""

    found: Difference
    usages: tuple[Usage, ...]
    written_again: int = 0
    read_again: int = 0
    held_max: int | None = None

    def results(self) -> tuple[object, ...]:
        """What does not depend on the machine."""
        return self.found, self.written_again, self.read_again, self.held_max

    def wall_s(self) -> float:
        return sum(usage.wall_s for usage in self.usages)

    def peak_bytes(self) -> int:
        return max(usage.peak_bytes for usage in self.usages)


class Runner:
    """Runs everything over one log, whose exact rows are known."""

    def __init__(self, context: Context, log: Path, events: int) -> None:
        self.context = context
        self.log = log
        self.events = events
        self.trends = context.queries()[0]
        self.exact = context.sides.exact_rows(log, self.trends)

    def command(self, case: Case, recovery: str = "offsets", kills: bool = False) -> Command:
        """The command of a design."""
        flags = ["--design", case.design, "--window-batches", str(case.window_batches)]
        flags += ["--recovery", recovery]
        flags += ["--kill-after", str(self.events // 2)] if kills else []
        program = self.context.programs["talk"]
        return [program, "run", "--log", self.log, "--out", self.out(), *flags]

    def out(self) -> Path:
        return self.context.data / "table"

    def whole(self, case: Case) -> Outcome:
        """One process over the whole log."""
        shutil.rmtree(self.out(), ignore_errors=True)
        usage = run(self.command(case), self.context.data / "talk.txt")
        return self._outcome((usage,))

    def killed(self, case: Case, recovery: str) -> Outcome:
        """A process that is killed after half of the events, and a second one to the end."""
        shutil.rmtree(self.out(), ignore_errors=True)
        messages = self.context.data / "talk.txt"
        first = run(self.command(case, recovery, True), messages, -signal.SIGKILL)
        second = run(self.command(case, recovery), messages)
        return self._outcome((first, second))

    def _outcome(self, usages: tuple[Usage, ...]) -> Outcome:
        command = [self.context.programs["talk"], "rows", "--out", self.out()]
        printed = json.loads(run(command, self.context.data / "talk.txt").output)
        totals = [json.loads(usage.output) for usage in usages]
        found = difference([tuple(row) for row in printed["rows"]], self.exact)
        if found.extra():
            raise Unequal(f"more than the exact rows: {found}")
        return Outcome(
            found,
            usages,
            printed["written_again"],
            # All processes together have read more than the log.
            sum(total["events_read"] for total in totals) - self.events,
            max(total["events_held_max"] for total in totals),
        )

    def trendmark(self) -> Outcome:
        """trendmark over the whole log."""
        usage = self.context.sides.run_job(self.log)
        return self._stored((usage,), 0)

    def trendmark_killed(self) -> Outcome:
        """trendmark, killed as soon as its store holds half of the events, and started again."""
        sides = self.context.sides
        flags = ["--publish-interval", "100ms"]
        with sides.start_job(self.log, flags) as job:
            job.wait_until(lambda: has_tables(sides.store()), POLL_S, LIMIT_S)
            with closing(open_store(sides.store())) as store:
                job.wait_until(lambda: records_in(store) > self.events // 2, POLL_S, LIMIT_S)
            first = job.kill()
        replayed = records_to_replay(sides.trendmark, sides.store())
        second = run(sides.job_command(self.log, flags), sides.work / "job.txt")
        return self._stored((first, second), replayed)

    def _stored(self, usages: tuple[Usage, ...], read_again: int) -> Outcome:
        rows = self.context.sides.job_rows(self.trends)
        assert_equal("trendmark", rows, self.exact)
        return Outcome(difference(rows, self.exact), usages, read_again=read_again)
