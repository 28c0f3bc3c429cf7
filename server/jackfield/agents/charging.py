"""What a task costs its caller, and for how long it is kept after its end."""

from typing import Final

from jackfield.config import AgentSettings
from jackfield.connection.connection import Connection
from jackfield.connection.payer import share_name
from jackfield.connection.shares import TASK_BYTES, Shares
from jackfield.wire.errors import Error

from .call import CallOptions

#: Bytes of an input up to which an ended task is kept for ``agents.ttl``. One with a larger input
#: is kept for a shorter time, in proportion; and so is one of a caller who keeps much already.
_SMALL_INPUT: Final = 4096
#: Seconds that any task is kept: its caller must be able to read what became of it.
_SHORTEST: Final = 60.0
#: Seconds that a caller is told to wait when too many wait.
_RETRY_AFTER: Final = 1.0


def task_timeout(settings: AgentSettings, options: CallOptions) -> float:
    """Return how many seconds a task may take, waiting for an instance included."""
    seconds = settings.timeout if options.timeout is None else options.timeout
    return min(seconds, settings.max_timeout)


def charge_task(
    shares: Shares, settings: AgentSettings, options: CallOptions, input_size: int
) -> float:
    """Charge a task to its caller; what the server itself calls for is not charged.

    Args:
        shares: What clients may keep.
        settings: The longest that a task may take, and be kept.
        options: The call.
        input_size: Bytes of its input, encoded.

    Returns:
        Seconds that the task is kept after its end.

    Raises:
        Error: ``rate_limited`` or ``unavailable``, see `Shares`.
    """
    ttl = settings.ttl
    if options.payer is None:
        return ttl
    kept = ttl * min(1.0, _SMALL_INPUT / max(1, input_size)) * shares.room(options.payer)
    kept = max(kept, min(_SHORTEST, ttl))
    # The input stands in the task, and in the first event of its topic.
    size = 2 * input_size + sum(map(len, options.watchers)) + TASK_BYTES
    shares.charge(options.payer, size, task_timeout(settings, options) + kept)
    return kept


def payer_name(payer: Connection | None) -> str:
    """Return whose share of an agent's queue a task takes: as of `Shares`; "" for nobody's."""
    return "" if payer is None else share_name(payer) or f"c:{payer.id}"


def full_queue(word: str, shares: Shares, settings: AgentSettings) -> Error:
    """Return why a call may not wait.

    Args:
        word: What the store says: ``full`` for everybody, or ``share`` for this caller.
        shares: Count the refusals.
        settings: How many may wait.
    """
    if word == "full":
        shares.count_refusal("queue")
        return Error(
            "unavailable",
            "Too many calls wait for this agent.",
            retry_after=_RETRY_AFTER,
            limit=settings.queue,
        )
    shares.count_refusal("queue_per_user")
    return Error(
        "rate_limited",
        "Too many of your calls wait for this agent.",
        retry_after=_RETRY_AFTER,
        limit=settings.queue_share,
    )
