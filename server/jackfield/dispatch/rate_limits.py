"""How often a connection may send a message type that has a rate of its own.

What it may send in all is counted where its messages are read, by `Connection.allowance`.
"""

import math
from typing import Final

from jackfield.connection.connection import Connection
from jackfield.connection.running import MessageOptions
from jackfield.connection.slot import Slot
from jackfield.wire.errors import Error
from jackfield.wire.rates import Allowance

#: What a connection may still send of each type; each made for its first message.
_ALLOWANCES: Final[Slot[dict[MessageOptions, Allowance]]] = Slot("rate limits", dict)


def check_rate(connection: Connection, options: MessageOptions) -> None:
    """Take a message of what a connection may send of its type.

    Raises:
        Error: ``rate_limited``: it has sent as many as it may.
    """
    if options.rate is None:
        return
    allowances = connection[_ALLOWANCES]
    allowance = allowances.get(options)
    if allowance is None:
        allowance = allowances[options] = options.rate.allowance()
    allowance.left -= 1
    if allowance.left < 0 and (wait := allowance.refill(connection.loop.time())):
        raise Error("rate_limited", retry_after=rounded_up(wait))


def rounded_up(wait: float) -> float:
    """A time to wait as a client is told it: one that is too short is refused again.

    Args:
        wait: Seconds.
    """
    return math.ceil(wait * 1000) / 1000
