"""Messages of A2A as inputs of Jackfield, and what comes back as parts: without a server."""

import json
from typing import Any

import pytest
from a2a.types import AgentCard, Part, StreamResponse
from a2a.utils.errors import ContentTypeNotSupportedError, InvalidParamsError, TaskNotFoundError
from a2a.utils.proto_utils import to_stream_response
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Value

from jackfield_a2a.card import make_card
from jackfield_a2a.task_events import TaskEvent
from jackfield_a2a.transcript import Transcript
from jackfield_a2a.translate import Reference, join_parts, make_part, read_parts

TASK = "bot.AAAAAAAAAAAAAAAAAAAAAA"


def data(value: Any) -> Part:
    return Part(data=ParseDict(value, Value()))


@pytest.mark.parametrize(
    ("parts", "given"),
    [
        ([Part(text="a"), Part(text="b")], {"text": "a\nb"}),
        ([data({"a": 1}), data({"b": [1.5, 2, None]})], {"a": 1, "b": [1.5, 2, None]}),
        ([Part(text="a"), data({"n": {"m": 3}})], {"text": "a", "n": {"m": 3}}),
        ([data({})], {}),
        ([Part(text="")], {"text": ""}),
    ],
)
def test_parts_are_one_input(parts: list[Part], given: dict[str, Any]) -> None:
    found = read_parts(parts)
    assert found == given
    assert json.dumps(found, sort_keys=True) == json.dumps(given, sort_keys=True)  # 1 is not 1.0


def test_a_number_beyond_what_a_double_holds_stays_one() -> None:
    assert repr(read_parts([data({"n": 1e300})])) == repr({"n": 1e300})


@pytest.mark.parametrize(
    "parts", [[data({"text": "a"}), Part(text="b")], [data({"a": 1}), data({"a": 1})]]
)
def test_what_is_said_twice_is_refused(parts: list[Part]) -> None:
    with pytest.raises(InvalidParamsError, match="Several parts"):
        read_parts(parts)


@pytest.mark.parametrize("part", [Part(raw=b"x"), Part(url="http://a"), Part(), data([1]), data(1)])
def test_what_can_be_no_input_is_refused(part: Part) -> None:
    with pytest.raises(ContentTypeNotSupportedError, match=r"[Pp]art 1"):
        read_parts([Part(text="a"), part])


@pytest.mark.parametrize("payload", [{"text": 1}, {"text": "a", "b": 1}, {}, {"a": [{}]}])
def test_what_is_not_text_alone_is_data(payload: dict[str, Any]) -> None:
    assert MessageToDict(make_part(payload).data) == payload


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 1


def test_what_is_too_deep_for_data_is_text_in_json() -> None:
    deep = {"deep": nested(127)}  # as deep as Jackfield lets it be
    part = make_part(deep)
    assert (part.media_type, json.loads(part.text)) == ("application/json", deep)


def test_data_goes_whole_through_the_task_that_has_it() -> None:
    output = {"deep": nested(38)}
    transcript = Transcript(Reference(TASK, TASK))
    done = {"kind": "state", "state": "completed", "output": output}
    update, _ = transcript.add(TaskEvent(1, done, newest=True))
    for told in (to_stream_response(update), to_stream_response(transcript.task())):
        copy = StreamResponse.FromString(told.SerializeToString())
        artifact = copy.artifact_update.artifact if copy.HasField("artifact_update") else None
        part = (artifact or copy.task.artifacts[0]).parts[0]
        assert MessageToDict(part.data) == output


def schema(depth: int) -> dict[str, Any]:
    return {"properties": {"a": schema(depth - 2)}} if depth > 2 else {"type": "object"}


def test_schemas_as_deep_as_they_may_be_go_into_cards_and_questions() -> None:
    deep = schema(32)  # what Jackfield lets an agent register
    agent = {"name": "bot", "skills": [{"id": "deep", "input": deep}]}
    card = make_card(agent, "http://a", anonymous=True)
    copy = AgentCard.FromString(card.SerializeToString())
    assert MessageToDict(copy.capabilities.extensions[0].params) == {"deep": deep}
    transcript = Transcript(Reference(TASK, TASK))
    asked = {"kind": "state", "state": "input_required", "prompt": {"schema": deep}}
    (update,) = transcript.add(TaskEvent(1, asked, newest=True))
    told = StreamResponse.FromString(to_stream_response(update).SerializeToString())
    assert MessageToDict(told.status_update.status.message.metadata) == {"schema": deep}


def test_texts_that_follow_on_each_other_are_one() -> None:
    parts = [Part(text="a "), Part(text="b"), data({"c": 1}), Part(text="d")]
    assert join_parts(parts) == [Part(text="a b"), data({"c": 1}), Part(text="d")]


@pytest.mark.parametrize("context", [TASK, "an-own.one~of_theirs"])
def test_a_task_is_found_by_its_id_with_its_context(context: str) -> None:
    reference = Reference(TASK, context)
    assert Reference.read(reference.id, "bot") == reference


@pytest.mark.parametrize("id_", ["", "bot", "robot.x", f"{TASK}~", f"{TASK}~a/b"])
def test_what_is_no_task_of_the_agent_is_not_found(id_: str) -> None:
    with pytest.raises(TaskNotFoundError):
        Reference.read(id_, "bot")


def _chunks(offset: int, first: int, *texts: str) -> TaskEvent:
    payload = {"kind": "chunks", "seq": first, "chunks": [{"text": text} for text in texts]}
    return TaskEvent(offset, payload, newest=True)


def test_chunks_that_are_told_twice_are_there_once() -> None:
    transcript = Transcript(Reference(TASK, TASK))
    transcript.add(_chunks(1, 0, "a", "b"))
    assert transcript.add(_chunks(2, 1, "b")) == []
    (update,) = transcript.add(_chunks(3, 1, "b", "c"))
    assert [part.text for part in update.artifact.parts] == ["c"]  # type: ignore[union-attr]
    assert [part.text for part in transcript.task().artifacts[0].parts] == ["abc"]


def test_a_stream_that_is_very_long_is_cut_in_the_whole_task_and_says_so() -> None:
    transcript = Transcript(Reference(TASK, TASK))
    for number in range(5):
        (update,) = transcript.add(_chunks(number + 1, number, "x" * 2**20))
        assert len(update.artifact.parts[0].text) == 2**20  # type: ignore[union-attr]
    (stream,) = transcript.task().artifacts
    assert len(stream.parts[0].text) == 3 * 2**20
    assert stream.metadata["truncated"]
