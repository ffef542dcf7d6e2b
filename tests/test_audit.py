import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

CI = Path(__file__).parents[1] / ".ci"


def load(name):
    spec = importlib.util.spec_from_file_location(f"ci_{name}", CI / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


licences, vulnerabilities = load("licences"), load("vulnerabilities")


@pytest.mark.parametrize(
    "licence",
    ["MIT", "Apache License 2.0", "Apache-2.0 OR GPL-3.0", "MIT AND BSD-3-Clause", "BSD License; MIT License", "isc"],
)
def test_permissive_licences_pass(licence):
    assert licences.problems([{"Name": "a", "License": licence}]) == []


@pytest.mark.parametrize(
    "licence", ["GPLv3", "AGPL-3.0", "MPL-2.0", "UNKNOWN", "MIT AND GPL-2.0", "MIT License; LGPL", "MITRE", ""]
)
def test_every_other_licence_has_to_be_named(licence):
    package = {"Name": "Ab", "License": licence}
    assert licences.problems([package]) == [f"Ab: {licence}"]
    assert licences.problems([package], {"ab": "a reason"}) == []


def test_what_is_installed_passes():
    done = subprocess.run([sys.executable, CI / "licences.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def answer(*packages):
    return lambda *arguments, **_: subprocess.CompletedProcess(
        arguments, 0, json.dumps({"dependencies": list(packages)}), ""
    )


def test_a_vulnerability_fails_unless_it_is_accepted(monkeypatch, capsys):
    entry = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.0"]}
    found = {"name": "a", "version": "1.0", "vulns": [entry]}
    monkeypatch.setattr(subprocess, "run", answer(found, {"name": "b", "skip_reason": "unknown"}))
    assert vulnerabilities.main() == 1
    out = capsys.readouterr().out
    assert "a 1.0: PYSEC-1, mended in 2.0" in out
    assert "nothing is known about b" in out
    assert vulnerabilities.known([found], {"CVE-1": "a reason"}) == []


@pytest.mark.parametrize("told", ["no JSON", '{"dependencies": [{"name": "click", "skip_reason": "not found"}]}'])
def test_a_service_that_knows_nothing_is_skipped_aloud(told, monkeypatch, capsys):
    reply = subprocess.CompletedProcess([], 1, told, "Traceback\nConnectionError: not found\n\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: reply)
    assert vulnerabilities.main() == 0
    out = capsys.readouterr().out
    assert out.startswith("skipped: vulnerabilities")
    assert "not found" in out
