"""Random networks: storage orders through whatever stands between convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import assume, given, note

from tests.operators.properties.examining import QUICK, drawn, hold
from tests.operators.properties.networks import Network, networks


def examine(net: Network, targets: Sequence[str] = QUICK) -> None:
    assume(net.nodes)
    note(repr(net))
    hold(net.model, [list(net.inputs.values())], [net.answers], "", targets, rtol=1e-4)


@drawn(150)
@given(networks())
def test_network(net: Network) -> None:
    examine(net)


@pytest.mark.slow
@drawn(25)
@given(networks())
def test_for_tflite(net: Network) -> None:
    examine(net, ["tflite"])
