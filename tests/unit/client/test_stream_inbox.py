"""A stream comes as fast as it is read: the server is asked to pause before anything is lost."""

import asyncio
from typing import Any

import pytest

from jackfield.client import StreamBroken
from jackfield.client.inbox import Inbox
from jackfield.client.stream_inbox import StreamInbox


class Server:
    """Notes what it is asked, and answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._answers: list[Inbox] = []

    def ask(self, message_type: str, answer: Inbox) -> None:
        self.asked.append(message_type.partition(".")[2])
        self._answers.append(answer)

    def answer(self, kind: str = "reply") -> None:
        self._answers.pop(0).put({"type": kind}, 10)


def chunk(number: int) -> dict[str, Any]:
    return {"type": "chunk", "seq": number}


async def test_a_slow_reader_has_the_server_pause_and_gets_all() -> None:
    server = Server()
    inbox = StreamInbox(1000, server.ask)
    for number in range(50):  # what was under way fits, past the limit
        inbox.put(chunk(number), 100)
    server.answer()
    inbox.put({"type": "reply"}, 100)
    assert server.asked == ["pause"]
    assert [(await inbox.get())["seq"] for _ in range(50)] == [*range(50)]
    assert server.asked == ["pause", "resume"]
    assert await inbox.get() == {"type": "reply"}


async def test_a_reader_that_keeps_up_asks_for_nothing() -> None:
    server = Server()
    inbox = StreamInbox(1000, server.ask)
    for number in range(50):
        inbox.put(chunk(number), 100)
        await inbox.get()
    assert server.asked == []


async def test_a_server_without_time_to_hear_it_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jackfield.client.stream_inbox._ASK_AGAIN", 0)
    server = Server()
    inbox = StreamInbox(1000, server.ask)
    for number in range(6):
        inbox.put(chunk(number), 100)
    server.answer("error")
    inbox.put(chunk(6), 100)
    assert server.asked == ["pause", "pause"]
    server.answer()
    for _ in range(7):
        await inbox.get()
    assert server.asked == ["pause", "pause", "resume"]
    server.answer("error")
    while server.asked[-2:] != ["resume", "resume"]:  # noqa: ASYNC110 - the loop's next turn
        await asyncio.sleep(0)


async def test_without_a_server_that_can_pause_chunks_past_the_limit_are_lost() -> None:
    inbox = StreamInbox(1000, None)
    for number in range(50):
        inbox.put(chunk(number), 100)
    for _ in range(10):
        await inbox.get()
    with pytest.raises(StreamBroken, match="40 chunks"):
        await inbox.get()
