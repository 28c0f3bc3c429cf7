"""``request.*`` takes what the protocol takes as an id, and waits for nobody."""

from typing import Any

import pytest

from jackfield import Error
from jackfield.schema.validation import bind
from jackfield_handlers.request import RequestId, cancel, pause, request, resume
from tests.support.handler_context import AskedContext, faults, load


@pytest.mark.parametrize("message_id", [1, 0, 2**53 - 1, "one", "x" * 64])
@pytest.mark.parametrize("answer", [True, False])
async def test_it_says_whether_there_was_anything_to_cancel(
    message_id: int | str, *, answer: bool
) -> None:
    ctx = AskedContext(answer)
    ctx.cancel = ctx.method("cancel")  # type: ignore[attr-defined]
    reply = await cancel(ctx, load(RequestId, id=message_id))  # type: ignore[arg-type]
    assert ctx.calls == [("cancel", (message_id,), {})]
    assert reply == {"cancelled": answer}


@pytest.mark.parametrize("message_id", [True, False, 1.5, None, [], {}, -1, 2**53, "", "x" * 65])
def test_what_can_be_no_id_is_refused(message_id: Any) -> None:
    assert list(faults(RequestId, id=message_id)) == ["id"]
    assert list(faults(RequestId)) == ["id"]


def test_an_id_that_is_none_has_the_code_that_it_ever_had() -> None:
    with pytest.raises(Error) as refused:
        bind(RequestId(), "request.cancel")({"id": True})
    assert [fault["code"] for fault in refused.value.extra["fields"]] == ["is_id"]


@pytest.mark.parametrize(("handler", "options"), [(pause, {}), (resume, {"wait": False})])
@pytest.mark.parametrize("answer", [True, False])
async def test_it_says_whether_there_was_a_stream_to_pause_or_resume(
    handler: Any, options: dict[str, bool], *, answer: bool
) -> None:
    ctx: Any = AskedContext(answer)
    ctx.pause = ctx.method("pause")
    assert await handler(ctx, load(RequestId, id="one")) == {"found": answer}
    assert ctx.calls == [("pause", ("one",), options)]


def test_nothing_waits_in_line_behind_the_request_that_it_is_about() -> None:
    assert len(request.handlers) == 3
    assert all(handler.concurrent for handler in request.handlers.values())
