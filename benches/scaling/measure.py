"""Runs one point: processes of the workload, and the sums of the rows in the store."""

import hashlib
import json
import socket
import sqlite3
import subprocess
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from points import Point


class Wrong(Exception):
    """The rows of a store do not add up, or a process has failed."""


@dataclass(frozen=True)
class Workload:
    """The program of main.rs, and the folder for parts of logs and for stores."""

    program: Path
    work: Path

    def part(self, point: Point) -> Path:
        """The part of a log that a point repeats, made if it is not there."""
        flags = point.part_flags()
        name = hashlib.sha256(" ".join(flags).encode()).hexdigest()[:16]
        path = self.work / "parts" / f"{name}.part"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.call(["--make", f"--part={path}", *flags])
        return path

    def call(self, flags: list[str]) -> None:
        subprocess.run([self.program, *separate(flags)], check=True)

    def run(self, point: Point) -> dict[str, Any]:
        """Runs the job of a point. Returns what it took.

        Raises `Wrong` if its rows do not add up.
        """
        store = self.work / "store.db"
        remove(store)
        flags = [f"--part={self.part(point)}", *point.part_flags(), *point.job_flags()]
        flags.append(f"--store={store}")
        if point.processes > 1:
            flags.append(f"--addresses={free_addresses(point.processes)}")
        with ExitStack() as started:
            processes = [
                started.enter_context(self.start([*flags, f"--process={process}"]))
                for process in range(point.processes)
            ]
            for process in processes:
                if not process.stdout or process.stdout.readline() != "ready\n":
                    raise Wrong(f"{point.key()}: a process has failed")
            # All begin at once.
            for process in processes:
                assert process.stdin
                process.stdin.write("\n")
                process.stdin.flush()
            printed = [last_line(process, point) for process in processes]
        check(store, point, printed)
        measured = summary(store, printed)
        remove(store)
        return measured

    def start(self, flags: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.program, *separate(flags)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )


def separate(flags: list[str]) -> list[str]:
    """The flags as the workload takes them: names and values are arguments of their own."""
    return [word for flag in flags for word in flag.split("=", 1)]


def last_line(process: subprocess.Popen[str], point: Point) -> dict[str, Any]:
    """What a process prints at its end. The lines before are timely's."""
    assert process.stdout
    lines = process.stdout.read().splitlines()
    if process.wait() != 0 or not lines:
        raise Wrong(f"{point.key()}: a process ended with {process.returncode}")
    return json.loads(lines[-1])


def free_addresses(processes: int) -> str:
    """Free local addresses, one for each process, separated by commas."""
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(processes)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return ",".join(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)


def remove(store: Path) -> None:
    for path in store.parent.glob(f"{store.name}*"):
        path.unlink()


def summary(store: Path, printed: list[dict[str, Any]]) -> dict[str, Any]:
    """What all processes took together, as it is kept in the results."""
    used = [one["used"] for one in printed]

    def total(name: str) -> float:
        return sum(one[name] for one in used)

    return {
        "events": printed[0]["events"],
        "wall_s": round(used[0]["wall_s"], 4),
        "user_s": round(total("user_s"), 2),
        "system_s": round(total("system_s"), 2),
        "memory_mib": mib(total("memory_bytes")),
        "memory_mib_by_tenth": [
            mib(sum(parts)) for parts in zip(*(one["memory_by_tenth"] for one in used))
        ],
        "log_mib": mib(total("log_bytes")),
        "store_bytes": sum(path.stat().st_size for path in store.parent.glob("store.db*")),
        "rows": store_rows(store),
        "publications": used[0]["publications"],
        "epochs_open_max": used[0]["epochs_open_max"],
        "source_ns": round(printed[0]["source_ns"], 2),
    }


def mib(size: float) -> int:
    return round(size / (1 << 20))


def check(store: Path, point: Point, printed: list[dict[str, Any]]) -> None:
    """Compares the rows with what the records of the log add up to, by the definition."""
    log, sums = printed[0], printed[0]["sums"]
    events = log["events"]
    with closing(sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True)) as opened:

        def expect(what: str, sql: str, *expected: int) -> None:
            (row,) = opened.execute(sql)
            if row != expected:
                raise Wrong(f"{point.key()}: {what}: {row} in the store, expected {expected}")

        read = sum(one["used"]["events"] for one in printed)
        if read != events:
            raise Wrong(f"{point.key()}: {read} events were read, of {events}")
        expect(
            "events, late and future ones",
            "SELECT sum(events), sum(late_events), sum(future_events) FROM ledger",
            *(events, 0, 0),
        )
        distinct = "SELECT sum(distinct_events) FROM ledger WHERE kind = "
        expect("different impressions", distinct + "'impression'", sums["impressions"])
        expect("different plays", distinct + "'play'", sums["distinct_plays"])
        queries = point.query.split(",")
        counts = sums["impressions"], sums["plays"]
        if "trends" in queries:
            expect("trends", "SELECT sum(impressions), sum(plays) FROM trends", *counts)
        if "requests" in queries:
            expect("requests", "SELECT count(*), sum(played) FROM requests", *counts)
        if "choices" in queries:
            expect("choices", "SELECT sum(requests) FROM choices", sums["choices"])


def store_rows(store: Path) -> int:
    """The number of rows of all queries, without the ledger's."""
    with closing(sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True)) as opened:
        names = [name for (name,) in opened.execute("SELECT name FROM queries")]
        counts = (
            opened.execute(f"SELECT count(*) FROM {name}_rows").fetchone()[0]
            for name in names
            if name != "distinct"
        )
        return sum(counts)
