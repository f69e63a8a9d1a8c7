"""The rows of `trends` by Flink, in a cluster inside this process.

SQL in streaming mode: an interval join of impressions and plays, and a tumbling window that counts
different requests for each video and epoch. It prints one JSON object: seconds and memory.
"""

import argparse
import json
import os
import time
from pathlib import Path

from jvm import usage_of
from pyflink.java_gateway import get_gateway
from pyflink.table import EnvironmentSettings, TableEnvironment

EVENTS = """
CREATE TABLE {topic} (
    request_id STRING, video_id BIGINT, event_time BIGINT,
    epoch AS event_time / 1800000,
    `time` AS TO_TIMESTAMP_LTZ(event_time, 3),
    WATERMARK FOR `time` AS `time` - INTERVAL '10' MINUTE
) WITH ('connector' = 'filesystem', 'path' = '{log}/{topic}', 'format' = 'json')
"""

COUNTED = """
CREATE TABLE counted (video_id BIGINT, epoch BIGINT, plays BIGINT, impressions BIGINT)
WITH ('connector' = 'filesystem', 'path' = '{out}/rows', 'format' = 'csv')
"""

# A play counts from the epoch of its impression to four epochs later.
TOUCHES = """
CREATE TEMPORARY VIEW touches AS
SELECT `time`, epoch, video_id, request_id, FALSE AS played FROM impressions
UNION ALL
SELECT shown.`time`, shown.epoch, shown.video_id, shown.request_id, TRUE
FROM impressions AS shown JOIN plays
    ON shown.request_id = plays.request_id AND shown.video_id = plays.video_id
    AND plays.`time` BETWEEN shown.`time` - INTERVAL '30' MINUTE
        AND shown.`time` + INTERVAL '2:30' HOUR TO MINUTE
WHERE plays.epoch BETWEEN shown.epoch AND shown.epoch + 4
"""

ROWS = """
INSERT INTO counted
SELECT video_id, epoch,
       COUNT(DISTINCT request_id) FILTER (WHERE played),
       COUNT(DISTINCT request_id) FILTER (WHERE NOT played)
FROM TABLE(TUMBLE(TABLE touches, DESCRIPTOR(`time`), INTERVAL '30' MINUTE))
GROUP BY video_id, epoch, window_start, window_end
"""


def main() -> None:
    arguments = parse_arguments()
    began = time.perf_counter()
    # The launcher of Java reads these.
    os.environ["JDK_JAVA_OPTIONS"] = f"-Xmx{arguments.heap}"
    tables = environment(arguments.out)
    started = time.perf_counter()
    for topic in ("impressions", "plays"):
        tables.execute_sql(EVENTS.format(topic=topic, log=arguments.log.absolute()))
    tables.execute_sql(COUNTED.format(out=arguments.out.absolute()))
    tables.execute_sql(TOUCHES)
    tables.execute_sql(ROWS).wait()
    ended = time.perf_counter()
    print(json.dumps({"start_s": started - began, "run_s": ended - started, **usage()}))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", type=Path, required=True, help="folder of the log")
    parser.add_argument("--out", type=Path, required=True, help="folder of the rows")
    parser.add_argument("--heap", default="12g", help="heap of the JVM [default: 12g]")
    return parser.parse_args()


def environment(out: Path) -> TableEnvironment:
    """A streaming environment whose cluster is in this process."""
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    settings = {
        "parallelism.default": "2",
        "table.local-time-zone": "UTC",
        "execution.checkpointing.interval": "10 s",
        "execution.checkpointing.dir": f"file://{out.absolute()}/checkpoints",
    }
    for name, value in settings.items():
        tables.get_config().set(name, value)
    return tables


def usage() -> dict[str, float]:
    """What the JVM used."""
    return usage_of(get_gateway().jvm.java.lang.ProcessHandle.current().pid())


if __name__ == "__main__":
    main()
