"""Prompt: a line typed by a person, read without holding up the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading

MAX_LINE_BYTES = 1024


async def typed_line() -> str:
    """Returns a line of standard input; "" where there is none."""
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
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the line is not needed any more
            loop.call_soon_threadsafe(answer, typed.decode(errors="replace"))

    # a daemon thread, and no buffer of Python's: the program can be ended instead of answered
    threading.Thread(target=read, name="code", daemon=True).start()
    return await line
