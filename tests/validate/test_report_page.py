"""The page with everything that it can hold, and what a real browser makes of it."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest

import xport
from xport.validate.results import LayerError
from xport.validate.verdicts import Loss

pytest.importorskip("matplotlib")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --hide-scrollbars"
FLAGS += " --disable-component-update --disable-sync --enable-logging=stderr --timeout=20000"
SERIES = {"light": (31, 95, 168), "dark": (125, 181, 245)}  # --series1 in report.html.j2
PAPER = {"light": (252, 252, 250), "dark": (21, 24, 28)}


@pytest.fixture
def page(tiny, save_tiny, tmp_path, without_float64):
    """A run with floors, a loss and a bisection put in, as the real ones are."""
    report = xport.validate(tiny, save_tiny(tmp_path / "copy.onnx"), batch=[1, 2], runs=20, threads=1)
    loss = Loss("int8", 29.5, 29.1, 12.0, 27, 2, 0.9)

    def with_figures(cell):
        verdicts = tuple(replace(v, ratio=0.8, limit=4.0, floor=1e-7, loss=loss) for v in cell.outputs)
        return replace(cell, outputs=verdicts)

    layers = [LayerError("copy.onnx", f"block.{i}.conv", "Conv", 1e-7 * 2**i, 1.5e-7) for i in range(12)]
    layers.append(LayerError("copy.onnx", "head <b>", "Gemm", float("inf"), 1.5e-7))
    report = replace(report, cells=tuple(map(with_figures, report.cells)), layers=tuple(layers))
    report.write_page(tmp_path / "page.html")
    return tmp_path / "page.html"


def test_the_page_shows_losses_and_layers(page):
    text = page.read_text()
    assert len(text) < 2_000_000
    assert "Intended loss" in text
    assert ">29.5<" in text
    assert "2 of 27" in text
    assert "Layer by layer" in text
    assert text.count('role="img" aria-label="') == 5  # errors, layers, two batch sizes, throughput
    assert "head &lt;b&gt;" in text
    assert "first beyond rounding" in text


def browse(page, *options):
    command = [CHROMIUM, *FLAGS.split(), f"--user-data-dir={page.parent / 'profile'}", *options, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout


def colours(path):
    from PIL import Image

    with Image.open(path) as image:
        found = image.convert("RGB").getcolors(maxcolors=1 << 24)
    return {colour for _, colour in found}, max(found)[1]


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")
@pytest.mark.parametrize(("mode", "width"), [("light", 1200), ("dark", 1200), ("light", 390)])
def test_a_browser_draws_it(page, tmp_path, mode, width):
    shot = tmp_path / "shot.png"
    scheme = f"--blink-settings=preferredColorScheme={int(mode == 'light')}"
    browse(page, scheme, f"--window-size={width},6000", f"--screenshot={shot}")
    found, background = colours(shot)
    assert background == PAPER[mode]
    assert SERIES[mode] in found  # what the charts are drawn with: they are there


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")
def test_a_browser_lays_it_out_within_a_phone_and_prints_it(page, tmp_path):
    probe = page.with_name("probe.html")
    script = "<script>document.title = [...document.querySelectorAll('figure svg')].map(s => "
    script += "Math.round(s.getBoundingClientRect().width)) + '|' + document.documentElement.scrollWidth</script>"
    probe.write_text(page.read_text().replace("</body>", f"{script}</body>"))
    title = re.search(r"<title>([\d,]+)\|(\d+)</title>", browse(probe, "--window-size=500,2000", "--dump-dom"))
    widths, whole = [int(w) for w in title[1].split(",")], int(title[2])
    assert len(widths) == 5
    assert all(300 < width <= 500 for width in widths)
    assert whole <= 500  # only the tables scroll sideways, each for itself
    browse(page, f"--print-to-pdf={tmp_path / 'page.pdf'}")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
