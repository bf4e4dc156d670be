"""Programs in surroundings that lack something which is usually there: each works, or ends with one clear line."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pyraface.core.host.threads import REMEDY
from tests.stub_daemon import SECONDS, stub_daemon
from tests.support import ROOT, DaemonProcess, environment, free_udp_port, parameters_xml, pyraface, python

NO_NETLINK = """
import errno, os, sys
from pyraface.daemon.worker import sandbox
seccomp = sandbox._pyseccomp()
rules = seccomp.SyscallFilter(seccomp.ALLOW)
rules.add_rule(seccomp.ERRNO(errno.EAFNOSUPPORT), "socket", seccomp.Arg(0, seccomp.EQ, 16))
rules.load()
os.execv(sys.executable, sys.argv[1:])
"""
"""Runs a command where sockets of the family AF_NETLINK, 16, are refused, as in many a sandbox."""

ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}

HOST_NAME = "printf '{}' > /proc/sys/kernel/hostname"


def without_netlink() -> tuple[str, ...]:
    try:
        import pyseccomp  # noqa: F401
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"no seccomp: {error}")
    return (sys.executable, "-c", NO_NETLINK)


def in_a_namespace(*kinds: str, first: str = "true") -> tuple[str, ...]:
    """What to put before a command so that it runs in new namespaces, after `first`, a command of a shell."""
    prefix = ("unshare", *kinds, "sh", "-c", f'{first}; exec "$@"', "sh")
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("no namespaces here")
    return prefix


def allowed(processes: int) -> tuple[str, ...]:
    """What to put before a command so that it has a user of its own, who may have so many threads and processes."""
    reads = "+dac_read_search,+dac_override"
    prefix = (
        *("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"),
        *(f"--inh-caps={reads}", f"--ambient-caps={reads}", "prlimit", f"--nproc={processes}"),
    )
    if not shutil.which("setpriv") or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("only root can run a command as another user")
    return prefix


@pytest.fixture
def parameters(tmp_path: Path) -> Path:
    file = tmp_path / "parameters.xml"
    file.write_text(parameters_xml(server_port_ip_disc=free_udp_port(), server_port_pairing=free_udp_port()))
    return file


@pytest.fixture
def photograph(tmp_path: Path, astronaut_jpeg: bytes) -> Path:
    file = tmp_path / "a.jpg"
    file.write_bytes(astronaut_jpeg)
    return file


# ------------------------------------------------------------------------------------------ files


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
def test_a_file_system_without_hard_links_holds_a_key(tmp_path: Path) -> None:
    inject = ("strace", "-f", "-o", "/dev/null", "-e", "inject=link,linkat:error=EPERM")
    code = "from pyraface.core.host import keyfile; print(len(keyfile.load_or_make()))"
    done = python("-c", code, prefix=inject, XDG_CONFIG_HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert [entry.name for entry in (tmp_path / "pyraface").iterdir()] == ["key"]


@pytest.mark.parametrize("named", ["absolute", "relative"])
def test_a_working_directory_that_was_deleted(
    tmp_path: Path, parameters: Path, photograph: Path, named: str
) -> None:
    path = photograph if named == "absolute" else "a.jpg"
    words = f"-m pyraface.client --servers local --parameters {parameters} {path}"
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["sh", "-c", f"rmdir {gone}; exec '{sys.executable}' {words}"],
        cwd=gone,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if named == "absolute":
        assert done.returncode == 0, done.stderr
        assert "1 image, 1 face, 0 failed" in done.stderr
    else:
        said = (
            "pyraface: a.jpg: the working directory was deleted; change to another, or name absolute paths\n"
        )
        assert (done.returncode, done.stderr) == (2, said)


# ------------------------------------------------------------------------------------------ networks


def test_without_the_netlink_family_the_interfaces_are_the_same() -> None:
    code = "from pyraface.core.host.interfaces import broadcast_addresses as b; print(sorted(b().items()))"
    usual = python("-c", code)
    without = python("-c", code, prefix=without_netlink())
    assert "127.255.255.255" in usual.stdout
    assert (without.returncode, without.stdout) == (0, usual.stdout), without.stderr


def test_without_the_netlink_family_a_server_is_announced_and_found(tmp_path: Path, parameters: Path) -> None:
    prefix = without_netlink()
    places = ["--parameters", str(parameters), "--host", "127.0.0.1", "--port", "0"]
    server = DaemonProcess(
        tmp_path, places, prefix=prefix, module="tests.stub_daemon", environment={SECONDS: "0.0"}
    )
    try:
        done = pyraface("servers", "--parameters", parameters, prefix=prefix)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"127.0.0.1:{server.port}  ready" in done.stdout
    finally:
        assert server.stop() == 0


def test_an_address_of_host_that_no_interface_has_yet_is_waited_for(tmp_path: Path, parameters: Path) -> None:
    prefix = in_a_namespace("--net", first="ip link set lo up")
    places = ["--parameters", str(parameters), "--host", "192.0.2.7", "--port", "0", "--no-beacon"]
    server = DaemonProcess(
        tmp_path, places, prefix=prefix, module="tests.stub_daemon", environment={SECONDS: "0.0"}
    )
    try:
        assert "no interface has the address 192.0.2.7 yet" in server.said
        inside = ("nsenter", f"--target={server.process.pid}", "--net")
        ask = ("servers", "--parameters", parameters)
        named = ("--servers", f"192.0.2.7:{server.port}")
        assert pyraface(*ask, *named, prefix=inside).returncode == 2
        subprocess.run([*inside, "ip", "address", "add", "192.0.2.7/32", "dev", "lo"], check=True)
        done = pyraface(*ask, *named, prefix=inside)
        assert done.returncode == 0, done.stderr
    finally:
        assert server.stop() == 0


def test_a_udp_port_that_is_taken_is_named_with_its_element(parameters: Path) -> None:
    port = int(parameters.read_text().partition("<server_port_ip_disc>")[2].partition("<")[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", port))
        places = ("--parameters", parameters, "--host", "127.0.0.1", "--port", "0")
        done = python("-m", "tests.stub_daemon", *places, **{SECONDS: "0.0"})
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"pyraface-daemon: UDP port {port} on lo is not available for the beacon: ")
    assert "(params/ports/server_port_ip_disc)" in last


def test_a_loopback_interface_that_is_down_is_named(parameters: Path, photograph: Path) -> None:
    done = pyraface(
        *("--servers", "local", "--parameters", parameters, photograph),
        prefix=in_a_namespace("--net"),
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "pyraface: no server can be started on this machine, because its loopback interface is down; "
        "as root: ip link set lo up"
    )


# ------------------------------------------------------------------------------------------ words


def test_a_name_that_the_terminal_cannot_show_is_shown_by_its_escape(
    tmp_path: Path, parameters: Path
) -> None:
    with stub_daemon(tmp_path, seconds=0.0, name="Küche") as server:
        place = f"127.0.0.1:{server.port}"
        done = pyraface(*("servers", "--servers", place, "--parameters", parameters), **ASCII)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].startswith("K\\xfcche  ")


def test_a_pairing_succeeds_whatever_the_terminal_can_show(tmp_path: Path) -> None:
    file = tmp_path / "pairing.xml"
    port = free_udp_port()
    file.write_text(parameters_xml(name="Küche", server_port_pairing=port))
    words = [sys.executable, "-m", "pyraface.daemon", "pair", "--parameters", str(file)]
    desk = subprocess.Popen(
        [*words, "--host", "127.0.0.1"],
        cwd=ROOT,
        env=environment(XDG_CONFIG_HOME=str(tmp_path / "there"), **ASCII),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert desk.stdout is not None
    try:
        desk.stdout.readline()
        code = desk.stdout.readline().removeprefix("code: ").partition(",")[0]
        # the other machine's name is shown at the end
        prefix = in_a_namespace("--uts", first=HOST_NAME.format(r"B\303\274ro"))
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "pyraface.client", "pair", f"127.0.0.1:{port}"],
            cwd=ROOT,
            env=environment(XDG_CONFIG_HOME=str(tmp_path / "here"), **ASCII),
            input=code + "\n",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "paired with K\\xfcche" in done.stderr
        assert desk.wait(30) == 0
        assert "B\\xfcro (127.0.0.1) has this machine's key now" in desk.stdout.read()
    finally:
        desk.kill()
        desk.communicate()


@pytest.mark.parametrize(("name", "shown"), [(r"K\303\274che", "Küche"), (r"K\374che", "K\ufffdche")])
def test_a_host_name_is_read_as_utf_8_whatever_the_locale(
    tmp_path: Path, parameters: Path, name: str, shown: str
) -> None:
    prefix = in_a_namespace("--uts", first=HOST_NAME.format(name))
    server = DaemonProcess(
        tmp_path,
        ["--parameters", str(parameters), "--host", "127.0.0.1", "--port", "0"],
        prefix=prefix,
        module="tests.stub_daemon",
        environment={SECONDS: "0.0", **ASCII},
    )
    try:
        done = pyraface("servers", "--parameters", parameters)
        assert done.stdout.splitlines()[1].startswith(shown + "  "), done.stderr
    finally:
        assert server.stop() == 0


# ------------------------------------------------------------------------------------------ interpreters


def test_a_program_that_is_no_interpreter_does_not_start_itself(parameters: Path, photograph: Path) -> None:
    """Simulated: the attributes that PyInstaller sets."""
    code = (
        "import sys; sys.frozen = True\n"
        "from pyraface.client import detect_faces\n"
        f"print(detect_faces({str(photograph)!r}, servers='local'))"
    )
    done = python("-c", code, PYRAFACE_PARAMETERS=str(parameters))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "pyraface.core.errors.ServerError: no server could be started on this machine: this program is no Python "
        "interpreter that could start one; start pyraface-daemon, and name it as the server"
    )


def test_a_program_with_python_in_it_finds_the_interpreter(parameters: Path, photograph: Path) -> None:
    """Simulated: the interpreter's place as uWSGI reports it."""
    code = (
        "import sys; sys.executable = '/bin/true'\n"
        "from pyraface.client import detect_faces\n"
        f"print(len(detect_faces({str(photograph)!r}, servers='local').faces))"
    )
    done = python("-c", code, PYRAFACE_PARAMETERS=str(parameters))
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="not in a virtual environment")
def test_folders_that_only_a_program_put_on_its_path_are_on_that_of_its_daemon(
    parameters: Path, photograph: Path
) -> None:
    import numpy

    site = Path(numpy.__file__).parent.parent
    code = (
        f"import sys; sys.path[1:1] = [{str(ROOT)!r}, {str(site)!r}]\n"
        "from pyraface.client import detect_faces\n"
        f"print(len(detect_faces({str(photograph)!r}, servers='local').faces))"
    )
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    base = getattr(sys, "_base_executable", sys.executable)
    done = subprocess.run(
        [base, "-c", code],
        cwd="/",
        env={**variables, "PYRAFACE_PARAMETERS": str(parameters)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


# ------------------------------------------------------------------------------------------ users


@pytest.mark.parametrize("threads", [1, 2, 4, 10])
def test_a_limit_on_threads_is_one_line(
    tmp_path: Path, parameters: Path, photograph: Path, threads: int
) -> None:
    done = pyraface(
        *("--servers", "local", "--parameters", parameters, photograph),
        prefix=allowed(threads),
        HOME=str(tmp_path),
        XDG_CONFIG_HOME="",
        OMP_NUM_THREADS="1",
        PYTHONDONTWRITEBYTECODE="1",
    )
    assert done.returncode == 2, done.stdout
    assert done.stderr.endswith(f"{REMEDY}\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("threads", [1, 10])
def test_a_daemon_with_a_limit_on_threads_ends_with_the_reason(
    tmp_path: Path, parameters: Path, threads: int
) -> None:
    done = python(
        *("-m", "pyraface.daemon", "--parameters", parameters, "--host", "127.0.0.1", "--port", "0"),
        prefix=allowed(threads),
        XDG_CONFIG_HOME=str(tmp_path / "config"),
        OMP_NUM_THREADS="1",
        PYTHONDONTWRITEBYTECODE="1",
    )
    assert done.returncode == 1
    assert done.stderr.endswith(f"{REMEDY}\n")
    assert "Traceback" not in done.stderr


def test_a_user_without_a_home_or_a_name_processes_images(parameters: Path, photograph: Path) -> None:
    prefix = (*allowed(4096), "env", "--unset=HOME", "--unset=XDG_CONFIG_HOME")
    done = pyraface(
        *("--parameters", parameters, photograph),
        prefix=prefix,
        PYTHONDONTWRITEBYTECODE="1",
    )
    assert done.returncode == 0, done.stderr
    assert "1 image, 1 face, 0 failed" in done.stderr
