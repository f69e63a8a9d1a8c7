//! The metrics of the job, which process 0 tells from what is committed.

use super::{RATIO, SECONDS, metrics};

metrics! {
    EVENTS = "trendmark_events_total", Counter, None, ["topic"],
        "Events of a log that are read and committed.",
        "Its rate is the load. At 0 while the log is written to, look at the lag.";
    EVENTS_BY_OUTCOME = "trendmark_events_by_outcome_total", Counter, None, ["topic", "outcome"],
        "Committed events by what became of them, from the ledger.",
        "distinct + duplicate + late + future are all events; denied and other outcomes are parts \
         of distinct. Late or future ones on the rise: a clock, or a log out of order.";
    CONSERVATION = "trendmark_conservation_violations", Gauge, None, [],
        "Rows of the ledger whose parts do not add up to the events that were read.",
        "Must be 0: anything else is a bug, and the counts of these epochs cannot be trusted.";
    PUBLICATION = "trendmark_publication", Gauge, None, [],
        "Number of the last publication (commit) that is in the store.",
        "It grows by about one in `--publish-interval` while there is input.";
    LAST_COMMIT = "trendmark_last_commit_timestamp_seconds", Gauge, SECONDS, [],
        "When this process last committed, in seconds since 1970; absent before.",
        "Gets old while there is no input, which is no fault: see trendmark_ready.";
    GENERATION = "trendmark_generation", Gauge, None, [],
        "Number of the job that has the store: each start is one more.",
        "It grows without a deployment: something restarts the job.";
    FRESHNESS = "trendmark_freshness_seconds", Gauge, SECONDS, [],
        "How far the watermark of the last commit is behind the clock.",
        "How old the rows are that people see. At least `--max-delay`; grows while the logs are \
         silent or the job is behind.";
    WATERMARK = "trendmark_watermark_timestamp_seconds", Gauge, SECONDS, [],
        "The watermark of the last commit, in seconds since 1970: no earlier event is expected.",
        "Stands still: see trendmark_held_seconds.";
    DRIFT = "trendmark_alignment_drift_seconds", Gauge, SECONDS, [],
        "How far the watermarks of the active partitions are apart, as committed.",
        "One partition is behind the others; at `--alignment` they wait for it.";
    HELD = "trendmark_held_seconds", Gauge, SECONDS, ["topic", "partition", "reason"],
        "For how long this partition has kept epochs from closing, and why; absent below 5 s.",
        "The partition to look at when epochs stay open.";
    EPOCHS = "trendmark_epochs", Gauge, None, ["state"],
        "Epochs with events in the store, open and final.",
        "Open ones pile up: see trendmark_held_seconds.";
    FINAL_THROUGH = "trendmark_final_through_timestamp_seconds", Gauge, SECONDS, [],
        "End of the last final epoch, in seconds since 1970.",
        "Rows of later epochs may change.";
    OPEN_START = "trendmark_open_epoch_start_timestamp_seconds", Gauge, SECONDS, ["back"],
        "Start of an open epoch, in seconds since 1970; `back` counts from the latest one, 0.",
        "Which epoch the number `back` of the other metrics stands for.";
    OPEN_EVENTS = "trendmark_open_epoch_events", Gauge, None, ["back", "topic"],
        "Distinct events of an open epoch so far.",
        "Far below the same time yesterday: something upstream sends less.";
    COMPLETENESS = "trendmark_open_epoch_completeness_ratio", Gauge, RATIO, ["back", "topic"],
        "Estimated share of the events of an open epoch that have arrived; absent if unknown.",
        "Whether a provisional number can be shown to people.";
    DEFINITION = "trendmark_definition_info", Gauge, None,
        ["epoch_length", "join_window", "max_delay", "max_future", "queries"],
        "1, with the definition of the job in its labels.",
        "Two jobs with other values compute other numbers.";
}
