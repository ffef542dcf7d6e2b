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
    feeds, answers = [list(net.inputs.values())], [net.answers]
    if net.open_axes and (other := net.elsewhere()) is not None:
        feeds.append(other[0])
        answers.append(other[1])
    hold(net.model, feeds, answers, "", targets, rtol=1e-4)


@drawn(80)
@given(networks())
def test_network(net: Network) -> None:
    examine(net)


@pytest.mark.slow
@drawn(25)
@given(networks())
def test_for_tflite(net: Network) -> None:
    examine(net, ["tflite"])
