"""What an author declares is kept as declared, and a wrong declaration fails at once, in words."""

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

from jackfield import AnyPayload, Context, NoPayload, Plugin, RegistrationError, Runtime
from jackfield.plugin.handler import Handler, HandlerKind
from jackfield.plugin.hooks import CallNext
from tests.support.paths import ROOT


class Send(Schema):
    text = fields.String(required=True)


async def send(ctx: Context, data: dict[str, Any]) -> None:
    """Post a message.

    To a room.
    """


async def stream(ctx: Context, data: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    yield {}


def compute(ctx: Context, data: dict[str, Any]) -> None: ...


def anything(*arguments: Any) -> None: ...


def nothing() -> None: ...


def more(ctx: Context, data: dict[str, Any], *, more: Any) -> None: ...


def generate(ctx: Context, data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {}


async def one(ctx: Context) -> None: ...


async def running(runtime: Runtime) -> AsyncIterator[None]:
    yield


async def layer(ctx: Context, data: Any, call_next: CallNext) -> Any: ...


class Caller:
    async def __call__(self, ctx: Context, data: dict[str, Any]) -> None: ...


def declared(function: Callable[..., Any] = send, **options: Any) -> Handler:
    chat = Plugin("chat")
    assert chat.handler("chat.send", **options)(function) is function
    return chat.handlers["chat.send"]


def handling(function: Any, **options: Any) -> Callable[[Plugin], Any]:
    return lambda chat: chat.handler("chat.send", **options)(function)


def handling_twice(chat: Plugin) -> None:
    chat.handler("chat.send")(send)
    chat.handler("chat.send")(compute)


def decorated_twice(chat: Plugin) -> None:
    outer, inner = chat.handler("chat.send"), chat.handler("chat.send")
    outer(inner(send))


def topic(pattern: Any = "room:{name}", **options: Any) -> Callable[[Plugin], Any]:
    return lambda chat: chat.topic(pattern, **options)


def overlapping(one: str, other: str) -> Callable[[Plugin], Any]:
    def declare(chat: Plugin) -> None:
        chat.topic(one)
        chat.topic(other)

    return declare


STATIC = ROOT / "server/jackfield/http/console/static"


def page(path: Any = "/chat", folder: Any = STATIC) -> Callable[[Plugin], Any]:
    return lambda chat: chat.page(path, folder)


def seen_twice(chat: Plugin) -> None:
    chat.page("/chat", STATIC)
    chat.page("/chat", STATIC)


def living_twice(chat: Plugin) -> None:
    chat.lifespan(running)
    chat.lifespan(running)


def test_what_is_not_said_has_a_default() -> None:
    handler = declared()
    assert isinstance(handler.schema, NoPayload)
    assert handler.reply is None
    assert handler.scopes == frozenset()
    assert handler.rate is None
    assert handler.timeout is None
    assert handler.concurrent is False


def test_what_is_said_is_kept() -> None:
    handler = declared(
        schema=Send, reply=AnyPayload, scopes=["chat", "room"], timeout="500ms", concurrent=True
    )
    assert handler.type == "chat.send"
    assert handler.function is send
    assert isinstance(handler.schema, Send)
    assert isinstance(handler.reply, AnyPayload)
    assert handler.scopes == {"chat", "room"}
    assert handler.timeout == 0.5
    assert handler.concurrent is True


def test_a_rate_is_so_many_in_a_period() -> None:
    assert declared(rate="100/m").rate == (100, 60)


def test_a_plugin_runs_as_many_handlers_at_once_as_it_says() -> None:
    assert Plugin("chat").concurrency is None
    assert Plugin("chat", concurrency=5).concurrency == 5


@pytest.mark.parametrize("timeout", ["5s", 5, 5.0])
def test_a_timeout_is_seconds_however_it_is_written(timeout: str | float) -> None:
    assert declared(timeout=timeout).timeout == 5.0


def test_a_schemas_instance_is_taken_as_it_is() -> None:
    schema = Send(partial=True)
    assert declared(schema=schema).schema is schema


@pytest.mark.parametrize("scopes", [["a", "b"], ("a", "b"), {"a", "b"}, iter("ab")])
def test_scopes_may_be_any_collection(scopes: Any) -> None:
    assert declared(scopes=scopes).scopes == {"a", "b"}


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (send, HandlerKind.ASYNC),
        (compute, HandlerKind.THREAD),
        (stream, HandlerKind.STREAM),
        (anything, HandlerKind.THREAD),
        (Caller().__call__, HandlerKind.ASYNC),
    ],
)
def test_a_handler_is_run_as_it_is_written(function: Callable[..., Any], kind: HandlerKind) -> None:
    assert declared(function).kind is kind


def test_a_handlers_docstring_is_its_documentation() -> None:
    assert declared(send).doc == "Post a message.\n\nTo a room."
    assert declared(compute).doc == ""


@pytest.mark.parametrize("message_type", ["a.b", "chat.room.send", "a1.b_2", "a." + "b" * 126])
def test_a_message_type_is_lower_case_words_joined_by_dots(message_type: str) -> None:
    chat = Plugin("chat")
    chat.handler(message_type)(send)
    assert list(chat.handlers) == [message_type]


def test_hooks_lifespan_and_middleware_are_kept_in_their_order() -> None:
    chat = Plugin("chat", config=Send)

    async def other(ctx: Context) -> None: ...

    async def outer(ctx: Context, data: Any, call_next: CallNext) -> Any: ...

    assert chat.on_connect(one) is one
    assert chat.on_connect(other) is other
    assert chat.on_disconnect(other) is other
    assert chat.lifespan(running) is running
    assert chat.middleware(outer) is outer
    assert chat.middleware()(layer) is layer
    assert chat.middleware(everywhere=True)(layer) is layer
    assert chat.connect_hooks == [one, other]
    assert chat.disconnect_hooks == [other]
    assert chat.lifespan_function is running
    assert chat.own_middleware == [outer, layer]
    assert chat.server_middleware == [layer]
    assert isinstance(chat.config_schema, Send)
    assert repr(chat) == "Plugin('chat')"


def test_a_topic_has_defaults_that_keep_and_allow_nothing() -> None:
    room = Plugin("chat").topic("room:{name}")
    assert str(room.pattern) == "room:{name}"
    assert room.plugin == "chat"
    assert isinstance(room.event, AnyPayload)
    assert room.history == 0
    assert room.ttl == 3600.0
    assert room.presence is False
    assert room.client_publish is False
    assert room.scopes == frozenset()


def test_what_is_said_of_a_topic_is_kept() -> None:
    schema = Send()
    room = Plugin("chat").topic(
        "room:{name}",
        event=schema,
        history=100_000,
        ttl="1d",
        presence=True,
        publish=True,
        scopes=["chat", "room"],
    )
    assert room.event is schema
    assert room.history == 100_000
    assert room.ttl == 86_400.0
    assert room.presence is True
    assert room.client_publish is True
    assert room.scopes == {"chat", "room"}


def test_topics_are_kept_in_their_order() -> None:
    chat = Plugin("chat")
    declared = [chat.topic(pattern, Send) for pattern in ("room:{name}", "room", "a:{b}", "a:b:c")]
    assert chat.topics == declared
    assert all(isinstance(each.event, Send) for each in declared)


def test_the_files_of_a_page_are_read_as_it_is_declared(tmp_path: Path) -> None:
    for name in ("index.html", "main.js", "notes.txt", "parts/list.css"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(name)
    chat = Plugin("chat")
    chat.page("/chat", tmp_path)
    chat.page("/chat-help", STATIC)
    (tmp_path / "index.html").write_text("later")
    first, second = chat.pages
    assert (first.path, second.path) == ("/chat", "/chat-help")
    assert {name: file.body.decode() for name, file in first.files.items()} == {
        name: name for name in ("index.html", "main.js", "parts/list.css")
    }


def test_plugins_share_nothing() -> None:
    chat, poll = Plugin("chat"), Plugin("poll")
    chat.handler("chat.send")(send)
    chat.topic("room:{name}")
    chat.on_connect(one)
    chat.middleware(layer)
    assert poll.handlers == {}
    assert poll.topics == []
    assert poll.connect_hooks == []
    assert poll.own_middleware == []


@pytest.mark.parametrize(
    "name",
    ["", "Chat", "1chat", "_chat", "chat-room", "chat.room", "chat ", "chat\n", "é", 5, None],
)
def test_a_plugins_name_is_an_identifier(name: Any) -> None:
    with pytest.raises(RegistrationError) as caught:
        Plugin(name)
    assert str(caught.value) == (
        f"{name!r} can't be a plugin's name: use lower-case letters, digits and underscores, "
        "a letter first"
    )


@pytest.mark.parametrize("name", ["c", "chat", "chat_2", "c_"])
def test_a_good_name_is_taken(name: str) -> None:
    assert Plugin(name).name == name


NO_TYPES = (
    *("send", "", "chat.", ".send", "chat..send", "Chat.send", "chat.send\n", "chat-a.b", "1.b"),
    *(5, None),
)
NO_TYPE = "can't be a message type: use lower-case words joined by dots, such as 'chat.send'"
NO_FUNCTIONS: list[Any] = [5, None, Caller, Caller(), partial(send)]
FIVE: Any = 5
NO_SCHEMA = "must be a marshmallow Schema, not"
NO_DURATIONS: list[Any] = ["5x", "", "-1s", -1, float("nan"), float("inf"), True, [], b"5s"]
NO_DURATION = (
    'is not a duration: write "500ms", "5s", "2m", "1h", "1d" or seconds, from 0 to ten years'
)
A_NUMBER_OF_EVENTS = "a number of events from 0 to 100000"
WRONG: list[tuple[Callable[[Plugin], Any], str]] = [
    (lambda _: Plugin("chat", config=FIVE), f"config= {NO_SCHEMA} 5"),
    (
        lambda _: Plugin("chat", config=Send(many=True)),
        "config= has many=True, but a payload is one object",
    ),
    *((lambda chat, bad=bad: chat.handler(bad), f"{bad!r} {NO_TYPE}") for bad in NO_TYPES),
    (
        lambda chat: chat.handler("a." + "b" * 127),
        f"the message type 'a.{'b' * 38}'... is longer than 128 characters",
    ),
    (handling_twice, "'chat.send' has two handlers, 'send' and 'compute': remove one"),
    (decorated_twice, "'chat.send' has two handlers, 'send' and 'send': remove one"),
    (
        handling(send, schema={"text": fields.String()}),
        f"the schema of 'chat.send' {NO_SCHEMA} {{'text': ",
    ),
    (
        handling(send, schema=fields.String),
        f"the schema of 'chat.send' {NO_SCHEMA} <class 'marshmallow.fields",
    ),
    (handling(send, schema=None), f"the schema of 'chat.send' {NO_SCHEMA} None"),
    (
        handling(send, schema=Send(many=True)),
        "the schema of 'chat.send' has many=True, but a payload is one object",
    ),
    (handling(send, reply="Send"), f"reply= of 'chat.send' {NO_SCHEMA} 'Send'"),
    (
        handling(send, reply=Send(many=True)),
        "reply= of 'chat.send' has many=True, but a payload is one object",
    ),
    (handling(send, scopes="chat"), "scopes= of 'chat.send' is a string: write ['chat']"),
    (handling(send, scopes=5), "scopes= of 'chat.send' must be a list of strings, not 5"),
    (handling(send, scopes=None), "scopes= of 'chat.send' must be a list of strings, not None"),
    (
        handling(send, scopes=["a", ["b"]]),
        "scopes= of 'chat.send' must be a list of strings, not ['a', ['b']]",
    ),
    *(
        (
            handling(send, rate=bad),
            f'rate= of \'chat.send\': {bad!r} is not a rate: write "20/s", "100/m" or "1000/h"',
        )
        for bad in ("20", "0/s", "20/day", 20)
    ),
    *(
        (
            lambda _, bad=bad: Plugin("chat", concurrency=bad),
            f"concurrency= must be 1 or more, not {bad!r}",
        )
        for bad in (0, -1, 1.5, True, "5")
    ),
    *(
        (handling(send, timeout=bad), f"timeout= of 'chat.send': {bad!r} {NO_DURATION}")
        for bad in NO_DURATIONS
    ),
    *(
        (handling(send, timeout=bad), "timeout= of 'chat.send' must be more than nothing")
        for bad in (0, 0.0, "0", "0ms")
    ),
    *(
        (handling(bad), f"the handler of 'chat.send' must be a function, not {bad!r}")
        for bad in NO_FUNCTIONS
    ),
    (
        handling(generate),
        "the handler of 'chat.send', 'generate', is a plain generator: write 'async def' to stream",
    ),
    *(
        (
            handling(bad),
            f"the handler of 'chat.send', {bad.__name__!r}, must take (ctx, data): ",
        )
        for bad in (one, layer, nothing, more, max)
    ),
    (
        lambda chat: chat.on_connect(compute),
        "on_connect 'compute' must be an 'async def' without 'yield'",
    ),
    (
        lambda chat: chat.on_connect(stream),
        "on_connect 'stream' must be an 'async def' without 'yield'",
    ),
    (lambda chat: chat.on_connect(send), "on_connect, 'send', must take (ctx): missing a required"),
    (lambda chat: chat.on_connect(FIVE), "on_connect '5' must be an 'async def' without 'yield'"),
    (
        lambda chat: chat.on_disconnect(compute),
        "on_disconnect 'compute' must be an 'async def' without 'yield'",
    ),
    (lambda chat: chat.on_disconnect(send), "on_disconnect, 'send', must take (ctx): "),
    (
        lambda chat: chat.middleware(compute),
        "middleware 'compute' must be an 'async def' without 'yield'",
    ),
    (lambda chat: chat.middleware(send), "middleware, 'send', must take (ctx, data, call_next): "),
    (
        lambda chat: chat.middleware(everywhere=True)(send),
        "middleware, 'send', must take (ctx, data, call_next): ",
    ),
    *(
        (
            lambda chat, bad=bad: chat.lifespan(bad),
            f"lifespan {bad.__name__!r} must be an async generator: an 'async def' with one ",
        )
        for bad in (one, generate)
    ),
    (lambda chat: chat.lifespan(stream), "lifespan, 'stream', must take (runtime): missing a req"),
    (topic("Room"), "'Room' can't be a segment of the pattern 'Room': use lower-case letters, "),
    (topic(5), "5 can't be a topic's pattern: write a string such as 'room:{name}'"),
    (topic("{name}"), "the pattern '{name}' must start with a word, as 'room:{name}' does"),
    (topic(event="Send"), f"event= of topic 'room:{{name}}' {NO_SCHEMA} 'Send'"),
    (
        topic(event=Send(many=True)),
        "event= of topic 'room:{name}' has many=True, but a payload is one object",
    ),
    *(
        (
            topic(history=bad),
            f"history= of topic 'room:{{name}}' must be {A_NUMBER_OF_EVENTS}, not {bad!r}",
        )
        for bad in (-1, 100_001, 1.0, True, "10", None)
    ),
    *(
        (topic(ttl=bad), f"ttl= of topic 'room:{{name}}': {bad!r} {NO_DURATION}")
        for bad in (*NO_DURATIONS, None)
    ),
    *(
        (topic(ttl=bad), f"ttl= of topic 'room:{{name}}' must be at least 1 s, not {bad!r}")
        for bad in (0, "999ms", 0.99)
    ),
    (topic(scopes="chat"), "scopes= of topic 'room:{name}' is a string: write ['chat']"),
    (topic(scopes=5), "scopes= of topic 'room:{name}' must be a list of strings, not 5"),
    *(
        (
            overlapping(one, other),
            f"topic {other!r} overlaps {one!r}, a name could be of both: rename one",
        )
        for one, other in (
            ("room:{name}", "room:{name}"),
            ("room:{name}", "room:lobby"),
            ("room:{a}:log", "room:{rest*}"),
        )
    ),
    *(
        (page(bad), f"{bad!r} can't be a page's path: write '/' and one word of lower-case ")
        for bad in ("chat", "/", "", "/Chat", "/chat/", "/a/b", "/chat\n", "/{x}", "/..", 5, None)
    ),
    *(
        (page(own), f"page {own!r} would stand where the server's own is: rename it")
        for own in ("/ws", "/console", "/jackfield", "/api", "/metrics")
    ),
    *(
        (page(folder=bad), "the folder of page '/chat' must be a pathlib.Path or of importlib.")
        for bad in ("static", None, 5)
    ),
    (
        page(folder=Path("no/such/folder")),
        "the folder of page '/chat' can't be read: [Errno 2] No such file or directory",
    ),
    (
        page(folder=Path(__file__).parent),
        "the folder of page '/chat' has no index.html: is it package data?",
    ),
    (seen_twice, "page '/chat' is declared twice: remove one"),
    (living_twice, "it has two lifespans, 'running' and 'running': make them one"),
]


@pytest.mark.parametrize(
    ("declare", "words"), WRONG, ids=[words.partition(" at 0x")[0][:70] for _, words in WRONG]
)
def test_a_wrong_declaration_names_the_plugin_and_the_cure(
    declare: Callable[[Plugin], Any], words: str
) -> None:
    with pytest.raises(RegistrationError) as caught:
        declare(Plugin("chat"))
    assert str(caught.value).startswith(f"plugin 'chat': {words}")


@pytest.mark.parametrize(
    "declare",
    [
        handling(5),
        handling(one),
        handling(generate),
        decorated_twice,
        topic("lobby:{name*}"),
        topic(ttl=0),
    ],
    ids=["no-function", "other-arguments", "generator", "twice", "overlapping", "ttl"],
)
def test_a_refused_declaration_leaves_what_was_there(declare: Callable[[Plugin], Any]) -> None:
    chat = Plugin("chat")
    chat.handler("chat.first")(compute)
    lobby = chat.topic("lobby:{name}")
    with pytest.raises(RegistrationError):
        declare(chat)
    assert chat.handlers["chat.first"].function is compute
    assert set(chat.handlers) <= {"chat.first", "chat.send"}
    assert chat.topics == [lobby]
    assert not inspect.isgeneratorfunction(chat.handlers["chat.first"].function)
