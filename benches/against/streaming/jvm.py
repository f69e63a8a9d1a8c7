"""What the JVM behind a Python process used, from Linux."""

import os
from pathlib import Path


def usage_of(pid: int) -> dict[str, float]:
    """The peak resident memory and the processor time of a process that still runs."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = [line.split()[1] for line in status if line.startswith("VmHWM:")]
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return {"peak_bytes": int(peak) * 1024, "cpu_s": cpu_s}
