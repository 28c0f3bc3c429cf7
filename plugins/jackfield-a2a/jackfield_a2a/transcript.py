"""`Transcript`: a task as A2A has it, made of the events that Jackfield has of it."""

from typing import Any, Final

from a2a.types import (
    Artifact,
    Message,
    Part,
    Role,
    Task,
    TaskArtifactUpdateEvent,
    TaskStatusUpdateEvent,
)

from .task_events import ASKING, ENDED, TaskEvent
from .translate import Reference, join_parts, make_part, make_status

Update = TaskStatusUpdateEvent | TaskArtifactUpdateEvent

#: The artifacts of what an agent streams, and of what it completes a task with.
STREAM: Final = "stream"
OUTPUT: Final = "output"
#: Bytes of the stream that a whole task holds, enough for a book; the updates have it all.
_MAX_STREAM: Final = 4 * 2**20


class Transcript:
    """What is known of a task, event by event.

    Args:
        reference: The task.
    """

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._state = "submitted"
        self._status = make_status(reference, self._state, {}, 0)
        self._request: list[Message] = []
        self._stream: list[Part] = []
        self._stream_bytes = 0
        self._chunks = 0
        self._output: Artifact | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the task is over."""
        return self._state in ENDED

    @property
    def awaits_caller(self) -> bool:
        """Whether the task waits for its caller."""
        return self._state in ASKING

    def add(self, event: TaskEvent) -> list[Update]:
        """Add an event; return the updates that followers are to be sent."""
        match event.payload:
            case {"kind": "task", "task": task}:
                self._request = [self._message(task.get("input") or {})]
            case {"kind": "chunks", "seq": first, "chunks": chunks}:
                return self._add_chunks(first, chunks)
            case {"kind": "state", "state": state}:
                self._state = state
                self._status = make_status(self._reference, state, event.payload, event.offset)
                update = TaskStatusUpdateEvent(**self._ids(), status=self._status)
                return [*self._add_output(event.payload.get("output")), update]
        return []

    def task(self) -> Task:
        """Return the task as it stands."""
        artifacts = []
        if self._chunks:
            stream = Artifact(artifact_id=STREAM, name=STREAM, parts=join_parts(self._stream))
            if self._stream_bytes > _MAX_STREAM:
                stream.metadata["truncated"] = True
            artifacts.append(stream)
        if self._output is not None:
            artifacts.append(self._output)
        return Task(
            id=self._reference.id,
            context_id=self._reference.context,
            status=self._status,
            history=self._request,
            artifacts=artifacts,
        )

    def _add_chunks(self, first: int, chunks: list[dict[str, Any]]) -> list[Update]:
        # Chunks that a restarted Redis counts again are known.
        parts = [make_part(chunk) for chunk in chunks[max(self._chunks - first, 0) :]]
        if not parts:
            return []
        for part in parts:
            self._stream_bytes += part.ByteSize()
            if self._stream_bytes <= _MAX_STREAM:
                self._stream.append(part)
        artifact = Artifact(artifact_id=STREAM, name=STREAM, parts=join_parts(parts))
        update = TaskArtifactUpdateEvent(**self._ids(), artifact=artifact, append=self._chunks > 0)
        self._chunks += len(parts)
        return [update]

    def _add_output(self, output: dict[str, Any] | None) -> list[Update]:
        if not output:
            return []
        self._output = Artifact(artifact_id=OUTPUT, name=OUTPUT, parts=[make_part(output)])
        return [TaskArtifactUpdateEvent(**self._ids(), artifact=self._output, last_chunk=True)]

    def _message(self, given: dict[str, Any]) -> Message:
        """Return the message that the task came from, as far as its input shows it."""
        return Message(
            message_id=f"{self._reference.task}-0",
            **self._ids(),
            role=Role.ROLE_USER,
            parts=[make_part(given)],
        )

    def _ids(self) -> dict[str, Any]:
        return {"task_id": self._reference.id, "context_id": self._reference.context}
