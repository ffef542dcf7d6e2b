"""What the site has beside docs/: the generated reference, and the pages that lie at the top of the repository.

A hook of MkDocs (https://www.mkdocs.org/user-guide/configuration/#hooks), named in mkdocs.yml. Links are
written so that they are right on GitHub; here those that leave docs/ are turned to where the site has the same file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

import reference
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
TOP_PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Pages at the top of the repository, and what the site calls them."""
REFERENCE = {
    "src/xport/__init__.py": "reference/api.md",
    "src/xport/cli/commands.py": "reference/cli.md",
    "src/xport/errors.py": "reference/errors.md",
    "convert/routes.py": "reference/routes.md",
}
"""Code that a link on GitHub shows, and the page that the site has been made of it."""

_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs/, and the files that pages there link to."""
    pages = {**reference.pages(), **{new: (ROOT / old).read_text() for old, new in TOP_PAGES.items()}}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    for name in sorted(linked_files()):
        place = _place(PurePosixPath(name))
        if files.get_file_from_path(place) is None:
            files.append(File.generated(config, place, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **context: Any) -> str:
    """Turn links that leave docs/ to the site's own copies."""
    home = {new: old for old, new in TOP_PAGES.items()}.get(page.file.src_uri)
    source = PurePosixPath(home if home else f"docs/{page.file.src_uri}")
    return relink(markdown, source, PurePosixPath(page.file.src_uri))


def relink(markdown: str, source: PurePosixPath, page: PurePosixPath) -> str:
    """Rewrite the relative links of a page.

    Args:
        markdown: Its text.
        source: Where it lies in the repository.
        page: Where it lies in the site.

    Returns:
        The text with links from page to page of the site.
    """

    def turn(match: re.Match[str]) -> str:
        target = PurePosixPath(os.path.normpath(source.parent / match[1]))
        if not (ROOT / target).exists():
            return match[1]  # a generated page, or a mistake, which MkDocs reports
        return os.path.relpath(_place(target), page.parent)

    return _LINK.sub(turn, markdown)


def linked_files() -> set[str]:
    """The files outside docs/ that pages link to, as paths in the repository."""
    sources = [*(ROOT / "docs").glob("*.md"), *(ROOT / name for name in TOP_PAGES)]
    targets = {
        os.path.relpath(source.parent / link, ROOT) for source in sources for link in _LINK.findall(source.read_text())
    }
    known = {*TOP_PAGES, *REFERENCE}
    return {t for t in targets if (ROOT / t).is_file() and not t.startswith("docs/") and t not in known}


def _place(target: PurePosixPath) -> str:
    """Where the site has a file of the repository."""
    if page := {**TOP_PAGES, **REFERENCE}.get(str(target)):
        return page
    return str(target.relative_to("docs") if target.parts[0] == "docs" else "repository" / target)
