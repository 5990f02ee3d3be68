"""What setup.py says of the license and of the files that are no Python modules."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def distribution(monkeypatch):
    pytest.importorskip("setuptools")  # brings distutils, which Python 3.12 has no more
    from distutils.core import run_setup

    monkeypatch.chdir(ROOT)
    return run_setup("setup.py", stop_after="config")


def test_the_license_is_openrlhfs_and_travels_with_the_package(distribution):
    assert distribution.metadata.license_expression == "Apache-2.0"
    assert distribution.metadata.license_files == ["LICENSE"]
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text()


def test_type_checkers_find_the_annotations_of_an_installed_package(distribution):
    assert "py.typed" in distribution.package_data["openrlhf_marge"]
    assert (ROOT / "openrlhf_marge" / "py.typed").is_file()


def test_every_file_that_is_packaged_is_there(distribution):
    folders = {"openrlhf_marge._patches": "patches"}
    for package, patterns in distribution.package_data.items():
        folder = ROOT / folders.get(package, package.replace(".", "/"))
        assert all(list(folder.glob(pattern)) for pattern in patterns), package
