"""Check the rate limit of one message type.

The rate limit of a connection, over all types, is checked by the receiver.
"""

from typing import Final

from jackfield.connection.connection import Connection
from jackfield.connection.running import MessageOptions
from jackfield.connection.slot import Slot
from jackfield.wire.errors import Error
from jackfield.wire.rates import Allowance, Rate, rounded_up

#: What a connection may still send of each type; an entry is made for its first message.
_ALLOWANCES: Final[Slot[dict[MessageOptions, Allowance]]] = Slot("rate limits", dict)


def check_rate(connection: Connection, options: MessageOptions, rate: Rate) -> None:
    """Count a message against the rate limit of its type.

    Args:
        connection: The connection that has sent it.
        options: Its type.
        rate: The limit of the type.

    Raises:
        Error: ``rate_limited``: the limit is passed.
    """
    allowances = connection[_ALLOWANCES]
    allowance = allowances.get(options)
    if allowance is None:
        allowance = allowances[options] = rate.allowance()
    allowance.left -= 1
    if allowance.left < 0 and (wait := allowance.refill(connection.loop.time())):
        raise Error("rate_limited", retry_after=rounded_up(wait))
