"""No package that is installed has a known vulnerability: pip-audit asks who knows, and this decides about the answer.

Where the service that knows cannot be reached, nothing is known, and that is said. So that the deciding is tested there
too, the same program is sent to a service on loopback, which answers as OSV does (https://google.github.io/osv.dev/api/).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support import ROOT, environment

EXCEPTIONS: dict[str, str] = {}
"""Advisories that may stand, each with the reason: why pyraface never does what it warns of, and what would end that."""


def installed_packages_are_clean(*options: str, exceptions: Mapping[str, str] = EXCEPTIONS) -> None:
    """Raises AssertionError for a vulnerability that is no exception; skips the test where nobody knows.

    Args:
        options: more of pip-audit's.
        exceptions: as EXCEPTIONS.
    """
    program = shutil.which("pip-audit", path=str(Path(sys.executable).parent)) or shutil.which("pip-audit")
    assert program is not None, "pip-audit is not installed: pip install -e '.[test]'"
    command = [
        *(program, "--local", "--skip-editable", "--format=json", "--progress-spinner=off", "--timeout=5"),
        *(f"--ignore-vuln={id}" for id in exceptions),
        *options,
    ]
    # what is on loopback is not asked through a proxy
    variables = environment(NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip("the service that knows of vulnerabilities did not answer within 120 s")
    if not done.stdout.strip():
        assert "ConnectionError" in done.stderr or "ServiceError" in done.stderr, done.stderr[-2000:]
        pytest.skip("the service that knows of vulnerabilities cannot be reached")
    packages = json.loads(done.stdout)["dependencies"]
    found = [package for package in packages if package.get("vulns")]
    assert not found, json.dumps(found, indent=1)
    if not any("vulns" in package for package in packages):
        pytest.skip(
            f"the service knows none of {len(packages)} packages: it is a mirror without this knowledge"
        )
    assert done.returncode == 0, done.stderr[-2000:]


def test_no_package_that_is_installed_has_a_known_vulnerability() -> None:
    installed_packages_are_clean()


class Advisories(ThreadingHTTPServer):
    """A service on loopback that knows of one vulnerability, or none, and notes what it was asked about."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.known: dict[str, object] | None = None
        self.status = 200
        self.asked: dict[str, str] = {}

    @property
    def options(self) -> tuple[str, ...]:
        """Has pip-audit ask this one."""
        return "--vulnerability-service=osv", f"--osv-url=http://127.0.0.1:{self.server_port}/v1/query"


class _Answer(BaseHTTPRequestHandler):
    server: Advisories

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = query["package"]["name"]
        self.server.asked[name] = query["version"]
        known = self.server.known
        concerned = known is not None and known["affected"][0]["package"]["name"] == name  # type: ignore[index]
        body = json.dumps({"vulns": [known]} if concerned else {}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def advisories() -> Iterator[Advisories]:
    with Advisories() as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield service
        finally:
            service.shutdown()
            thread.join()


ADVISORY: dict[str, object] = {
    "schema_version": "1.6.0",
    "id": "PYSEC-2000-1",
    "aliases": ["CVE-2000-0001"],
    "summary": "Bytes from a stranger end the process.",
    "affected": [
        {
            "package": {"name": "msgpack", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}],
        }
    ],
}


def test_a_vulnerability_of_an_installed_package_fails_and_is_named(advisories: Advisories) -> None:
    advisories.known = ADVISORY
    with pytest.raises(AssertionError) as failed:
        installed_packages_are_clean(*advisories.options)
    for words in ("msgpack", version("msgpack"), "PYSEC-2000-1", "CVE-2000-0001", "99.0"):
        assert words in str(failed.value)
    # all that pyraface runs with was asked about, as it is installed
    for name in ("msgpack", "pillow", "numpy", "cryptography", "onnxruntime", "uvloop"):
        assert advisories.asked[name] == version(name)


def test_no_known_vulnerability_passes(advisories: Advisories) -> None:
    installed_packages_are_clean(*advisories.options)
    assert advisories.asked["msgpack"] == version("msgpack")


@pytest.mark.parametrize("id", ["PYSEC-2000-1", "CVE-2000-0001"])
def test_an_exception_with_its_reason_passes_and_another_one_does_not(
    advisories: Advisories, id: str
) -> None:
    advisories.known = ADVISORY
    installed_packages_are_clean(*advisories.options, exceptions={id: "nothing from a stranger gets there"})
    with pytest.raises(AssertionError, match="PYSEC-2000-1"):
        installed_packages_are_clean(*advisories.options, exceptions={"PYSEC-2000-2": "another matter"})


def test_a_service_that_is_out_of_order_or_not_there_is_no_clean_answer(advisories: Advisories) -> None:
    advisories.known, advisories.status = ADVISORY, 503
    with pytest.raises(pytest.skip.Exception, match="cannot be reached"):
        installed_packages_are_clean(*advisories.options)
    with pytest.raises(pytest.skip.Exception, match="cannot be reached"):
        installed_packages_are_clean("--vulnerability-service=osv", "--osv-url=http://127.0.0.1:1/v1/query")
