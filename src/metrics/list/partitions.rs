//! The metrics of partitions.

use super::{BYTES, SECONDS, metrics};

metrics! {
    COMMITTED_OFFSET = "trendmark_partition_committed_offset", Gauge, None, ["topic", "partition"],
        "Offset after the last record that is committed.",
        "A restart goes on here.";
    COMMITTED_WATERMARK = "trendmark_partition_committed_watermark_timestamp_seconds", Gauge,
        SECONDS, ["topic", "partition"],
        "Watermark of a partition as committed, in seconds since 1970; absent before it has one.",
        "The lowest one of the active partitions holds the job.";
    MALFORMED = "trendmark_partition_committed_malformed_records_total", Counter, None,
        ["topic", "partition"],
        "Records that are no events, as committed.",
        "On the rise: a producer has changed, or a schema. The dead letters have examples.";
    IDLE = "trendmark_partition_committed_idle", Gauge, None, ["topic", "partition"],
        "1 if a partition holds no epoch open, as it is exhausted or idle; 0 if it is active.",
        "Idle while it should be written to: its producer is down.";
    LOST = "trendmark_partition_committed_lost", Gauge, None, ["topic", "partition"],
        "1 if something of the log is, or may be, missing; 0 otherwise.",
        "`trendmark status` says what.";
    OFFSET = "trendmark_partition_offset", Gauge, None, ["topic", "partition"],
        "Offset after the last record that is processed, committed or not.",
        "Stands still while there is lag: see trendmark_partition_stalled.";
    LAG_RECORDS = "trendmark_partition_lag_records", Gauge, None, ["topic", "partition"],
        "Records of a topic of Kafka that are not processed; absent if nobody knows, and for \
         files.",
        "Grows for minutes: the job does not keep up.";
    LAG_BYTES = "trendmark_partition_lag_bytes", Gauge, BYTES, ["topic", "partition"],
        "Bytes of a file that are not processed, as they are in the file; absent for topics.",
        "As above.";
    TIME_LAG = "trendmark_partition_event_time_lag_seconds", Gauge, SECONDS, ["topic", "partition"],
        "Event time between the last processed event and the clock; 0 at the end of the log; \
         absent if it is not known whether there is more.",
        "How long ago that happened which is read now.";
    WATERMARK = "trendmark_partition_watermark_timestamp_seconds", Gauge, SECONDS,
        ["topic", "partition"],
        "Watermark of a partition as it is read, in seconds since 1970.",
        "Stands still while the offset moves: its events are too early, or future.";
    HELD = "trendmark_partition_held", Gauge, None, ["topic", "partition", "reason"],
        "1 while a partition waits, with the reason; absent while it is read or at its end.",
        "broker, schema, file: what is outside. aligned, epoch_not_open: waits for another \
         partition. back_pressure, next_publication: waits for workers or the store.";
    STALLED = "trendmark_partition_stalled", Gauge, None, ["topic", "partition"],
        "1 if there is something to read, or it cannot be known, and nothing was read for 60 s, \
         unless it waits for another partition; 0 otherwise.",
        "Page on this one. trendmark_partition_held has the reason.";
    OMITTED = "trendmark_partitions_omitted", Gauge, None, [],
        "Partitions that this process does not tell, as there are more than 1,000.",
        "Above 0: join files.";
}
