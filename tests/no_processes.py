"""Guard of the folders whose tests start no process: a test there that starts one fails, and its name says where to."""

from __future__ import annotations

import sys
from collections.abc import Generator

import pytest

STARTS = frozenset(
    {"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"}
)
"""Python's audit events of a process that is started."""

_started: list[str] = []


def _heard(event: str, arguments: tuple[object, ...]) -> None:
    if event in STARTS:
        _started.append(f"{event} {arguments[0] if arguments else ''}")


sys.addaudithook(_heard)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Before the fixtures, whose processes count too."""
    _started.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None]:
    yield
    if _started:
        pytest.fail(f"a process was started ({', '.join(_started)}); such a test belongs in tests/processes")
