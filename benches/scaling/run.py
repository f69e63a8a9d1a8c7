"""Scaling curves: measures every point, in random order, and writes docs/scaling.md.

Run it with the Python of the environment that setup.sh creates. See README.md.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import report
from measure import Workload
from plots import draw
from points import BASE, Point, points
from results import RESULTS, ROOT, Results, about, load

# A run of the base, the control, comes after so many others.
CONTROL_EVERY = 10
# The exit code when runs are left, after --minutes.
EXIT_UNFINISHED = 3


def main() -> None:
    arguments = parse_arguments()
    if arguments.small:
        check_small(arguments)
        return
    program = build("release")
    if arguments.build:
        return
    facts = about()
    results = Results(facts)
    if arguments.resume and RESULTS.exists():
        results = load()
        if results.about["sources"] != facts["sources"]:
            sys.exit(f"{RESULTS} is of other sources; measure anew, without --resume")
    with tempfile.TemporaryDirectory(prefix="scaling-", dir=program.parent) as temporary:
        work = Path(arguments.work or temporary)
        work.mkdir(parents=True, exist_ok=True)
        plan = Plan(arguments.rounds)
        sweep(Workload(program, work), plan, results, RESULTS, arguments.minutes * 60)
    if plan.left(results):
        sys.exit(EXIT_UNFINISHED)
    draw(results, report.PLOTS)
    report.DOCUMENT.write_text(report.fill(report.DOCUMENT.read_text(), results))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--small", action="store_true", help="every axis on tiny logs, without results")
    add("--build", action="store_true", help="only build")
    add("--resume", action="store_true", help="go on with the results that there are")
    add("--minutes", type=float, default=1e9, help="begin no further run after this time")
    add("--rounds", type=int, default=3, help="runs of each point [default: 3]")
    add("--work", type=Path, help="folder for parts of logs, to keep [default: a temporary one]")
    return parser.parse_args()


def build(profile: str) -> Path:
    """Builds the workload. Returns its path."""
    command = ["cargo", "build", "--locked", "--features", "full", "--profile", profile]
    command += ["--bench", "scaling", "--message-format", "json"]
    built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    return Path(
        *(
            message["executable"]
            for message in messages
            if message.get("executable") and message["target"]["name"] == "scaling"
        )
    )


@dataclass(frozen=True)
class Plan:
    """All runs, in random order, so that the machine's moods do not look like a curve."""

    rounds: int

    def all(self) -> list[Point]:
        runs = [point for point in points() for _ in range(self.rounds)]
        random.Random(1).shuffle(runs)
        controls = range(0, len(runs), CONTROL_EVERY)
        for number, place in enumerate(controls):
            runs.insert(place + number, BASE)
        return runs

    def left(self, results: Results) -> list[Point]:
        """The runs that are not in the results."""
        made = {point: len(runs) for point, runs in results.by_point().items()}
        left = []
        for point in self.all():
            if made.get(point.key(), 0) > 0:
                made[point.key()] -= 1
            else:
                left.append(point)
        return left


def sweep(workload: Workload, plan: Plan, results: Results, path: Path, limit_s: float) -> None:
    """Makes the runs that are left, and appends each to the results."""
    began = time.monotonic()
    left = plan.left(results)
    for number, point in enumerate(left):
        if time.monotonic() - began > limit_s:
            note(f"{len(left) - number} runs are left; go on with --resume")
            return
        at = datetime.now(UTC).isoformat(timespec="seconds")
        run = workload.run(point)
        results.runs.append({"point": point.key(), "at": at, **run})
        results.save(path)
        note(f"{number + 1}/{len(left)} {point.key()}: {run['wall_s']:.2f} s")


def check_small(arguments: argparse.Namespace) -> None:
    """Runs every point once on a tiny log, which compares its rows, and makes tables and plots."""
    program = build("dev")
    with tempfile.TemporaryDirectory(prefix="scaling-") as temporary:
        work = Path(temporary)
        workload = Workload(program, work)
        results = Results(about())
        for point in points():
            run = workload.run(point.small())
            results.runs.append({"point": point.key(), **run})
        results.save(work / "results.json")
        draw(load(work / "results.json"), work / "plots")
        report.fill(report.DOCUMENT.read_text(), results)
    print(f"{len(results.runs)} points on small logs: rows, ledger, tables and plots are right")


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
