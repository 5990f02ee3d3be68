"""Wheels of tests/gpu that are made smaller, cut, verified and installed elsewhere."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bring_parts import Unusable, bring
from engine_parts import cut, pack
from wheels import slim

GPU = Path(__file__).parent / "gpu"
LIMIT = 6000
HARD = random.Random(0).randbytes(6000)  # does not compress


def wheel(folder: Path, files: dict[str, bytes], version: str = "1") -> Path:
    """A wheel of the made-up engine, as pip takes it."""
    info = f"engine-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: engine\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, "engine/dropped.so", f"{info}/RECORD"))
    path = folder / f"engine-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in (files | {f"{info}/RECORD": record.encode()}).items():
            file.writestr(name, data)
    return path


@pytest.fixture
def parts(tmp_path) -> list[Path]:
    """Two parts, of which the first is as large as may be."""
    made = tmp_path / "parts"
    made.mkdir()
    pack([wheel(tmp_path, {"engine/__init__.py": b"x = 1\n", "engine/kernel.so": HARD})], made, LIMIT, ["json"])
    return sorted(made.iterdir())


def test_a_wheel_loses_only_what_is_not_needed(tmp_path):
    path = wheel(tmp_path, {"engine/kernel.so": HARD, "engine/jars/a.jar": b"a", "engine/jar.py": b"b"})
    slim(path, ("engine/jars/", "engine/kern"))
    with zipfile.ZipFile(path) as file:
        assert [name for name in file.namelist() if "dist-info" not in name] == ["engine/jar.py"]
        assert file.read("engine/jar.py") == b"b"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(RuntimeError, match=r"engine-1-py3-none-any.whl has no engine/jars/: correct the list"):
        slim(path, ("engine/jar.py", "engine/jars/"))


def test_parts_have_their_sizes_and_one_manifest(tmp_path, parts):
    assert [part.name for part in parts] == ["1", "2"]
    assert [sorted(p.name for p in part.iterdir()) for part in parts] == [["manifest.json", "slice"]] * 2
    assert (parts[0] / "slice").stat().st_size == LIMIT and 0 < (parts[1] / "slice").stat().st_size <= LIMIT
    one, other = ((part / "manifest.json").read_text() for part in parts)
    assert one == other and json.loads(one)["expected"] == ["json"] and len(json.loads(one)["slices"]) == 2


@given(st.binary(max_size=40), st.integers(1, 12))
def test_slices_are_the_whole(tmp_path_factory, data, limit):
    folder = tmp_path_factory.mktemp("cut")
    (folder / "archive").write_bytes(data)
    slices = [path.read_bytes() for path in cut(folder / "archive", folder, limit)]
    assert b"".join(slices) == data
    assert all(len(one) == limit for one in slices[:-1]) and all(0 < len(one) <= limit for one in slices)


def test_what_is_compressed_together_is_smaller(tmp_path, capsys):
    alike = {f"engine/{i}.so": HARD for i in range(8)}  # a wheel holds each of them whole
    path = wheel(tmp_path, alike)
    made = tmp_path / "made"
    made.mkdir()
    pack([path], made, 20_000, [])
    assert path.stat().st_size > 48_000 and 6000 < (made / "1" / "slice").stat().st_size < 11_000
    shown = [line.split(" MiB  ")[1] for line in capsys.readouterr().out.splitlines()]
    assert shown == ["engine-1-py3-none-any.whl", "part 1"]


def test_parts_come_in_any_order_and_are_kept(tmp_path, parts):
    engine = tmp_path / "engine"
    assert bring(engine, parts[1:]) == (
        "part 1 of 2 not here yet: name its folder in a call on this same machine"
    )  # fmt: skip
    assert not (engine / "site").exists()
    assert bring(engine, parts[:1]) is None
    site = engine / "site"
    assert (site / "engine" / "kernel.so").read_bytes() == HARD
    assert (site / "engine" / "__init__.py").read_bytes() == b"x = 1\n" and (site / "engine-1.dist-info").exists()
    assert sorted(path.name for path in engine.iterdir()) == ["installed", "kept", "site"]
    (site / "mark").touch()
    assert bring(engine, parts) is None and (site / "mark").exists()  # installed once


def test_another_make_takes_the_place_of_the_first(tmp_path, parts):
    assert bring(tmp_path / "engine", parts) is None
    other = tmp_path / "other"
    other.mkdir()
    pack([wheel(tmp_path, {"engine/__init__.py": b"x = 2\n"}, version="2")], other, 20_000, [])
    assert bring(tmp_path / "engine", [other / "1"]) is None
    site = tmp_path / "engine" / "site"
    assert (site / "engine" / "__init__.py").read_bytes() == b"x = 2\n" and not (site / "engine-1.dist-info").exists()
    with pytest.raises(Unusable, match=r"1 and .*1 are of different makes: bring parts that were made together"):
        bring(tmp_path / "engine", [parts[0], other / "1"])


def spoil(part: Path, how: str) -> None:
    slice_ = part / "slice"
    if how == "one byte":
        data = bytearray(slice_.read_bytes())
        data[100] ^= 1
        slice_.write_bytes(data)
    elif how == "cut short":
        slice_.write_bytes(slice_.read_bytes()[:-1])
    elif how == "no slice":
        slice_.unlink()
    else:
        (part / "manifest.json").unlink()


@pytest.mark.parametrize("how", ["one byte", "cut short", "no slice", "no manifest"])
def test_what_did_not_arrive_whole_is_not_kept(tmp_path, parts, how):
    spoil(parts[0], how)
    mend = "name a folder that engine_parts.py made" if how == "no manifest" else r"copy .*1 again"
    with pytest.raises(Unusable, match=mend):
        bring(tmp_path / "engine", parts[:1])
    assert how == "no manifest" or not list((tmp_path / "engine" / "kept").iterdir())


def test_what_the_machine_lacks_is_said_before_anything_is_installed(tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    pack([wheel(tmp_path, {"engine/__init__.py": b""})], made, 20_000, ["json", "no_such_module", "nor_this"])
    with pytest.raises(Unusable, match="this machine lacks no_such_module, nor_this, which no part holds"):
        bring(tmp_path / "engine", [made / "1"])
    assert not (tmp_path / "engine").exists()


def test_stack_sh_waits_for_the_other_part(tmp_path, parts):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "MARGE_ENGINE": str(tmp_path / "engine")}
    command = ["bash", GPU / "stack.sh", tmp_path / "out", "--wheels"]
    done = subprocess.run([*command, parts[0]], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout == "part 2 of 2 not here yet: name its folder in a call on this same machine\n"
    spoil(parts[1], "one byte")
    done = subprocess.run([*command, parts[1], "--", "--quick"], capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and f"copy {parts[1]} again" in done.stdout
    assert list((tmp_path / "out").iterdir()) == []
