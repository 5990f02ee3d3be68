"""The pages for people: what they link to and name is there, and their lists of folders are those of the layers."""

import re
from pathlib import Path

import pytest

from test_layers import LAYERS

ROOT = Path(__file__).parents[1]
PAGES = [
    page
    for pattern in ("*.md", "examples/**/*.md", "patches/*.md", "tests/**/*.md", "openrlhf_marge/**/*.md")
    for page in sorted(ROOT.glob(pattern))
    if page.name != "CHANGELOG.md"  # names what was there once
]
ROOMS = [line.split() for line in LAYERS.split("\n") if line]
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page: Path) -> set[str]:
    """What a link to a heading of a page may say, by GitHub's rule."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pages
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pages
def test_commands_name_files_that_are_there(page):
    code = re.findall(r"\b(?:python|bash) ((?:examples|tests)/[\w/]+\.\w+)", page.read_text())
    modules = re.findall(r"python -m (openrlhf_marge[\w.]*\w)", page.read_text())
    missing = [name for name in code if not (ROOT / name).is_file()]
    missing += [name for name in modules if not list(ROOT.glob(name.replace(".", "/") + "*"))]
    assert not missing


def test_every_command_has_its_row_in_the_readme():
    rows = re.findall(r"^\| (`.+?`) \|.*\]\(", (ROOT / "README.md").read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == {p.stem for p in (ROOT / "openrlhf_marge" / "cli").glob("*.py")} - {"__init__", "exits"}


def test_the_readme_has_the_folders_in_their_order():
    block = (ROOT / "README.md").read_text().split("## Where things are")[1].split("```")[1]
    assert [re.split(r"  +", line)[0].split() for line in block.strip().splitlines()] == ROOMS


def test_the_packages_page_has_every_folder_on_its_line():
    text = (ROOT / "openrlhf_marge" / "README.md").read_text()
    found: list[list[str]] = []
    for number, name in re.findall(r"^\| (\d*) *\| .*?`(\w+)(?:/|\.py)`", text, re.MULTILINE):
        found += [[]] if number else []
        found[-1].append(name)
    assert found == ROOMS
