"""Text: counts with their nouns, addresses as users write them, and text from outside made safe for a line or a field."""

from __future__ import annotations


def one_line(text: str, limit: int | None = None) -> str:
    """Returns text as printable characters on one line; every other character becomes its escape, such as \\x1b.

    Args:
        limit: maximum length of the result, including the three dots at its end; None: no limit.
    """
    if limit is not None:
        text = text[: limit + 1]  # escapes only lengthen it
    if not text.isprintable():
        text = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return text if limit is None or len(text) <= limit else text[: limit - 3] + "..."


def sendable(text: str, limit: int) -> str:
    """Returns text cut to `limit` characters, with "?" for each one that UTF-8 cannot hold.

    Those are lone surrogates: Python's reading of file names that are not UTF-8.
    """
    return text[:limit].encode("utf-8", "replace").decode("utf-8")


def place(host: str, port: int) -> str:
    """Returns the address of a server as users write it, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def plural(count: int, thing: str) -> str:
    """Returns a count with its noun: 1 image, 2 images."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
