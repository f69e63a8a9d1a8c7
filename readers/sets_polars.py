"""The sets in a folder, for Polars: `members(folder)` and `counts(folder)` are lazy frames."""

import polars


def members(folder):
    """Each request id that saw a video in an epoch, and whether it played it.

    What any row calls denied is left out.
    """
    files = polars.scan_parquet(f"{folder}/epoch=*/*.parquet", hive_partitioning=True)
    flags = [polars.col(name).any() for name in ("shown", "played", "denied")]
    showings = files.group_by("epoch", "request_id", "video_id").agg(flags)
    counted = showings.filter(polars.col("shown") & ~polars.col("denied"))
    return counted.select("epoch", "request_id", "video_id", "played")


def counts(folder):
    """The sizes of both sets, as in the view `trends` of the store."""
    sizes = [polars.col("played").sum().alias("plays"), polars.len().alias("impressions")]
    return members(folder).group_by("video_id", "epoch").agg(sizes)
