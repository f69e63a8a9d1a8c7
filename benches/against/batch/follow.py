"""Measures the next events, from arrival to readable rows, while a job follows its files."""

import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from common.duck import ID_TYPES
from batch.judge import MINUTE_MS
from common.logs import SCATTERED, Batch, Continued, cut, generate
from common.process import Process
from common.sides import Sides
from common.store import Query, assert_equal, has_tables, open_store, records_in

START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z, as `trendmark generate` has it
# The log continues after the cut at the same rate. An event takes two minutes to arrive, so that
# about the requested number of impressions is read before the cut.
CUT_MINUTES = 243
LOG_MINUTES = 255
NEXT_EVENTS = 100_000
POLL_S = 0.002
LIMIT_S = 600


@dataclass(frozen=True)
class Update:
    """A batch of events that arrived while a job followed."""

    publish_interval: str
    wall_s: float
    cpu_s: float


@dataclass
class Followed:
    """The measurements."""

    records: int
    next_events: int
    made_with: Sequence[str]
    id_type: str
    updates: list[Update] = field(default_factory=list)
    reruns_s: list[float] = field(default_factory=list)
    reruns_cpu_s: list[float] = field(default_factory=list)
    peaks_bytes: list[int] = field(default_factory=list)


def measure_follow(
    sides: Sides,
    trends: Query,
    data: Path,
    impressions: int,
    publish_intervals: Sequence[str],
    jobs: int,
    batches: int,
    id_type: str = ID_TYPES[0],
) -> Followed:
    """Runs a job with `--follow` for each publish interval in turn, `jobs` times, and appends
    `batches` batches to each. After each job DuckDB runs over the same files, and the rows must be
    equal."""
    log = data / "following"
    made_with = generate(
        sides.trendmark,
        log,
        impressions * LOG_MINUTES // 240,
        [*SCATTERED, f"--duration={LOG_MINUTES}m"],
    )
    # The cut removes a part of the log, so the next call must generate it again.
    (log / "made_with.json").unlink()
    next_events = min(NEXT_EVENTS, impressions // 100)
    continued = cut(log, START_MS + CUT_MINUTES * MINUTE_MS, batches, next_events)
    followed = Followed(continued.records, next_events, made_with, id_type)
    for _ in range(jobs):
        for publish_interval in publish_intervals:
            follow(sides, continued, publish_interval, followed)
            usage, _ = sides.run_batch(log, trends, id_type)
            followed.reruns_s.append(usage.wall_s)
            followed.reruns_cpu_s.append(usage.cpu_s)
            rows = sides.batch_rows(trends)
            assert_equal("trends after the next events", sides.job_rows(trends), rows)
            continued.restore()
    return followed


def follow_flags(publish_interval: str) -> list[str]:
    # The pauses between the batches must not make the files idle.
    return ["--follow", "--publish-interval", publish_interval, "--idle-timeout", "1h"]


def follow(sides: Sides, continued: Continued, publish_interval: str, followed: Followed) -> None:
    """Runs one job, which reads everything and then one appended batch after the other."""
    with sides.start_job(continued.log, follow_flags(publish_interval)) as job:
        job.wait_until(lambda: has_tables(sides.store()), POLL_S, LIMIT_S)
        with closing(open_store(sides.store())) as store:
            expected = continued.records
            job.wait_until(partial(has_read, store, expected), POLL_S, LIMIT_S)
            for number, batch in enumerate(continued.batches):
                # Batches arrive at any moment between two publications.
                time.sleep(1 + random.Random(number).random())
                expected += followed.next_events
                updated = update(job, continued, batch, partial(has_read, store, expected))
                followed.updates.append(Update(publish_interval, *updated))
        followed.peaks_bytes.append(job.interrupt().peak_bytes)


def has_read(store: sqlite3.Connection, records: int) -> bool:
    return records_in(store) == records


def update(
    job: Process, continued: Continued, batch: Batch, is_visible: Callable[[], bool]
) -> tuple[float, float]:
    """Appends a batch. Returns the wall time until its rows are committed, and the processor time
    of the job."""
    started, cpu_s = time.perf_counter(), job.cpu_s()
    continued.append(batch)
    job.wait_until(is_visible, POLL_S, LIMIT_S)
    return time.perf_counter() - started, job.cpu_s() - cpu_s
