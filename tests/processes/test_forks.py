"""Processes that are forked from one that uses the library: each call works, or is an error that says what to do."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from pyraface.client import Client
from tests.stub_daemon import stub_daemon
from tests.support import ROOT, environment, parameters_xml, run, still_running

BEFORE_A_FORK = "was made in another process, before a fork"

FORKED = """
import os, sys, traceback

def in_a_child(work):
    child = os.fork()
    if not child:
        try:
            print(work(), flush=True)
        except RuntimeError as error:
            print("RuntimeError:", error, flush=True)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
"""


def script(text: str, parameters: Path, *arguments: str | Path, timeout: float = 60) -> str:
    """Runs a program that may call `in_a_child`; returns what it prints."""
    words = ["-W", "ignore::DeprecationWarning", "-c", FORKED + textwrap.dedent(text), *map(str, arguments)]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=environment(PYRAFACE_PARAMETERS=str(parameters)),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def parameters(tmp_path: Path) -> Path:
    file = tmp_path / "parameters.xml"
    file.write_text(parameters_xml())
    return file


@pytest.fixture
def photograph(tmp_path: Path, astronaut_jpeg: bytes) -> Path:
    file = tmp_path / "a.jpg"
    file.write_bytes(astronaut_jpeg)
    return file


def test_a_pipeline_made_before_a_fork_is_refused_in_the_child_and_works_in_the_parent(
    parameters: Path, photograph: Path
) -> None:
    text = """
        from pyraface.core import parameters
        from pyraface.core.pipeline import Pipeline

        settings = parameters.load()
        pipeline = Pipeline(settings, "onnx")
        in_a_child(lambda: len(Pipeline(settings, "onnx").detect(sys.argv[1])))
        in_a_child(lambda: len(pipeline.detect(sys.argv[1])))
        print(len(pipeline.detect(sys.argv[1])))
        in_a_child(lambda: len(pipeline.detect(sys.argv[1])))
        print(len(pipeline.detect(sys.argv[1])))
    """
    own, refused, before, again, after = script(text, parameters, photograph).splitlines()
    assert (before, own, after) == ("1", "1", "1")
    assert refused.startswith(f"RuntimeError: this Pipeline {BEFORE_A_FORK}")
    assert refused.endswith("make one in each process, after the fork")
    assert again == refused


def test_after_a_search_a_forked_process_has_no_pipeline_and_a_spawned_one_has(
    tmp_path: Path, parameters: Path, photograph: Path
) -> None:
    (tmp_path / "faces_in.py").write_text(
        "from pyraface.core import parameters\n"
        "from pyraface.core.pipeline import Pipeline\n"
        "def faces_in(path):\n"
        "    return len(Pipeline(parameters.load(), 'onnx').detect(path))\n"
    )
    text = """
        import multiprocessing
        sys.path.append(sys.argv[2])
        from faces_in import faces_in

        print(faces_in(sys.argv[1]))
        in_a_child(lambda: faces_in(sys.argv[1]))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(pool.apply(faces_in, [sys.argv[1]]))
    """
    before, refused, spawned = script(text, parameters, photograph, tmp_path).splitlines()
    assert (before, spawned) == ("1", "1")
    assert refused.startswith("RuntimeError: a Pipeline searched an image before this process was forked")
    assert refused.endswith("start processes with multiprocessing's method spawn")


def test_a_generator_of_results_is_refused_in_a_child_and_goes_on_in_the_parent(
    tmp_path: Path, parameters: Path, photograph: Path
) -> None:
    text = """
        from pyraface import detect_faces, map_faces

        place, image = sys.argv[1:]
        results = map_faces([image] * 5, servers=place)
        next(results)
        in_a_child(lambda: next(results).path)
        in_a_child(results.close)
        in_a_child(lambda: len(detect_faces(image, servers=place).faces))
        print(len(list(results)))
    """
    with stub_daemon(tmp_path, seconds=0.0) as server:
        said = script(text, parameters, f"127.0.0.1:{server.port}", photograph).splitlines()
    assert said[0].startswith(f"RuntimeError: this generator of map_faces {BEFORE_A_FORK}")
    assert said[1:] == ["None", "0", "4"]


def test_a_client_is_refused_in_a_child(tmp_path: Path, parameters: Path, photograph: Path) -> None:
    text = """
        import asyncio
        from pyraface import Client

        async def main():
            async with Client(sys.argv[1]) as client:
                print((await client.detect(sys.argv[2])).error)
                child = os.fork()
                if not child:
                    try:
                        print((await client.detect(sys.argv[2])).error, flush=True)
                    except RuntimeError as error:
                        print("RuntimeError:", error, flush=True)
                    finally:
                        os._exit(0)
                os.waitpid(child, 0)
                print((await client.detect(sys.argv[2])).error)

        asyncio.run(main())
    """
    with stub_daemon(tmp_path, seconds=0.0) as server:
        before, refused, after = script(text, parameters, f"127.0.0.1:{server.port}", photograph).splitlines()
    assert (before, after) == ("None", "None")
    assert refused.startswith(f"RuntimeError: this Client {BEFORE_A_FORK}")


def test_work_ends_at_once_although_a_child_holds_its_pipes_open(parameters: Path, photograph: Path) -> None:
    text = """
        import time
        from pyraface import map_faces

        results = map_faces([sys.argv[1]] * 3, servers="local")
        next(results)
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
        began = time.monotonic()
        rest = list(results)
        print(time.monotonic() - began)
        os.kill(child, 9)
        os.waitpid(child, 0)
    """
    assert float(script(text, parameters, photograph)) < 5


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Python was built for Linux before 5.3")
def test_a_daemon_ends_with_its_killed_parent_although_a_child_of_that_lives(
    parameters: Path, photograph: Path
) -> None:
    text = """
        import time
        from pyraface import map_faces

        results = map_faces([sys.argv[1]] * 3, servers="local")
        next(results)
        print("ready", flush=True)
        child = os.fork()
        if not child:
            os.close(1)
        time.sleep(60)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", FORKED + textwrap.dedent(text), str(photograph)],
        cwd=ROOT,
        env=environment(PYRAFACE_PARAMETERS=str(parameters)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    family: list[psutil.Process] = []
    try:
        assert process.stdout.readline() == "ready\n"
        deadline = time.monotonic() + 20
        while len(family) < 3:  # the daemon, its worker, and the child
            assert time.monotonic() < deadline
            family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        ended = [one for one in family if "pyraface.daemon" in " ".join(one.cmdline())]
        assert len(ended) == 2
        assert not still_running(ended), "the daemon outlived the process that started it"
        (child,) = (one for one in family if one not in ended)
        assert child.is_running(), "the child held nothing open"
    finally:
        process.kill()
        process.communicate()
        for one in family:
            if one.is_running():
                one.send_signal(signal.SIGKILL)


def test_a_client_of_another_event_loop_is_refused(tmp_path: Path, photograph: Path) -> None:
    async def elsewhere(client: Client) -> None:
        with pytest.raises(RuntimeError, match="in the event loop that entered it"):
            await client.detect(photograph)
        with pytest.raises(RuntimeError, match="in the event loop that entered it"):
            async for _ in client.map([photograph]):
                pass

    async def talk(place: str) -> None:
        async with Client(place) as client:
            await asyncio.to_thread(asyncio.run, elsewhere(client))
            assert (await client.detect(photograph)).error is None
            assert [result.error async for result in client.map([photograph])] == [None]

    with stub_daemon(tmp_path, seconds=0.0) as server:
        run(talk(f"127.0.0.1:{server.port}"))
