"""Sandbox: what the worker can still do, seen from inside; and that it can still do its work."""

from __future__ import annotations

import hashlib
import io
import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from pyraface.core import parameters
from pyraface.core.errors import ImageError
from pyraface.core.images.decode import decode
from pyraface.core.protocol.messages import Detect, Found
from tests.support import ROOT, DaemonProcess, Peer, daemon, environment, parameters_xml, run

ATTEMPTS = """
import ctypes, errno, json, mmap, os, queue, resource, signal, socket, sys, threading
from pyraface.core import parameters
from pyraface.daemon.worker import sandbox

folder = sys.argv[1]
held = os.open(folder + "/there", os.O_RDWR)  # a file that was open before

libc = ctypes.CDLL(None, use_errno=True)

def system(name, *arguments):
    if getattr(libc, name)(*map(ctypes.c_ulong, arguments)) == -1:
        raise OSError(ctypes.get_errno(), name)

def attempt(work):
    try:
        work()
    except OSError as error:
        return errno.errorcode[error.errno]
    except (MemoryError, ValueError) as error:
        return type(error).__name__
    return "done"

attempts = {
    "read a file": lambda: open(folder + "/there"),
    "make a file": lambda: open(folder + "/new", "w"),
    "write to a file that was open": lambda: os.write(held, b"x" * 100),
    "list a directory": lambda: os.listdir("/"),
    "remove a file": lambda: os.unlink(folder + "/there"),
    "rename a file": lambda: os.rename(folder + "/there", folder + "/gone"),
    "shorten a file": lambda: os.truncate(folder + "/there", 0),
    "change a mode": lambda: os.chmod(folder + "/there", 0o777),
    "a TCP socket": lambda: socket.socket(),
    "a UDP socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "a Unix socket": lambda: socket.socket(socket.AF_UNIX),
    "a pair of sockets": lambda: socket.socketpair(),
    "a pipe": lambda: os.pipe(),
    "another descriptor": lambda: os.dup(2),
    "a program": lambda: os.execv("/bin/true", ["true"]),
    "a process": lambda: os._exit(0) if os.fork() == 0 else None,
    "a signal to its parent": lambda: os.kill(os.getppid(), 0),
    # as they are: its parent should not suffer where these succeed
    "another's priority": lambda: os.setpriority(
        os.PRIO_PROCESS, os.getppid(), os.getpriority(os.PRIO_PROCESS, os.getppid())
    ),
    "another's processors": lambda: os.sched_setaffinity(os.getppid(), os.sched_getaffinity(os.getppid())),
    "another's scheduling": lambda: os.sched_setscheduler(
        os.getppid(), os.sched_getscheduler(os.getppid()), os.sched_getparam(os.getppid())
    ),
    "its own processors": lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)),
    "its own limits": lambda: resource.setrlimit(resource.RLIMIT_STACK, resource.getrlimit(resource.RLIMIT_STACK)),
    "its personality": lambda: system("personality", 0xFFFFFFFF),  # stands for what only concerns the kernel
    "clone3": lambda: system("syscall", 435, 0, 0),  # its number on every processor; says nothing sensible
    "higher limits": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)),
    "all memory": lambda: mmap.mmap(-1, 1 << 40),
    "its own memory": lambda: bytearray(64 << 20),
    "a signal to itself": lambda: os.kill(os.getpid(), 0),
    "a thread": lambda: threading.Thread(target=int).start(),
}
asked, answered = queue.SimpleQueue(), queue.SimpleQueue()

def in_a_thread():
    while True:
        answered.put(attempt(asked.get()))

threading.Thread(target=in_a_thread, daemon=True).start()  # before, as the engine's are
found = parameters.load()
memory = sandbox.memory(found.daemon, found.images, tile_pixels=found.detection.tile_pixels)
said = sandbox.enter(memory, gpu=sys.argv[2] == "gpu")
outcome = {}
if "seccomp is off" in said:
    del attempts["a program"]  # it would start, and take the place of this one
for name, work in attempts.items():
    asked.put(work)
    outcome[name] = (attempt(work), answered.get())
print(json.dumps([said, outcome]))
sys.stdout.flush()
os._exit(0)
"""

ALLOWED = {"its own memory", "a signal to itself", "a thread", "its own processors"}

WITHOUT_A_DESCRIPTOR = {
    "remove a file",
    "rename a file",
    "shorten a file",
    "change a mode",
    "a program",
    "a process",
    "a signal to its parent",
    "another's priority",
    "another's processors",
    "another's scheduling",
    "its own limits",
    "its personality",
}
"""What only seccomp prevents."""


def confined(folder: Path, kind: str = "cpu", **variables: str) -> tuple[str, dict[str, list[str]]]:
    """What a confined process says is on, and what came of each attempt: in the main thread, in an older one."""
    (folder / "there").write_text("something")
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, str(folder), kind],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said, outcome = json.loads(done.stdout)
    return said, outcome


def test_a_confined_process_can_do_nothing_but_work_with_what_it_has(tmp_path: Path) -> None:
    said, outcome = confined(tmp_path)
    if "seccomp is off" in said:
        pytest.skip(said)
    done = {name for name, ways in outcome.items() if "done" in ways}
    assert done == ALLOWED, outcome
    assert outcome["clone3"] == ["ENOSYS", "ENOSYS"], (
        "a process could be made by it, out of sight of the filter"
    )
    assert (tmp_path / "there").read_text() == "something"


def test_without_seccomp_it_still_opens_no_file_and_no_socket(tmp_path: Path) -> None:
    (tmp_path / "pyseccomp.py").write_text("raise RuntimeError('Unable to find libseccomp')")
    said, outcome = confined(tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert "seccomp is off: Unable to find libseccomp" in said
    attempted = {name: ways for name, ways in outcome.items() if name not in WITHOUT_A_DESCRIPTOR}
    assert {name for name, ways in attempted.items() if "done" in ways} <= ALLOWED | {"higher limits"}
    assert outcome["a TCP socket"] == outcome["read a file"] == ["EMFILE", "EMFILE"]


def test_with_a_gpu_files_and_memory_are_free_and_the_network_is_not(tmp_path: Path) -> None:
    said, outcome = confined(tmp_path, "gpu")
    if "seccomp is off" in said:
        pytest.skip(said)
    assert outcome["read a file"] == ["done", "done"]
    assert outcome["another descriptor"] == ["done", "done"]
    for name in ("a TCP socket", "a UDP socket", "a program", "a process", "write to a file that was open"):
        assert "done" not in outcome[name], name
    assert "address space" not in said


def _encoded(picture: np.ndarray) -> dict[str, bytes]:
    """The picture as a file of every format, and of the kinds for which Pillow imports something late."""
    kinds: dict[str, tuple[str, str, dict[str, object]]] = {
        "JPEG": ("RGB", "JPEG", {"quality": 90}),
        "JPEG, CMYK": ("CMYK", "JPEG", {}),
        "JPEG, gray": ("L", "JPEG", {}),
        "PNG": ("RGB", "PNG", {}),
        "PNG, palette": ("P", "PNG", {}),
        "PNG, alpha": ("RGBA", "PNG", {}),
        "PNG, one bit": ("1", "PNG", {}),
        "WebP": ("RGB", "WEBP", {}),
        "WebP, lossless": ("RGBA", "WEBP", {"lossless": True}),
        "GIF": ("P", "GIF", {}),
        "TIFF": ("RGB", "TIFF", {}),
        "TIFF, LZW": ("RGB", "TIFF", {"compression": "tiff_lzw"}),
        "TIFF, JPEG": ("RGB", "TIFF", {"compression": "jpeg"}),
        "TIFF, LAB": ("LAB", "TIFF", {}),
        "TIFF, YCbCr": ("YCbCr", "TIFF", {}),
        "BMP": ("RGB", "BMP", {}),
        "AVIF": ("RGB", "AVIF", {}),
        "HEIC": ("RGB", "HEIF", {}),
    }
    import pillow_heif
    from PIL import ImageCms

    pillow_heif.register_heif_opener()
    image = Image.fromarray(picture)
    lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    files = {}
    for name, (mode, kind, options) in kinds.items():
        stream = io.BytesIO()
        converted = ImageCms.applyTransform(image, lab) if mode == "LAB" else image.convert(mode)
        assert converted is not None
        converted.save(stream, kind, **options)
        files[name] = stream.getvalue()
    return files


DECODE = """
import hashlib, json, sys, threading
from pathlib import Path
from pyraface.core import parameters
from pyraface.core.errors import ImageError
from pyraface.core.images.decode import claim_pillow, decode
from pyraface.core.images.formats import load_decoders
from pyraface.daemon.worker import sandbox

found = parameters.load()
claim_pillow(found.images)
load_decoders()
files = {path: Path(path).read_bytes() for path in json.load(sys.stdin)}
sandbox.enter(sandbox.memory(found.daemon, found.images, tile_pixels=found.detection.tile_pixels), gpu=False)
outcome = {}

def decode_all():
    for path, data in files.items():
        try:
            picture = decode(data, found.images)
            outcome[path] = [picture.orientation, hashlib.sha256(picture.pixels).hexdigest()]
        except ImageError as error:
            outcome[path] = [error.code.value, ""]

thread = threading.Thread(target=decode_all)
thread.start()
thread.join()
print(json.dumps(outcome))
"""


def decoded_confined(paths: list[Path]) -> dict[str, list[object]]:
    """What a confined process makes of files: orientation and digest of the pixels, or the error's code."""
    done = subprocess.run(
        [sys.executable, "-c", DECODE],
        env=environment(),
        input=json.dumps([str(path) for path in paths]),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcome: dict[str, list[object]] = json.loads(done.stdout)
    return outcome


def decoded_here(path: Path) -> list[object]:
    """The same of this process, which may open what it likes."""
    try:
        picture = decode(path.read_bytes(), parameters.load().images)
    except ImageError as error:
        return [error.code.value, ""]
    return [picture.orientation, hashlib.sha256(picture.pixels).hexdigest()]


def test_a_confined_process_decodes_every_format_as_any_other(tmp_path: Path, astronaut: np.ndarray) -> None:
    paths = []
    for number, data in enumerate(_encoded(astronaut[:200, :240]).values()):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(data)
    outcome = decoded_confined(paths)
    for path in paths:
        assert outcome[str(path)] == decoded_here(path)
        assert outcome[str(path)][1], path.read_bytes()[:12]


@pytest.mark.parametrize("folder", ["derived_formats", "odd_formats"])
def test_a_confined_process_decodes_real_files_as_any_other(photos: Path, folder: str) -> None:
    paths = [path for path in sorted((photos / folder).rglob("*")) if path.is_file()]
    assert paths
    outcome = decoded_confined(paths)
    different = [path.name for path in paths if outcome[str(path)] != decoded_here(path)]
    assert not different


def test_the_worker_of_a_daemon_is_confined_in_every_thread_and_says_so(
    tmp_path: Path, astronaut: np.ndarray
) -> None:
    with daemon(tmp_path, "--engine", "onnx") as server:

        async def talk() -> None:
            peer, _ = await Peer.welcomed(server.port)
            for id, data in enumerate(_encoded(astronaut).values()):
                peer.send(Detect(id, data))
                answer = await peer.next()
                assert isinstance(answer, Found), answer
            await peer.close()

        run(talk())
        assert server.said.count("confined: ") == 1
        assert server.worker.rlimit(psutil.RLIMIT_NOFILE) == (0, 0)
        assert max(server.worker.rlimit(psutil.RLIMIT_CORE)) <= 1
        _, most = server.worker.rlimit(psutil.RLIMIT_AS)
        assert 0 < most < 64 << 30
        if "seccomp is off" not in server.said:
            threads = list(Path(f"/proc/{server.worker.pid}/task").glob("*/status"))
            assert len(threads) > 3
            assert all(re.search(r"^Seccomp:\s+2$", thread.read_text(), re.MULTILINE) for thread in threads)
            assert all(
                connection.family.name == "AF_UNIX" for connection in server.worker.net_connections("all")
            )


@pytest.mark.usefixtures("yunet_weights")
@pytest.mark.parametrize("engine", ["onnx", "dlib"])
def test_a_confined_worker_looks_where_the_faces_are(
    tmp_path: Path, astronaut_jpeg: bytes, engine: str
) -> None:
    with daemon(tmp_path, "--engine", engine, search="guided") as server:

        async def talk() -> None:
            peer, _ = await Peer.welcomed(server.port)
            peer.send(Detect(1, astronaut_jpeg))
            answer = await peer.next()
            assert isinstance(answer, Found), answer
            assert len(answer.faces) == 1
            await peer.close()

        run(talk())
        assert server.said.count("confined: ") == 1


@pytest.mark.usefixtures("yunet_weights")
@pytest.mark.parametrize("engine", ["onnx", "dlib"])
def test_a_confined_worker_can_do_every_search_of_its_welcome(
    tmp_path: Path, astronaut_jpeg: bytes, engine: str
) -> None:
    with daemon(tmp_path, "--engine", engine, search="everywhere") as server:

        async def talk() -> None:
            peer, welcome = await Peer.welcomed(server.port)
            assert welcome.searches[0] == "everywhere"
            assert {"everywhere", "guided"} <= set(welcome.searches)
            for id, search in enumerate(welcome.searches):
                peer.send(Detect(id, astronaut_jpeg, search=search))
                answer = await peer.next()
                assert isinstance(answer, Found), answer
                assert len(answer.faces) == 1
            await peer.close()

        run(talk())
        assert server.said.count("confined: ") == 1


def test_neither_process_leaves_a_core(tmp_path: Path) -> None:
    """The daemon has the key and all images, the other one has those that it looks at."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if hard in (0, 1):
        pytest.skip("this system allows no cores, so there is nothing to be seen")
    file = tmp_path / "parameters.xml"
    file.write_text(parameters_xml())
    process = DaemonProcess(
        tmp_path,
        ["--parameters", str(file), "--host", "127.0.0.1", "--port", "0", "--no-beacon", "--engine", "onnx"],
        prefix=("sh", "-c", 'ulimit -Sc "$(ulimit -Hc)"; exec "$@"', "sh"),
    )
    try:
        for one in (process.worker, psutil.Process(process.process.pid)):
            assert one.rlimit(psutil.RLIMIT_CORE) == (1, 1)
    finally:
        assert process.stop() == 0


def said_by_a_daemon_whose_worker_says(folder: Path, words: str) -> list[bytes]:
    """The log until it is ready; `words` is Python that makes the bytes."""
    # a library of the worker's that says what it likes, as C libraries do
    (folder / "pyseccomp.py").write_text(f"import os\nos.write(2, {words})\nraise RuntimeError('not here')\n")
    file = folder / "parameters.xml"
    file.write_text(parameters_xml())
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "pyraface.daemon", "--parameters", str(file)),
            *("--host", "127.0.0.1", "--port", "0", "--no-beacon"),
        ],
        cwd=ROOT,
        env=environment(PYTHONPATH=f"{folder}:{ROOT}"),
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    said = []
    try:
        while b"ready on" not in (line := process.stderr.readline()):
            assert line, said
            said.append(line)
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()
    return said


def test_what_the_worker_says_is_logged_in_plain_characters_and_not_without_end(tmp_path: Path) -> None:
    said = said_by_a_daemon_whose_worker_says(tmp_path, r"b'\x1b[2Jodd \xff\n' + b'y' * 100_000 + b'\n'")
    assert any(b"WARNING pyraface.libraries: \\x1b[2Jodd \\xff" in line for line in said)
    assert any(b"seccomp is off: not here" in line for line in said)
    assert max(map(len, said)) < 700


def test_however_many_lines_the_worker_says_they_do_not_fill_the_disk(tmp_path: Path) -> None:
    said = said_by_a_daemon_whose_worker_says(tmp_path, r"b'odd\n' * 5000")
    assert len([line for line in said if line.endswith(b"WARNING pyraface.libraries: odd\n")]) == 100
    # the lines of the worker's own have their own measure
    assert any(b"INFO pyraface.worker: confined" in line for line in said)


def test_what_libraries_do_step_by_step_is_not_in_the_log(tmp_path: Path, astronaut: np.ndarray) -> None:
    stream = io.BytesIO()
    # larger than a tile, so that libvips shrinks it, which it tells of at INFO
    Image.fromarray(np.repeat(np.repeat(astronaut, 4, axis=0), 4, axis=1)).save(stream, "JPEG")

    async def photographs(port: int) -> None:
        peer, _ = await Peer.welcomed(port)
        for id in range(3):
            peer.send(Detect(id, stream.getvalue()))
            assert isinstance(await peer.next(), Found)
        await peer.close()

    with daemon(tmp_path, "--verbose") as process:
        run(photographs(process.port))
        assert process.stop() == 0
    lines = process.said.splitlines()
    assert any("pyraface.server: ready on" in line for line in lines)
    assert [line for line in lines if " pyraface." not in line] == []
    assert [line for line in lines if " pyraface.libraries: " in line] == []
