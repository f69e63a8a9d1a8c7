"""The log as other engines can read it in the order of arrival.

trendmark reads each partition in its own order, with a watermark of its own. Spark and Flink read
files in an order of their own and have one watermark for each reader, so events of a file that is
read late would be dropped as late.
"""

import os
from pathlib import Path

import duckdb

from common.duck import TOPICS, json_events

# Spark reads one slice of each topic in a micro-batch.
SLICES = 24
# Flink reads so many files of impressions side by side, one for each core.
READERS = 2
AFTER_END_MS = 24 * 3_600_000
MEMBERS = "request_id, video_id, event_time, record_time"


def events_of(log: Path, topic: str) -> str:
    return json_events(f"{log}/{topic}-*.jsonl", "VARCHAR", ("event_time", "record_time"))


def write(connection: duckdb.DuckDBPyConnection, select: str, path: Path, options: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(f"COPY ({select}) TO '{path}' (FORMAT json{options})")


def sliced(log: Path) -> Path:
    """Files that hold the events of equal spans of arrival, the oldest first by modification time.
    The last holds one event a day after the others, so that the watermark passes all others."""
    out = log.parent / f"{log.name}-sliced"
    if out.exists():
        return out
    with duckdb.connect() as connection:
        for topic in TOPICS:
            connection.execute(f"CREATE TABLE {topic} AS FROM {events_of(log, topic)}")
        both = "(FROM impressions UNION ALL FROM plays)"
        bounds = connection.execute(f"SELECT min(record_time), max(record_time) FROM {both}")
        ((first, last),) = bounds.fetchall()
        for topic in TOPICS:
            for number in range(SLICES):
                span = (last + 1 - first) / SLICES
                start, end = (round(first + at * span) for at in (number, number + 1))
                select = (
                    f"SELECT {MEMBERS} FROM {topic} "
                    f"WHERE record_time >= {start} AND record_time < {end} ORDER BY record_time"
                )
                place(connection, select, out, topic, number)
            after = last + AFTER_END_MS
            select = f"SELECT 'end' AS request_id, 0 AS video_id, {after} AS event_time"
            place(connection, select, out, topic, SLICES)
    return out


def place(
    connection: duckdb.DuckDBPyConnection, select: str, out: Path, topic: str, number: int
) -> None:
    """Writes a slice."""
    path = out / topic / f"{number:03}.json"
    write(connection, select, path, "")
    os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))


def compressed(log: Path) -> Path:
    """One file of plays and one of impressions for each reader, in the order of arrival. They are
    compressed because Flink would cut plain files into pieces and read these in any order."""
    out = log.parent / f"{log.name}-compressed"
    if out.exists():
        return out
    with duckdb.connect() as connection:
        for topic, files in (("impressions", READERS), ("plays", 1)):
            for number in range(files):
                select = (
                    f"SELECT {MEMBERS} FROM {events_of(log, topic)} "
                    f"WHERE hash(request_id) % {files} = {number} ORDER BY record_time"
                )
                path = out / topic / f"{number}.json.gz"
                write(connection, select, path, ", COMPRESSION gzip")
    return out
