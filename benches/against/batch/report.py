"""The results as Markdown."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from batch.follow import Followed, follow_flags
from batch.formats import Measured
from common.sides import Sides
from common.store import Query
from common.tables import Commands, median_of_peak, median_of_wall, table, values

NEXT_EVENTS_TARGET = 1 / 150

INTRODUCTION = """# trendmark against one batch run of DuckDB

Both sides read the same files and commit the same rows of `trends`: trendmark to an SQLite store
with two workers, publishing every second; DuckDB to a table of a database file with two threads.
Times are those of whole processes, from start to exit; memory is peak resident size. The sides
run in turn, in one session. Each number is a median, with all values beside it.

DuckDB has no acceptance rules. So that both sides answer the same question, the log has no late,
future or malformed events; it has duplicates and plays without an impression. Unless it is said,
the impressions of a request do not arrive together, as when many clients write at once. Parquet by
DuckDB is a copy of the JSON Lines, with its default encodings and compression. The rows of both
sides were equal before anything was timed, and after every run. DuckDB holds request ids as UUIDs
or as text, whichever was faster when both were tried."""


NEXT_EVENTS = """A batch of events is appended to the files after a pause of one to two seconds. The
wall time is from just before that until a reader of the store sees the batch in its rows. It is
compared with a rerun of DuckDB over all files. The processor time is that of the whole job in
this time."""


class Report:
    """Builds the text of the report."""

    def __init__(self, sides: Sides, trends: Query, data: Path) -> None:
        self.sides = sides
        self.trends = trends
        self.data = data
        self.parts: list[str] = [INTRODUCTION]
        self.summary: list[Sequence[str]] = []
        self.runs: list[Sequence[str]] = []
        self.next_events: list[Sequence[str]] = []
        self.commands = Commands(sides.trendmark, data)
        self.platform = ""

    def begin(self, platform: str) -> None:
        self.platform = platform

    def add_form(self, measured: Measured) -> None:
        name, target = measured.form.title, measured.form.target
        times = median_of_wall(measured.jobs), median_of_wall(measured.batches)
        ratio = times[0] / times[1]
        self.summary.append(
            (
                f"{name}, to {measured.rows:,} committed rows",
                *(f"{time:.2f} s" for time in times),
                f"{ratio:.2f}",
                verdict(f"≤ {target:.2f}", ratio <= target) if target else "",
            )
        )
        peaks = median_of_peak(measured.jobs), median_of_peak(measured.batches)
        self.summary.append(
            (
                "its peak memory",
                *(f"{peak / 1e9:.2f} GB" for peak in peaks),
                f"{peaks[0] / peaks[1]:.2f}",
                "",
            )
        )
        self._add_runs(name, measured)
        log = self.data / ("jsonl" if measured.form.parquet_ids else measured.form.folder)
        self.commands.add([self.sides.trendmark, "generate", "--out", log, *measured.made_with])
        self.commands.add(self.sides.job_command(measured.log))
        self.commands.add(self.sides.batch_command(measured.log, self.trends, measured.id_type))

    def _add_runs(self, name: str, measured: Measured) -> None:
        for side, runs in (("trendmark", measured.jobs), ("DuckDB", measured.batches)):
            self.runs.append(
                (
                    f"{name}, {side}",
                    values((run.wall_s for run in runs), "{:.2f}"),
                    values((run.cpu_s for run in runs), "{:.2f}"),
                    values((run.peak_bytes / 1e9 for run in runs), "{:.2f}"),
                )
            )
        self.runs.append((f"{name}, DuckDB, SQL alone", values(measured.sql_s, "{:.2f}"), "", ""))

    def add_followed(self, followed: Followed) -> None:
        rerun_s, rerun_cpu_s = median(followed.reruns_s), median(followed.reruns_cpu_s)
        self.runs.append(
            (
                "rerun with the next events, DuckDB",
                values(followed.reruns_s, "{:.2f}"),
                values(followed.reruns_cpu_s, "{:.2f}"),
                "",
            )
        )
        peaks = values((peak / 1e9 for peak in followed.peaks_bytes), "{:.2f}")
        self.runs.append(("trendmark with --follow", "", "", peaks))
        log = self.data / "following"
        self.commands.add([self.sides.trendmark, "generate", "--out", log, *followed.made_with])
        for interval in dict.fromkeys(update.publish_interval for update in followed.updates):
            self._add_interval(followed, interval, rerun_s, rerun_cpu_s)
        self.commands.add(
            self.sides.batch_command(self.data / "following", self.trends, followed.id_type)
        )

    def _add_interval(
        self, followed: Followed, interval: str, rerun_s: float, rerun_cpu_s: float
    ) -> None:
        updates = [update for update in followed.updates if update.publish_interval == interval]
        wall_s = median(update.wall_s for update in updates)
        cpu_s = median(update.cpu_s for update in updates)
        ratio = wall_s / rerun_s
        self.summary.append(
            (
                f"the next {followed.next_events:,} events after {followed.records:,}, "
                f"published every {interval}",
                f"{wall_s * 1e3:.0f} ms",
                f"{rerun_s:.2f} s",
                f"1/{1 / ratio:.0f}",
                verdict("≤ 1/150", ratio <= NEXT_EVENTS_TARGET),
            )
        )
        self.next_events.append(
            (
                interval,
                values((update.wall_s * 1e3 for update in updates), "{:.0f}"),
                values((update.cpu_s * 1e3 for update in updates), "{:.0f}"),
                f"1/{rerun_cpu_s / cpu_s:.0f}" if cpu_s else "",
            )
        )
        self.commands.add(self.sides.job_command(self.data / "following", follow_flags(interval)))

    def text(self) -> str:
        return "\n\n".join(
            [
                *self.parts,
                self.platform,
                table(("", "trendmark", "DuckDB", "ratio", "target"), self.summary),
                "## Every run",
                table(("", "wall time, s", "processor time, s", "peak memory, GB"), self.runs),
                "## The next events",
                NEXT_EVENTS,
                table(
                    (
                        "published every",
                        "wall time, ms",
                        "processor time, ms",
                        "share of the rerun's processor time",
                    ),
                    self.next_events,
                ),
                "## Commands",
                self.commands.text(),
            ]
        )


def verdict(target: str, is_met: bool) -> str:
    return f"{target}: {'met' if is_met else 'missed'}"
