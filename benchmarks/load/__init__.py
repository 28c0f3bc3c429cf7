"""What puts load on a server: a process of its own, which must never be the slower side."""

from typing import Final

#: Seconds before anything is counted: caches and compilers get warm.
WARM_UP: Final = 1.0
