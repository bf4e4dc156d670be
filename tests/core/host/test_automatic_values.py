"""Automatic values: what this machine chooses is what a daemon on it then does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyraface.core.engines.devices import cores
from pyraface.core.engines.network import yunet
from pyraface.core.errors import EngineError
from pyraface.core.host import automatic_values, interfaces
from pyraface.core.parameters import BeaconParameters, Parameters, parse
from tests.support import parameters_xml

READ = parse(parameters_xml(search="everywhere", name="attic", interfaces="lo").encode())
SET = replace(READ, daemon=replace(READ.daemon, engine_threads=3))


def changed(section: str, **values: object) -> Parameters:
    return replace(SET, **{section: replace(getattr(SET, section), **values)})


def test_values_that_the_file_sets_stand_for_themselves() -> None:
    assert automatic_values.chosen(SET) == {}


def test_threads_are_one_for_each_core_of_this_process() -> None:
    chosen = automatic_values.chosen(changed("daemon", engine_threads=0))
    assert chosen == {"daemon/engine_threads": f"{cores()}: one for each core"}


def test_the_name_is_that_of_the_machine() -> None:
    assert automatic_values.chosen(changed("beacon", name="")) == {"beacon/name": interfaces.machine_name()}


def test_a_machine_with_many_interfaces_names_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = changed("beacon", interfaces=BeaconParameters().interfaces)
    assert "lo" in automatic_values.chosen(everywhere)["beacon/interfaces"]
    many = {f"br{number}": ["10.0.0.255"] for number in range(5)}
    monkeypatch.setattr(interfaces, "broadcast_addresses", lambda: many)
    assert automatic_values.chosen(everywhere) == {"beacon/interfaces": "br0, br1, br2 and 2 more"}
    monkeypatch.setattr(interfaces, "broadcast_addresses", dict)
    assert automatic_values.chosen(everywhere) == {"beacon/interfaces": "none is up"}


def test_the_search_is_guided_only_where_its_weights_are(
    yunet_weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    del yunet_weights
    searching = changed("detection", search="auto")
    assert automatic_values.chosen(searching) == {"tiled_detect_params/search": "guided, where it can run"}

    def missing() -> bytes:
        raise EngineError("no weights")

    monkeypatch.setattr(yunet, "load_weights", missing)
    assert automatic_values.chosen(searching) == {
        "tiled_detect_params/search": "everywhere: no YuNet weights"
    }
