"""Queries, and their rows from both sides in one form for comparison."""

import json
import sqlite3
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Query:
    """A query of `dataflows/`."""

    name: str
    columns: tuple[str, ...]
    is_ledger: bool
    reads_queries: bool
    batch_sql: str
    whole_sql: str
    text_columns: frozenset[str]

    def column_list(self) -> str:
        return ", ".join(self.columns)

    def view(self) -> str:
        """The view of its rows in a store."""
        return "ledger" if self.is_ledger else self.name


def queries_of(example: Path, flags: Sequence[str] = ()) -> list[Query]:
    """The queries that the example `batch_sql` prints, each after those that it reads."""
    printed = subprocess.run([example, *flags], check=True, stdout=subprocess.PIPE).stdout
    return [
        Query(
            name=query["name"],
            columns=tuple(column["name"] for column in query["columns"]),
            is_ledger=query["is_ledger"],
            reads_queries=query["reads_queries"],
            batch_sql=query["batch_sql"],
            whole_sql=query["whole_sql"],
            text_columns=frozenset(
                column["name"] for column in query["columns"] if column["is_text"]
            ),
        )
        for query in json.loads(printed)
    ]


def rows_of(query: Query, rows: Iterable[Row]) -> list[Row]:
    """The rows with request ids as lower-case text, kinds as text and all else as numbers. A video
    id beyond the range of SQLite's integers is text in a store."""
    texts = [name in query.text_columns for name in query.columns]
    return [
        tuple(
            str(cell).lower() if is_text else cell if cell is None else int(cell)
            for is_text, cell in zip(texts, row, strict=True)
        )
        for row in rows
    ]


def open_store(store: Path) -> sqlite3.Connection:
    """A store, read-only, as an analyst would open it while the job runs."""
    return sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True, timeout=10)


def store_rows(store: Path, query: Query) -> list[Row]:
    """The rows of a query in a store, sorted."""
    with closing(open_store(store)) as connection:
        condition = "WHERE distinct_events > 0" if query.is_ledger else ""
        sql = f"SELECT {query.column_list()} FROM {query.view()} {condition}"
        return sorted(rows_of(query, connection.execute(sql)))


def store_ledger(store: Path) -> list[Row]:
    """(epoch, kind, events, distinct, late, future), sorted."""
    with closing(open_store(store)) as connection:
        return sorted(
            connection.execute(
                "SELECT epoch, kind, events, distinct_events, late_events, future_events "
                "FROM ledger"
            ),
            key=str,
        )


def store_malformed(store: Path) -> list[Row]:
    """(file, malformed records) for each file that has any, sorted."""
    with closing(open_store(store)) as connection:
        return sorted(
            connection.execute("SELECT partition, malformed FROM partitions WHERE malformed > 0")
        )


def has_tables(store: Path) -> bool:
    """Whether a store exists and is complete: its tables are created in one transaction."""
    if not store.exists():
        return False
    with closing(open_store(store)) as connection:
        sql = "SELECT count(*) FROM sqlite_master WHERE name = 'partitions'"
        ((tables,),) = connection.execute(sql)
        return bool(tables)


def records_in(connection: sqlite3.Connection) -> int:
    """The number of records of all partitions that the rows of a store include."""
    ((records,),) = connection.execute("SELECT coalesce(sum(next_offset), 0) FROM partitions")
    return int(records)


def records_to_replay(trendmark: Path, store: Path) -> int:
    """The number of records that a restart would read again."""
    command = [trendmark, "status", "--store", store, "--format", "json"]
    status = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    partitions = status["partitions"]
    return sum(part["next_offset"] - part["replay_offset"] for part in partitions)


class Unequal(Exception):
    """The rows of the two sides differ."""


def assert_equal(what: str, ours: list[Row], theirs: list[Row]) -> None:
    """Raises `Unequal` if the rows differ or there are none to compare."""
    if not theirs:
        raise Unequal(f"{what}: no rows to compare")
    if ours == theirs:
        return
    only_ours, only_theirs = set(ours) - set(theirs), set(theirs) - set(ours)
    raise Unequal(
        f"{what}: {len(ours)} rows in the store, {len(theirs)} in DuckDB; "
        f"only in the store: {sorted(only_ours)[:3]}; only in DuckDB: {sorted(only_theirs)[:3]}"
    )
