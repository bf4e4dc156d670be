"""Folders: the places of a user's files."""

from __future__ import annotations

import os


def user_folder() -> str | None:
    """Returns the folder of this user's own files: pyraface in $XDG_CONFIG_HOME or ~/.config; None without a home."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(home):  # the XDG specification: a relative path is to be ignored
        home = os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(home, "pyraface") if os.path.isabs(home) else None  # without a home "~" is left
