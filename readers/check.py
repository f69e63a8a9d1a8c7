"""Checks that the readers of sets see the counts of the store. Usage: check.py STORE FOLDER

It tries those of DuckDB, Polars and Spark whose Python packages are installed, and says which. With
DuckDB it also writes sets in which requests are denied, and checks that no reader counts these.
"""

import importlib.util
import pathlib
import sqlite3
import sys
import tempfile

HERE = pathlib.Path(__file__).parent

# The files of an epoch: request, video, shown, played, denied. Request 2 was denied after it had
# played, and request 4 before anything was known of it; request 1 played later.
MADE_UP = [
    [(1, 7, True, False, False), (2, 7, True, True, False), (3, 7, True, True, False)],
    [(1, 7, True, True, False), (2, 7, False, False, True), (3, 8, True, False, False)],
    [(4, 7, False, False, True), (4, 9, False, False, True)],
]
# Video, epoch, plays, impressions.
MADE_UP_COUNTS = {(7, 5, 2, 2), (8, 5, 0, 1)}


def of_store(store):
    """The rows of the view `trends`."""
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT video_id, epoch, plays, impressions FROM trends")
        return {tuple(int(value) for value in row) for row in rows if row[3] > 0}


def of_duckdb(folder):
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET VARIABLE sets = ?", [folder])
    connection.execute((HERE / "sets.duckdb.sql").read_text())
    return connection.execute("SELECT video_id, epoch, plays, impressions FROM counts").fetchall()


def of_polars(folder):
    import sets_polars

    columns = ["video_id", "epoch", "plays", "impressions"]
    return sets_polars.counts(folder).select(columns).collect().rows()


def of_pyspark(folder):
    import sets_spark
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", False).getOrCreate()
    columns = ["video_id", "epoch", "plays", "impressions"]
    return sets_spark.counts(spark, folder).select(columns).collect()


def make_up(folder):
    """Writes the files of MADE_UP."""
    import duckdb

    epoch = pathlib.Path(folder) / "epoch=5"
    epoch.mkdir()
    for number, rows in enumerate(MADE_UP):
        uuid = "('00000000-0000-0000-0000-' || lpad(request::VARCHAR, 12, '0'))::UUID AS request_id"
        values = ", ".join(str(row) for row in rows)
        duckdb.sql(
            f"COPY (SELECT {uuid}, video_id::UBIGINT AS video_id, shown, played, denied "
            f"FROM (VALUES {values}) AS rows(request, video_id, shown, played, denied)) "
            f"TO '{epoch}/1-{number}-0.parquet'"
        )


def check(name, read, folder, expected, what):
    found = {tuple(int(value) for value in row) for row in read(folder)}
    if found != expected:
        sys.exit(f"{name}: {len(found ^ expected)} rows differ from {what}")
    print(f"{name}: {len(found)} rows, as in {what}")


def main():
    store, folder = sys.argv[1:]
    expected = of_store(store)
    is_installed = lambda name: importlib.util.find_spec(name) is not None
    with tempfile.TemporaryDirectory() as made_up:
        if is_installed("duckdb"):
            make_up(made_up)
        for name, read in [("duckdb", of_duckdb), ("polars", of_polars), ("pyspark", of_pyspark)]:
            if not is_installed(name):
                print(f"{name}: not installed")
                continue
            check(name, read, folder, expected, "the store")
            if is_installed("duckdb"):
                check(name, read, made_up, MADE_UP_COUNTS, "the sets with denials")


main()
