"""The lower ends of the dependency ranges: what `make test-oldest` installs; the page of ranges tells the same."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def load():
    spec = importlib.util.spec_from_file_location("ci_oldest", ROOT / ".ci/oldest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


oldest = load()


@pytest.mark.parametrize(
    ("text", "version"), [("a>=1.5,<2", "1.5"), ("a~=2.3", "2.3"), ("a==4", "4"), ("a[b]>=2; python_version>'3'", "2")]
)
def test_the_lower_end_of_a_range(text, version):
    assert oldest.lowest(Requirement(text)) == version


def test_a_range_without_a_lower_end_is_refused():
    with pytest.raises(ValueError, match="a<2 has no lower bound"):
        oldest.lowest(Requirement("a<2"))


def test_where_two_ask_for_one_package_the_higher_end_counts(monkeypatch):
    project = {
        "name": "me",
        "dependencies": ["a>=1.9", "B_c>=1"],
        "optional-dependencies": {"cpu": ["a>=1.10", "me[torch]", "d>=1; sys_platform == 'none'"]},
    }
    monkeypatch.setattr(oldest, "requirements", lambda p, of=oldest.requirements: of(p, ("cpu",)))
    assert oldest.pins(project, "3.11") == {"a": "1.10", "b-c": "1"}
    monkeypatch.setitem(oldest.EXCEPTIONS, "3.99", {"a": ("2.0", "no wheel")})
    text = oldest.constraints(project, "3.99", "# words\nA==7\npytest==9\n")
    assert text.splitlines() == ["a==2.0", "b-c==1", "pytest==9"]


@pytest.mark.parametrize("name", ["dependencies", *oldest.EXTRAS, "gpu", "ray"])
def test_every_dependency_of_a_user_has_both_ends(name):
    texts = PROJECT["dependencies"] if name == "dependencies" else PROJECT["optional-dependencies"][name]
    ranges = [each for text in texts if (each := Requirement(text)).name != PROJECT["name"]]
    dates = {"packaging", "fsspec"}  # numbered by the calendar: no version announces a break
    for each in ranges:
        assert oldest.lowest(each)
        assert each.name in dates or any(s.operator == "<" for s in each.specifier), each


def test_exceptions_stand_inside_their_ranges():
    ranges = {canonicalize_name(each.name): each.specifier for each in oldest.requirements(PROJECT)}
    for python, table in oldest.EXCEPTIONS.items():
        for name, (version, reason) in table.items():
            assert ranges[name].contains(version), (python, name)
            assert reason


def test_constraints_stand_inside_the_ranges():
    ranges = {canonicalize_name(each.name): each.specifier for each in oldest.requirements(PROJECT)}
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    pinned = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    assert set(ranges) <= set(pinned)
    for name, specifier in ranges.items():
        assert specifier.contains(pinned[name]), name


def test_the_page_of_dependencies_tells_the_same_ranges():
    page = (ROOT / "docs/dependencies.md").read_text()
    told = dict(re.findall(r"^\| ([a-zA-Z0-9._-]+)(?:\[.*?\])?(?: / .*?)? \| ([^|]+) \|", page, re.MULTILINE))
    told = {canonicalize_name(name): words.strip() for name, words in told.items()}
    for each in oldest.requirements(PROJECT, (*oldest.EXTRAS, "ray", "docs", "dev")):
        name = canonicalize_name(each.name)
        if name in told and "," not in told[name].replace(",<", "<"):
            assert set(told[name].split(",")) == set(str(each.specifier).split(",")), name
    assert {canonicalize_name(each.name) for each in oldest.requirements(PROJECT)} <= set(told)
