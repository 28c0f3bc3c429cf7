"""`State`: a plugin's own fields of a connection's state."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from jackfield.connection.connection import Connection
from jackfield.connection.slot import Slot
from jackfield.store.connections import ConnectionStore

#: Held while a connection's fields are written: two writes of one field must reach Redis in the
#: order in which they are seen here, and over two connections to Redis they might not.
_WRITE_LOCK: Final = Slot("state", asyncio.Lock)


class State(Mapping[str, Any]):
    """A plugin's own fields of a connection's state: read here, kept in Redis.

    They live as long as the connection. Reading is local and costs nothing. Writing goes to
    Redis first, and only then can be read: when `set` returns, the field is in both.
    """

    __slots__ = ("_connection", "_prefix", "_store")

    def __init__(self, connection: Connection, plugin: str, store: ConnectionStore) -> None:
        self._connection = connection
        self._prefix = f"{plugin}."
        self._store = store

    def __getitem__(self, name: str) -> Any:
        return msgspec.json.decode(self._connection.fields[self._prefix + name])

    def __iter__(self) -> Iterator[str]:
        start = len(self._prefix)
        return (key[start:] for key in self._connection.fields if key.startswith(self._prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    async def set(self, **values: Any) -> None:
        """Write fields.

        Args:
            **values: Any JSON values.

        Raises:
            Error: ``unavailable`` if Redis is away; nothing has changed here then.
            TypeError: A value can't be JSON.
        """
        await self._write(
            {self._prefix + name: msgspec.json.encode(value) for name, value in values.items()}
        )

    async def delete(self, *names: str) -> None:
        """Remove fields; one that isn't there is no error.

        Raises:
            Error: ``unavailable`` if Redis is away; nothing has changed here then.
        """
        fields = self._connection.fields
        await self._write(
            {self._prefix + name: None for name in names if self._prefix + name in fields}
        )

    async def _write(self, changes: Mapping[str, bytes | None]) -> None:
        """Write fields to Redis, then here; None removes one."""
        connection = self._connection
        async with connection[_WRITE_LOCK]:
            await self._store.set_fields(connection, changes)
            for name, value in changes.items():
                if value is None:
                    connection.fields.pop(name, None)
                else:
                    connection.fields[name] = value
