"""What a streaming handler may yield beside its chunks keeps what it was given, and no more."""

import pytest

from jackfield.declaration.replies import Reply, Stated


def test_a_reply_is_its_payload() -> None:
    assert Reply({"n": 1}).payload == {"n": 1}


def test_a_chunk_of_state_is_told_apart_from_a_reply() -> None:
    chunk = Stated("working", {"attempt": 1})
    assert (chunk.state, chunk.payload) == ("working", {"attempt": 1})
    assert not isinstance(Reply({}), Stated)


@pytest.mark.parametrize("reply", [Reply({}), Stated("working", {})])
def test_a_slip_of_the_keyboard_is_an_error(reply: Reply) -> None:
    with pytest.raises(AttributeError):
        reply.paylod = {}  # type: ignore[attr-defined]
