"""trendmark against one batch run of DuckDB: compares the rows first, then measures.

Run it with the Python of the environment that setup.sh creates. See README.md.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from follow import measure_follow
from formats import measure_format
from logs import CLEAN, generate
from report import Report, machine, versions
from sides import Sides
from small import SMALL_LIMITS, check_all
from store import Query, queries_of

ROOT = Path(__file__).resolve().parents[2]
FORMATS = ("jsonl", "parquet")
PUBLISH_INTERVALS = ("1s", "100ms")


def main() -> None:
    arguments = parse_arguments()
    profile = arguments.profile or ("dev" if arguments.small else "release")
    trendmark, example = build(profile, arguments.trendmark)
    with tempfile.TemporaryDirectory(prefix="against-batch-") as temporary:
        work = Path(arguments.data or temporary)
        work.mkdir(parents=True, exist_ok=True)
        # A copy, as the program may be rebuilt while this runs.
        sides = Sides(Path(shutil.copy(trendmark, work / "trendmark")), work)
        if arguments.small:
            queries = queries_of(example, SMALL_LIMITS)
            check_all(sides, queries, work, arguments.impressions or 40_000)
            return
        text = measure(sides, queries_of(example)[0], work, arguments)
    if arguments.out:
        arguments.out.write_text(text)
    else:
        print(text)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--small", action="store_true", help="check equality on small logs without timing")
    add("--impressions", type=int, help="impressions of the log [default: 20000000]")
    add("--rounds", type=int, default=5, help="runs of each side [default: 5]")
    add("--batches", type=int, default=4, help="batches appended to a job [default: 4]")
    add("--data", type=Path, help="folder to keep the logs in [default: a temporary folder]")
    add("--profile", help="profile of cargo [default: release; dev with --small]")
    add("--trendmark", type=Path, help="program to measure [default: build it]")
    add("--out", type=Path, help="file for the tables [default: standard output]")
    return parser.parse_args()


def build(profile: str, trendmark: Path | None) -> tuple[Path, Path]:
    """Builds the program and the example that prints the queries. Returns their paths."""
    command = ["cargo", "build", "--features", "full", "--profile", profile]
    command += ["--message-format", "json"]
    targets = ["--example", "batch_sql", *([] if trendmark else ["--bin", "trendmark"])]
    built = subprocess.run([*command, *targets], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    programs = {
        message["target"]["name"]: Path(message["executable"])
        for message in messages
        if message.get("executable")
    }
    return trendmark or programs["trendmark"], programs["batch_sql"]


def measure(sides: Sides, trends: Query, data: Path, arguments: argparse.Namespace) -> str:
    """Measures everything and returns the report as text."""
    impressions = arguments.impressions or 20_000_000
    report = Report(sides, trends, data)
    report.begin(machine(), versions(ROOT, arguments.trendmark is None))
    id_types = {}
    for name in FORMATS:
        log = data / name
        made_with = generate(sides.trendmark, log, impressions, [*CLEAN, f"--format={name}"])
        note(f"{name}: {' '.join(made_with)}")
        measured = measure_format(sides, trends, log, made_with, arguments.rounds, note)
        id_types[name] = measured.id_type
        report.add_format(measured)
    followed = measure_follow(
        sides,
        trends,
        data,
        impressions,
        PUBLISH_INTERVALS,
        arguments.rounds,
        arguments.batches,
        id_types["jsonl"],
    )
    report.add_followed(followed)
    return report.text()


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
