"""The rows of `trends` by Spark Structured Streaming, in local mode.

One query: impressions without duplicates, joined (left outer) with the plays in their join window,
counted for each video and epoch. It reads one slice of each log in a micro-batch, as if they
arrived so. It prints one JSON object: seconds and memory.
"""

import argparse
import json
import time
from pathlib import Path

from jvm import usage_of
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

SCHEMA = "request_id STRING, video_id LONG, event_time LONG"
EPOCH, MAX_DELAY = "30 minutes", "10 minutes"
# From the end of the impression's epoch to the end of the join window of four more epochs.
JOIN_WINDOW = "2 hours"


def main() -> None:
    arguments = parse_arguments()
    began = time.perf_counter()
    spark = session(arguments)
    started = time.perf_counter()
    query = (
        rows(stream(spark, arguments.log, "impressions"), stream(spark, arguments.log, "plays"))
        .writeStream.format("csv")
        .option("path", str(arguments.out / "rows"))
        .option("checkpointLocation", str(arguments.out / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    ended = time.perf_counter()
    pid = spark._jvm.java.lang.ProcessHandle.current().pid()
    print(json.dumps({"start_s": started - began, "run_s": ended - started, **usage_of(pid)}))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", type=Path, required=True, help="folder of the slices")
    parser.add_argument("--out", type=Path, required=True, help="folder of rows and checkpoint")
    parser.add_argument("--heap", default="8g", help="heap of the JVM [default: 8g]")
    parser.add_argument("--rocksdb", action="store_true", help="keep the state in RocksDB")
    return parser.parse_args()


def session(arguments: argparse.Namespace) -> SparkSession:
    builder = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.memory", arguments.heap)
        # As many tasks as cores; the default of 200 is for clusters.
        .config("spark.sql.shuffle.partitions", 2)
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", False)
    )
    if arguments.rocksdb:
        provider = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
        builder = builder.config("spark.sql.streaming.stateStore.providerClass", provider)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def stream(spark: SparkSession, log: Path, topic: str) -> DataFrame:
    """The events of a topic, slice by slice, with a watermark."""
    return (
        spark.readStream.schema(SCHEMA)
        .option("maxFilesPerTrigger", 1)
        .json(f"{log}/{topic}")
        .select("request_id", "video_id", F.timestamp_millis("event_time").alias("time"))
        .withWatermark("time", MAX_DELAY)
    )


def rows(impressions: DataFrame, plays: DataFrame) -> DataFrame:
    """The query. `shown` is the last microsecond of an impression's epoch."""
    showings = (
        impressions.select("request_id", "video_id", F.window("time", EPOCH).alias("epoch"))
        .dropDuplicates(["request_id", "video_id", "epoch"])
        .select("request_id", "video_id", F.window_time("epoch").alias("shown"))
    )
    played = plays.select(
        F.col("request_id").alias("play_request"), F.col("video_id").alias("play_video"), "time"
    )
    is_match = (
        (F.col("request_id") == F.col("play_request"))
        & (F.col("video_id") == F.col("play_video"))
        & (F.col("time") > F.col("shown") - F.expr(f"INTERVAL {EPOCH}"))
        & (F.col("time") <= F.col("shown") + F.expr(f"INTERVAL {JOIN_WINDOW}"))
    )
    return (
        showings.join(played, is_match, "left_outer")
        .select("request_id", "video_id", "shown", F.col("play_video").isNotNull().alias("played"))
        .dropDuplicates(["request_id", "video_id", "shown"])
        .groupBy("video_id", "shown")
        .agg(F.sum(F.col("played").cast("int")).alias("plays"), F.count("*").alias("impressions"))
        .select(
            "video_id",
            F.floor(F.unix_seconds("shown") / 1800).alias("epoch"),
            "plays",
            "impressions",
        )
    )


if __name__ == "__main__":
    main()
