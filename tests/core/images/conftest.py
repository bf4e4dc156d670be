"""Fixtures for the tests of images."""

from __future__ import annotations

import pillow_heif
import pytest


@pytest.fixture(scope="session", autouse=True)
def heif_can_be_written() -> None:
    """The tests write HEIC with Pillow's save; decode() needs no registration, as test_nothing_is_imported... shows."""
    pillow_heif.register_heif_opener()
