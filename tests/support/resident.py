"""How much memory a process takes."""

import sys
from pathlib import Path


def resident_bytes(pid: int) -> int:
    """Bytes of memory that a process takes; 0 where that can't be told."""
    if sys.platform != "linux":
        return 0
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
