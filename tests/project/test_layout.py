"""The shape of the project: names, links, imports, versions."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pyraface
from pyraface.core import engines
from tests.support import ROOT, environment


def modules() -> list[Path]:
    return [file for folder in ("core", "client", "daemon") for file in sorted((ROOT / folder).rglob("*.py"))]


def test_the_generic_names_are_never_packages_of_their_own() -> None:
    code = (
        "import sys, pyraface.core.pipeline, pyraface.client.client, pyraface.daemon.server, pyraface.daemon.worker;"
        "print([name for name in ('core', 'client', 'daemon') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_package_is_made_of_links() -> None:
    package = Path(pyraface.__file__).parent
    for name in ("core", "client", "daemon", "parameters.xml", "faces.schema.json"):
        assert (package / name).exists(), name
    if package.parent == ROOT:
        assert {entry.name for entry in package.iterdir() if entry.is_symlink()} == {
            "core",
            "client",
            "daemon",
            "parameters.xml",
            "faces.schema.json",
        }


def test_packages_import_each_other_relatively() -> None:
    for file in modules():
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            roots = {name.split(".")[0] for name in names}
            assert not roots & {"core", "client", "daemon"}, f"{file}: {names}"
            if file != ROOT / "client" / "client.py":  # which runs as a file, too
                assert "pyraface" not in roots, f"{file}: {names}"


def test_onnx_runtime_is_imported_in_one_place_which_silences_it_first() -> None:
    imports = re.compile(r"^\s*(import|from) onnxruntime\b", re.MULTILINE)
    everything = [*modules(), *(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    found = [file for file in everything if imports.search(file.read_text())]
    assert found == [ROOT / "core" / "engines" / "onnx" / "runtime.py"]


def test_the_process_that_holds_the_key_loads_no_image_library_and_no_engine() -> None:
    names = [
        f"pyraface.daemon.{file.stem}" for file in (ROOT / "daemon").glob("*.py") if file.stem != "__init__"
    ]
    libraries = (
        "PIL pyvips simplejpeg pillow_heif onnx onnxruntime dlib face_recognition pyraface.daemon.worker"
    )
    code = (
        f"import sys, importlib, uvloop; [importlib.import_module(name) for name in {names}];"
        f"print([name for name in {libraries.split()} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_module_says_what_it_is() -> None:
    for file in modules():
        assert ast.get_docstring(ast.parse(file.read_text())), file


def test_the_changelog_knows_the_version() -> None:
    assert pyraface.__version__ in (ROOT / "CHANGELOG.md").read_text()


def test_the_engines_that_a_command_line_offers_are_those_of_the_registry() -> None:
    """The daemon's `--help` loads no numpy, so its choices are written out, beside the registry."""
    offered = {}
    for file in [*(ROOT / "daemon").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                for option in node.keywords:
                    if node.args[0].value == "--engine" and option.arg == "choices":
                        offered[str(file.relative_to(ROOT))] = ast.literal_eval(option.value)
    assert offered == {
        "daemon/__main__.py": list(engines.NAMES),
        "daemon/worker/__main__.py": list(engines.NAMES),
        # what runs dlib's networks: one of the two, and the table says which
        "benchmarks/accuracy.py": [name for name in engines.NAMES if name != "auto"],
    }
