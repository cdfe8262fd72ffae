"""The strict parser of event streams."""

from __future__ import annotations

import pytest

from cli.verify.sse import Event, FormError, Parser


def test_events_come_out_of_bytes_cut_anywhere() -> None:
    raw = """retry: 2000
: connected

event: turn.updated
id: 3
data: {"seq":"\U0001f600"}

: ping

""".encode()
    for cut in range(len(raw) + 1):
        parser = Parser()
        events = [*parser.feed(raw[:cut]), *parser.feed(raw[cut:])]
        assert events == [Event("turn.updated", {"seq": "\U0001f600"}, "3")]


@pytest.mark.parametrize(
    "block",
    [
        "event: turn.renamed\nid: 1\ndata: {}",
        "event: turn.updated\nid: 1\ndata: {",
        "event: turn.updated\nid: 1\ndata: []",
        "event: turn.updated\ndata: {}",
        "event: stream.closing\nid: 1\ndata: {}",
        "event: turn.updated\nid: 1\ndata: {}\ndata: {}",
        "message: turn.updated\nid: 1\ndata: {}",
    ],
)
def test_a_stream_that_is_not_well_formed_is_refused(block: str) -> None:
    with pytest.raises(FormError):
        list(Parser().feed(f"{block}\n\n".encode()))


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(FormError):
        list(Parser().feed(b'event: turn.updated\nid: 1\ndata: {"a":"\xe9"}\n\n'))
