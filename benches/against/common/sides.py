"""The two sides: a trendmark job, and a DuckDB batch run."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from common.duck import ID_TYPES, TOPICS
from common.logs import topic_files
from common.process import Command, Process, Usage, run
from common.store import Query, Row, assert_equal, rows_of, store_rows

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Sides:
    """The program, and the folder in which both sides write."""

    trendmark: Path
    work: Path

    def store(self) -> Path:
        return self.work / "store.db"

    def database(self) -> Path:
        return self.work / "batch.duckdb"

    def job_command(self, log: Path, flags: Sequence[str] = ()) -> Command:
        topics = [part for topic in TOPICS for part in (f"--{topic}", topic_files(log, topic))]
        return [self.trendmark, "run", "--workers", "2", *topics, "--store", self.store(), *flags]

    def batch_command(self, log: Path, query: Query, id_type: str) -> Command:
        sql = self.work / f"{query.name}.sql"
        sql.write_text(query.whole_sql)
        program = HERE / "duck.py"
        files: Command = ["--log", log, "--sql", sql, "--database", self.database()]
        return [sys.executable, program, *files, "--id-type", id_type]

    def start_job(self, log: Path, flags: Sequence[str] = ()) -> Process:
        """Starts a job with a new store."""
        self._remove("store.db*")
        return Process(self.job_command(log, flags), self.work / "job.txt")

    def run_job(self, log: Path, flags: Sequence[str] = ()) -> Usage:
        """Runs a whole job, from reading to the last commit."""
        with self.start_job(log, flags) as job:
            return job.wait()

    def run_batch(self, log: Path, query: Query, id_type: str = ID_TYPES[0]) -> tuple[Usage, float]:
        """Runs a whole batch. Also returns the seconds it took once DuckDB was loaded."""
        self._remove("batch.duckdb*")
        usage = run(self.batch_command(log, query, id_type), self.work / "batch.txt")
        return usage, json.loads(usage.output)["sql_s"]

    def job_rows(self, query: Query) -> list[Row]:
        """The rows of the last job, sorted."""
        return store_rows(self.store(), query)

    def exact_rows(self, log: Path, query: Query) -> list[Row]:
        """The rows of a log by DuckDB, sorted, which trendmark's must equal."""
        self.run_batch(log, query)
        rows = self.batch_rows(query)
        self.run_job(log)
        assert_equal(f"{log.name}: {query.name}", self.job_rows(query), rows)
        return rows

    def batch_rows(self, query: Query) -> list[Row]:
        """The rows of the last batch run, sorted."""
        with duckdb.connect(str(self.database()), read_only=True) as connection:
            answer = connection.execute(f"SELECT {query.column_list()} FROM result")
            return sorted(rows_of(query, answer.fetchall()))

    def _remove(self, pattern: str) -> None:
        for path in self.work.glob(pattern):
            path.unlink()
