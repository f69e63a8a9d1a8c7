"""Measures both sides in turn on a whole log in one format."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.duck import ID_TYPES
from common.process import Usage
from common.sides import Sides
from common.store import Query, assert_equal


@dataclass
class Measured:
    """The runs of both sides over one log."""

    log: Path
    made_with: Sequence[str]
    rows: int
    id_type: str
    jobs: list[Usage] = field(default_factory=list)
    batches: list[Usage] = field(default_factory=list)
    sql_s: list[float] = field(default_factory=list)


def measure_format(
    sides: Sides,
    trends: Query,
    log: Path,
    made_with: Sequence[str],
    rounds: int,
    note: Callable[[str], None],
) -> Measured:
    """Compares the rows of both sides, then times them in turn; every run's rows are compared."""
    id_type = fastest_id_type(sides, trends, log, note)
    expected = sides.batch_rows(trends)
    sides.run_job(log)
    assert_equal(f"{log.name}: trends", sides.job_rows(trends), expected)
    note(f"{log.name}: {len(expected)} rows are equal")
    measured = Measured(log, made_with, len(expected), id_type)
    for _ in range(rounds):
        job = sides.run_job(log)
        assert_equal(f"{log.name}: trends", sides.job_rows(trends), expected)
        batch, sql_s = sides.run_batch(log, trends, id_type)
        assert_equal(f"{log.name}: trends", sides.batch_rows(trends), expected)
        measured.jobs.append(job)
        measured.batches.append(batch)
        measured.sql_s.append(sql_s)
        note(f"{log.name}: {job.wall_s:.2f} s against {batch.wall_s:.2f} s")
    return measured


def fastest_id_type(sides: Sides, trends: Query, log: Path, note: Callable[[str], None]) -> str:
    """The type of request ids with which DuckDB is fastest on a log. Each type has two tries; the
    first also loads the files into memory."""
    tries = {id_type: math.inf for id_type in ID_TYPES}
    for id_type in ID_TYPES * 2:
        usage, _ = sides.run_batch(log, trends, id_type)
        tries[id_type] = min(tries[id_type], usage.wall_s)
    note(f"{log.name}: DuckDB seconds by type of request ids: {tries}")
    return min(tries, key=lambda id_type: tries[id_type])
