"""Who may import whom: a file imports from its own room and from the rooms on the lines below it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import openrlhf_marge

PACKAGE = Path(openrlhf_marge.__file__).parent
LAYERS = """
cli
compare
loop host
exploration figures report model_card planning
runs pairs
evaluation
data
method
decoding models rewards prefix_sharing
types grading patches
seeds entry_points
"""
HOST_LAYERS = """
plugin standalone
launch training
rollout
"""
TASKS = {"arithmetic", "countdown"}
STACK = {"openrlhf", "ray", "vllm", "deepspeed"}  # named in host/ alone, at the top of a file or inside a function
FILES = sorted(PACKAGE.rglob("*.py"))
CLI = sorted((PACKAGE / "cli").glob("[a-z]*.py"))


def ranks(layers: str) -> dict[str, int]:
    return {room: -line for line, rooms in enumerate(layers.split("\n")) for room in rooms.split()}


def imports(path: Path) -> set[str]:
    """Absolute names of what a file imports, anywhere in it, for type checkers, too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:  # of patches/, which also runs without the package
                continue
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def wrong_imports(path: Path, root: Path, prefix: list[str], layers: str) -> set[str]:
    """Rooms of ``root`` that a file in it imports, and that are not below its own."""
    rank = ranks(layers)
    room, *_ = path.relative_to(root).with_suffix("").parts
    names = [name.split(".") for name in imports(path)]
    ours = {parts[len(prefix)] for parts in names if parts[: len(prefix)] == prefix and len(parts) > len(prefix)}
    return {other for other in ours & rank.keys() if other != room and rank[other] >= rank.get(room, 1)}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_and_the_host_alone_names_the_stack(path):
    wrong = wrong_imports(path, PACKAGE, [PACKAGE.name], LAYERS)
    assert not wrong, f"it is not above {', '.join(sorted(wrong))}"
    room, *_ = path.relative_to(PACKAGE).parts
    assert room == "host" or not STACK & {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", sorted((PACKAGE / "host").rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_rooms_of_the_host_import_downwards(path):
    assert not wrong_imports(path, PACKAGE / "host", [PACKAGE.name, "host"], HOST_LAYERS)


def test_every_room_has_its_line():
    rooms = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in FILES}
    # The face of the package imports from all rooms; nobody imports the embedded tasks, above all of which they stand.
    assert rooms == ranks(LAYERS).keys() | {"__init__", *TASKS}


def test_nobody_imports_the_embedded_tasks():
    others = [path for path in FILES if path.relative_to(PACKAGE).parts[0] not in TASKS]
    imported = {name.split(".")[1] for path in others for name in imports(path) if name.startswith("openrlhf_marge.")}
    assert not imported & TASKS


@pytest.mark.parametrize(
    "module", sorted(ranks(LAYERS).keys() - {"cli", "host", "prefix_sharing"}) + [f"cli.{p.stem}" for p in CLI]
)
def test_loading_it_loads_nothing_heavy(module):
    code = (
        f"import sys, openrlhf_marge.{module}; "
        "print([m for m in ('ray', 'vllm', 'deepspeed', 'openrlhf', 'torch') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
