"""Builds what is measured, and names the machine and the versions."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

import duckdb

ROOT = Path(__file__).resolve().parents[3]


def build(profile: str, trendmark: Path | None, examples: Sequence[str]) -> dict[str, Path]:
    """Builds the program, unless it is given, and the examples. Returns their paths by name."""
    command = ["cargo", "build", "--features", "full", "--profile", profile]
    command += ["--message-format", "json"]
    targets = [part for name in examples for part in ("--example", name)]
    targets += [] if trendmark else ["--bin", "trendmark"]
    built = subprocess.run([*command, *targets], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    programs = {
        message["target"]["name"]: Path(message["executable"])
        for message in messages
        if message.get("executable")
    }
    return programs | ({"trendmark": trendmark} if trendmark else {})


def machine() -> dict[str, str]:
    """The machine, as Linux describes it."""
    cpu_lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in cpu_lines if line.startswith("model name")]
    memory = Path("/proc/meminfo").read_text().split()[1]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory) / (1 << 20):.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "load at the start": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def versions(is_built_here: bool) -> dict[str, str]:
    """The versions of all programs that every comparison uses."""

    def says(*command: str) -> str:
        return subprocess.run(
            command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()

    commit = says("git", "describe", "--always", "--dirty", "--exclude=*")
    return {
        "trendmark": f"commit {commit}" if is_built_here else "given with --trendmark",
        "rustc": says("rustc", "--version"),
        "DuckDB": duckdb.__version__,
        "Python": platform.python_version(),
    }
