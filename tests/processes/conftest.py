"""Every line of every output that a test here has left is as docs/faces.schema.json says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.output_lines import check_outputs


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "other_lines: leaves outputs with lines that pyraface did not write")


@pytest.fixture(autouse=True)
def lines(request: pytest.FixtureRequest) -> Iterator[None]:
    """Checks the outputs below the test's folder when the test ends."""
    folder: Path | None = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if folder is not None and request.node.get_closest_marker("other_lines") is None:
        check_outputs(folder)
