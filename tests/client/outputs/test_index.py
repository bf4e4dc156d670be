"""Index: what an output says of each path, in little memory."""

from __future__ import annotations

import tracemalloc
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from pyraface.client.inputs.file_reader import digest_of
from pyraface.client.outputs.index import Head, Index, LineState, Origin
from pyraface.core.computed_by import ComputedBy

OURS, OTHER = "print", "other"
ONNX, DLIB = ComputedBy("onnx", "cpu", "0.1.0"), ComputedBy("dlib", "cpu", "0.1.0")


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcdefgh"),
            st.integers(0, 4),
            st.sampled_from([OURS, OTHER, ""]),
            st.sampled_from([ONNX, DLIB, None]),
        ),
        max_size=40,
    )
)
def test_the_index_says_of_each_path_what_its_last_line_says(
    lines: list[tuple[str, int, str, ComputedBy | None]],
) -> None:
    index = Index()
    last: dict[str, tuple[int, Head]] = {}
    for number, (path, content, fingerprint, computed_by) in enumerate(lines):
        digest = digest_of(bytes([content])) if content else None
        state = LineState.DONE if fingerprint else LineState.UNANSWERED
        head = Head(
            path, digest, content, number, Origin(fingerprint, computed_by), state, former=content == 3
        )
        index.add(head, 10 * number, 10 * number + 10)
        last[path] = number, head
    index.sort()
    for path in "abcdefghi":
        entry = index.at(path)
        assert (entry is None) == (path not in last)
        if entry is not None:
            number, head = last[path]
            assert (entry.number, entry.start, entry.modified) == (number, 10 * number, number)
            assert (entry.size, entry.origin, entry.state) == (head.size, head.origin, head.state)
    for content in range(1, 5):
        numbers = sorted(entry.number for entry in index.with_digest(digest_of(bytes([content]))))
        assert numbers == [number for number, line in enumerate(lines) if line[1] == content]
    kept = {number for number, _ in last.values()}
    outdated = [
        (number, 10 * number, 10 * number + 10, number not in kept)
        for number, line in enumerate(lines)
        if number not in kept or line[1] == 3
    ]
    assert list(index.outdated()) == outdated
    done = [head for _, head in last.values() if head.state is LineState.DONE]
    assert index.counts(LineState.DONE) == Counter(head.origin for head in done)


def test_the_index_of_many_lines_is_small() -> None:
    count = 30_000
    tracemalloc.start()
    try:
        index = Index()
        for number in range(count):
            digest = digest_of(number.to_bytes(8, "big"))
            index.add(
                Head(f"/p/{number}.jpg", digest, 1, number, Origin(OURS, ONNX), LineState.DONE),
                number,
                number + 1,
            )
        index.sort()
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 100 * count
    assert most < 150 * count
    entry = index.at("/p/17777.jpg")
    assert entry is not None
    assert entry.modified == 17777
