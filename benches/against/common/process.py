"""Runs processes and measures each: wall time, processor time and peak memory."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Command = Sequence[str | Path]

WATCH_S = 0.005


@dataclass(frozen=True)
class Usage:
    """The resources that a process used from start to exit."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    output: str


class Failed(Exception):
    """A process failed."""


def peak_of(pid: int) -> int:
    """The peak resident memory of a process, in bytes; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    _, _, after = status.partition("VmHWM:")
    return int(after.split()[0]) * 1024 if after else 0


class Process:
    """A started process. It is killed at the end of the block if it still runs."""

    def __init__(self, command: Command, messages: Path) -> None:
        self.command = command
        self.messages = messages
        self.is_over = False
        self.started = time.perf_counter()
        self.peak_bytes = 0
        with messages.open("wb") as stderr:
            self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)
        threading.Thread(target=self._watch, daemon=True).start()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        if not self.is_over:
            self.popen.kill()
            self.popen.wait()

    def _watch(self) -> None:
        """Reads the peak memory until the process ends. What `wait4` reports is at least the
        memory of this driver, from which the process was forked."""
        while peak := peak_of(self.popen.pid):
            self.peak_bytes = peak
            time.sleep(WATCH_S)

    def cpu_s(self) -> float:
        """The processor time used so far, in seconds, to a hundredth of a second."""
        status = Path(f"/proc/{self.popen.pid}/stat").read_text()
        fields = status.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait_until(self, is_done: Callable[[], bool], interval_s: float, limit_s: float) -> None:
        """Polls `is_done`. Raises `Failed` if the process ends first or `limit_s` is over."""
        give_up = time.perf_counter() + limit_s
        while not is_done():
            if self.popen.poll() is not None:
                raise Failed(f"{self.command[0]} ended early: {self.messages.read_text()}")
            if time.perf_counter() > give_up:
                raise Failed(f"{self.command[0]} is not done after {limit_s} s")
            time.sleep(interval_s)

    def interrupt(self) -> Usage:
        """Sends SIGTERM, which trendmark handles like Ctrl-C, and waits for the process."""
        self.popen.terminate()
        return self.wait()

    def kill(self) -> Usage:
        """Sends SIGKILL, and waits for the process."""
        self.popen.kill()
        return self.wait(-signal.SIGKILL)

    def wait(self, expected: int = 0) -> Usage:
        """Waits for the process to end and returns the resources that it used. Raises `Failed` if
        it does not end with the expected exit code, or negative signal."""
        assert self.popen.stdout is not None
        output = self.popen.stdout.read().decode()
        _, status, usage = os.wait4(self.popen.pid, 0)
        wall_s = time.perf_counter() - self.started
        self.is_over = True
        self.popen.returncode = os.waitstatus_to_exitcode(status)
        if self.popen.returncode != expected:
            raise Failed(
                f"{self.command[0]} exited with {self.popen.returncode}: "
                f"{self.messages.read_text()}"
            )
        return Usage(
            wall_s=wall_s,
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_bytes=self.peak_bytes,
            output=output,
        )


def run(command: Command, messages: Path, expected: int = 0) -> Usage:
    """Runs a process to its end."""
    with Process(command, messages) as process:
        return process.wait(expected)
