"""`jackfield call` where no server is needed."""

import pytest

from tests.support.commands import run


@pytest.mark.parametrize(
    ("arguments", "stdin", "fault"),
    [
        (["x.y", "{"], None, "Not valid JSON"),
        (["x.y", "NaN"], None, "Not valid JSON"),
        (["x.y", "[" * 5000], None, "Not valid JSON"),
        (["x.y", '{"a": "\udcff"}'], None, "Not valid JSON"),
        (["x.y", "-"], b'{"a": \xff}', "Not valid JSON"),
        (["x.y", "-"], b"", "Not valid JSON"),
        (["x.y", "[1]"], None, "Not a JSON object"),
        (["x.y", "-"], b"7", "Not a JSON object"),
        (["x.y", "--timeout", "soon"], None, "'soon' is not a duration"),
        (["x.y", "--token-env", "NO_SUCH_TOKEN"], None, "NO_SUCH_TOKEN is not set"),
        (["\udcff.y"], None, "Not a message type"),
    ],
)
def test_a_call_that_cannot_be_made_is_wrong_usage(
    arguments: list[str], stdin: bytes | None, fault: str
) -> None:
    result = run("call", *arguments, stdin=stdin)
    assert (result.exit_code, result.stdout) == (2, "")
    assert fault in result.stderr
