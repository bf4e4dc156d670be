"""The library without asyncio: `detect_faces`, `encode_faces` and `map_faces`.

They run a `Client` in a separate thread with its own event loop. Connections are kept and answers are received while the
caller processes a result, and the caller's thread may run an event loop itself.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator

from numpy.typing import ArrayLike

from ..core.given_boxes import GivenBoxes
from ..core.host import forks, tasks
from ..core.images import inputs
from ..core.images.inputs import ImageInput
from ..core.parameters import Parameters
from ..core.results import Result
from .api import Client

READY = 16
"""Results that wait for a busy caller; beyond this number no result is taken from the servers (backpressure)."""


def detect_faces(
    image: ImageInput,
    *,
    servers: str = "auto",
    parameters: Parameters | None = None,
    faces_from: int = 0,
    search: str = "",
) -> Result:
    """Returns the result of one image. For many images use `map_faces`.

    The image has one of the forms that `Client.detect` takes; the other arguments are the same as those of `Client`.

    Raises:
        TypeError: the image has none of the forms that an image may have.
        ValueError: `faces_from` is out of its range, or there is no search of this name.
        ServerError: no server can be reached, and none can be started.
        ParametersError: parameters.xml is invalid.
    """
    inputs.checked(image)
    (result,) = map_faces(
        [image], servers=servers, parameters=parameters, faces_from=faces_from, search=search
    )
    return result


def encode_faces(
    image: ImageInput,
    boxes: ArrayLike,
    *,
    turned: ArrayLike | None = None,
    page: int = 0,
    servers: str = "auto",
    search: str = "",
) -> Result:
    """Returns a result with the encodings of faces in boxes that come from elsewhere, in the order of the boxes.

    `Client.encode` says what `image`, `boxes`, `turned` and `page` may be, and is the one to use for many images; the
    other arguments are those of `Client`.

    Raises:
        TypeError: the image has none of the forms that an image may have.
        ValueError: a box is empty or not a number, or there are too many: the message names it, counted from 1; or there
            is no search of this name.
        ServerError: no server can be reached, and none can be started.
        ParametersError: parameters.xml is invalid.
    """
    inputs.checked(image)
    given = GivenBoxes.of(boxes, turned, page)
    (result,) = _results(iter([image]), lambda: Client(servers, search=search), ordered=True, given=given)
    return result


def map_faces(
    images: Iterable[ImageInput],
    *,
    servers: str = "auto",
    parameters: Parameters | None = None,
    faces_from: int = 0,
    search: str = "",
    ordered: bool = False,
) -> Generator[Result, None, None]:
    """Yields the result of each image, in the order in which they are done; with `ordered`, in the order of the images.

    Servers are found when the first result is requested. The connections end after the last result, or when the generator
    is closed: by `close()`, by `contextlib.closing`, by an exception in the loop over it once nothing refers to it any
    more, or at the end of the program. Closing cancels the images in flight and returns when all work has ended.

    In a process that is forked meanwhile, the generator is of no use, and says so; a call there finds servers of its own.

    `images` may have any length: the next image is requested only when there is room for it, in the caller's thread. An
    exception that `images` raises follows the results of the images before it.

    Args:
        images: each as for `Client.detect`.
        servers, parameters, faces_from, search: as for `Client`.

    Raises:
        TypeError: `images` is a single image or not iterable, or an image has none of the forms. For a list or a tuple the
            call itself raises; for another iterable the error follows the results of the images before it.

    Raises (when the first result is requested):
        ServerError: no server can be reached, and none can be started.
        ParametersError: parameters.xml is invalid.
    """
    inputs.checked_many(images, "map_faces")
    return _results(
        inputs.each_checked(images),
        lambda: Client(servers, parameters=parameters, faces_from=faces_from, search=search),
        ordered=ordered,
    )


def _results(
    upcoming: Iterator[ImageInput],
    new_client: Callable[[], Client],
    *,
    ordered: bool,
    given: GivenBoxes | None = None,
) -> Generator[Result, None, None]:
    work = _Work(new_client(), ordered=ordered, given=given)
    failure: Exception | None = None
    work.start()
    try:
        while True:
            work.check()
            news = work.news.get()
            if work.wants_image():
                try:
                    work.give((next(upcoming),))
                except StopIteration:
                    work.give(None)
                except Exception as error:  # noqa: BLE001  whatever it is, the results before it come first
                    failure = error
                    work.give(None)
            if isinstance(news, Result):
                work.taken()
                yield news
            elif isinstance(news, _End):
                if news.failure is not None:
                    raise news.failure
                if failure is not None:
                    raise failure
                return
    finally:
        work.close()


class _End:
    """The end of the work; the last item of `_Work.news`."""

    def __init__(self, failure: BaseException | None) -> None:
        self.failure = failure


class _Work:
    """A client and its event loop in a thread.

    Args:
        given: the boxes to be encoded in each image, which is not searched then.

    Attributes:
        news: a queue of results; None requests an image; an _End is the last item.
    """

    def __init__(self, client: Client, *, ordered: bool, given: GivenBoxes | None) -> None:
        self.news: queue.SimpleQueue[Result | _End | None] = queue.SimpleQueue()
        self._client = client
        self._process = os.getpid()
        self._ordered = ordered
        self._given = given
        self._thread = threading.Thread(target=self._run, name="pyraface", daemon=True)
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._wanted: asyncio.Future[tuple[ImageInput] | None] | None = None
        self._room = asyncio.Semaphore(READY)

    # in the caller's thread

    def start(self) -> None:
        """Starts the thread; returns when its event loop runs."""
        # at exit: the interpreter waits for a normal thread before atexit functions run, so this is a daemon thread
        atexit.register(self.close)
        self._thread.start()
        self._started.wait()

    def check(self) -> None:
        """Raises RuntimeError in a process that was forked meanwhile: the thread is not there."""
        forks.check(self._process, "generator of map_faces")

    def wants_image(self) -> bool:
        """Returns whether the client requested an image; then call `give`."""
        return self._wanted is not None

    def give(self, image: tuple[ImageInput] | None) -> None:
        """Passes the next image to the client; None at the end of the images."""
        wanted, self._wanted = self._wanted, None
        assert wanted is not None

        def answer() -> None:
            if not wanted.done():
                wanted.set_result(image)

        self._call(answer)

    def taken(self) -> None:
        """Makes room for another result, after one was taken from `news`."""
        self._call(self._room.release)

    def close(self) -> None:
        """Cancels the images in flight; returns when all work has ended."""
        atexit.unregister(self.close)
        if os.getpid() != self._process:  # the work belongs to the parent, and goes on
            return
        self._call(self._end)
        # the garbage collector may close a generator in any thread, even in the client's, which cannot wait for itself
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _call(self, function: Callable[[], None]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended by itself
                self._loop.call_soon_threadsafe(function)

    # in the client's thread

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001  it is raised where the results are taken
            failure = error
        finally:
            self._started.set()
            self.news.put(_End(failure))

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._started.set()
        images = self._images()
        if self._given is None:
            results = self._client.map(images, ordered=self._ordered)
        else:
            results = self._encoded(images, self._given)
        async with self._client, contextlib.aclosing(results):
            async for result in results:
                await self._room.acquire()
                self.news.put(result)

    async def _encoded(
        self, images: AsyncGenerator[ImageInput, None], given: GivenBoxes
    ) -> AsyncGenerator[Result, None]:
        async for image in images:
            yield await self._client.encode(image, given.boxes, turned=given.turned, page=given.page)

    async def _images(self) -> AsyncGenerator[ImageInput, None]:
        while True:
            wanted: asyncio.Future[tuple[ImageInput] | None] = asyncio.get_running_loop().create_future()
            self._wanted = wanted
            self.news.put(None)
            if (image := await wanted) is None:
                return
            yield image[0]

    def _end(self) -> None:
        assert self._task is not None
        self._ending = asyncio.ensure_future(tasks.end([self._task]))
