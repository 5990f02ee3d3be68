"""`openrlhf_marge.patches` on a small fake distribution in tmp_path, installed as a wheel is: files plus RECORD."""

from __future__ import annotations

import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from openrlhf_marge import patches
from openrlhf_marge.patches import FileState, Host, PatchError, PatchState
from openrlhf_marge.patches.cli import main
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


@dataclass(frozen=True, slots=True)
class Toy:
    """A fake site-packages that comes first on sys.path, and a series for its package."""

    site: Path
    series: Path

    @property
    def host(self) -> Host:
        return Host("toyhost", "1.0", self.series)

    def apply(self) -> bool:
        return patches.apply(self.host)

    def revert(self) -> bool:
        return patches.revert(self.host)

    def copy(self, folder: Path) -> Path:
        return patches.copy_to(folder, self.host)

    def state(self) -> PatchState:
        return patches.report(self.host).state

    def files(self) -> dict[str, bytes]:
        """Everything in the package's folder but the stock texts kept, which are those of patched files alone."""
        found = tree(self.site / "toyhost", self.site)
        kept = {p.replace("/.", "/").removesuffix(".marge-old"): p for p in found if p.endswith(".marge-old")}
        patched = {path for path in STOCK if found[path] != STOCK[path]}
        assert {path: found.pop(name) for path, name in kept.items()} == {path: STOCK[path] for path in patched}
        return found

    def run(self, code: str, *arguments: str) -> subprocess.Popen[str]:
        """In a process of its own, with ``host`` and ``patches``."""
        start = f"""
            import os, signal, sys
            from pathlib import Path
            from openrlhf_marge import patches
            host = patches.Host("toyhost", "1.0", Path({str(self.series)!r}))
        """
        command = [sys.executable, "-c", textwrap.dedent(start) + textwrap.dedent(code), *arguments]
        environment = {"PYTHONPATH": f"{self.site}:{REPOSITORY}"}
        return subprocess.Popen(command, env=environment, cwd="/", stdout=-1, stderr=-1, text=True)

    def command(self, *arguments: str) -> int:
        return main(arguments, self.host)


def tree(folder: Path, root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


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


def write_series(folder: Path, *texts: bytes) -> Path:
    folder.mkdir()
    for number, text in enumerate(texts, 1):
        (folder / f"{number:04}-change.patch").write_bytes(text)
    return folder


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    monkeypatch.syspath_prepend(install(tmp_path / "site"))
    return Toy(tmp_path / "site", write_series(tmp_path / "patches", FIRST, SECOND))


def test_apply_and_revert_are_exact_and_twice_is_once(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    for word, files in (("revert", STOCK), ("apply", PATCHED), ("apply", PATCHED), ("revert", STOCK)) * 2:
        assert toy.command(word) == 0
        assert toy.files() == files
        assert toy.state() is (PatchState.APPLIED if files is PATCHED else PatchState.NOT_APPLIED)
    words = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert words == ["already not applied", "now applied", "already applied", "now not applied"] * 2


def test_status_lists_files_and_exits_zero_only_when_applied(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    assert toy.command("status") == 1
    assert capsys.readouterr().out.splitlines()[-1] == "not applied"
    toy.apply()
    assert toy.command("status") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(toy.site / "toyhost")
    assert "  patched toyhost/sub/a.py (0001-change.patch, 0002-change.patch)" in lines
    assert lines[-1] == "applied"


def test_modes_are_kept_a_hard_linked_cache_is_not_written_through_and_stale_bytecode_goes(
    toy: Toy, tmp_path: Path
) -> None:
    path = toy.site / "toyhost/sub/a.py"
    path.chmod(0o750)
    os.link(path, tmp_path / "cache.py")
    for action in (toy.apply, toy.revert):
        bytecode = [path.parent / f"__pycache__/{name}.cpython-312.pyc" for name in ("a", "new")]
        for file in bytecode:
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(b"stale")
        action()
        assert stat.S_IMODE(path.stat().st_mode) == 0o750
        assert (tmp_path / "cache.py").read_bytes() == STOCK["toyhost/sub/a.py"]
        assert not any(file.exists() for file in bytecode)


@pytest.mark.parametrize("path", ["toyhost/sub/a.py", "toyhost/sub/new.py"])
@pytest.mark.parametrize("before", ["stock", "patched"])
def test_a_file_changed_by_hand_is_refused_and_nothing_written(toy: Toy, path: str, before: str) -> None:
    if before == "patched":
        toy.apply()
    (toy.site / path).write_bytes(b"mine\n")
    there = tree(toy.site, toy.site)
    for action in (toy.apply, toy.revert, lambda: toy.copy(toy.site.parent / "copy")):
        with pytest.raises(PatchError, match=f"nothing is changed: {path} is neither"):
            action()
    assert tree(toy.site, toy.site) == there
    assert toy.state() is PatchState.FOREIGN


def test_the_mend_of_foreign_files_names_what_a_reinstall_leaves(toy: Toy) -> None:
    for path in ("toyhost/sub/a.py", "toyhost/sub/new.py"):
        (toy.site / path).write_bytes(b"mine\n")
    assert patches.report(toy.host).mend == (
        "toyhost/sub/a.py, toyhost/sub/new.py are neither as in toyhost==1.0 nor as this version applies its patches; "
        f"delete {toy.site}/toyhost/sub/new.py, then run: pip install --force-reinstall --no-deps toyhost==1.0, "
        "then run: python -m openrlhf_marge.patches apply"
    )


def test_what_needs_the_series_is_told_how_to_get_it(toy: Toy) -> None:
    with pytest.raises(ValueError, match=r"^--kind x: OpenRLHF does not carry this package's patches; run: .* apply$"):
        patches.require("--kind x", toy.host)
    toy.apply()
    patches.require("--kind x", toy.host)


def test_files_of_an_older_series_are_foreign(toy: Toy) -> None:
    toy.apply()
    (toy.series / "0002-change.patch").write_bytes(SECOND.replace(b"+four", b"+FOUR"))
    states = {file.path: file.state for file in patches.report(toy.host).files}
    assert states.pop("toyhost/sub/a.py") is FileState.FOREIGN
    assert set(states.values()) == {FileState.PATCHED}


def test_a_package_patched_by_a_version_that_kept_no_stock_texts_is_to_be_reinstalled(toy: Toy) -> None:
    for path, content in PATCHED.items():
        (toy.site / path).write_bytes(content)
    with pytest.raises(PatchError, match=r"nothing is changed: .*, then run: .* apply$") as e:
        toy.apply()
    assert "; run: pip install --force-reinstall --no-deps toyhost==1.0, then run: " in str(e.value)
    install(toy.site)  # which leaves the created file
    assert toy.state() is PatchState.PARTLY_APPLIED
    assert toy.apply() and toy.files() == PATCHED
    install(toy.site)  # which leaves the stock texts kept, too
    assert toy.apply() and toy.files() == PATCHED


def test_another_version_is_refused(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(install(tmp_path / "newer", version="1.1"))
    with pytest.raises(PatchError, match=r"toyhost 1\.1 is installed but .* only 1\.0; .* pip install toyhost==1\.0"):
        toy.apply()


def test_not_installed_is_one_sentence_and_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["apply"], Host("toyhost-nowhere", "1.0")) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: toyhost-nowhere is not installed for ")
    assert error.endswith("install it with: pip install toyhost-nowhere==1.0\n")


def test_no_record_is_refused(toy: Toy) -> None:
    (toy.site / "toyhost-1.0.dist-info/RECORD").unlink()
    with pytest.raises(PatchError, match=r"not installed from a wheel .*pip install --force-reinstall"):
        toy.state()


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
def test_a_patch_that_does_not_fit_is_refused_and_nothing_written(toy: Toy, second: bytes) -> None:
    (toy.series / "0002-change.patch").write_bytes(second)
    with pytest.raises(PatchError, match=r"0002-change\.patch .*write .*again"):
        toy.apply()
    assert toy.files() == STOCK


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError(28, "no space")])
@pytest.mark.parametrize(("action", "files"), [("apply", STOCK), ("revert", PATCHED)])
def test_a_failure_half_way_is_rolled_back(
    toy: Toy, error: OSError, action: str, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    if action == "revert":
        toy.apply()
    replace, failures = os.replace, [None, error]
    monkeypatch.setattr(os, "replace", lambda *paths: replace(*paths) if not failures or fail() else None)

    def fail() -> bool:
        if (failure := failures.pop(0)) is not None:
            raise failure
        return True

    with pytest.raises(PatchError, match=r"left it as it was \(.*(denied|no space)\); .* copy --to DIR"):
        getattr(toy, action)()
    assert toy.files() == files


@pytest.mark.parametrize(("killed", "at"), [("apply", "replace"), ("apply", "fsync"), ("revert", "replace")])
@pytest.mark.parametrize("then", ["apply", "revert"])
def test_a_killed_run_is_completed_by_either(toy: Toy, killed: str, then: str, at: str) -> None:
    """At its third fsync apply has written a stock text, which may not be whole."""
    if killed == "revert":
        toy.apply()
    code = """
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
    assert toy.run(code, killed, at).wait() == -signal.SIGKILL
    assert toy.state() is PatchState.PARTLY_APPLIED
    assert any("b.py.marge" in path for path in tree(toy.site, toy.site))
    assert getattr(toy, then)()
    assert toy.files() == (PATCHED if then == "apply" else STOCK)


def test_two_at_once_do_what_one_does(toy: Toy) -> None:
    runs = [toy.run("print(patches.apply(host))") for _ in range(3)]
    assert sorted(run.communicate()[0] for run in runs) == ["False\n", "False\n", "True\n"]
    assert toy.files() == PATCHED


@pytest.mark.parametrize("suffix", [".marge-new", ".marge-old"])
def test_links_where_contents_are_written_are_removed_and_not_written_through(
    toy: Toy, tmp_path: Path, suffix: str
) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    for name, target in (("a.py", "elsewhere"), ("new.py", "nowhere")):
        (toy.site / f"toyhost/sub/.{name}{suffix}").symlink_to(tmp_path / target)
    assert toy.apply() and toy.files() == PATCHED
    assert (tmp_path / "elsewhere").read_text() == "mine" and not (tmp_path / "nowhere").exists()


def test_read_only_site_packages_points_to_copy(toy: Toy, tmp_path: Path) -> None:
    """As an ordinary user in a process of its own, since root may write everywhere."""
    code = """
        from openrlhf_marge.patches.cli import main
        main(["status"], host)  # loads what an interpreter in /root would not let others load
        if os.geteuid() == 0:
            os.setuid(65534)
        print(main(["apply"], host), main(["copy", "--to", sys.argv[1]], host))
    """
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy").chmod(0o777)
    for folder in (*tmp_path.parents, tmp_path):  # pytest makes its own for its user alone, one more under xdist
        if "pytest" in str(folder):
            folder.chmod(folder.stat().st_mode | 0o011)
    folders = [toy.site / "toyhost", toy.site / "toyhost/sub"]
    for folder in folders:
        folder.chmod(0o555)
    said, errors = toy.run(code, str(tmp_path / "copy")).communicate()
    for folder in folders:
        folder.chmod(0o755)
    assert "Permission denied" in errors and "mend that, or write a patched copy elsewhere with: python -m" in errors
    assert said.splitlines()[-1] == "1 0"
    assert toy.files() == STOCK


def test_copy_is_patched_and_leaves_the_installed_one(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for files, act in ((STOCK, toy.apply), (PATCHED, toy.revert)):
        assert toy.command("copy", "--to", str(tmp_path / "my copy")) == 0
        copied = tree(tmp_path / "my copy", tmp_path / "my copy")
        assert copied.pop("toyhost/.openrlhf-marge-copy")
        assert copied == PATCHED
        assert toy.files() == files
        act()
    assert f"export PYTHONPATH='{tmp_path}/my copy'${{PYTHONPATH:+:$PYTHONPATH}}" in capsys.readouterr().out


def test_copy_replaces_only_an_earlier_copy(toy: Toy, tmp_path: Path) -> None:
    target = toy.copy(tmp_path / "copy")
    (target / "b.py").write_bytes(b"older")
    toy.copy(tmp_path / "copy")
    assert (target / "b.py").read_bytes() == PATCHED["toyhost/b.py"]
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["toyhost"]
    with pytest.raises(PatchError, match=r"exists and is no copy .*--to"):
        toy.copy(toy.site)
    with pytest.raises(PatchError, match="name a folder you can write to with --to"):
        toy.copy(toy.site / "toyhost/b.py")


def test_status_looks_at_the_copy_that_shadows(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = toy.copy(tmp_path / "copy")
    monkeypatch.syspath_prepend(target.parent)
    assert patches.report(toy.host).package == target
    assert toy.state() is PatchState.APPLIED
    (target / "b.py").write_bytes(STOCK["toyhost/b.py"])
    assert toy.state() is PatchState.PARTLY_APPLIED
    assert patches.report(toy.host).mend == (
        f"take {tmp_path}/copy off PYTHONPATH, or write it again with: "
        f"python -m openrlhf_marge.patches copy --to {tmp_path}/copy"
    )
    toy.command("apply")
    assert f"note: Python imports {target} instead" in capsys.readouterr().out


def test_the_module_runs_and_imports_nothing_heavy(toy: Toy) -> None:
    said, _ = toy.run(
        "print(sorted({'deepspeed', 'openrlhf', 'ray', 'torch', 'vllm'} & set(sys.modules)))"
    ).communicate()
    assert said == "[]\n"
    help_, _ = toy.run(
        "import runpy; sys.argv[1:] = ['--help']; runpy.run_module('openrlhf_marge.patches')"
    ).communicate()
    assert "exit code: 0" in help_


def edited(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    """Edits here and there, any line endings, perhaps none at the end."""
    found = [rng.choice([[], [line, b"new\n"], [b"\xe9\x85\r\n"], *[[line]] * 7]) for line in lines]
    result = [line for group in found for line in group]
    return [*result[:-1], result[-1].rstrip(b"\r\n") or b"end"] if result and rng.random() < 0.4 else result


@pytest.mark.skipif(shutil.which("git") is None, reason="the oracle is git")
def test_any_diff_of_git_is_applied_exactly(tmp_path: Path) -> None:
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
