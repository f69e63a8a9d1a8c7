"""The sets in a folder, for Spark: `members(spark, folder)` and `counts(spark, folder)`."""

from pyspark.sql import functions

# Spark does not infer the type UUID of Parquet: a request id is read as its 16 bytes.
SCHEMA = """
    request_id BINARY, video_id DECIMAL(20, 0), shown BOOLEAN, played BOOLEAN, denied BOOLEAN,
    epoch BIGINT
"""


def members(spark, folder):
    """Each request id that saw a video in an epoch, and whether it played it.

    What any row calls denied is left out.
    """
    files = spark.read.schema(SCHEMA).parquet(folder)
    flags = [functions.bool_or(name).alias(name) for name in ("shown", "played", "denied")]
    showings = files.groupBy("epoch", "request_id", "video_id").agg(*flags)
    counted = showings.where("shown AND NOT denied")
    return counted.select("epoch", "request_id", "video_id", "played")


def counts(spark, folder):
    """The sizes of both sets, as in the view `trends` of the store."""
    plays = functions.count_if(functions.col("played")).alias("plays")
    impressions = functions.count("*").alias("impressions")
    return members(spark, folder).groupBy("video_id", "epoch").agg(plays, impressions)
