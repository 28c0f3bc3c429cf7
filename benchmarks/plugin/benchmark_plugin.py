"""The plugin that is measured: it answers a message with what the schema made of it."""

import gc
import tracemalloc
from typing import Any

from benchmarks.message import MEMORY, TYPE, Message
from jackfield import Context, Plugin

benchmark = Plugin("benchmark")


@benchmark.handler(TYPE, Message)
async def send(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Answer with the payload."""
    return data


@benchmark.handler(MEMORY)
async def memory(ctx: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Tell how many bytes are allocated, in a server whose allocations are traced."""
    gc.collect()
    allocated, _ = tracemalloc.get_traced_memory()
    return {"bytes": allocated}
