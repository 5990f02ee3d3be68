"""The real patch series, against the host that is installed."""

import re
from pathlib import Path

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

from unidiff import PatchSet

from openrlhf_marge.patches import PatchState, report

FOLDER = Path(__file__).parents[1] / "patches"
SERIES = sorted(FOLDER.glob("*.patch"))


def test_the_series_is_applied_to_the_host_under_test():
    assert SERIES and report().state is PatchState.APPLIED


@pytest.mark.parametrize("patch", SERIES, ids=lambda p: p.stem)
def test_a_patch_does_not_know_this_plugin(patch):
    assert "marge" not in patch.read_text().lower()


@pytest.mark.parametrize("patch", SERIES, ids=lambda p: p.stem)
def test_a_patch_changes_and_adds_text_of_the_package_and_nothing_else(patch):
    """What unidiff skips in silence, and what the tool does not do: renames, deletions, modes, binary files."""
    text = patch.read_bytes().decode("latin-1")
    files = PatchSet.from_string(text)
    markers = sum(line.line_type == "\\" for file in files for hunk in file for line in hunk)
    assert sum(map(len, files)) + markers == len(re.findall(r"^(?:@@|\\)", text, re.MULTILINE))
    assert text.count("\ndiff --git ") + text.startswith("diff --git ") == len(files)
    for file in files:
        assert len(file) and file.target_file.startswith("b/openrlhf/")
        assert file.source_file in ("/dev/null", "a" + file.target_file[1:])
        assert file.target_mode in (None, "100644") and file.source_mode in (None, "100644")


@pytest.mark.parametrize("patch", SERIES, ids=lambda p: p.stem)
def test_the_readme_has_cause_upstream_and_end_of_every_patch(patch):
    rows = re.findall(rf"^\| `{patch.stem}` \|(.+)\|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert len(rows) == 1
    cells = [cell.strip() for cell in rows[0].split(" | ")]
    assert len(cells) == 3 and all(cells)


def test_the_readme_has_no_row_without_a_patch():
    named = re.findall(r"^\| `(\d{4}-[\w-]+)` \|", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert named == [p.stem for p in SERIES]
