"""permessage-deflate: which offers are met, and what is compressed and inflated by them."""

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.wire.deflate import MAX_BITS, MIN_BITS, Compressor, Deflate, Inflater, agree

ANY = Deflate(15, 15, server_takeover=True, client_takeover=True, tells_client_bits=False)


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", "permessage-deflate; server_max_window_bits=12"),
        (
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
        ),
        (
            "permessage-deflate; client_max_window_bits=10; server_max_window_bits=9",
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10",
        ),
        (
            'permessage-deflate;server_max_window_bits="15";client_max_window_bits = 8 ',
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=8",
        ),
        (
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
            (
                "permessage-deflate; server_max_window_bits=12; server_no_context_takeover; "
                "client_no_context_takeover"
            ),
        ),
        (
            "x-other, permessage-deflate; server_max_window_bits=8, permessage-deflate",
            "permessage-deflate; server_max_window_bits=12",
        ),
        ("", None),
        ("x-webkit-deflate-frame", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; client_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
        ("permessage-deflate; unknown", None),
        ("permessage-deflate; server_max_window_bits=ten", None),
        ("permessage-deflate; client_no_context_takeover=1", None),
    ],
)
def test_the_first_offer_that_can_be_met_is_answered(offer: str, answer: str | None) -> None:
    agreed = agree([offer], 12)
    assert (None if agreed is None else agreed.header) == answer


def test_offers_may_stand_in_several_headers() -> None:
    agreed = agree(["permessage-deflate; unknown", "permessage-deflate"], 9)
    assert agreed is not None
    assert agreed.server_bits == 9


def test_without_a_say_in_it_a_client_has_the_largest_window() -> None:
    agreed = agree(["permessage-deflate"], 9)
    assert agreed is not None
    assert (agreed.server_bits, agreed.client_bits) == (9, MAX_BITS)


@given(
    messages=st.lists(st.binary(max_size=5_000), max_size=8),
    bits=st.integers(MIN_BITS, MAX_BITS),
    takeover=st.booleans(),
    cut=st.integers(0, 5_000),
)
def test_what_is_compressed_is_inflated_again(
    messages: list[bytes], bits: int, cut: int, *, takeover: bool
) -> None:
    agreed = Deflate(bits, bits, takeover, takeover, tells_client_bits=True)
    compressor, inflater = Compressor(agreed), Inflater(agreed, 5_000)
    for message in messages:
        compressed = compressor.add(message[:cut]) + compressor.add(message[cut:])
        compressed += compressor.end()
        assert compressed
        inflated = inflater.add(compressed[:cut]) + inflater.add(compressed[cut:])
        assert inflated + inflater.end() == message


def test_a_message_of_several_streams_is_inflated_and_one_of_many_is_refused() -> None:
    """Section 7.2.3.4: blocks with BFINAL."""
    final = bytes.fromhex("f348cdc9c90700")
    inflater = Inflater(ANY, 1_000)
    for _ in range(20):
        assert inflater.add(final + b"\0") + inflater.end() == b"Hello"
    inflater = Inflater(ANY, 1_000)
    with pytest.raises(ValueError, match="streams"):
        inflater.add(final * 5)


@pytest.mark.parametrize("bad", [b"\xff" * 10, b"\x07", zlib.compress(b"with a header")])
def test_what_is_not_deflated_is_refused(bad: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Inflater(ANY, 1_000).add(bad)


def test_a_window_larger_than_agreed_is_refused() -> None:
    large, noise = Compressor(ANY), random.Random(1).randbytes(2_000)
    first, again = (large.add(noise) + large.end() for _ in range(2))
    wide, narrow = (Inflater(ANY._replace(client_bits=bits), 100_000) for bits in (11, 9))
    for inflater in (wide, narrow):
        assert inflater.add(first) + inflater.end() == noise
    assert wide.add(again) + wide.end() == noise
    with pytest.raises(ValueError, match="distance"):
        narrow.add(again)


def test_no_more_is_inflated_than_the_limit() -> None:
    compressor, inflater = Compressor(ANY), Inflater(ANY, 1_000)
    for _ in range(3):
        just = compressor.add(bytes(1_000)) + compressor.end()
        assert len(inflater.add(just) + inflater.end()) == 1_000
    more = compressor.add(bytes(1_001)) + compressor.end()
    with pytest.raises(OverflowError):
        inflater.add(more)


def test_the_parts_of_a_message_have_one_limit() -> None:
    compressor, inflater = Compressor(ANY), Inflater(ANY, 1_000)
    whole = compressor.add(random.Random(1).randbytes(1_001)) + compressor.end()
    inflater.add(whole[:500])
    with pytest.raises(OverflowError):
        inflater.add(whole[500:])
