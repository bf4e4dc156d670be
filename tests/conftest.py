"""What every test may use: one real face that is always there, and the real photographs where they are."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image
from skimage import data

from pyraface.core.engines import EngineOptions
from pyraface.core.engines.dlib import DlibEngine
from pyraface.core.engines.network import yunet
from pyraface.core.engines.onnx.engine import OnnxEngine
from pyraface.core.errors import EngineError
from tests.support import free_udp_port, parameters_xml

# how long an example takes says nothing on a machine that others use too
settings.register_profile("pyraface", deadline=None)
settings.load_profile("pyraface")

# a shell has what it runs in the background ignore Ctrl-C and Ctrl-\, and nohup SIGHUP; the programs of the tests would, too
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, signal.SIG_DFL)

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes a minute; leave it out with -m 'not slow'")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Divides the tests over processes (`-n 2`) by file; those of tests/hostile have one victim, and stay together."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "tests/hostile" if file.startswith("tests/hostile/") else file

    return ByFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """What a test leaves open is an error of that test, and not of the one in which Python happens to notice it."""
    yield
    # these keep the frames of a failed test
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        if hasattr(sys, name):
            delattr(sys, name)
    found: list[str] = []
    noticed = sys.unraisablehook
    sys.unraisablehook = lambda left: found.append(f"{left.exc_value or left.exc_type.__name__}")
    try:
        gc.collect()
    finally:
        sys.unraisablehook = noticed
    if nextitem is None or nextitem.parent is not item.parent:
        # the next file's searches leave out what is there now, and take two milliseconds and not twenty
        gc.freeze()
    if found:
        pytest.fail(f"left behind by this test: {'; '.join(found)}", pytrace=False)


def photos_folder() -> Path | None:
    """Returns the folder of real photographs: $PYRAFACE_PHOTOS, or ../shared/photos beside the project."""
    named = os.environ.get("PYRAFACE_PHOTOS")
    folder = Path(named) if named else ROOT.parent / "shared" / "photos"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of real photographs; the test is skipped where there is none."""
    folder = photos_folder()
    if folder is None:
        pytest.skip("no photographs: set PYRAFACE_PHOTOS, or lay them at ../shared/photos")
    return folder


@pytest.fixture(scope="session")
def cases() -> Path:
    """The folder of small image files of odd kinds; the test is skipped where there is none."""
    named = os.environ.get("PYRAFACE_CASES")
    folder = Path(named) if named else ROOT.parent / "shared" / "cases" / "photographs"
    if not folder.is_dir() and (photographs := photos_folder()) is not None:
        folder = photographs.parent / "cases" / "photographs"
    if not folder.is_dir():
        pytest.skip("no odd image files: set PYRAFACE_CASES")
    return folder


@pytest.fixture(scope="session")
def yunet_weights() -> bytes:
    """YuNet's network; the test is skipped where the package was built without it."""
    try:
        return yunet.load_weights()
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def onnx_engine() -> OnnxEngine:
    """The engine of ONNX Runtime, started once."""
    return OnnxEngine(EngineOptions())


@pytest.fixture(scope="session")
def dlib_engine() -> DlibEngine:
    """The engine of dlib, started once."""
    return DlibEngine(EngineOptions())


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """(512, 512, 3) uint8: Eileen Collins' portrait from scikit-image; one face."""
    return np.ascontiguousarray(data.astronaut())


@pytest.fixture(scope="session")
def portrait(astronaut: np.ndarray) -> np.ndarray:
    """(240, 180, 3): the face, with the shoulders: no symmetry that a wrong turn could hide in."""
    return np.ascontiguousarray(astronaut[20:260, 130:310])


@pytest.fixture(scope="session")
def astronaut_jpeg(astronaut: np.ndarray) -> bytes:
    """The same picture as the bytes of a JPEG file."""
    stream = io.BytesIO()
    Image.fromarray(astronaut).save(stream, "JPEG", quality=95)
    return stream.getvalue()


@pytest.fixture(scope="session", autouse=True)
def confined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Whatever a test starts, broadcasts on loopback alone, at a port of its own: nothing leaves the machine.

    Nor does it touch this user's own keys: there is a folder for those of the tests.
    """
    file = tmp_path_factory.mktemp("confined") / "parameters.xml"
    file.write_text(parameters_xml(server_port_ip_disc=free_udp_port()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYRAFACE_PARAMETERS", str(file))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("configuration")))
        yield file
