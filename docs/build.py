"""Builds the documentation as a site, in `site/`: `make docs`, or `python -m docs.build`.

The repository's pages keep their places, so that their links hold, and what they link to comes
along; `docs.pages` adds what the code writes. A warning of the generator's fails the build.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from docs.pages import all_pages

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "build" / "docs"
"""Where the pages are laid out for the generator."""
SITE = ROOT / "site"
WRITTEN = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs", "leaderboards")
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")


def main() -> int:
    """Lay out all pages, build the site, and return the generator's exit code."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    for page in written_pages():
        for path in (page, *linked_files(page)):
            target = SOURCE / "pages" / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    for name, text in all_pages():
        target = SOURCE / "pages" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text + "\n", encoding="utf-8")
    config = SOURCE / "mkdocs.yml"
    config.write_text(yaml.safe_dump(settings(), sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    code = subprocess.run([*command, "--config-file", str(config)], check=False).returncode
    if not code:
        shutil.rmtree(SITE, ignore_errors=True)
        (SOURCE / "site").rename(SITE)
    return code


def written_pages() -> list[Path]:
    """Return the Markdown files of the repository that are pages of the site."""
    found = [ROOT / name for name in WRITTEN]
    return [
        page for path in found for page in (sorted(path.rglob("*.md")) if path.is_dir() else [path])
    ]


def linked_files(page: Path) -> list[Path]:
    """Return the files beside the pages that one links to: pictures, tables, source.

    Raises:
        FileNotFoundError: a link leads to no file.
    """
    text = page.read_text(encoding="utf-8")
    targets = [(page.parent / target).resolve() for target in _LINK.findall(text)]
    for target in targets:
        if not target.is_file():
            raise FileNotFoundError(f"{page.relative_to(ROOT)} links to {target}, which is no file")
    return [target for target in targets if target.suffix != ".md"]


def settings() -> dict[str, Any]:
    """Return the generator's settings: those of `docs/site.yml`, with all pages named."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "site.yml").read_text("utf-8"))
    pages = [name for name, _ in all_pages()]
    strategies = [name for name in pages if "/strategies/" in name]
    first, *others = [name for name in pages if name not in strategies]
    found["nav"].append({"Reference": [{"Strategies": [first, *strategies]}, *others]})
    paths = [str(ROOT)]
    found["plugins"] = [
        "search",
        {"mkdocstrings": {"handlers": {"python": {"paths": paths, **found.pop("python")}}}},
    ]
    return {**found, "docs_dir": "pages", "site_dir": "site"}


if __name__ == "__main__":
    sys.exit(main())
