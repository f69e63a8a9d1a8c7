"""Measures both sides in turn on a whole log, for each form in which it may come."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from common.duck import ID_TYPES, TOPICS, json_events
from common.logs import CLEAN, SCATTERED, generate
from common.process import Usage
from common.sides import Sides
from common.store import Query, assert_equal


@dataclass(frozen=True)
class Form:
    """A form of a log: files by `trendmark generate`, or Parquet files that DuckDB makes of those,
    with request ids of this type."""

    folder: str
    title: str
    flags: tuple[str, ...]
    target: float | None = None
    parquet_ids: str | None = None


# Parquet by DuckDB is of the first log.
FORMS = (
    Form("jsonl", "JSON Lines", SCATTERED, 0.30),
    Form("parquet-text", "Parquet by DuckDB, ids as text", SCATTERED, 0.35, "VARCHAR"),
    Form("parquet-uuid", "Parquet by DuckDB, ids as UUIDs", SCATTERED, 0.22, "UUID"),
    Form("together", "JSON Lines, requests arrive together", CLEAN),
    Form("parquet", "Parquet, requests arrive together", (*CLEAN, "--format=parquet")),
)


def write(form: Form, trendmark: Path, data: Path, impressions: int) -> list[str]:
    """Writes the log of a form, unless it is there. Returns the flags of `trendmark generate`."""
    log = data / (form.folder if form.parquet_ids is None else FORMS[0].folder)
    flags = generate(trendmark, log, impressions, form.flags)
    if form.parquet_ids is not None:
        for source in (path for topic in TOPICS for path in log.glob(f"{topic}-*.jsonl")):
            copy(source, data / form.folder / f"{source.stem}.parquet", form.parquet_ids)
    return flags


def copy(source: Path, target: Path, id_type: str) -> None:
    """Copies a JSON Lines file to a Parquet file, unless that is newer. DuckDB keeps the order, and
    has its default encodings and compression."""
    if target.exists() and target.stat().st_mtime > source.stat().st_mtime:
        return
    target.parent.mkdir(exist_ok=True)
    events = json_events(source, id_type, ("event_time", "record_time"))
    with duckdb.connect() as connection:
        connection.execute(f"COPY (FROM {events}) TO '{target}' (FORMAT parquet)")


@dataclass
class Measured:
    """The runs of both sides over one log."""

    form: Form
    log: Path
    made_with: list[str]
    rows: int
    id_type: str
    jobs: list[Usage] = field(default_factory=list)
    batches: list[Usage] = field(default_factory=list)
    sql_s: list[float] = field(default_factory=list)


def measure_form(
    sides: Sides,
    trends: Query,
    form: Form,
    data: Path,
    impressions: int,
    rounds: int,
    note: Callable[[str], None],
) -> Measured:
    """Compares the rows of both sides, then times them in turn; every run's rows are compared."""
    made_with = write(form, sides.trendmark, data, impressions)
    log = data / form.folder
    id_type = fastest_id_type(sides, trends, log, note)
    expected = sides.batch_rows(trends)
    sides.run_job(log)
    assert_equal(f"{log.name}: trends", sides.job_rows(trends), expected)
    note(f"{log.name}: {len(expected)} rows are equal")
    measured = Measured(form, log, made_with, len(expected), id_type)
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
