"""Process: the daemon's own limits."""

from __future__ import annotations

import resource

from pyraface.daemon import process


def test_descriptors_bound_the_connections() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (400, before[1]))
        assert process.room_for_connections(64) == 64
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 400
        assert process.room_for_connections(1000) == 1000
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 1000 + process.OTHER_DESCRIPTORS
        assert process.room_for_connections(before[1]) == before[1] - process.OTHER_DESCRIPTORS
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
