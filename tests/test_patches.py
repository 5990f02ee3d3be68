"""`openrlhf_marge.patches` on a small fake distribution in tmp_path, installed as a wheel is: files plus RECORD."""

from __future__ import annotations

import os
import random
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from openrlhf_marge import patches
from openrlhf_marge.patches import FileState, Host, PatchError, PatchState, apply, copy_to, report, revert
from openrlhf_marge.patches.__main__ import main
from openrlhf_marge.patches.changing import locked
from openrlhf_marge.patches.installed import checksum
from openrlhf_marge.patches.series import read_series

REPOSITORY = Path(__file__).resolve().parents[1]
STOCK = {"toyhost/__init__.py": b"", "toyhost/sub/a.py": b"one\ntwo\nthree\n", "toyhost/b.py": b"x\r\ny"}
PATCHED = {
    "toyhost/__init__.py": b"VERSION = 1\n",
    "toyhost/sub/a.py": b"one\nTWO\nthree\nfour\n",
    "toyhost/b.py": b"x\r\nz\r\n",
    "toyhost/sub/new.py": b"hello",
}
FIRST = b"""\
From 0123 Mon Sep 17 00:00:00 2001
Subject: change, create

---
diff --git a/toyhost/sub/a.py b/toyhost/sub/a.py
--- a/toyhost/sub/a.py
+++ b/toyhost/sub/a.py
@@ -1,3 +1,3 @@
 one
-two
+TWO
 three
diff --git a/toyhost/b.py b/toyhost/b.py
--- a/toyhost/b.py
+++ b/toyhost/b.py
@@ -1,2 +1,2 @@
 x\r
-y
\\ No newline at end of file
+z\r
diff --git a/toyhost/sub/new.py b/toyhost/sub/new.py
new file mode 100644
--- /dev/null
+++ b/toyhost/sub/new.py
@@ -0,0 +1 @@
+hello
\\ No newline at end of file
--\x20
2.39.5

"""
SECOND = b"""\
--- a/toyhost/__init__.py
+++ b/toyhost/__init__.py
@@ -0,0 +1 @@
+VERSION = 1
--- a/toyhost/sub/a.py
+++ b/toyhost/sub/a.py
@@ -2,2 +2,3 @@
 TWO
 three
+four
"""


def install(site: Path, version: str = "1.0") -> Path:
    """As pip does with a wheel."""
    info = f"toyhost-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: toyhost\nVersion: {version}\n".encode()
    for path, content in {**STOCK, f"{info}/METADATA": metadata}.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content)
    record = [f"{path},{checksum(content)},{len(content)}" for path, content in STOCK.items()]
    (site / info / "RECORD").write_text("\n".join([*record, f"{info}/RECORD,,"]))
    return site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake site-packages that comes first on sys.path."""
    monkeypatch.syspath_prepend(install(tmp_path / "site"))
    return tmp_path / "site"


@pytest.fixture
def host(site: Path) -> Host:
    """The package in it, and a series for it."""
    return Host("toyhost", "1.0", write_series(site.parent / "patches", FIRST, SECOND))


def write_series(folder: Path, *texts: bytes) -> Path:
    folder.mkdir()
    for number, text in enumerate(texts, 1):
        (folder / f"{number:04}-change.patch").write_bytes(text)
    return folder


def tree(folder: Path, root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def files(site: Path) -> dict[str, bytes]:
    """Everything in the package's folder but the stock texts kept, which are those of patched files alone."""
    found = tree(site / "toyhost", site)
    kept = {p.replace("/.", "/").removesuffix(".marge-old"): p for p in found if p.endswith(".marge-old")}
    patched = {path for path in STOCK if found[path] != STOCK[path]}
    assert {path: found.pop(name) for path, name in kept.items()} == {path: STOCK[path] for path in patched}
    return found


def run(host: Host, code: str, *arguments: str) -> subprocess.Popen[str]:
    """In a process of its own, with ``host`` and ``patches``."""
    start = "import os, signal, sys\nfrom pathlib import Path\nfrom openrlhf_marge import patches\n"
    start += f"host = patches.Host('toyhost', '1.0', Path({str(host.patches)!r}))\n"
    environment = {"PYTHONPATH": f"{host.patches.parent}/site:{REPOSITORY}"}
    command = [sys.executable, "-c", start + code, *arguments]
    return subprocess.Popen(command, env=environment, cwd="/", stdout=-1, stderr=-1, text=True)


def test_apply_and_revert_are_exact_twice_is_once_and_status_tells(host, site, capsys):
    done = {"revert": (STOCK, "not applied", 1), "apply": (PATCHED, "applied", 0)}
    told = {"revert": "stock", "apply": "patched"}
    for now, word in (("already", "revert"), ("now", "apply"), ("already", "apply"), ("now", "revert")) * 2:
        there, state, code = done[word]
        assert main([word], host) == 0
        assert capsys.readouterr().out == f"{now} {state}: {site}/toyhost\n"
        assert files(site) == there
        assert main(["status"], host) == code
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"{site}/toyhost" and lines[-1] == state
        assert f"  {told[word]:8}toyhost/sub/a.py (0001-change.patch, 0002-change.patch)" in lines


def test_modes_are_kept_a_hard_linked_cache_is_not_written_through_and_stale_bytecode_goes(host, site, tmp_path):
    path = site / "toyhost/sub/a.py"
    path.chmod(0o750)
    os.link(path, tmp_path / "cache.py")
    for action in (apply, revert):
        bytecode = [path.parent / f"__pycache__/{name}.cpython-312.pyc" for name in ("a", "new")]
        for file in bytecode:
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(b"stale")
        action(host)
        assert stat.S_IMODE(path.stat().st_mode) == 0o750
        assert (tmp_path / "cache.py").read_bytes() == STOCK["toyhost/sub/a.py"]
        assert not any(file.exists() for file in bytecode)


@pytest.mark.parametrize("path", ["toyhost/sub/a.py", "toyhost/sub/new.py"])
@pytest.mark.parametrize("before", [revert, apply])
def test_a_file_changed_by_hand_is_refused_and_nothing_written(host, site, path, before):
    before(host)
    (site / path).write_bytes(b"mine\n")
    there = tree(site, site)
    for action in (apply, revert, lambda host: copy_to(site.parent / "copy", host)):
        with pytest.raises(PatchError, match=f"nothing is changed: {path} is neither"):
            action(host)
    assert tree(site, site) == there
    assert report(host).state is PatchState.FOREIGN


def test_the_mend_of_foreign_files_names_what_a_reinstall_leaves(host, site):
    for path in ("toyhost/sub/a.py", "toyhost/sub/new.py"):
        (site / path).write_bytes(b"mine\n")
    assert report(host).mend == (
        "toyhost/sub/a.py, toyhost/sub/new.py are neither as in toyhost==1.0 nor as this version applies its patches; "
        f"delete {site}/toyhost/sub/new.py, then run: pip install --force-reinstall --no-deps toyhost==1.0, "
        "then run: python -m openrlhf_marge.patches apply"
    )


def test_what_needs_the_series_is_told_how_to_get_it(host):
    with pytest.raises(ValueError, match=r"^--kind x: OpenRLHF does not carry this package's patches; run: .* apply$"):
        patches.require("--kind x", host)
    apply(host)
    patches.require("--kind x", host)


def test_files_of_an_older_series_are_foreign(host):
    apply(host)
    (host.patches / "0002-change.patch").write_bytes(SECOND.replace(b"+four", b"+FOUR"))
    states = {file.path: file.state for file in report(host).files}
    assert states.pop("toyhost/sub/a.py") is FileState.FOREIGN
    assert set(states.values()) == {FileState.PATCHED}


def test_a_package_patched_by_a_version_that_kept_no_stock_texts_is_to_be_reinstalled(host, site):
    for path, content in PATCHED.items():
        (site / path).write_bytes(content)
    reinstall = "; run: pip install --force-reinstall --no-deps toyhost==1.0, then run: .* apply$"
    with pytest.raises(PatchError, match=f"nothing is changed: .*{reinstall}"):
        apply(host)
    for what_a_reinstall_leaves in ("the created file", "the stock texts kept, too"):
        install(site)
        assert report(host).state is PatchState.PARTLY_APPLIED, what_a_reinstall_leaves
        assert apply(host) and files(site) == PATCHED


def test_only_this_version_installed_from_a_wheel_is_taken(host, site, monkeypatch, capsys):
    (site / "toyhost-1.0.dist-info/RECORD").unlink()
    with pytest.raises(PatchError, match=r"not installed from a wheel .*pip install --force-reinstall"):
        report(host)
    monkeypatch.syspath_prepend(install(site.parent / "newer", version="1.1"))
    with pytest.raises(PatchError, match=r"toyhost 1\.1 is installed but .* only 1\.0; .* pip install toyhost==1\.0"):
        apply(host)
    assert main(["apply"], Host("toyhost-nowhere", "1.0")) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: toyhost-nowhere is not installed for ")
    assert error.endswith("install it with: pip install toyhost-nowhere==1.0\n")


MISFITS = {
    "context": SECOND.replace(b" three", b" drei"),
    "one line further down": SECOND.replace(b"-2,2 +2,3", b"-3,2 +3,3"),
    "overlapping hunks": SECOND + b"@@ -3 +5 @@\n-three\n+five\n",
    "line ending": SECOND.replace(b" three\n", b" three\r\n"),
    "no newline": SECOND.replace(b" three\n+four\n", b"-three\n\\ No newline at end of file\n+four\n+five\n"),
    "missing file": SECOND.replace(b"/a.py", b"/c.py"),
    "existing file": b"--- /dev/null\n+++ b/toyhost/b.py\n@@ -0,0 +1 @@\n+x\n",
    "windows endings": SECOND.replace(b"\n", b"\r\n"),
    "short hunk": b"--- a/toyhost/b.py\n+++ b/toyhost/b.py\n@@ -1,3 +1,3 @@\n one\n",
}


@pytest.mark.parametrize("second", MISFITS.values(), ids=MISFITS)
def test_a_patch_that_does_not_fit_is_refused_and_nothing_written(host, site, second):
    (host.patches / "0002-change.patch").write_bytes(second)
    with pytest.raises(PatchError, match=r"0002-change\.patch .*write .*again"):
        apply(host)
    assert files(site) == STOCK


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError(28, "no space")])
@pytest.mark.parametrize(("action", "before", "there"), [(apply, revert, STOCK), (revert, apply, PATCHED)])
def test_a_failure_half_way_is_rolled_back(host, site, error, action, before, there, monkeypatch):
    before(host)
    replace, failures = os.replace, [None, error]

    def failing(*paths: Path) -> None:
        if failures and (failure := failures.pop(0)) is not None:
            raise failure
        replace(*paths)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(PatchError, match=r"left it as it was \(.*(denied|no space)\); .* copy --to DIR"):
        action(host)
    assert files(site) == there


DYING = """
action, name = sys.argv[1:]
left = [3 if name == "fsync" else 2]
def dying(*arguments, do=getattr(os, name)):
    left[0] -= 1
    if not left[0]:
        name == "fsync" and os.truncate(arguments[0], 1)
        os.kill(os.getpid(), signal.SIGKILL)
    do(*arguments)
setattr(os, name, dying)
getattr(patches, action)(host)
"""


@pytest.mark.parametrize(("killed", "at"), [("apply", "replace"), ("apply", "fsync"), ("revert", "replace")])
@pytest.mark.parametrize(("then", "there"), [(apply, PATCHED), (revert, STOCK)])
def test_a_killed_run_is_completed_by_either(host, site, killed, at, then, there):
    """At its third fsync apply has written a stock text, which may not be whole."""
    if killed == "revert":
        apply(host)
    assert run(host, DYING, killed, at).wait() == -signal.SIGKILL
    assert report(host).state is PatchState.PARTLY_APPLIED
    assert any("b.py.marge" in path for path in tree(site, site))
    assert then(host)
    assert files(site) == there


def test_two_at_once_do_what_one_does(host, site):
    with locked(site / "toyhost"):
        runs = [run(host, "print(patches.apply(host))") for _ in range(3)]
        with pytest.raises(subprocess.TimeoutExpired):
            runs[0].wait(timeout=2)
        assert files(site) == STOCK
    assert sorted(process.communicate()[0] for process in runs) == ["False\n", "False\n", "True\n"]
    assert files(site) == PATCHED


@pytest.mark.parametrize("suffix", [".marge-new", ".marge-old"])
def test_links_where_contents_are_written_are_removed_and_not_written_through(host, site, tmp_path, suffix):
    (tmp_path / "elsewhere").write_text("mine")
    for name, target in (("a.py", "elsewhere"), ("new.py", "nowhere")):
        (site / f"toyhost/sub/.{name}{suffix}").symlink_to(tmp_path / target)
    assert apply(host) and files(site) == PATCHED
    assert (tmp_path / "elsewhere").read_text() == "mine" and not (tmp_path / "nowhere").exists()


UNPRIVILEGED = """
from openrlhf_marge.patches.__main__ import main
main(["status"], host)  # loads what an interpreter in /root would not let others load
if os.geteuid() == 0:
    os.setuid(65534)
print(main(["apply"], host), main(["copy", "--to", sys.argv[1]], host))
"""


def test_read_only_site_packages_points_to_copy(host, site, tmp_path):
    """As an ordinary user in a process of its own, since root may write everywhere."""
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy").chmod(0o777)
    for folder in (*tmp_path.parents, tmp_path):  # pytest makes its own for its user alone, one more under xdist
        if "pytest" in str(folder):
            folder.chmod(folder.stat().st_mode | 0o011)
    folders = [site / "toyhost", site / "toyhost/sub"]
    for folder in folders:
        folder.chmod(0o555)
    said, errors = run(host, UNPRIVILEGED, str(tmp_path / "copy")).communicate()
    for folder in folders:
        folder.chmod(0o755)
    assert "Permission denied" in errors and "mend that, or write a patched copy elsewhere with: python -m" in errors
    assert said.splitlines()[-1] == "1 0"
    assert files(site) == STOCK


def test_copy_is_patched_and_leaves_the_installed_one(host, site, tmp_path, capsys):
    for there, act in ((STOCK, apply), (PATCHED, revert)):
        assert main(["copy", "--to", str(tmp_path / "my copy")], host) == 0
        copied = tree(tmp_path / "my copy", tmp_path / "my copy")
        assert copied.pop("toyhost/.openrlhf-marge-copy")
        assert copied == PATCHED
        assert files(site) == there
        act(host)
    assert f"export PYTHONPATH='{tmp_path}/my copy'${{PYTHONPATH:+:$PYTHONPATH}}" in capsys.readouterr().out


def test_copy_replaces_only_an_earlier_copy(host, site, tmp_path):
    target = copy_to(tmp_path / "copy", host)
    (target / "b.py").write_bytes(b"older")
    copy_to(tmp_path / "copy", host)
    assert (target / "b.py").read_bytes() == PATCHED["toyhost/b.py"]
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["toyhost"]
    for folder, said in (
        (site, r"exists and is no copy .*--to"),
        (site / "toyhost/b.py", "you can write to with --to"),
    ):
        with pytest.raises(PatchError, match=said):
            copy_to(folder, host)


def test_status_looks_at_the_copy_that_shadows(host, tmp_path, monkeypatch, capsys):
    target = copy_to(tmp_path / "copy", host)
    monkeypatch.syspath_prepend(target.parent)
    assert report(host).package == target
    assert report(host).state is PatchState.APPLIED
    (target / "b.py").write_bytes(STOCK["toyhost/b.py"])
    assert report(host).state is PatchState.PARTLY_APPLIED
    assert report(host).mend == (
        f"take {tmp_path}/copy off PYTHONPATH, or write it again with: "
        f"python -m openrlhf_marge.patches copy --to {tmp_path}/copy"
    )
    main(["apply"], host)
    assert f"note: Python imports {target} instead" in capsys.readouterr().out


def test_the_module_runs_and_imports_nothing_heavy(host):
    start = "import atexit, runpy; sys.argv[1:] = ['--help']\n"
    heavy = "atexit.register(lambda: print({'deepspeed', 'openrlhf', 'ray', 'torch', 'vllm'} & set(sys.modules)))\n"
    said, _ = run(
        host, start + heavy + "runpy.run_module('openrlhf_marge.patches', run_name='__main__')"
    ).communicate()
    assert "exit code: 0" in said and said.endswith("\nset()\n")


def edited(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    """Edits here and there, any line endings, perhaps none at the end."""
    found = [rng.choice([[], [line, b"new\n"], [b"\xe9\x85\r\n"], *[[line]] * 7]) for line in lines]
    result = [line for group in found for line in group]
    return [*result[:-1], result[-1].rstrip(b"\r\n") or b"end"] if result and rng.random() < 0.4 else result


@pytest.mark.skipif(shutil.which("git") is None, reason="the oracle is git")
def test_any_diff_of_git_is_applied_exactly(tmp_path):
    rng, folder = random.Random(0), write_series(tmp_path / "patches")
    words = [b"a\n", b"\n", b"b\r\n", b"\\ c\n", b"--- d\n", b"@@ e\n", b"\x0c\n", b"+\x85\n"]
    command = ["git", "diff", "--no-index", "--text", "--no-prefix", "a/toyhost", "b/toyhost"]
    for side in "ab":
        (tmp_path / side / "toyhost").mkdir(parents=True)
    for _ in range(40):
        old = edited(rng, rng.choices(words, k=rng.randrange(30)))
        texts = [b"".join(old), b"".join(edited(rng, old))]
        for side, text in zip("ab", texts, strict=True):
            (tmp_path / side / "toyhost/a.py").write_bytes(text)
        diff = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).stdout
        (folder / "0001.patch").write_bytes(diff)
        if texts[0] != texts[1]:
            (change,) = read_series(folder)["toyhost/a.py"]
            assert change.apply(texts[0]) == texts[1]
