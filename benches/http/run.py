"""Measures what the clients of the HTTP server cost a job. See README.md."""

import argparse
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from job import Job, Logs, feed

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--program", type=Path, default=ROOT / "target/release/trendmark")
    add("--seconds", type=float, default=30, help="how long a run is fed")
    add("--rounds", type=int, default=3)
    add("--rate", type=float, default=1000, help="requests per second")
    add("--streams", type=int, default=200)
    add("--workers", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trendmark-http-") as temporary:
        measure(arguments, Path(temporary))


def measure(arguments, folder: Path) -> None:
    speed = full_speed(arguments, generate(arguments, folder / "speed", 500_000), folder)
    half = speed / 2
    print(f"alone, without pauses: {speed:,.0f} events/s; fed at {half:,.0f}", flush=True)
    # A play for twenty impressions.
    logs = generate(arguments, folder / "logs", int(half * arguments.seconds / 1.07))
    runs = [kind for _ in range(arguments.rounds) for kind in random.sample(["alone", "clients"], 2)]
    results, rows = {"alone": [], "clients": []}, set()
    for number, kind in enumerate(runs):
        place = folder / f"run-{number}"
        place.mkdir()
        result = run(arguments, kind == "clients", logs, place, half)
        rows.add(result.pop("rows"))
        results[kind].append(result)
        print(kind, json.dumps(result), flush=True)
    if len(rows) != 1:
        sys.exit("the rows of the stores differ")
    report(results)


def generate(arguments, folder: Path, impressions: int) -> Path:
    command = [arguments.program, "generate", "--out", folder, "--impressions", impressions]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    return folder


def full_speed(arguments, logs: Path, folder: Path) -> float:
    """Events per second of a job that reads files to their ends."""
    began = time.monotonic()
    command = [
        arguments.program, "run", "--impressions", logs / "impressions-*", "--plays",
        logs / "plays-*", "--store", folder / "speed.db", "--query", "take_rate",
        "--workers", arguments.workers,
    ]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    lines = sum(len(path.read_bytes().splitlines()) for path in logs.glob("*.jsonl"))
    return lines / seconds


def run(arguments, has_clients: bool, source: Path, folder: Path, lines_per_s: float) -> dict:
    logs = Logs(source, folder / "live")
    job = Job(arguments.program, folder, folder / "live", arguments.workers)
    clients = None
    if has_clients:
        logs.write_to(1000)
        job.wait(lambda: job.records() > 0, "a publication")
        command = [sys.executable, HERE / "clients.py", *job.address, arguments.rate,
                   arguments.streams]
        clients = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    result = feed(job, logs, lines_per_s)
    if clients:
        result["clients"] = json.loads(clients.communicate()[0])
    job.stop()
    intervals = result.pop("intervals_s")
    result["interval_s"] = {"p50": statistics.median(intervals), "max": max(intervals)}
    result["rows"] = sums(job.store)
    return result


def sums(store: Path) -> tuple:
    connection = sqlite3.connect(store)
    selection = "count(*), sum(plays), sum(impressions) FROM trends"
    return connection.execute(f"SELECT {selection}").fetchone()


def report(results: dict) -> None:
    def median(kind, *names):
        def of(result):
            for name in names:
                result = result[name]
            return result
        return statistics.median(of(result) for result in results[kind])

    print(f"\n{os.cpu_count()} cores; medians of {len(results['alone'])} rounds")
    print(f"{'':42}{'alone':>10}{'clients':>10}{'change':>10}")
    for text, *names in [
        ("processor time, s a million events", "processor_s_per_million"),
        ("interval between publications, s", "interval_s", "p50"),
        ("longest interval, s", "interval_s", "max"),
        ("commit after the last event, s", "after_s"),
    ]:
        alone, clients = median("alone", *names), median("clients", *names)
        print(f"{text:42}{alone:10.2f}{clients:10.2f}{clients / alone - 1:+10.1%}")
    for text, *names in [
        ("answers per second", "answers_per_s"),
        ("errors", "errors"),
        ("wait for an answer, median, ms", "wait_ms", "p50"),
        ("wait for an answer, 99 %, ms", "wait_ms", "p99"),
        ("events of all streams", "events"),
    ]:
        print(f"{text:42}{'':10}{median('clients', 'clients', *names):10.1f}")


if __name__ == "__main__":
    main()
