"""Who is ahead, and what is said of it: from latencies made up for the purpose."""

from dataclasses import replace

import numpy as np
import pytest

from xport.validate.comparing.contenders import CONTENDERS
from xport.validate.comparing.ranking import rank
from xport.validate.comparing.results import CompareReport, Outcome, Standing, Start, StartUp
from xport.validate.comparing.words import answer, headline
from xport.validate.latency import summarize
from xport.validate.results import Cell, Status, ValidationReport

BY_NAME = {contender.name: contender for contender in CONTENDERS}


def latency(seconds, *, seed=0, count=20, spread=0.02):
    rng = np.random.default_rng(seed)
    return summarize((seconds * (1 + spread * np.abs(rng.standard_normal((count, 5))))).tolist())


def standing(name, seconds, *, outcome=Outcome.SAME, memory=100_000_000, seed=0, count=20):
    contender = BY_NAME[name]
    status = {Outcome.SOURCE: Status.REFERENCE, Outcome.WRONG: Status.FAILED}.get(outcome, Status.PASSED)
    cell = Cell(contender.label, "cpu", 1, status, latency=latency(seconds, seed=seed, count=count), peak_memory=memory)
    return Standing(contender, outcome, cells=(cell,), reason="y: off" * (outcome is Outcome.WRONG))


def started(one, *totals, first=0.1, cached=None):
    starts = tuple(Start(total - first - 0.2, 0.1, 0.1, first, 1, 2, 3, 4) for total in totals)
    return replace(one, start_up=StartUp(starts, None if cached is None else Start(0, 0, 0, cached, 1, 1, 1, 1)))


def report(*standings):
    ranking = rank(standings, 1)
    validation = ValidationReport("", "", 0, 1, "", {}, (), (), tuple(c for s in standings for c in s.cells))
    return CompareReport("m.pt", "cpu", standings, (ranking,) if ranking else (), validation)


def test_the_fastest_is_named_with_its_factor():
    found = report(standing("eager", 3e-3, outcome=Outcome.SOURCE), standing("onnx", 1e-3), standing("litert", 2e-3))
    assert (found.rankings[0].fastest, found.rankings[0].tied) == ("ONNX Runtime", ())
    assert found.rankings[0].against == "PyTorch eager"
    assert "Fastest at batch 1: ONNX Runtime, 1.02 ms (" in found.answer or "ONNX Runtime, 1.01 ms (" in found.answer
    assert "PyTorch eager." in found.answer
    times = found.rankings[0].factor("LiteRT").times
    assert times == pytest.approx(1.5, rel=0.05)


def test_no_winner_where_the_measurement_cannot_tell():
    found = report(standing("eager", 1.01e-3, outcome=Outcome.SOURCE), standing("onnx", 1e-3, seed=1))
    assert found.rankings[0].tied
    assert "within noise of each other: " in found.answer
    assert "×" not in found.answer  # noqa: RUF001


def test_too_few_rounds_tell_nothing():
    found = report(standing("eager", 3e-3, outcome=Outcome.SOURCE, count=4), standing("onnx", 1e-3, count=4))
    assert "cannot be told from so few rounds" in found.answer


def test_wrong_numbers_never_win():
    found = report(standing("eager", 3e-3, outcome=Outcome.SOURCE), standing("onnx", 1e-3, outcome=Outcome.WRONG))
    assert found.rankings[0].fastest == "PyTorch eager"
    assert found.rankings[0].factor("ONNX Runtime") is not None  # its time is told all the same
    assert "ONNX Runtime gives wrong numbers: y: off." in found.answer
    assert rank([standing("onnx", 1.0, outcome=Outcome.WRONG)], 1) is None


def test_without_eager_the_source_is_what_all_are_compared_with():
    found = report(standing("torchscript", 1e-3), standing("litert", 3e-3, outcome=Outcome.SOURCE))
    assert found.rankings[0].against == "LiteRT"


def test_a_compiler_pays_for_its_start_after_some_calls():
    eager = started(standing("eager", 2e-3, outcome=Outcome.SOURCE), 1.0, 1.1)
    compiled = started(standing("compile", 1e-3), 11.0, 11.2, first=9.0, cached=2.5)
    text = report(eager, compiled).answer
    assert "torch.compile spends 9 s in its first call, 2.5 s once its cache is filled" in text
    calls = int(text.partition("paid for its start after about ")[2].partition(" ")[0].replace(",", ""))
    assert 9_000 < calls < 11_000


def test_a_compiler_that_does_not_help_has_not_paid():
    eager = started(standing("eager", 1e-3, outcome=Outcome.SOURCE), 1.0)
    text = report(eager, started(standing("compile", 1e-3, seed=1), 11.0, first=9.0)).answer
    assert "that its calls are faster than PyTorch eager's does not show here" in text


def test_starts_that_overlap_are_no_difference():
    eager = started(standing("eager", 1e-3, outcome=Outcome.SOURCE), 1.0, 1.4)
    near, far = started(standing("onnx", 1e-3), 1.3, 1.6), started(standing("litert", 1e-3), 4.0, 4.4)
    text = answer(report(eager, near, far))
    assert "within noise of each other: PyTorch eager and ONNX Runtime, 1 s; last: LiteRT, 4 s." in text
    text = answer(report(eager, far))
    assert "First to answer after a start: PyTorch eager, 1 s; last: LiteRT, 4 s." in text


def test_memory_that_hardly_differs_is_about_the_same():
    sizes = (100_000_000, 104_000_000, 300_000_000)
    names = ("eager", "onnx", "litert")
    three = [standing(n, 1e-3, memory=m) for n, m in zip(names, sizes, strict=True)]
    assert "All need about 100 MB" in report(*three[:2]).answer
    assert (
        "Least memory: PyTorch eager and ONNX Runtime, 100 MB at the peak; most: LiteRT, 300 MB"
        in report(*three).answer
    )


def test_durations_and_rates_are_told_as_people_do():
    from xport.validate.reports.words import rate_text, seconds_text

    assert [seconds_text(s) for s in (0.99996, 0.0009996, 0.5, 2e-9)] == ["1 s", "1 ms", "500 ms", "0.002 µs"]
    assert [rate_text(r) for r in (999.9, 12_345, 999_999.0, 0.5)] == ["1 k/s", "12.3 k/s", "1 M/s", "0.5 /s"]


def test_the_headline_names_those_who_are_ahead_and_nobody_else():
    eager = standing("eager", 3e-3, outcome=Outcome.SOURCE)
    onnx, litert = standing("onnx", 1e-3), standing("litert", 1.01e-3, seed=1)
    assert headline(report(eager, onnx)) == "ONNX Runtime is fastest at batch 1"
    assert headline(report(eager, onnx, litert)) in (
        "ONNX Runtime and LiteRT are fastest at batch 1",
        "LiteRT and ONNX Runtime are fastest at batch 1",
    )
    assert headline(report(onnx, litert)) == "Nobody is clearly ahead at batch 1"
    assert headline(report(eager, standing("onnx", 1e-3, outcome=Outcome.WRONG))) == "✗ Wrong numbers"
    assert headline(report(eager)) == "✗ Nothing to compare"
