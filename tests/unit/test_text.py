"""Text that everything behind us can hold."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from shared.text import TextSanitiser, is_storable, one_line, sanitise

ANY_TEXT = st.text(alphabet=st.characters(codec=None, exclude_categories=()))


@given(ANY_TEXT)
def test_sanitised_text_can_be_stored_and_encoded(text: str) -> None:
    clean = sanitise(text)
    assert is_storable(clean)
    assert clean.encode().decode() == clean


@given(ANY_TEXT)
def test_text_that_can_be_stored_is_left_as_it_is(text: str) -> None:
    if is_storable(text):
        assert sanitise(text) == text


@given(ANY_TEXT, st.lists(st.integers(0, 50)))
def test_the_pieces_of_a_text_make_the_same_as_the_whole(text: str, cuts: list[int]) -> None:
    units = [chr(int.from_bytes(pair)) for pair in pairs(text)]
    piecewise = TextSanitiser()
    edges = [0, *sorted(cut for cut in cuts if cut < len(units)), len(units)]
    pieces = ["".join(units[a:b]) for a, b in itertools.pairwise(edges)]
    assert "".join(map(piecewise.feed, pieces)) + piecewise.close() == sanitise("".join(units))


def pairs(text: str) -> list[bytes]:
    data = text.encode("utf-16-be", "surrogatepass")
    return [data[i : i + 2] for i in range(0, len(data), 2)]


def test_a_nul_and_a_lone_surrogate_are_not_storable() -> None:
    assert not is_storable("a\0b")
    assert not is_storable("a\ud800b")
    assert is_storable("a\U0001f600b")


def test_a_title_is_the_first_characters_on_one_line() -> None:
    assert one_line("  Plan\n the   week " + "x" * 80, 50) == "Plan the week " + "x" * 36
