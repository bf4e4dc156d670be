"""One daemon for all files of this folder, started for the first and ended after the last."""

from tests.hostile.victim import victim

__all__ = ["victim"]
