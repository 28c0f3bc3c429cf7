"""The end of a connection: finish the close handshake, cancel the requests that still run."""

import asyncio
from typing import Final

import structlog
from aiohttp import web

from jackfield.connection.connection import CLOSE_TIMEOUT, Connection
from jackfield.connection.request import CONNECTION_ENDED

from .receiver import Receiver

_log = structlog.get_logger("jackfield")

#: Seconds that handlers have to end once they are cancelled; those that clean up need less.
_CANCEL_TIMEOUT: Final = 5.0
#: Seconds between checks whether a client that broke the protocol has closed its socket.
_POLL_INTERVAL: Final = 0.05


async def finish_close_handshake(connection: Connection, receiver: Receiver) -> None:
    """Finish the close handshake (RFC 6455, section 7.1), whichever side began it.

    Args:
        connection: The connection, which is read no more.
        receiver: What has read it.
    """
    last = receiver.ended_by
    if last is not None and last.type is web.WSMsgType.CLOSE:
        connection.answer_close(last.data)
        await connection.outbox.flush()  # bounded: `Connection.answer_close` set a timer
        connection.transport.close()
    elif connection.closing is not None:
        # It broke the protocol. Closing the socket while the client still sends would reset it and
        # lose the close frame: so wait until the client has closed it, or long enough.
        await connection.outbox.flush()
        waited = 0.0
        while connection.request.transport is not None and waited < CLOSE_TIMEOUT:
            await asyncio.sleep(_POLL_INTERVAL)
            waited += _POLL_INTERVAL
        connection.transport.abort()


async def stop_requests(connection: Connection) -> None:
    """Cancel the requests of a connection that has ended, and wait for their handlers."""
    if not connection.requests:
        return
    connection.stop_requests(CONNECTION_ENDED)
    await asyncio.sleep(0)  # a request that had not begun begins, finds this out and ends
    tasks = {
        request.task for request in connection.requests.values() if request.task is not None
    } - {asyncio.current_task()}
    if tasks:
        _, stuck = await asyncio.wait(tasks, timeout=_CANCEL_TIMEOUT)
        if stuck:
            _log.error(
                "handlers ignore their cancellation", connection=connection.id, count=len(stuck)
            )
