"""Prompt: a line typed by the user, read without blocking the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading

MAX_LINE_BYTES = 1024


async def typed_line() -> str:
    """Returns a line of standard input; "" if standard input has ended or is closed."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def answer(text: str) -> None:
        if not line.done():
            line.set_result(text)

    def read() -> None:
        typed = b""
        with contextlib.suppress(OSError):
            while len(typed) < MAX_LINE_BYTES and (piece := os.read(0, MAX_LINE_BYTES)):
                typed += piece
                if b"\n" in piece:
                    break
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the line is no longer needed
            loop.call_soon_threadsafe(answer, typed.decode(errors="replace"))

    # a daemon thread that reads without Python's buffer, so that the program can end without a line
    threading.Thread(target=read, name="code", daemon=True).start()
    return await line
