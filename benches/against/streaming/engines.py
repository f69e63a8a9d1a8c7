"""The engines: how each is set up, what log it is given, its command and its rows."""

import csv
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.build import ROOT
from common.process import Command
from common.store import Row
from streaming.layouts import compressed, sliced

HERE = Path(__file__).parent
TOOLS = ROOT / "target" / "against"
FELDERA = HERE / "feldera"


@dataclass(frozen=True)
class Engine:
    """An engine. Its program prints one JSON object and writes rows as CSV below a folder."""

    name: str
    # Installs or builds it.
    set_up: Callable[[], None]
    # Lays a log out as it can read it in the order of arrival.
    lay_out: Callable[[Path], Path]
    # Its command for a log and a folder of results.
    command: Callable[[Path, Path], Command]


def in_environment(package: str) -> Callable[[], None]:
    """Installs a package into an environment of its own."""
    name = package.partition("==")[0]

    def set_up() -> None:
        subprocess.run([HERE.parent / "setup.sh", TOOLS / name, package], check=True)

    return set_up


def script(package: str, program: str) -> Callable[[Path, Path], Command]:
    python = TOOLS / package.partition("==")[0] / "bin" / "python"
    return lambda log, out: [python, HERE / program, "--log", log, "--out", out]


def build_feldera() -> None:
    command = ["cargo", "build", "--release", "--locked", "--manifest-path", FELDERA / "Cargo.toml"]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(TOOLS / "feldera")}
    subprocess.run(command, check=True, env=environment)


def feldera_command(log: Path, out: Path) -> Command:
    return [TOOLS / "feldera" / "release" / "against-feldera", log, out / "rows.csv"]


SPARK, FLINK = "pyspark==4.3.0", "apache-flink==2.3.0"
ENGINES = {
    "feldera": Engine(
        "Feldera's dbsp 0.349.0", build_feldera, lambda log: log, feldera_command
    ),
    "spark": Engine(
        f"Spark Structured Streaming, {SPARK}",
        in_environment(SPARK),
        sliced,
        script(SPARK, "spark.py"),
    ),
    "flink": Engine(
        f"Flink SQL, {FLINK}", in_environment(FLINK), compressed, script(FLINK, "flink.py")
    ),
}


def java() -> str:
    """The version of Java, which Spark and Flink use."""
    said = subprocess.run(["java", "-version"], check=True, stderr=subprocess.PIPE, text=True)
    return said.stderr.splitlines()[0]


def rows_in(out: Path) -> list[Row]:
    """The rows (video, epoch, plays, impressions) in the CSV files below a folder, sorted."""
    rows: list[Row] = []
    for path in out.rglob("*"):
        # Files of checkpoints, and those that are hidden by their name, are not results.
        parts = path.relative_to(out).parts
        is_hidden = any(part.startswith((".", "_", "checkpoint")) for part in parts)
        if path.is_file() and not is_hidden:
            with path.open(newline="") as file:
                rows += [tuple(int(cell) for cell in row) for row in csv.reader(file)]
    return sorted(rows)


def printed(output: str) -> dict[str, float]:
    """The JSON object in the last line that a program printed."""
    return dict(json.loads(output.strip().splitlines()[-1]))
