"""The acceptance rules in SQL: a slow, independent check on a small log.

Every record is judged by the earlier records of its file. Then each `batch_sql` is run: for a query
of single epochs, once per epoch, over the accepted events that contribute to it; for a query across
epochs, over the rows of the queries that it reads.
"""

from dataclasses import dataclass
from pathlib import Path

import duckdb

from common.duck import TOPICS, epoch_of
from common.store import Query, Row, rows_of

MINUTE_MS = 60_000


@dataclass(frozen=True)
class Definition:
    """Decides in which epochs an event counts; see `src/time/definition.rs`."""

    epoch_length_ms: int = 30 * MINUTE_MS
    join_window: int = 4
    max_delay_ms: int = 10 * MINUTE_MS
    max_future_ms: int = 10 * MINUTE_MS

    def flags(self) -> list[str]:
        return [
            f"--epoch-length={self.epoch_length_ms}ms",
            f"--join-window={self.join_window}",
            f"--max-delay={self.max_delay_ms}ms",
            f"--max-future={self.max_future_ms}ms",
        ]


# The place of a line is its number in the file, not the order in which DuckDB returns it.
JSON_RECORDS = """
SELECT filename AS file, place,
       CASE WHEN json_valid(line) THEN line END AS record,
       CASE json_type(record, 'request_id') WHEN 'VARCHAR'
           THEN nullif(record->>'request_id', '') END AS request_id,
       CASE json_type(record, 'video_id') WHEN 'UBIGINT'
           THEN (record->>'video_id')::UBIGINT END AS video_id,
       (record->>'event_time')::BIGINT AS event_time,
       (record->>'record_time')::BIGINT AS record_time
FROM (SELECT filename, unnest(lines) AS line, generate_subscripts(lines, 1) AS place
      FROM (SELECT filename, string_split(content, chr(10)) AS lines
            FROM read_text('{log}/{topic}-*.jsonl')))
WHERE line <> ''
"""

PARQUET_RECORDS = """
SELECT filename AS file, file_row_number AS place, nullif(request_id, '') AS request_id,
       video_id, event_time, record_time
FROM read_parquet('{log}/{topic}-*.parquet', filename = true, file_row_number = true)
"""

JUDGED = """
CREATE TABLE judged_{topic} AS
WITH records AS ({records}),
     read AS (
         SELECT *, request_id IS NULL OR video_id IS NULL OR event_time IS NULL AS malformed
         FROM records),
     honest AS (
         SELECT *, NOT malformed AND coalesce(event_time > record_time + {max_future_ms}, false)
                AS future
         FROM read),
     marked AS (
         SELECT *, max(event_time) FILTER (NOT malformed AND NOT future)
                       OVER (PARTITION BY file ORDER BY place) - {max_delay_ms} AS watermark
         FROM honest),
     placed AS (
         SELECT *, {epoch} AS epoch,
                coalesce({watermark_epoch} - {join_window} - 1, -1000000000) AS closed_through
         FROM marked)
SELECT file, request_id, video_id, epoch, closed_through,
       CASE WHEN malformed THEN 'malformed' WHEN future THEN 'future'
            WHEN epoch <= closed_through THEN 'late' ELSE 'accepted' END AS verdict,
       greatest(epoch - {reach}, closed_through + 1) AS first_epoch
FROM placed
"""

# The accepted events that contribute to an epoch.
CONTRIBUTING = """
CREATE OR REPLACE TEMP VIEW {topic} AS
SELECT request_id::UUID AS request_id, video_id, epoch FROM judged_{topic}
WHERE verdict = 'accepted' AND {epoch} BETWEEN first_epoch AND epoch
"""

# Rejected events far from the watermark of their file, or without one, have no epoch.
LEDGER = """
SELECT CASE WHEN verdict = 'accepted' OR abs(epoch - closed_through) <= 1000 THEN epoch END
           AS counted, '{kind}', count(*),
       count(DISTINCT (request_id, video_id)) FILTER (verdict = 'accepted'),
       count(*) FILTER (verdict = 'late'), count(*) FILTER (verdict = 'future')
FROM judged_{topic} WHERE verdict <> 'malformed' GROUP BY counted
"""


class Judge:
    """Computes the results of a log by the rules of `definition`."""

    def __init__(self, log: Path, definition: Definition) -> None:
        self.definition = definition
        self.connection = duckdb.connect()
        for topic in TOPICS:
            self.connection.execute(self._judged(log, topic))

    def _judged(self, log: Path, topic: str) -> str:
        definition = self.definition
        is_parquet = any(log.glob(f"{topic}-*.parquet"))
        records = PARQUET_RECORDS if is_parquet else JSON_RECORDS
        return JUDGED.format(
            topic=topic,
            records=records.format(log=log, topic=topic),
            max_future_ms=definition.max_future_ms,
            max_delay_ms=definition.max_delay_ms,
            epoch=epoch_of("event_time", definition.epoch_length_ms),
            watermark_epoch=epoch_of("watermark", definition.epoch_length_ms),
            join_window=definition.join_window,
            reach=definition.join_window if topic == "plays" else 0,
        )

    def rows(self, query: Query) -> list[Row]:
        """The rows of a query, sorted. The queries that it reads must have been asked for."""
        sql = query.batch_sql.replace("$H", str(self.definition.join_window))
        if query.reads_queries:
            self.connection.execute(f'CREATE TABLE "{query.name}" AS {sql}')
        else:
            self._create_by_epoch(query, sql)
        answer = self.connection.execute(f'SELECT {query.column_list()} FROM "{query.name}"')
        return sorted(rows_of(query, answer.fetchall()))

    def _create_by_epoch(self, query: Query, sql: str) -> None:
        for topic in TOPICS:
            self.connection.execute(CONTRIBUTING.format(topic=topic, epoch=0))
        self.connection.execute(f'CREATE TABLE "{query.name}" AS SELECT * FROM ({sql}) LIMIT 0')
        for epoch in self._epochs():
            for topic in TOPICS:
                self.connection.execute(CONTRIBUTING.format(topic=topic, epoch=epoch))
            self.connection.execute(
                f'INSERT INTO "{query.name}" SELECT * FROM ({sql}) WHERE epoch = {epoch}'
            )

    def _epochs(self) -> list[int]:
        epochs = self.connection.execute(
            "SELECT DISTINCT unnest(range(first_epoch, epoch + 1)) FROM "
            "(FROM judged_impressions UNION ALL FROM judged_plays) WHERE verdict = 'accepted'"
        )
        return [epoch for (epoch,) in epochs.fetchall()]

    def ledger(self) -> list[Row]:
        """(epoch, kind, events, distinct, late, future), sorted."""
        rows: list[Row] = []
        for topic in TOPICS:
            kind = topic.removesuffix("s")
            answer = self.connection.execute(LEDGER.format(topic=topic, kind=kind))
            rows += answer.fetchall()
        return sorted(rows, key=str)

    def malformed(self) -> list[Row]:
        """(file, malformed records) for each file that has any, sorted."""
        answer = self.connection.execute(
            "SELECT file, count(*) FROM "
            "(FROM judged_impressions UNION ALL FROM judged_plays) "
            "WHERE verdict = 'malformed' GROUP BY file"
        )
        return sorted(answer.fetchall())

    def partly_late_plays(self) -> int:
        """The number of plays that were too late for some epochs of their join window."""
        answer = self.connection.execute(
            "SELECT count(*) FROM judged_plays WHERE verdict = 'accepted' "
            f"AND first_epoch > epoch - {self.definition.join_window}"
        )
        ((plays,),) = answer.fetchall()
        return int(plays)
