"""The real patch series, against the host that is installed."""

import re
from pathlib import Path

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

from openrlhf_marge.patches import PatchState, status

FOLDER = Path(__file__).parents[1] / "patches"
SERIES = sorted(FOLDER.glob("*.patch"))


def test_the_series_is_applied_to_the_host_under_test():
    assert SERIES and status() is PatchState.APPLIED


@pytest.mark.parametrize("patch", SERIES, ids=lambda p: p.stem)
def test_a_patch_does_not_know_this_plugin(patch):
    assert "marge" not in patch.read_text().lower()


@pytest.mark.parametrize("patch", SERIES, ids=lambda p: p.stem)
def test_the_readme_has_cause_upstream_and_end_of_every_patch(patch):
    rows = re.findall(rf"^\| `{patch.stem}` \|(.+)\|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert len(rows) == 1
    cells = [cell.strip() for cell in rows[0].split(" | ")]
    assert len(cells) == 3 and all(cells)


def test_the_readme_has_no_row_without_a_patch():
    named = re.findall(r"^\| `(\d{4}-[\w-]+)` \|", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert named == [p.stem for p in SERIES]
