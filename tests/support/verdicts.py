"""What became of a task: one account of it, by which everyone is judged who was told of it.

Callers, watchers and `agent.task` may differ in when they tell something, never in what.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from jackfield.client import Client, ConnectionClosed, RequestError
from tests.support.waiting import wait_until

Message = dict[str, Any]

_ENDED: Final = {"completed", "failed", "canceled", "rejected"}
_ASKING: Final = {"input_required", "auth_required"}
#: What may follow on a state; on "working" itself only as another attempt.
_MOVES: Final = {
    "submitted": {"working"} | _ENDED,
    "working": {"working"} | _ASKING | _ENDED,
    **dict.fromkeys(_ASKING, {"working"} | _ENDED),
}
#: Seconds until a task must have ended: a lease, a sweep, and a busy machine.
_PATIENCE: Final = 20.0


class Called:
    """A call as its caller sees it; `calling` makes it."""

    def __init__(self) -> None:
        self.task = ""
        #: The states that were told, without the last one, and the agent's chunks.
        self.states: list[str] = []
        self.chunks: list[Message] = []
        #: The payload of its reply, or the error that it ended with; None if it has neither.
        self.reply: Message | None = None
        self.error: Message | None = None
        #: Whether the connection was lost before the end.
        self.lost = False

    @property
    def ended(self) -> bool:
        """Whether nothing more can come."""
        return self.lost or self.reply is not None or self.error is not None

    async def has(self, chunks: int) -> None:
        """Wait until the caller has so many chunks."""
        await wait_until(lambda: len(self.chunks) >= chunks or self.ended)
        assert len(self.chunks) >= chunks, self.error

    async def ends(self) -> None:
        """Wait for the end."""
        await wait_until(lambda: self.ended, _PATIENCE)

    async def run(self, client: Client, payload: Message) -> None:
        """Call, and note all that comes of it."""
        try:
            async with aclosing(client.answers("agent.call", payload)) as answers:
                async for answer in answers:
                    self._note(answer)
        except RequestError as error:
            told = {"code": error.code, "message": error.message, "retryable": error.retryable}
            self.error = told | error.extra
        except ConnectionClosed:
            self.lost = True

    def _note(self, answer: Message) -> None:
        payload = answer["payload"]
        if answer["type"] == "reply":
            self.reply = payload
        elif "state" in answer:
            self.task = payload["task"]
            self.states.append(answer["state"])
        else:
            self.chunks.append(payload)


@asynccontextmanager
async def calling(client: Client, **payload: Any) -> AsyncIterator[Called]:
    """Call while the context lasts; begins once the task is known, or there is none."""
    called = Called()
    running = asyncio.create_task(called.run(client, payload))
    try:
        await wait_until(lambda: called.task or called.ended)
        yield called
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


class Watch:
    """Tasks as somebody sees them who has subscribed to their topics; `watching` runs it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        #: For each task its events, by offset in the order in which they came.
        self.events: dict[str, list[tuple[int, Message]]] = {}

    async def join(self, task: str, since: Message | None = None) -> Message:
        """Subscribe to a task, from its beginning or from a position on; returns the reply."""
        events = self.events[task] = []
        asked = {"topic": f"task:{task}"} | ({} if since is None else {"since": since})
        reply = await self._client.request("topic.subscribe", asked)
        # What is live comes behind the reply, and may be there already.
        events[:0] = [_event(each) for each in reply.get("events", ())]
        return reply

    async def leave(self, task: str) -> None:
        """Watch a task no more."""
        await self._client.request("topic.unsubscribe", {"topic": f"task:{task}"})

    async def run(self) -> None:
        """Note what comes, until cancelled."""
        async for message in self._client.events():
            about = message.get("error", message)
            events = self.events.get(about["topic"].removeprefix("task:"))
            if events is None:  # the user's own topic
                continue
            if message["type"] == "event":
                events.append(_event(message))
            else:  # it goes on in another epoch, and what is missing is to be read
                assert about["code"] == "unrecoverable", message
                last = events[-1][0] if events else 0
                events += await _history(self._client, about["topic"], last, about["offset"])

    def sees_the_end(self, task: str) -> bool:
        """Whether the task has ended here."""
        events = self.events[task]
        return bool(events) and events[-1][1].get("state") in _ENDED


@asynccontextmanager
async def watching(client: Client) -> AsyncIterator[Watch]:
    """Watch tasks while the context lasts."""
    watch = Watch(client)
    running = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a task.

    Attributes:
        state: Its one terminal state.
        attempts: How often it was handed to an instance.
        chunks: What it has streamed, in all attempts together.
        output: Of a completed one.
        error: Of any other.
    """

    state: str
    attempts: int
    chunks: list[Message]
    output: Message | None
    error: Message | None

    @property
    def code(self) -> str | None:
        """Why it has failed, in a word."""
        return None if self.error is None else str(self.error["code"])


async def verdict(
    task: str,
    witness: Client,
    *others: Client,
    calls: Sequence[Called] = (),
    watches: Sequence[Watch] = (),
) -> Verdict:
    """Wait for the end of a task, and judge: it has ended once, and all have been told the same.

    Args:
        task: The task.
        witness: Somebody who may see it; its topic's history is read by them.
        *others: More of those, at other nodes.
        calls: Who has called for it; all of them are told of its end.
        watches: Who has watched it from some event on, up to its end.

    Raises:
        AssertionError: There is a difference, or an end that is none.
    """

    async def has_ended() -> bool:
        return (await _read(witness, task))["state"] in _ENDED

    await wait_until(has_ended, _PATIENCE)
    events = await _history(witness, f"task:{task}", 0, None)
    found = judge([payload for _, payload in events])
    for each in (witness, *others):
        told = await _read(each, task)
        assert told["state"] == found.state
        assert told["attempt"] == found.attempts
        assert told["seq"] == len(found.chunks)
        assert (told.get("output"), told.get("error")) == (found.output, found.error)
    for call in calls:
        await call.ends()
        _compare(call, task, events, found)
    for watch in watches:
        await wait_until(lambda watch=watch: watch.sees_the_end(task))  # type: ignore[misc]
        seen = watch.events[task]
        assert seen == events[-len(seen) :]
    return found


def judge(story: Sequence[Message]) -> Verdict:
    """What the events of a task's topic tell.

    Args:
        story: Their payloads, all of them.

    Raises:
        AssertionError: They are no task's whole life.
    """
    first, *_, last = story
    assert (first["kind"], first["state"]) == ("task", "submitted")
    state, attempt, chunks = "submitted", 0, list[Message]()
    for event in story[1:]:
        if event["kind"] == "chunks":
            assert state == "working"
            assert event["seq"] == len(chunks)
            chunks += event["chunks"]
            continue
        assert event["kind"] == "state"
        assert event["state"] in _MOVES.get(state, ()), (state, event)  # nothing after the end
        attempt += event["state"] == "working" and state not in _ASKING
        assert event["attempt"] == attempt
        state = event["state"]
    assert state in _ENDED
    output, error = last.get("output"), last.get("error")
    assert (output is None) == (state != "completed")
    assert (error is None) == (state == "completed")
    return Verdict(state, attempt, chunks, output, error)


def _compare(call: Called, task: str, events: list[tuple[int, Message]], found: Verdict) -> None:
    """Hold what a caller was told against what has happened."""
    assert call.task == task
    if call.lost:
        assert call.chunks == found.chunks[: len(call.chunks)]
        return
    states = [payload["state"] for _, payload in events if "state" in payload]
    assert call.states == states[:-1]
    assert call.chunks == found.chunks
    if found.state == "completed":
        assert call.reply == {"task": task, "state": "completed", "output": found.output}
        assert call.error is None
    else:
        assert found.error is not None
        assert call.error == {"task": task} | found.error
        assert call.reply is None


def _event(message: Message) -> tuple[int, Message]:
    return message["offset"], message["payload"]


async def _read(client: Client, task: str) -> Message:
    return await client.request("agent.task", {"task": task})


async def _history(
    client: Client, topic: str, after: int, upto: int | None
) -> list[tuple[int, Message]]:
    """The events of a topic, page by page; each is the next one of the one before it."""
    events: list[tuple[int, Message]] = []
    while upto is None or after < upto:
        reply = await client.request("topic.history", {"topic": topic, "after": after})
        upto = reply["offset"] if upto is None else upto
        for offset, payload in map(_event, reply["events"]):
            assert offset == after + 1
            after = offset
            if offset <= upto:
                events.append((offset, payload))
    return events
