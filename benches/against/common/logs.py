"""Logs from `trendmark generate`, and how they are cut into earlier and next events."""

import heapq
import itertools
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common.process import Command, run

# DuckDB has no acceptance rules. Without such events, both sides answer the same question.
CLEAN = ("--late-rate=0", "--future-rate=0", "--malformed-rate=0")
SCATTERED = (*CLEAN, "--scatter")
PARTITIONS = 8

# The lines to append to each file.
Batch = dict[Path, bytes]


def generate(trendmark: Path, folder: Path, impressions: int, flags: Command) -> list[str]:
    """Generates a log, unless the folder holds one that was generated with the same flags. Returns
    the flags."""
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
    """A JSON Lines log whose files end at a time of arrival, and the batches after it."""

    log: Path
    lengths: dict[Path, int]
    records: int
    batches: list[Batch]

    def append(self, batch: Batch) -> None:
        """Appends a batch to the files."""
        for path, lines in batch.items():
            with path.open("ab") as file:
                file.write(lines)

    def restore(self) -> None:
        """Removes the appended lines."""
        for path, length in self.lengths.items():
            os.truncate(path, length)


def cut(log: Path, cut_ms: int, batches: int, batch_events: int) -> Continued:
    """Cuts the files of a log at a time of arrival. The next events, in order of arrival, are the
    batches to append. The rest of the log is lost."""
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
    """The offset of the first line that arrived at `cut_ms` or later; lines are in that order."""
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
