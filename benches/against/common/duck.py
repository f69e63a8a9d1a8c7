"""The batch side: one query over a whole log, in DuckDB, into a table of a database file.

The driver starts a new process for every run, so that time and memory are those of a process. It
prints one JSON object: the seconds it took once DuckDB was loaded.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import duckdb

TOPICS = ("impressions", "plays")
# UUIDs need less memory and text no conversion; which is faster depends on format and machine.
ID_TYPES = ("UUID", "VARCHAR")


def main() -> None:
    arguments = parse_arguments()
    sql = arguments.sql.read_text().replace("$H", str(arguments.join_window))
    started = time.perf_counter()
    with duckdb.connect(str(arguments.database)) as connection:
        connection.execute(f"SET threads = {arguments.threads}")
        connection.execute("SET preserve_insertion_order = false")
        for topic in TOPICS:
            connection.execute(view_of(topic, arguments))
        connection.execute(f"CREATE TABLE result AS {sql}")
        connection.execute("CHECKPOINT")
    print(json.dumps({"sql_s": time.perf_counter() - started}))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", type=Path, required=True, help="folder of the log")
    parser.add_argument("--sql", type=Path, required=True, help="file with the query")
    parser.add_argument("--database", type=Path, required=True, help="database file to create")
    parser.add_argument("--id-type", choices=ID_TYPES, default="UUID", help="type of request ids")
    parser.add_argument("--epoch-length-ms", type=int, default=1_800_000)
    parser.add_argument("--join-window", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def events_of(log: Path, topic: str, id_type: str) -> str:
    """The table function that reads the needed columns of a topic."""
    if any(log.glob(f"{topic}-*.parquet")):
        return f"read_parquet('{log}/{topic}-*.parquet')"
    return json_events(f"{log}/{topic}-*.jsonl", id_type, ("event_time",))


def json_events(files: Path | str, id_type: str, times: Sequence[str]) -> str:
    """The table function that reads requests, videos and these times of JSON Lines."""
    columns = ", ".join(
        (f"request_id: '{id_type}'", "video_id: 'UBIGINT'", *(f"{time}: 'BIGINT'" for time in times))
    )
    return f"read_json('{files}', format = 'newline_delimited', columns = {{{columns}}})"


def epoch_of(time_ms: str, epoch_length_ms: int) -> str:
    """Rounds down. With `//` alone, -1 ms would be in epoch 0."""
    return f"({time_ms} // {epoch_length_ms} - ({time_ms} % {epoch_length_ms} < 0)::BIGINT)"


def view_of(topic: str, arguments: argparse.Namespace) -> str:
    # Four bytes are enough for an epoch, and grouping keys should be small.
    epoch = epoch_of("event_time", arguments.epoch_length_ms)
    return (
        f"CREATE TEMP VIEW {topic} AS SELECT request_id::{arguments.id_type} AS request_id, "
        f"video_id, {epoch}::INTEGER AS epoch "
        f"FROM {events_of(arguments.log, topic, arguments.id_type)}"
    )


if __name__ == "__main__":
    main()
