"""Runs processes and measures each: wall time, processor time and peak memory."""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Command = Sequence[str | Path]


@dataclass(frozen=True)
class Usage:
    """What a process took from its start to its end."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    output: str


class Failed(Exception):
    """A process did not succeed."""


class Process:
    """A process that was started. It ends with the block, whatever happens."""

    def __init__(self, command: Command, messages: Path) -> None:
        self.command = command
        self.messages = messages
        self.is_over = False
        self.started = time.perf_counter()
        with messages.open("wb") as stderr:
            self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        if not self.is_over:
            self.popen.kill()
            self.popen.wait()

    def cpu_s(self) -> float:
        """The processor time that it has taken so far, to a hundredth of a second."""
        status = Path(f"/proc/{self.popen.pid}/stat").read_text()
        fields = status.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait_until(self, is_done: Callable[[], bool], interval_s: float, limit_s: float) -> None:
        """Asks again and again, while the process lives."""
        give_up = time.perf_counter() + limit_s
        while not is_done():
            if self.popen.poll() is not None:
                raise Failed(f"{self.command[0]} has ended early: {self.messages.read_text()}")
            if time.perf_counter() > give_up:
                raise Failed(f"{self.command[0]} is not done after {limit_s} s")
            time.sleep(interval_s)

    def interrupt(self) -> Usage:
        """Ends it as Ctrl-C does, and waits for it."""
        self.popen.terminate()
        return self.wait()

    def wait(self) -> Usage:
        """Waits for its end, and says what it took."""
        assert self.popen.stdout is not None
        output = self.popen.stdout.read().decode()
        _, status, usage = os.wait4(self.popen.pid, 0)
        wall_s = time.perf_counter() - self.started
        self.is_over = True
        self.popen.returncode = os.waitstatus_to_exitcode(status)
        if self.popen.returncode != 0:
            raise Failed(
                f"{self.command[0]} has ended with {self.popen.returncode}: "
                f"{self.messages.read_text()}"
            )
        return Usage(
            wall_s=wall_s,
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_bytes=usage.ru_maxrss * 1024,
            output=output,
        )


def run(command: Command, messages: Path) -> Usage:
    """Runs a process to its end."""
    with Process(command, messages) as process:
        return process.wait()
