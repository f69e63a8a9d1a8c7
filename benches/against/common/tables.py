"""Results as Markdown."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from common.build import ROOT
from common.process import Command, Usage


def facts(*groups: Mapping[str, str]) -> str:
    """Named facts as a list."""
    return "\n".join(f"- {name}: {fact}" for group in groups for name, fact in group.items())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def values(numbers: Iterable[float], form: str) -> str:
    """The median, and all values."""
    listed = list(numbers)
    return f"**{form.format(median(listed))}** ({', '.join(map(form.format, listed))})"


def median_of_wall(runs: Sequence[Usage]) -> float:
    return median(run.wall_s for run in runs)


def median_of_peak(runs: Sequence[Usage]) -> float:
    return median(run.peak_bytes for run in runs)


class Commands:
    """The commands of a comparison, without the paths of this machine."""

    def __init__(self, trendmark: Path, data: Path, **programs: Path) -> None:
        self.replaced = (
            *((str(path), name) for name, path in programs.items()),
            (str(trendmark), "trendmark"),
            (str(data), "DATA"),
            (f"{ROOT}/", ""),
        )
        self.lines: list[str] = []

    def add(self, command: Command) -> None:
        text = shlex.join(str(part) for part in command)
        for path, name in self.replaced:
            text = text.replace(path, name)
        program, _, rest = text.partition(" ")
        self.lines.append(f"{'python' if 'python' in program else program} {rest}")

    def text(self) -> str:
        """The commands as a block, each once."""
        lines = "\n".join(dict.fromkeys(self.lines))
        return f"```sh\n{lines}\n```\n"
