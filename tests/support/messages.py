"""Messages of clients as bytes, and how each encoding refuses them."""

from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st

from jackfield.wire.envelope import Envelope, MalformedError, NotUtf8Error
from jackfield.wire.protocol import JSON, MSGPACK, Codec

both = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])


def encode(codec: Codec, message: Any) -> bytes:
    module: Any = msgspec.json if codec is JSON else msgspec.msgpack
    return bytes(module.encode(message))


def in_msgpack(value: bytes) -> bytes:
    """A message whose payload has this for the value of one key."""
    return b"\x82\xa4type\xa3a.b\xa7payload\x81\xa1x" + value


def refusal(codec: Codec, data: bytes) -> MalformedError:
    with pytest.raises(MalformedError) as caught:
        codec.decode(data)
    return caught.value


def outcome(codec: Codec, data: bytes) -> Envelope | MalformedError | NotUtf8Error:
    try:
        return codec.decode(data)
    except (MalformedError, NotUtf8Error) as exc:
        return exc


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=70),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
