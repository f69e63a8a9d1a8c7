"""Checks that the readers of sets see the counts of the store. Usage: check.py STORE FOLDER

It tries those of DuckDB, Polars and Spark whose Python packages are installed, and says which.
"""

import importlib.util
import pathlib
import sqlite3
import sys

HERE = pathlib.Path(__file__).parent


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


def main():
    store, folder = sys.argv[1:]
    expected = of_store(store)
    for name, read in [("duckdb", of_duckdb), ("polars", of_polars), ("pyspark", of_pyspark)]:
        if importlib.util.find_spec(name) is None:
            print(f"{name}: not installed")
            continue
        found = {tuple(int(value) for value in row) for row in read(folder)}
        if found != expected:
            sys.exit(f"{name}: {len(found ^ expected)} rows differ from the store")
        print(f"{name}: {len(found)} rows, as in the store")


main()
