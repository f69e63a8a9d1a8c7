"""A job that follows its logs, and is fed at a rate."""

import os
import re
import signal
import sqlite3
import subprocess
import time
from datetime import datetime
from pathlib import Path

# The pause between two chunks of lines.
PAUSE_S = 0.05
LONGEST_S = 300


class Logs:
    """Lines of logs in memory, which are written bit by bit, all files at the same pace."""

    def __init__(self, folder: Path, live: Path):
        live.mkdir(parents=True)
        self.files = []
        for path in sorted(folder.glob("*.jsonl")):
            lines = path.read_bytes().splitlines(keepends=True)
            self.files.append((open(live / path.name, "wb", buffering=0), lines))
        self.total = sum(len(lines) for _, lines in self.files)
        self.written = 0

    def write_to(self, count: int) -> None:
        """Writes until so many lines of all are written."""
        count = min(count, self.total)
        before, after = self.written / self.total, count / self.total
        for file, lines in self.files:
            chunk = lines[int(before * len(lines)):int(after * len(lines))]
            if chunk:
                file.write(b"".join(chunk))
        self.written = count


class Job:
    """`trendmark run --follow` on the logs of a folder."""

    def __init__(self, program: Path, folder: Path, live: Path, workers: int):
        self.store = folder / "trends.db"
        self.said = open(folder / "said", "w+")
        command = [
            program, "run", "--impressions", live / "impressions-*", "--plays", live / "plays-*",
            "--store", self.store, "--query", "take_rate", "--follow",
            "--workers", str(workers), "--idle-timeout", "1s", "--http-address", "127.0.0.1:0",
        ]
        environment = os.environ | {"RUST_LOG": "info"}
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.DEVNULL, stderr=self.said, env=environment)
        self.address = None
        self.wait(lambda: re.search(r"http://([\d.]+):(\d+)/", self.text()), "its address")
        host, port = re.search(r"http://([\d.]+):(\d+)/", self.text()).groups()
        self.address = (host, int(port))

    def text(self) -> str:
        return Path(self.said.name).read_text()

    def wait(self, is_so, what: str) -> None:
        until = time.monotonic() + LONGEST_S
        while not is_so():
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"the job does not have {what}:\n{self.text()[-2000:]}")
            time.sleep(0.02)

    def records(self) -> int:
        """The records that are committed."""
        try:
            store = sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)
            (count,) = store.execute("SELECT coalesce(sum(next_offset), 0) FROM partitions").fetchone()
            store.close()
            return count
        except sqlite3.OperationalError:
            return 0

    def processor_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def intervals_s(self) -> list[float]:
        """The times between two commits."""
        times = re.findall(r"(\S+)\s+INFO publication \d+: committed", self.text())
        times = [datetime.fromisoformat(time.replace("Z", "+00:00")) for time in times]
        return [(after - before).total_seconds() for before, after in zip(times, times[1:])]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        if self.process.returncode != 0:
            raise SystemExit(f"the job has failed:\n{self.text()[-2000:]}")


def feed(job: Job, logs: Logs, lines_per_s: float) -> dict:
    """Feeds all lines at a rate, and waits until the job has committed them."""
    began, processor_s = time.monotonic(), job.processor_s()
    while logs.written < logs.total:
        time.sleep(PAUSE_S)
        logs.write_to(int((time.monotonic() - began) * lines_per_s))
    written_at = time.monotonic()
    job.wait(lambda: job.records() >= logs.total, "all records")
    after_s = time.monotonic() - written_at
    return {
        "processor_s_per_million": (job.processor_s() - processor_s) / logs.total * 1e6,
        "after_s": after_s,
        "intervals_s": job.intervals_s(),
    }
