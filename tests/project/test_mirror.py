"""Mirror: a test file for each module, at the module's place, in tests/accuracy or in tests/processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import ROOT

ROOMS = ("core", "client", "daemon")

ELSEWHERE = {
    # no code of their own to test
    "core/lazy.py": "project/test_help.py",
    "core/search/base.py": "core/search/test_guided.py",
    "client/pool/supervisor_events.py": "processes/test_api.py",
    "client/pool/status.py": "client/console/test_progress.py",
    # tested through the module that they are a part of
    "client/outputs/formats/json_lines.py": "client/outputs/test_formats.py",
    "client/outputs/output_file.py": "client/outputs/test_journal.py",
    "client/scheduling/instructions.py": "client/scheduling/test_scheduler.py",
    "client/scheduling/jobs.py": "client/scheduling/test_scheduler.py",
    "client/scheduling/queue.py": "client/scheduling/test_scheduler.py",
    "client/scheduling/servers.py": "client/scheduling/test_scheduler.py",
    "core/engines/detections.py": "core/engines/test_checks.py",
    "core/engines/devices.py": "core/engines/onnx/test_providers.py",
    "core/engines/network/dlib_format.py": "core/engines/network/test_weights.py",
    "core/engines/onnx/graphs.py": "accuracy/test_parity.py",
    "core/engines/onnx/runtime.py": "core/engines/onnx/test_providers.py",
    "core/user_folders.py": "core/parameters/test_reader.py",
    "core/images/arrays.py": "core/images/test_inputs.py",
    "core/images/checks.py": "core/images/test_decode.py",
    "core/pages.py": "core/images/test_pages.py",
    "core/parameters/schema.py": "core/parameters/test_reader.py",
    "core/parameters/values.py": "core/parameters/test_reader.py",
    "core/search/everywhere.py": "core/test_pipeline.py",
    # nothing but processes and sockets: tested from outside
    "client/client.py": "processes/test_detect_command.py",
    "client/console/job_control.py": "processes/test_display.py",
    "client/console/prompt.py": "processes/test_pair_command.py",
    "client/commands/encode.py": "processes/test_encode_command.py",
    "client/commands/path_checks.py": "processes/test_detect_command.py",
    "client/commands/servers_table.py": "processes/test_servers_command.py",
    "client/pool/connection.py": "processes/test_slow_network.py",
    "client/pool/pairing.py": "processes/test_pair_command.py",
    "client/pool/pool.py": "processes/test_api.py",
    "client/pool/supervisor.py": "processes/test_api.py",
    "client/pool/server_reports.py": "processes/test_servers_command.py",
    "core/host/interfaces.py": "network/test_namespaces.py",
    "core/host/subprocesses.py": "processes/test_surroundings.py",
    "core/host/threads.py": "processes/test_surroundings.py",
    "daemon/worker_process.py": "processes/test_executor.py",
    "daemon/connection.py": "processes/test_server.py",
    "daemon/listener.py": "processes/test_limits.py",
    "daemon/pair.py": "processes/test_pair_command.py",
    "daemon/sockets.py": "network/test_addresses.py",
    "daemon/state.py": "processes/test_server.py",
    "daemon/tls.py": "processes/test_handshake.py",
}
"""Module: the file that tests it, in place of one with its name."""


def modules() -> list[str]:
    """Those with code: a name with an underscore is one of a package, of a program's start or of a list of names."""
    files = [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]
    return [str(file.relative_to(ROOT)) for file in files if not file.stem.startswith("_")]


def own_test(module: str) -> Path | None:
    """Returns the test file with the module's name, or None."""
    path = Path(module)
    places = [
        ROOT / "tests" / path.parent / f"test_{path.stem}.py",
        ROOT / "tests" / "accuracy" / f"test_{path.stem}.py",
        ROOT / "tests" / "processes" / f"test_{path.stem}.py",
        ROOT / "tests" / "processes" / f"test_{path.stem}_command.py",
    ]
    return next((place for place in places if place.is_file()), None)


@pytest.mark.parametrize("module", modules())
def test_a_module_has_a_test_file_of_its_name_or_is_listed_with_another(module: str) -> None:
    if own_test(module) is None:
        assert module in ELSEWHERE, "write tests/.../test_NAME.py for it, or say in ELSEWHERE what tests it"
    if module in ELSEWHERE:
        assert (ROOT / "tests" / ELSEWHERE[module]).is_file(), f"{ELSEWHERE[module]} is gone"


def test_the_list_names_only_modules_that_are_there() -> None:
    assert set(ELSEWHERE) <= set(modules())
