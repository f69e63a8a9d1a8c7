"""The logs: made by `trendmark generate`, and cut into what was there before and what came next."""

import heapq
import itertools
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from process import Command, run

# Without them, DuckDB and trendmark answer the same question: DuckDB judges no event.
CLEAN = ("--late-rate=0", "--future-rate=0", "--malformed-rate=0")
PARTITIONS = 8

# The lines that arrive in each file.
Batch = dict[Path, bytes]


def generate(trendmark: Path, folder: Path, impressions: int, flags: Command) -> list[str]:
    """Makes a log, unless the folder holds the one that the same command made. Returns the flags
    that it was made with."""
    command = [f"--impressions={impressions}", f"--partitions={PARTITIONS}", *map(str, flags)]
    made_with = folder / "made_with.json"
    if not made_with.exists() or json.loads(made_with.read_text()) != command:
        made_with.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        run(
            [trendmark, "generate", "--out", folder, "--force", *command],
            folder / "generate.txt",
        )
        made_with.write_text(json.dumps(command))
    return command


def topic_files(log: Path, topic: str) -> str:
    """The pattern of a topic's files, as `trendmark run` takes it."""
    return f"{log}/{topic}-*.{'parquet' if any(log.glob('*.parquet')) else 'jsonl'}"


@dataclass
class Continued:
    """A log of JSON Lines whose files end at an instant, and what arrived after it."""

    log: Path
    lengths: dict[Path, int]
    records: int
    batches: list[Batch]

    def append(self, batch: Batch) -> None:
        """Lets a batch arrive."""
        for path, lines in batch.items():
            with path.open("ab") as file:
                file.write(lines)

    def restore(self) -> None:
        """Takes back what was appended."""
        for path, length in self.lengths.items():
            os.truncate(path, length)


def cut(log: Path, cut_ms: int, batches: int, batch_events: int) -> Continued:
    """Cuts the files of a log at an instant of arrival; the next events, in the order in which
    they arrived, are the batches to append. The rest of the log is gone."""
    files = sorted(log.glob("*.jsonl"))
    lengths = {path: arrived_before(path, cut_ms) for path in files}
    arrivals = heapq.merge(
        *(lines_from(path, length) for path, length in lengths.items()),
        key=lambda arrival: arrival[0],
    )
    taken = [joined(itertools.islice(arrivals, batch_events)) for _ in range(batches)]
    continued = Continued(log, lengths, 0, taken)
    continued.restore()
    continued.records = sum(count_lines(path) for path in files)
    return continued


def joined(arrivals: Iterator[tuple[int, Path, bytes]]) -> Batch:
    lines: defaultdict[Path, list[bytes]] = defaultdict(list)
    for _, path, line in arrivals:
        lines[path].append(line)
    return {path: b"".join(part) for path, part in lines.items()}


def lines_from(path: Path, start: int) -> Iterator[tuple[int, Path, bytes]]:
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            yield json.loads(line)["record_time"], path, line


def arrived_before(path: Path, cut_ms: int) -> int:
    """Where the first line begins that arrived at `cut_ms` or later; lines are in that order."""
    with path.open("rb") as file:
        low, high = 0, file.seek(0, os.SEEK_END)
        while low < high:
            middle = (low + high) // 2
            file.seek(max(middle - 1, 0))
            if middle > 0:
                file.readline()
            start, line = file.tell(), file.readline()
            if line and json.loads(line)["record_time"] < cut_ms:
                low = start + len(line)
            else:
                high = middle
        return low


def count_lines(path: Path) -> int:
    with path.open("rb") as file:
        chunks = iter(lambda: file.read(1 << 22), b"")
        return sum(chunk.count(b"\n") for chunk in chunks)
