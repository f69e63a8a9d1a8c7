"""Checks in CI that every query gives equal rows on small logs with all kinds of disorder."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from batch.follow import measure_follow
from batch.judge import MINUTE_MS, Definition, Judge
from common.logs import CLEAN, generate
from common.sides import Sides
from common.store import Query, Unequal, assert_equal, store_ledger, store_malformed


@dataclass(frozen=True)
class Case:
    """A small log, and the definition for reading it."""

    name: str
    flags: tuple[str, ...]
    definition: Definition = Definition()
    is_judged: bool = True
    has_partly_late_plays: bool = False


# Delays of 100 to 200 minutes: late events, and plays that are late for a part of their join
# window.
DELAYED = (
    "--late-rate=0.2",
    "--late-delay=1h40m",
    "--future-rate=0.02",
    "--future-offset=8m",
    "--malformed-rate=0.01",
    "--play-rate=0.2",
    "--play-delay-median=25m",
)
CASES = (
    Case("defaults", ()),
    Case("defaults-parquet", ("--format=parquet",)),
    Case("delayed", DELAYED, has_partly_late_plays=True),
    Case(
        "delayed-before-1970",
        (*DELAYED, "--start=1969-12-31T22:03:00Z", "--seed=2", "--format=parquet"),
        Definition(7 * MINUTE_MS, 3, 2 * MINUTE_MS, 20 * MINUTE_MS),
        has_partly_late_plays=True,
    ),
    Case(
        "delayed-without-window",
        (*DELAYED, "--seed=3"),
        Definition(20 * MINUTE_MS, 0, 0, 0),
    ),
    Case("clean", CLEAN, is_judged=False),
    Case("clean-parquet", (*CLEAN, "--format=parquet"), is_judged=False),
)


# So short that small logs have a score.
SHORT_HISTORY = (
    "day-epochs=2",
    "days=2",
    "guard=1",
    "least-epochs=2",
    "least-plays=1",
    "recent=3",
)
# Small logs have requests beyond these limits.
SMALL_LIMITS = (
    "--crowded-videos-max=10",
    "--choices-videos-max=20",
    *(f"--{query}-{part}" for query in ("trending", "surge") for part in SHORT_HISTORY),
)


def check_all(sides: Sides, queries: list[Query], data: Path, impressions: int) -> None:
    """Runs every case.

    Raises `Unequal` with the first rows that differ.
    """
    for case in CASES:
        log = data / f"small-{case.name}"
        generate(sides.trendmark, log, impressions, case.flags)
        sides.run_job(log, ["--query=all", *SMALL_LIMITS, *case.definition.flags()])
        checked = check_judged if case.is_judged else check_clean
        print(f"{case.name}: equal: {'; '.join(checked(sides, queries, log, case))}", flush=True)
    trends = queries[0]
    measured = measure_follow(sides, trends, data, impressions, ["100ms"], jobs=1, batches=2)
    print(f"follow: equal: trends after {len(measured.updates)} appended batches", flush=True)


def check_clean(sides: Sides, queries: list[Query], log: Path, _: Case) -> Iterable[str]:
    """Compares the rows with those of DuckDB as in the benchmark."""
    for query in queries:
        sides.run_batch(log, query)
        rows = sides.batch_rows(query)
        assert_equal(f"{log.name}: {query.name}", sides.job_rows(query), rows)
        yield f"{query.name} {len(rows)} rows"


def check_judged(sides: Sides, queries: list[Query], log: Path, case: Case) -> Iterable[str]:
    """Compares rows, ledger and malformed records, with every record judged in SQL."""
    judge = Judge(log, case.definition)
    for query in queries:
        rows = judge.rows(query)
        assert_equal(f"{log.name}: {query.name}", sides.job_rows(query), rows)
        yield f"{query.name} {len(rows)} rows"
    ledger = judge.ledger()
    assert_equal(f"{log.name}: ledger", store_ledger(sides.store()), ledger)
    malformed = judge.malformed()
    assert_equal(f"{log.name}: malformed", store_malformed(sides.store()), malformed)
    late, future = (sum(row[column] for row in ledger) for column in (4, 5))
    partly = judge.partly_late_plays()
    if not late or not future or (case.has_partly_late_plays and not partly):
        raise Unequal(f"{log.name}: the log lacks the cases that it should test")
    count = sum(records for _, records in malformed)
    yield f"ledger: {late} late, {future} future, {count} malformed, {partly} plays partly late"
