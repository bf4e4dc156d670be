"""Decode window: what bounds the memory of the worker."""

from __future__ import annotations

import threading
import time

import pytest

from pyraface.daemon.worker.decode_window import DecodeWindow, Place

SOON = 10.0


class Decoders:
    """Threads that want room."""

    def __init__(self, room: DecodeWindow) -> None:
        self.room = room
        self.admitted: list[int] = []
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []

    def want(self, turn: int, pixels: int) -> None:
        def run() -> None:
            self.room.admit(turn, pixels)
            with self._changed:
                self.admitted.append(turn)
                self._changed.notify_all()

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def expect(self, *turns: int) -> None:
        """Waits for just these, in this order; gives others the time to come in wrongly."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.admitted) >= len(turns), SOON)
        time.sleep(0.05)
        assert self.admitted == list(turns)


@pytest.fixture
def decoders() -> Decoders:
    return Decoders(DecodeWindow(100))


def test_pictures_are_decoded_ahead_while_there_is_room(decoders: Decoders) -> None:
    for turn in range(3):
        decoders.want(turn, 40)
        decoders.expect(*range(min(turn, 1) + 1))
    decoders.room.free(40)
    decoders.expect(0, 1, 2)


def test_a_picture_larger_than_the_room_goes_alone(decoders: Decoders) -> None:
    decoders.want(0, 1)
    decoders.expect(0)
    decoders.want(1, 1000)
    decoders.expect(0)
    decoders.room.free(1)
    decoders.expect(0, 1)
    decoders.want(2, 1)
    decoders.expect(0, 1)
    decoders.room.free(1000)
    decoders.expect(0, 1, 2)


def test_a_later_one_does_not_take_the_room_of_one_that_the_engine_wants_first(decoders: Decoders) -> None:
    decoders.want(1, 60)
    decoders.expect()
    decoders.want(0, 60)
    decoders.expect(0)
    decoders.room.free(60)
    decoders.expect(0, 1)


def test_one_that_fails_before_it_has_a_size_holds_nobody_up(decoders: Decoders) -> None:
    decoders.want(2, 10)
    decoders.room.over(1)
    decoders.expect()
    decoders.room.over(0)
    decoders.room.over(0)
    decoders.expect(2)
    decoders.room.over(2)
    decoders.want(3, 10)
    decoders.expect(2, 3)


def test_what_decoding_took_beyond_the_pixels_is_free_when_it_is_done_and_the_rest_after_the_search(
    decoders: Decoders,
) -> None:
    place = Place(decoders.room, 0)
    place.admit(90)
    place.over()
    decoders.want(1, 50)
    decoders.expect()
    place.shrink(40)
    decoders.expect(1)
    decoders.want(2, 50)
    decoders.expect(1)
    place.free()
    place.free()  # nothing is freed twice
    decoders.expect(1, 2)
    decoders.want(3, 1)
    decoders.expect(1, 2)
