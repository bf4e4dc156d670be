"""Search: where in an image the detector looks for faces."""

from __future__ import annotations

from .base import Search
from .everywhere import Everywhere
from .guided import Guided

__all__ = ["Everywhere", "Guided", "Search"]
