"""What every comparison is given."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.build import machine, versions
from common.sides import Sides
from common.store import Query, queries_of
from common.tables import facts


@dataclass(frozen=True)
class Context:
    """The sides, the folder for logs, the built programs by name, and the arguments."""

    sides: Sides
    data: Path
    programs: dict[str, Path]
    arguments: argparse.Namespace

    def queries(self, flags: Sequence[str] = ()) -> list[Query]:
        """The queries of the program, `trends` first."""
        return queries_of(self.programs["batch_sql"], flags)

    def impressions(self, small: int, large: int) -> int:
        """The number of impressions: the flag, or a default."""
        return self.arguments.impressions or (small if self.arguments.small else large)

    def platform(self, *more: dict[str, str]) -> str:
        """The machine and the versions, as a list."""
        return facts(machine(), versions(self.arguments.trendmark is None), *more)


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
