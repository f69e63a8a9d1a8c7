//! The metrics of a process, which measures itself.

use super::{BYTES, RATIO, SECONDS, metrics};

metrics! {
    READY = "trendmark_ready", Gauge, None, [],
        "1 if rows are committed within `--ready-within`, or there are none to commit; as /readyz.",
        "At 0, /readyz has the reason.";
    KEEPING_UP = "trendmark_keeping_up", Gauge, None, [],
        "1 if every partition of this process was at its end within the last 60 s, or is idle; 0 \
         if one was not; absent in the replay, in the first 60 s, and if a broker does not answer.",
        "The job keeps up if this is 1 in all its processes. At 0 for long: the load is more than \
         the job can take, or it catches up after an outage (see whether the lag falls).";
    BUILD = "trendmark_build_info", Gauge, None, ["version"],
        "1, with the version of the program in its label.",
        "All processes should have the same.";
    INFO = "trendmark_process_info", Gauge, None, ["process", "processes", "workers"],
        "1, with the number of this process, that of all, and the workers of each in its labels.",
        "Which process an address is.";
    HEALTHY = "trendmark_process_healthy", Gauge, None, [],
        "1 if all workers make progress, as /healthz.",
        "At 0, /healthz has the worker, and what it is doing.";
    STALLED = "trendmark_process_worker_stalled_seconds", Gauge, SECONDS, ["worker"],
        "For how long a worker has not got on, though it does not wait.",
        "At `--watchdog`, the process ends with exit code 8.";
    REPLAYING = "trendmark_process_replaying", Gauge, None, [],
        "1 until what is in the store is read again at the start.",
        "Nothing is committed meanwhile.";
    STARTED = "trendmark_process_start_timestamp_seconds", Gauge, SECONDS, [],
        "When the process was started, in seconds since 1970.",
        "Changes without a deployment: it was restarted.";
    CPU = "trendmark_process_cpu_seconds_total", Counter, SECONDS, [],
        "Time on processors, of all threads.",
        "Near the number of workers per second: see the busy share.";
    MEMORY = "trendmark_process_resident_memory_bytes", Gauge, BYTES, [],
        "Anonymous memory of the process, which `--state-max` limits.",
        "From four fifths of the limit on, partitions wait for the slowest.";
    MEMORY_LIMIT = "trendmark_process_memory_limit_bytes", Gauge, BYTES, [],
        "`--state-max`: there the job ends.",
        "For a share of trendmark_process_resident_memory_bytes.";
    EVENTS = "trendmark_process_events_total", Counter, None, [],
        "Events that this process has read for the first time, committed or not.",
        "The load of this process.";
    REPLAYED = "trendmark_process_replayed_events_total", Counter, None, [],
        "Events that this process has read again in the replay.",
        "How far the replay is.";
    READ_BYTES = "trendmark_process_read_bytes_total", Counter, BYTES, [],
        "Bytes that this process has read from its sources, replay included.",
        "The load on disk and network.";
    MALFORMED = "trendmark_process_malformed_records_total", Counter, None, ["topic", "reason"],
        "Records that this process could not decode, by reason; replay excluded.",
        "What to tell the owner of the producer.";
    PARTS = "trendmark_process_part_seconds_total", Counter, SECONDS, ["part"],
        "Time of all workers by what they did, and of the commits.",
        "poll: read and decode. admit: judge, and send to the workers that own the requests. \
         arrange: keep the showings, decoding of what others have sent included. count: the other \
         operators of epochs. publish: gather rows, and queries across epochs. control: \
         everything else. commit: the thread of the store. The largest is what limits the job.";
    BUSY = "trendmark_process_worker_busy_ratio", Gauge, RATIO, ["worker"],
        "Share of the last 5 to 10 s in which a worker did not wait.",
        "At 1 for long: more workers, or processes, would help.";
    IN_FLIGHT = "trendmark_process_rounds_in_flight", Gauge, None, ["worker"],
        "Rounds of a worker that are not through all workers.",
        "At `--rounds-in-flight` it reads nothing: another worker is slower.";
    ROWS_WAITING = "trendmark_process_rows_waiting", Gauge, None, ["worker"],
        "Changed rows and sums that wait on a worker for the next publication.",
        "At `--rows-waiting-max` it reads nothing: the store is slower.";
    DATAFLOWS = "trendmark_process_epoch_dataflows", Gauge, None, ["worker"],
        "Dataflows of epochs that are alive on a worker.",
        "As many as epochs are open, and those that are being closed.";
    STATE_SHOWINGS = "trendmark_process_state_showings", Gauge, None, ["back"],
        "Showings that this process keeps of an open epoch; `back` counts from the latest one.",
        "Add up those of all processes.";
    STATE_BYTES = "trendmark_process_state_bytes", Gauge, BYTES, ["back"],
        "Bytes that the showings of an open epoch take in this process (operator `Showings`).",
        "Most of the memory; freed when the epoch closes.";
    OPERATORS = "trendmark_process_operator_seconds_total", Counter, SECONDS,
        ["dataflow", "operator"],
        "Time in the operators of the dataflows, from the log of timely; all epochs together.",
        "Which query costs how much.";
    ROUND = "trendmark_process_round_duration_seconds", Histogram, SECONDS, [],
        "From the first event of a round until all workers are through with it.",
        "Grows with the load before the lag does.";
    COMMIT = "trendmark_process_commit_duration_seconds", Histogram, SECONDS, [],
        "Time that the store takes for a commit; process 0 only.",
        "Longer than `--publish-interval`: the disk or the brokers limit the job.";
    EVENT_TO_ROW = "trendmark_process_event_to_row_seconds", Histogram, SECONDS, [],
        "From the time of the record of an event (or from reading it, if it has none) until its \
         row is committed, of all processes; one event of each batch stands for the batch; \
         process 0 only, replay excluded.",
        "What people feel. Clocks of producers and of process 0 must agree.";
}
