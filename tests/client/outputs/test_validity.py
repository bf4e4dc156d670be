"""Validity: which lines stand in a run, and why the others do not."""

from __future__ import annotations

import re

import pytest

from pyraface.client.outputs.index import LineState, Origin
from pyraface.client.outputs.validity import MOST_NAMED, Stale, Validity
from pyraface.core.computed_by import ComputedBy
from pyraface.core.errors import OutputError

ONNX = ComputedBy("onnx", "cpu, int8", "0.1.0, onnxruntime 1.32.0, dlib 20.0.1")
DLIB = ComputedBy("dlib", "cuda, Orin", "0.1.0, dlib 19.24.6")


def problem(
    origin: Origin, state: LineState = LineState.DONE, *, redo_from: tuple[str, ...] = (), retry: bool = False
) -> Stale | None:
    validity = Validity(redo_from=redo_from, retry_failed=retry)
    validity.fingerprints = {"asked for"}
    return validity.problem(origin, state)


@pytest.mark.parametrize("computed_by", [ONNX, DLIB, None])
def test_a_line_of_what_is_asked_for_stands_whatever_computed_it(computed_by: ComputedBy | None) -> None:
    assert problem(Origin("asked for", computed_by)) is None
    assert problem(Origin("asked for", computed_by), LineState.FAILED) is None
    assert problem(Origin("another", computed_by)) is Stale.PARAMETERS


def test_a_line_without_a_result_never_stands() -> None:
    assert problem(Origin("asked for", ONNX), LineState.UNANSWERED) is Stale.UNANSWERED
    assert problem(Origin("", None), LineState.UNANSWERED) is Stale.UNANSWERED


def test_what_is_asked_for_decides_first_then_a_failure_then_a_redo() -> None:
    both = {"redo_from": ("onnx",), "retry": True}
    assert problem(Origin("another", ONNX), LineState.FAILED, **both) is Stale.PARAMETERS  # type: ignore[arg-type]
    assert problem(Origin("asked for", ONNX), LineState.FAILED, **both) is Stale.RETRIED  # type: ignore[arg-type]
    assert problem(Origin("asked for", ONNX), LineState.DONE, **both) is Stale.REDO  # type: ignore[arg-type]
    assert problem(Origin("asked for", DLIB), LineState.DONE, **both) is None  # type: ignore[arg-type]


def test_each_value_must_be_in_a_line() -> None:
    origins = [Origin("asked for", ONNX), Origin("another", DLIB), Origin("asked for", None)]
    Validity(redo_from=("dlib", "INT8")).check(origins, "faces.jsonl")
    with pytest.raises(
        OutputError, match=r"--redo-from tensorrt: no line of faces\.jsonl has .*: onnx; cpu, int8; 0"
    ):
        Validity(redo_from=("dlib", "tensorrt")).check(origins, "faces.jsonl")
    with pytest.raises(OutputError, match="its lines have: none"):
        Validity(redo_from=("dlib",)).check([Origin("asked for", None)], "faces.jsonl")


def test_the_error_names_a_bounded_number_of_values() -> None:
    origins = [Origin("f", ComputedBy("onnx", f"cuda, {number}", f"0.{number}")) for number in range(50)]
    with pytest.raises(OutputError) as error:
        Validity(redo_from=("x",)).check(origins, "faces.jsonl")
    named = re.search(r"its lines have: (.*); and others\. ", str(error.value))
    assert named is not None
    assert len(named[1].split("; ")) == MOST_NAMED
