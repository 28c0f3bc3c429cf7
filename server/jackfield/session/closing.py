"""The end of a connection: the close handshake, and the handlers that still run."""

import asyncio
from typing import Final

import structlog
from aiohttp import web

from jackfield.connection.connection import CLOSE_TIMEOUT, Connection
from jackfield.connection.request import GONE

from .receiver import Receiver

_log = structlog.get_logger("jackfield")

#: Seconds that handlers of a connection that has ended have to take their cancellation.
_CANCEL_TIMEOUT: Final = 5.0


#: Seconds between looks at whether a client that broke the protocol has gone.
_LINGER_LOOK: Final = 0.05


async def finish_close_handshake(connection: Connection, receiver: Receiver) -> None:
    """Finish the close handshake (RFC 6455, section 7.1) whichever side began it."""
    last = receiver.last
    if last is not None and last.type is web.WSMsgType.CLOSE:
        connection.answer_close(last.data)
        await connection.outbox.written()  # bounded: the transport is cut if this takes too long
        connection.transport.close()
    elif connection.closing is not None:
        # It broke the protocol. Closing the socket while it still sends would reset it, and the
        # close frame would be lost with it: so wait until it has gone, or long enough.
        await connection.outbox.written()
        waited = 0.0
        while connection.request.transport is not None and waited < CLOSE_TIMEOUT:
            await asyncio.sleep(_LINGER_LOOK)
            waited += _LINGER_LOOK
        connection.transport.abort()


async def stop_requests(connection: Connection) -> None:
    """Cancel what still runs for a connection that has ended, and wait for it."""
    if not connection.requests:
        return
    connection.stop_requests(GONE)
    await asyncio.sleep(0)  # what had not begun begins, and finds that it was stopped
    tasks = {
        request.task for request in connection.requests.values() if request.task is not None
    } - {asyncio.current_task()}
    if tasks:
        _, stuck = await asyncio.wait(tasks, timeout=_CANCEL_TIMEOUT)
        if stuck:
            _log.error(
                "handlers ignore their cancellation", connection=connection.id, count=len(stuck)
            )
