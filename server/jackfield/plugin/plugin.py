"""`Plugin`: what an author declares. Nothing here handles a message: `dispatch` does.

All that a declaration alone shows to be wrong is refused as it is made: it fails on the author's
machine, with words, and not at a client's message.
"""

import inspect
import re
from collections.abc import Callable, Iterable
from importlib.resources.abc import Traversable
from typing import Any, Final, TypeVar, overload

from marshmallow import Schema

from jackfield.declaration.checks import Checks, function_name
from jackfield.declaration.page import Page
from jackfield.declaration.topic_family import TopicFamily
from jackfield.schema.validation import AnyPayload, NoPayload
from jackfield.wire.errors import RegistrationError
from jackfield.wire.protocol import MAX_TYPE_LENGTH

from .handler import Handler, HandlerKind
from .hooks import Hook, Lifespan, Middleware

F = TypeVar("F", bound=Callable[..., Any])

_PLUGIN_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_MESSAGE_TYPE: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


class Plugin:
    """A set of message types, with what they need around them, under one name.

    Args:
        name: Lower-case letters, digits and underscores. The same as the entry point's; the
            section of the configuration is ``[plugins.<name>]`` and the plugin's own error codes
            start with it.
        config: The schema of that section. Without one the plugin takes no configuration.
        concurrency: How many of its handlers may run at once on a server, for all connections;
            past it clients get ``rate_limited``. Without it, as many as come.

    Raises:
        RegistrationError: The declaration is wrong; so for every method.
    """

    def __init__(
        self,
        name: str,
        *,
        config: type[Schema] | Schema | None = None,
        concurrency: int | None = None,
    ) -> None:
        if not _PLUGIN_NAME.fullmatch(str(name)):
            raise RegistrationError(
                f"{name!r} can't be a plugin's name: use lower-case letters, digits and "
                "underscores, a letter first"
            )
        self.name = name
        self._check = Checks(name)
        self.config_schema = None if config is None else self._check.schema(config, "config=")
        if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
            raise self._check.wrong(f"concurrency= must be 1 or more, not {concurrency!r}")
        self.concurrency = concurrency
        self.handlers: dict[str, Handler] = {}
        self.topics: list[TopicFamily] = []
        self.pages: list[Page] = []
        self.connect_hooks: list[Hook] = []
        self.disconnect_hooks: list[Hook] = []
        self.own_middleware: list[Middleware] = []
        self.server_middleware: list[Middleware] = []
        self.lifespan_function: Lifespan | None = None

    def __repr__(self) -> str:
        return f"Plugin({self.name!r})"

    def handler(
        self,
        message_type: str,
        schema: type[Schema] | Schema = NoPayload,
        *,
        reply: type[Schema] | Schema | None = None,
        dump: bool = False,
        scopes: Iterable[str] = (),
        rate: str | None = None,
        timeout: str | float | None = None,
        concurrent: bool = False,
    ) -> Callable[[F], F]:
        """Declare a function as the handler of a message type.

        The function takes a `Context` and the payload as its schema loaded it. An ``async def``
        handler's messages run in order for each connection; what it returns, a mapping or None,
        is the reply. A plain ``def`` runs in a thread. An async generator streams: each ``yield``
        is a chunk, and the client may cancel it.

        Args:
            message_type: Dotted and lower-case, such as ``chat.send``.
            schema: What the payload must be. The default refuses every key; `AnyPayload` takes
                any object.
            reply: What the reply is, or each chunk: documentation, and checked on the way out
                where the server's ``debug`` is on.
            dump: Make the reply, or each chunk, of what the handler returns by the `dump` of
                ``reply``: for objects, other names on the wire, or formats of dates. Without it
                the handler returns the reply as it is to be, which is faster.
            scopes: What the connection's identity must have, all of it; else ``forbidden``.
            rate: How many of its messages a connection may send, as ``"20/s"``, ``"100/m"`` or
                ``"1000/h"``: so many at once, and then as they come back, evenly. Past it the
                client gets ``rate_limited`` and when to try again.
            timeout: How long it may take, in seconds or as ``"5s"``; then the client gets
                ``timeout`` and the handler is cancelled (a thread can't be: its result is
                dropped). The default is the server's ``limits.handler_timeout``; a stream has none.
            concurrent: Give each message a task of its own instead of running them in order.
        """

        def register(function: F) -> F:
            if message_type in self.handlers:
                raise self._check.wrong(
                    f"{message_type!r} has two handlers, "
                    f"{function_name(self.handlers[message_type].function)!r} and "
                    f"{function_name(function)!r}: remove one"
                )
            self.handlers[message_type] = Handler(
                type=message_type,
                function=function,
                kind=self._kind(message_type, function),
                schema=bound_schema,
                reply=reply_schema,
                dump=dump,
                scopes=required,
                rate=limit,
                timeout=seconds,
                concurrent=concurrent,
            )
            return function

        if not _MESSAGE_TYPE.fullmatch(str(message_type)):
            raise self._check.wrong(
                f"{message_type!r} can't be a message type: use lower-case words joined by dots, "
                f"such as {self.name + '.send'!r}"
            )
        if len(message_type) > MAX_TYPE_LENGTH:
            raise self._check.wrong(
                f"the message type {message_type[:40]!r}... is longer than {MAX_TYPE_LENGTH} "
                "characters"
            )
        bound_schema = self._check.schema(schema, f"the schema of {message_type!r}")
        reply_schema = (
            None if reply is None else self._check.schema(reply, f"reply= of {message_type!r}")
        )
        if dump and reply_schema is None:
            raise self._check.wrong(
                f"dump= of {message_type!r} needs reply=, the schema to dump by"
            )
        required = self._check.scopes(scopes, f"scopes= of {message_type!r}")
        limit = None if rate is None else self._check.rate(rate, f"rate= of {message_type!r}")
        seconds = None if timeout is None else self._seconds(message_type, timeout)
        return register

    def topic(
        self,
        pattern: str,
        event: type[Schema] | Schema = AnyPayload,
        *,
        history: int = 0,
        ttl: str | float = "1h",
        presence: bool = False,
        publish: bool = False,
        replay: bool = False,
        scopes: Iterable[str] = (),
    ) -> TopicFamily:
        """Declare the topics whose names are of one pattern; no others exist.

        Args:
            pattern: Words and named parts joined by ``:``, such as ``room:{name}``; the first is
                a word. ``{name}`` is one or more characters other than ``:``; ``{name*}``, the
                last one only, may have ``:`` as well.
            event: What an event carries. What a client publishes must be it; of what the plugin
                publishes it is documentation, checked where the server's ``debug`` is on.
            history: How many of a topic's last events are kept, for those who come back or read
                them: up to 100,000.
            ttl: How long after a topic's last event its history and position are kept, in seconds
                or as ``"1d"``; at least a second.
            presence: Let members see each other, and who comes and goes.
            publish: Let clients publish.
            replay: Send who subscribes without a position all that is kept, in the reply.
            scopes: What a connection's identity must have, all of it; to others the topics are as
                ``not_found`` as any that isn't declared.

        Returns:
            The family: it publishes, and its hooks say who may do what.
        """
        family = TopicFamily(
            self.name,
            pattern,
            event,
            history=history,
            ttl=ttl,
            presence=presence,
            publish=publish,
            replay=replay,
            scopes=scopes,
        )
        for other in self.topics:
            if family.pattern.overlaps(other.pattern):
                raise self._check.wrong(
                    f"{family} overlaps {str(other.pattern)!r}, a name could be of both: rename one"
                )
        self.topics.append(family)
        return family

    def page(self, path: str, folder: Traversable) -> None:
        """Declare a page: files that the server gives to browsers as they are.

        They are read here, once. ``index.html`` is what is seen at the path, and each file names
        the others as they lie in the folder. Any page may load the JavaScript client, from
        ``../jackfield/index.js``.

        Args:
            path: Where: ``/`` and one word, such as ``/chat``.
            folder: Where the files are, such as ``files(__name__) / "static"`` (see
                `importlib.resources`) or a `pathlib.Path`: ``.html``, ``.css``, ``.js`` and
                ``.svg``, in folders within it too. Others are not served.
        """
        page = Page(self.name, path, folder)
        if any(other.path == page.path for other in self.pages):
            raise self._check.wrong(f"{page} is declared twice: remove one")
        self.pages.append(page)

    def on_connect(self, function: F) -> F:
        """Run an async function of a `Context` for each new connection, before its welcome.

        An `Error` raised in it refuses the connection: the client gets the error, and is closed
        with 4006 (come back) if it is retryable, with 4503 (don't) if it is not.
        """
        self._check.call(function, "on_connect", ("ctx",))
        self.connect_hooks.append(function)
        return function

    def on_disconnect(self, function: F) -> F:
        """Run an async function of a `Context` when a connection has ended, however it ended."""
        self._check.call(function, "on_disconnect", ("ctx",))
        self.disconnect_hooks.append(function)
        return function

    def lifespan(self, function: F) -> F:
        """Declare what the plugin needs while the server runs.

        An async generator of one argument, a `Runtime`: up to its one ``yield`` it starts, after
        it it stops. What it yields is `Context.resource` for the plugin's handlers and hooks.
        """
        if not inspect.isasyncgenfunction(function):
            raise self._check.wrong(
                f"lifespan {function_name(function)!r} must be an async generator: an 'async def' "
                "with one 'yield' between starting and stopping"
            )
        self._check.arguments(function, "lifespan", ("runtime",))
        if self.lifespan_function is not None:
            raise self._check.wrong(
                f"it has two lifespans, {function_name(self.lifespan_function)!r} and "
                f"{function_name(function)!r}: make them one"
            )
        self.lifespan_function = function
        return function

    @overload
    def middleware(self, function: F, *, everywhere: bool = False) -> F: ...

    @overload
    def middleware(
        self, function: None = None, *, everywhere: bool = False
    ) -> Callable[[F], F]: ...

    def middleware(
        self, function: F | None = None, *, everywhere: bool = False
    ) -> F | Callable[[F], F]:
        """Wrap an async function of context, payload and ``call_next`` around handlers.

        It runs after validation, the first declared outermost; it may change the payload, the
        reply, or raise an `Error` instead.

        Args:
            function: The middleware (``@plugin.middleware`` without brackets).
            everywhere: Around every plugin's handlers, not only this plugin's own. Its context is
                still its own plugin's: config, resource, state and log.
        """

        def register(declared: F) -> F:
            self._check.call(declared, "middleware", ("ctx", "data", "call_next"))
            (self.server_middleware if everywhere else self.own_middleware).append(declared)
            return declared

        return register if function is None else register(function)

    def _kind(self, message_type: str, function: Callable[..., Any]) -> HandlerKind:
        place = f"the handler of {message_type!r}"
        # A class, a partial, or an object that can be called hides what its call is.
        if not inspect.isroutine(function):
            raise self._check.wrong(f"{place} must be a function, not {function!r}")
        if inspect.isgeneratorfunction(function):
            raise self._check.wrong(
                f"{place}, {function_name(function)!r}, is a plain generator: write 'async def' to "
                "stream"
            )
        self._check.arguments(function, place, ("ctx", "data"))
        if inspect.isasyncgenfunction(function):
            return HandlerKind.STREAM
        return HandlerKind.ASYNC if inspect.iscoroutinefunction(function) else HandlerKind.THREAD

    def _seconds(self, message_type: str, timeout: str | float) -> float:
        seconds = self._check.duration(timeout, f"timeout= of {message_type!r}")
        if seconds == 0:
            raise self._check.wrong(f"timeout= of {message_type!r} must be more than nothing")
        return seconds
