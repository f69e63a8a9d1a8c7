"""The results: one file in JSON with every run, and what is computed from it."""

import json
import os
import platform
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benches/scaling/results.json"
# What the measured program is made of.
SOURCES = ("src", "dataflows", "benches/common", "benches/scaling/*.rs", "Cargo.lock")

Run = dict[str, Any]


@dataclass
class Results:
    """Every run, in the order in which they were made."""

    about: dict[str, str]
    runs: list[Run] = field(default_factory=list)

    def by_point(self) -> dict[str, list[Run]]:
        grouped = defaultdict(list)
        for run in self.runs:
            grouped[run["point"]].append(run)
        return grouped

    def save(self, path: Path) -> None:
        """Writes the file, a line for each run, so that it is never half written."""
        about = json.dumps(self.about, indent=2)
        runs = ",\n".join(json.dumps(run) for run in self.runs)
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(f'{{"about": {about},\n"runs": [\n{runs}\n]}}\n')
        unfinished.replace(path)


def load(path: Path = RESULTS) -> Results:
    content = json.loads(path.read_text())
    return Results(content["about"], content["runs"])


def middle(runs: list[Run], name: str) -> float:
    """The median of a figure."""
    return median(run[name] for run in runs)


def rate(run: Run) -> float:
    """Millions of events a second."""
    return run["events"] / run["wall_s"] / 1e6


def about() -> dict[str, str]:
    """The machine and the versions."""

    def says(*command: str) -> str:
        return subprocess.run(
            command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    changed = says("git", "status", "--porcelain", "--", *SOURCES)
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory_kib / (1 << 20):.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "rustc": says("rustc", "--version"),
        "commit": says("git", "rev-parse", "--short=10", "HEAD") + ("-dirty" if changed else ""),
        "sources": sources(),
    }


def sources() -> str:
    """A digest of the sources of the measured program, the same in every commit that has them."""
    listed = subprocess.run(
        ["git", "ls-files", "--stage", "--", *SOURCES],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    )
    digest = subprocess.run(
        ["git", "hash-object", "--stdin"],
        input=listed.stdout,
        check=True,
        stdout=subprocess.PIPE,
    )
    return digest.stdout.decode()[:16]
