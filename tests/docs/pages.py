"""The pages of the documentation: their blocks, links, headings and commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"^(?:\$ )?(xport .*)$", re.MULTILINE)
_MISTAKE = re.compile(r"# exits with [12]$")  # on purpose; a test runs it and sees it fail
_TABLE_BAR = r"\|"


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    language: str
    text: str
    line: int

    @property
    def first(self) -> str:
        return self.text.strip().splitlines()[0]


@dataclass(frozen=True)
class Command:
    """A call of the command line that a page names; a whole one can be pasted, a part of one stands in a sentence."""

    words: tuple[str, ...]
    line: int
    whole: bool


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str) -> list[Block]:
    return [Block(m[2], m[3], text.count("\n", 0, m.start()) + 1) for m in _FENCE.finditer(text)]


def prose(text: str) -> str:
    """A page without its blocks, line for line."""
    return _FENCE.sub(lambda m: "\n" * m[0].count("\n"), text)


def commands(text: str) -> Iterator[Command]:
    """Every call of xport in a page: lines of blocks, and code inside of sentences."""
    for block in blocks(text):
        if block.language in ("", "bash", "console", "sh"):
            joined = block.text.replace("\\\n", " ")
            for match in _COMMAND.finditer(joined):
                if not _MISTAKE.search(match[1]):
                    yield Command(_words(match[1]), block.line, whole=True)
    for match in re.finditer(r"(`+)(xport\s[^`]+)\1", plain := prose(text)):
        yield Command(_words(match[2].replace(_TABLE_BAR, "|")), plain.count("\n", 0, match.start()) + 1, whole=False)


def _words(line: str) -> tuple[str, ...]:
    words = shlex.split(line, comments=True)
    cut = next((i for i, word in enumerate(words) if word in ("&", ">", ">>", "|", "&&")), len(words))
    return tuple(word for word in words[:cut] if word not in ("…", "..."))


def links(text: str) -> list[tuple[str, int]]:
    """The targets of links and pictures, with their lines."""
    plain = re.sub(r"`[^`\n]*`", lambda m: " " * len(m[0]), prose(text))
    return [(m[1], plain.count("\n", 0, m.start()) + 1) for m in re.finditer(r"\]\(([^)\s]+)\)", plain)]


def anchors(text: str) -> set[str]:
    """What GitHub calls the headings of a page (https://docs.github.com/en/get-started, "section links")."""
    found: dict[str, int] = {}
    names = set()
    for match in re.finditer(r"^#{1,6} +(.*?) *$", prose(text), re.MULTILINE):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match[1])
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        names.add(f"{slug}-{count}" if count else slug)
    return names
