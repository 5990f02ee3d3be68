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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from openrlhf_marge import patches
from openrlhf_marge.patches import FileState, Host, PatchError, PatchState
from openrlhf_marge.patches.cli import main
from openrlhf_marge.patches.installed import checksum
from openrlhf_marge.patches.series import read_series

REPOSITORY = Path(__file__).resolve().parents[1]
TOYHOST = Host("toyhost", frozenset({"1.0"}))
STOCK = {
    "toyhost/__init__.py": b"",
    "toyhost/a.py": b"one\ntwo\nthree\n",
    "toyhost/b.py": b"x\r\ny",
    "toyhost/old/gone.py": b"bye\n",
}
FIRST = b"""\
From 0123 Mon Sep 17 00:00:00 2001
Subject: change, create, delete

---
diff --git a/toyhost/a.py b/toyhost/a.py
--- a/toyhost/a.py
+++ b/toyhost/a.py
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
diff --git a/toyhost/new/deep.py b/toyhost/new/deep.py
new file mode 100644
--- /dev/null
+++ b/toyhost/new/deep.py
@@ -0,0 +1 @@
+hello
\\ No newline at end of file
diff --git a/toyhost/old/gone.py b/toyhost/old/gone.py
deleted file mode 100644
--- a/toyhost/old/gone.py
+++ /dev/null
@@ -1 +0,0 @@
-bye
--\x20
2.39.5

"""
SECOND = b"""\
--- a/toyhost/__init__.py
+++ b/toyhost/__init__.py
@@ -0,0 +1 @@
+VERSION = 1
--- a/toyhost/a.py
+++ b/toyhost/a.py
@@ -2,2 +2,3 @@
 TWO
 three
+four
"""
PATCHED = {
    "toyhost/__init__.py": b"VERSION = 1\n",
    "toyhost/a.py": b"one\nTWO\nthree\nfour\n",
    "toyhost/b.py": b"x\r\nz\r\n",
    "toyhost/new/deep.py": b"hello",
}


@dataclass(frozen=True, slots=True)
class Toy:
    """A fake site-packages that comes first on sys.path, and a series for its package."""

    site: Path
    series: Path

    def apply(self, **options: object) -> bool:
        return patches.apply(TOYHOST, self.series, **options)

    def revert(self, **options: object) -> bool:
        return patches.revert(TOYHOST, self.series, **options)

    def status(self) -> PatchState:
        return patches.status(TOYHOST, self.series)

    def files(self) -> dict[str, bytes]:
        """Everything in the package's folder, leftovers included."""
        return tree(self.site / "toyhost", self.site)

    def command(self, *arguments: str) -> int:
        return main(arguments, TOYHOST, self.series)


def tree(folder: Path, root: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def install(site: Path, files: dict[str, bytes], name: str = "toyhost", version: str = "1.0") -> Path:
    """As pip does with a wheel."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    for path, content in {**files, f"{info}/METADATA": metadata}.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content)
    record = [f"{path},{checksum(content)},{len(content)}" for path, content in files.items()]
    (site / info / "RECORD").write_text("\n".join([*record, f"{info}/RECORD,,"]))
    return site


def write_series(folder: Path, *texts: bytes) -> Path:
    folder.mkdir()
    for number, text in enumerate(texts, 1):
        (folder / f"{number:04}-change.patch").write_bytes(text)
    return folder


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    monkeypatch.syspath_prepend(install(tmp_path / "site", STOCK))
    return Toy(tmp_path / "site", write_series(tmp_path / "patches", FIRST, SECOND))


def refuse_second_replace(error: OSError) -> patches.actions.Replace:
    """A rename that works once and then raises."""
    calls: list[Path] = []

    def replace(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) > 1:
            raise error
        os.replace(source, target)

    return replace


def kill_half_way(toy: Toy, action: str) -> None:
    """Runs apply or revert in a process that gets SIGKILL at its second rename."""
    code = """
        import os, pathlib, signal, sys
        from openrlhf_marge import patches

        def replace(source, target):
            if seen:
                os.kill(os.getpid(), signal.SIGKILL)
            seen.append(target)
            os.replace(source, target)

        seen = []
        host = patches.Host("toyhost", frozenset({"1.0"}))
        getattr(patches, sys.argv[1])(host, pathlib.Path(sys.argv[2]), replace=replace)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), action, str(toy.series)]
    run = subprocess.run(command, env={"PYTHONPATH": f"{toy.site}:{REPOSITORY}"}, check=False)
    assert run.returncode == -signal.SIGKILL


def test_apply_yields_exactly_the_patched_files(toy: Toy) -> None:
    assert toy.apply()
    assert toy.files() == PATCHED
    assert toy.status() is PatchState.APPLIED


def test_revert_restores_byte_for_byte(toy: Toy) -> None:
    toy.apply()
    assert toy.revert()
    assert toy.files() == STOCK
    assert toy.status() is PatchState.NOT_APPLIED
    assert not (toy.site / "toyhost/new").exists()


def test_twice_is_once(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    codes = [toy.command(word) for word in ("revert", "apply", "apply", "revert", "revert")]
    words = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert codes == [0] * 5
    assert words == ["already not applied", "now applied", "already applied", "now not applied", "already not applied"]


def test_status_lists_files_and_exits_zero_only_when_applied(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    assert toy.command("status") == 1
    assert capsys.readouterr().out.splitlines()[-1] == "not applied"
    toy.apply()
    assert toy.command("status") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(toy.site / "toyhost")
    assert "  patched toyhost/a.py (0001-change.patch, 0002-change.patch)" in lines
    assert lines[-1] == "applied"


def test_modes_are_kept(toy: Toy) -> None:
    path = toy.site / "toyhost/a.py"
    path.chmod(0o750)
    toy.apply()
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    toy.revert()
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


def test_a_hard_linked_cache_is_not_written_through(toy: Toy, tmp_path: Path) -> None:
    os.link(toy.site / "toyhost/a.py", tmp_path / "cache.py")
    toy.apply()
    assert (tmp_path / "cache.py").read_bytes() == STOCK["toyhost/a.py"]


def test_stale_bytecode_goes(toy: Toy) -> None:
    bytecode = [
        toy.site / f"toyhost{folder}/__pycache__/{name}.pyc" for folder, name in (("", "a.x"), ("/new", "deep.x"))
    ]
    toy.apply()
    for path in bytecode:
        path.parent.mkdir()
        path.write_bytes(b"stale")
    toy.revert()
    assert toy.files() == STOCK
    assert not (toy.site / "toyhost/new").exists()


@pytest.mark.parametrize("path", ["toyhost/a.py", "toyhost/new/deep.py"])
def test_a_foreign_file_is_refused_and_nothing_written(toy: Toy, path: str) -> None:
    (toy.site / path).parent.mkdir(exist_ok=True)
    (toy.site / path).write_bytes(b"mine\n")
    before = toy.files()
    for action in (toy.apply, toy.revert, lambda: patches.copy_to(toy.site.parent / "copy", TOYHOST, toy.series)):
        with pytest.raises(PatchError, match=f"nothing is changed: {path} is neither"):
            action()
    assert toy.files() == before
    assert toy.status() is PatchState.FOREIGN


def test_the_mend_of_foreign_files_names_what_a_reinstall_leaves(toy: Toy) -> None:
    (toy.site / "toyhost/new").mkdir()
    for path in ("toyhost/a.py", "toyhost/new/deep.py"):
        (toy.site / path).write_bytes(b"mine\n")
    assert patches.report(TOYHOST, toy.series).mend == (
        "toyhost/a.py, toyhost/new/deep.py are neither as in toyhost==1.0 nor as these patches make it; "
        f"delete {toy.site}/toyhost/new/deep.py, then run: pip install --force-reinstall --no-deps toyhost==1.0, "
        "then run: python -m openrlhf_marge.patches apply"
    )


def test_a_patched_file_changed_elsewhere_is_foreign(toy: Toy) -> None:
    toy.apply()
    (toy.site / "toyhost/a.py").write_bytes(PATCHED["toyhost/a.py"] + b"mine\n")
    assert toy.status() is PatchState.FOREIGN
    with pytest.raises(PatchError, match=r"toyhost/a\.py is neither"):
        toy.revert()


def test_files_of_an_older_series_are_foreign(toy: Toy) -> None:
    toy.apply()
    last = toy.series / "0002-change.patch"
    last.write_bytes(SECOND.replace(b"+four", b"+FOUR"))
    states = {file.path: file.state for file in patches.report(TOYHOST, toy.series).files}
    assert states.pop("toyhost/a.py") is FileState.FOREIGN
    assert set(states.values()) == {FileState.PATCHED}


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(install(tmp_path / "site", STOCK, version="1.1"))
    with pytest.raises(PatchError, match=r"toyhost 1\.1 is installed but .* only 1\.0; .* pip install toyhost==1\.0"):
        patches.apply(TOYHOST, write_series(tmp_path / "patches", FIRST))
    assert tree(tmp_path / "site/toyhost", tmp_path / "site") == STOCK


def test_not_installed_is_one_sentence_and_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["apply"], Host("toyhost-nowhere", frozenset({"1.0"}))) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: toyhost-nowhere is not installed for ")
    assert error.endswith("install it with: pip install toyhost-nowhere==1.0\n")


def test_no_record_is_refused(toy: Toy) -> None:
    (toy.site / "toyhost-1.0.dist-info/RECORD").unlink()
    with pytest.raises(PatchError, match=r"not installed from a wheel .*pip install --force-reinstall"):
        toy.status()


MISFITS = {
    "context": SECOND.replace(b" three", b" drei"),
    "one line further down": SECOND.replace(b"-2,2 +2,3", b"-3,2 +3,3"),
    "inconsistent target line": SECOND.replace(b"-2,2 +2,3", b"-2,2 +3,3"),
    "overlapping hunks": SECOND + b"@@ -3 +5 @@\n-three\n+five\n",
    "line ending": SECOND.replace(b" three\n", b" three\r\n"),
    "no newline": SECOND.replace(b" three\n+four\n", b"-three\n\\ No newline at end of file\n+four\n+five\n"),
    "missing file": SECOND.replace(b"/a.py", b"/c.py"),
    "existing file": b"--- /dev/null\n+++ b/toyhost/b.py\n@@ -0,0 +1 @@\n+x\n",
    "deletes too little": b"--- a/toyhost/b.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\r\n",
    "joins two lines": SECOND.replace(b" three\n+four\n", b" three\n+four\n\\ No newline at end of file\n+\n").replace(
        b"+2,3", b"+2,4"
    ),
}


@pytest.mark.parametrize("second", MISFITS.values(), ids=MISFITS)
def test_a_patch_that_does_not_fit_is_refused_and_nothing_written(toy: Toy, second: bytes) -> None:
    (toy.series / "0002-change.patch").write_bytes(second)
    with pytest.raises(PatchError, match=r"0002-change\.patch .*write .*again with git diff"):
        toy.apply()
    assert toy.files() == STOCK


UNREADABLE = {
    "short hunk": b"--- a/toyhost/a.py\n+++ b/toyhost/a.py\n@@ -1,3 +1,3 @@\n one\n",
    "damaged header": SECOND + b"@@ 7 +8 @@\n",
    "translated marker": SECOND + b"\\ Kein Zeilenumbruch\n",
    "rename": b"diff --git a/toyhost/a.py b/toyhost/c.py\nrename from toyhost/a.py\nrename to toyhost/c.py\n",
    "mode": b"diff --git a/toyhost/a.py b/toyhost/a.py\nold mode 100644\nnew mode 100755\n",
    "executable": FIRST.replace(b"new file mode 100644", b"new file mode 100755"),
    "binary": b"diff --git a/toyhost/c b/toyhost/c\nBinary files a/toyhost/c and b/toyhost/c differ\n",
    "other package": SECOND.replace(b"/toyhost/a.py", b"/other/a.py"),
    "outside": SECOND.replace(b"toyhost/a.py", b"toyhost/../a.py"),
    "absolute": SECOND.replace(b"a/toyhost/a.py", b"/toyhost/a.py").replace(b"b/toyhost/a.py", b"/toyhost/a.py"),
    "windows endings": SECOND.replace(b"\n", b"\r\n"),
    "empty": b"",
}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_done_exactly_is_refused_on_reading(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(PatchError, match=str(tmp_path)):
        read_series(write_series(tmp_path / "patches", text), "toyhost")


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError(28, "no space")])
def test_a_failure_half_way_is_rolled_back(toy: Toy, error: OSError) -> None:
    with pytest.raises(PatchError, match=r"left it as it was \(.*(denied|no space)\); .* copy --to DIR"):
        toy.apply(replace=refuse_second_replace(error))
    assert toy.files() == STOCK
    assert not (toy.site / "toyhost/new").exists()
    toy.apply()
    with pytest.raises(PatchError):
        toy.revert(replace=refuse_second_replace(error))
    assert toy.files() == PATCHED


@pytest.mark.parametrize("killed", ["apply", "revert"])
@pytest.mark.parametrize("then", ["apply", "revert"])
def test_a_killed_run_is_completed_by_either(toy: Toy, killed: str, then: str) -> None:
    if killed == "revert":
        toy.apply()
    kill_half_way(toy, killed)
    assert toy.status() is PatchState.PARTLY_APPLIED
    assert any("marge" in path for path in toy.files())
    assert getattr(toy, then)()
    assert toy.files() == (PATCHED if then == "apply" else STOCK)


@pytest.mark.parametrize("suffix", [".marge-new", ".marge-old"])
@pytest.mark.parametrize("there", [False, True])
def test_links_where_contents_are_staged_are_removed_and_not_written_through(
    toy: Toy, tmp_path: Path, suffix: str, there: bool
) -> None:
    elsewhere = tmp_path / "elsewhere"
    if there:
        elsewhere.write_text("mine")
    link = toy.site / "toyhost" / f".a.py{suffix}"
    link.symlink_to(elsewhere)
    assert toy.apply()
    assert toy.files() == PATCHED and not link.is_symlink()
    assert elsewhere.read_text() == "mine" if there else not os.path.lexists(elsewhere)


def test_read_only_site_packages_points_to_copy(tmp_path: Path) -> None:
    """As an ordinary user in a process of its own, since root may write everywhere."""
    series = write_series(tmp_path / "patches", FIRST, SECOND)
    site = install(tmp_path / "site", STOCK)
    code = f"""
        import os, sys
        sys.path[:0] = [{str(site)!r}, {str(REPOSITORY)!r}]
        from openrlhf_marge.patches.cli import Host, Path, main
        host = Host("toyhost", frozenset({{"1.0"}}))
        main(["status"], host, Path({str(series)!r}))  # loads what an interpreter in /root would not let others load
        if os.geteuid() == 0:
            os.setuid(65534)
        for words in (["apply"], ["copy", "--to", {str(tmp_path / "copy")!r}]):
            print(main(words, host, Path({str(series)!r})))
    """
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy").chmod(0o777)
    folders = [site / "toyhost", *(site / "toyhost").glob("*/")]
    for folder in (*tmp_path.parents, tmp_path):  # pytest makes its own for its user alone, one more under xdist
        if "pytest" in str(folder):
            folder.chmod(folder.stat().st_mode | 0o011)
    for folder in folders:
        folder.chmod(0o555)
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, cwd="/"
    )
    for folder in folders:
        folder.chmod(0o755)
    assert "is not writable); mend that, or write a patched copy elsewhere with: python -m" in run.stderr
    assert [line for line in run.stdout.splitlines() if line in "01"] == ["1", "0"]
    assert tree(site / "toyhost", site) == STOCK


def test_copy_is_patched_and_leaves_the_installed_one(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toy.command("copy", "--to", str(tmp_path / "my copy")) == 0
    copied = tree(tmp_path / "my copy", tmp_path / "my copy")
    assert copied.pop("toyhost/.openrlhf-marge-copy")
    assert copied == PATCHED
    assert toy.files() == STOCK
    assert f"export PYTHONPATH='{tmp_path}/my copy'${{PYTHONPATH:+:$PYTHONPATH}}" in capsys.readouterr().out


def test_copy_of_a_patched_package_replaces_only_an_earlier_copy(toy: Toy, tmp_path: Path) -> None:
    toy.apply()
    target = patches.copy_to(tmp_path / "copy", TOYHOST, toy.series)
    (target / "a.py").write_bytes(b"older")
    patches.copy_to(tmp_path / "copy", TOYHOST, toy.series)
    assert (target / "a.py").read_bytes() == PATCHED["toyhost/a.py"]
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["toyhost"]
    with pytest.raises(PatchError, match=r"exists and is no copy .*--to"):
        patches.copy_to(toy.site, TOYHOST, toy.series)


def test_copy_to_a_file_is_refused(toy: Toy, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PatchError, match="name a folder you can write to with --to"):
        patches.copy_to(tmp_path / "file", TOYHOST, toy.series)


def test_status_looks_at_the_copy_that_shadows(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = patches.copy_to(tmp_path / "copy", TOYHOST, toy.series)
    monkeypatch.syspath_prepend(target.parent)
    assert patches.report(TOYHOST, toy.series).package == target
    assert toy.status() is PatchState.APPLIED
    (target / "a.py").write_bytes(STOCK["toyhost/a.py"])
    assert toy.status() is PatchState.PARTLY_APPLIED
    mend = patches.report(TOYHOST, toy.series).mend
    assert mend == (
        f"take {tmp_path}/copy off PYTHONPATH, or write it again with: "
        f"python -m openrlhf_marge.patches copy --to {tmp_path}/copy"
    )
    toy.command("apply")
    assert f"note: Python imports {target} instead" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["bogus"], ["copy"]])
def test_usage_errors_exit_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(words)
    assert exit_info.value.code == 2


def test_the_module_runs_and_imports_nothing_heavy() -> None:
    heavy = "{'deepspeed', 'openrlhf', 'ray', 'torch', 'vllm'}"
    code = f"import sys, openrlhf_marge.patches.cli; print(sorted({heavy} & set(sys.modules)))"
    environment = {"PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
    command = [sys.executable, "-m", "openrlhf_marge.patches", "--help"]
    assert (
        "exit code: 0" in subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    )


def random_text(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    """Edits here and there, any line endings, perhaps none at the end."""
    edited: list[bytes] = []
    for line in lines:
        kind = rng.random()
        edited += [] if kind < 0.1 else [line, b"new\n"] if kind < 0.2 else [b"\xe9\x85\r\n"] if kind < 0.3 else [line]
    if edited and rng.random() < 0.4:
        edited[-1] = edited[-1].rstrip(b"\r\n") or b"end"
    return edited


def git_diffs(tmp_path: Path, num_cases: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    rng = random.Random(0)
    words = [b"a\n", b"\n", b"b\r\n", b"\\ c\n", b"--- d\n", b"@@ e\n", b"\x0c\n", b"+\x85\n"]
    for _ in range(num_cases):
        old = random_text(rng, rng.choices(words, k=rng.randrange(30)))
        new = random_text(rng, old)
        for side, lines in (("a", old), ("b", new)):
            path = tmp_path / side / "toyhost/a.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(lines))
        command = ["git", "diff", "--no-index", "--text", "--no-prefix", "a/toyhost", "b/toyhost"]
        diff = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).stdout
        yield b"".join(old), b"".join(new), diff


@pytest.mark.skipif(shutil.which("git") is None, reason="the oracle is git")
def test_any_diff_of_git_is_applied_and_reverted_exactly(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "patches")
    for old, new, diff in git_diffs(tmp_path, num_cases=40):
        if old != new:
            (folder / "0001.patch").write_bytes(diff)
            (change,) = read_series(folder, "toyhost")["toyhost/a.py"]
            assert change.apply(old) == new
            assert change.reversed().apply(new) == old
