"""Lines: a stream cut into lines, and changes to it, as if it were one string."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyraface.client.outputs.lines import Change, changed, in_lines


@given(st.lists(st.binary(max_size=5).map(lambda piece: piece.replace(b"a", b"\n"))), st.integers(1, 9))
def test_the_lines_of_a_stream_are_those_of_its_content(pieces: list[bytes], longest: int) -> None:
    found = list(in_lines(pieces, longest))
    content = b"".join(pieces)
    assert b"".join(found) == content
    assert all(0 < len(line) <= longest for line in found)
    assert all(line.endswith(b"\n") or len(line) == longest for line in found[:-1])
    assert all(line.count(b"\n") == line.endswith(b"\n") for line in found)


@st.composite
def edits(draw: st.DrawFn) -> tuple[list[bytes], list[Change]]:
    """Pieces of a stream, and changes in their order."""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=6), min_size=1))
    places = sorted(draw(st.sets(st.integers(0, sum(map(len, pieces))), max_size=6)))
    ranges = list(zip(places[::2], places[1::2], strict=False))
    return pieces, [Change(start, end, draw(st.sampled_from([b"", b"<new>"]))) for start, end in ranges]


@given(edits())
def test_changes_to_the_pieces_are_changes_to_the_whole(edit: tuple[list[bytes], list[Change]]) -> None:
    pieces, changes = edit
    content, expected, position = b"".join(pieces), b"", 0
    for start, end, lines in changes:
        expected += content[position:start] + lines
        position = end
    expected += content[position:]

    rest = iter(changes)
    change, found, position = next(rest, None), b"", 0
    for piece in pieces:
        new, change = changed(piece, position, change, rest)
        found += new
        position += len(piece)
    assert found == expected
    assert change is None
