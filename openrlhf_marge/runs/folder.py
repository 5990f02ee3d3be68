"""Reads a run's folder beside the TensorBoard log: summary, flags, dumps, evaluations.

Of train_ppo_ray, as examples/quickstart.py and cli/compare.py write it:  summary.json, before.json, after.json, dump/
Of a DPO loop (cli/marge_dpo.py):  summary.json, iteration_N/{heldout.json, explore/}, iteration 0 the model before
Of an exploration (cli/explore.py):  summary.json, settings.json, and the dump's files
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count, takewhile
from pathlib import Path

from openrlhf_marge.data.files import read_object
from openrlhf_marge.evaluation.results import Results, read_results


def flag_values(flags: Sequence[str]) -> dict[str, str]:
    """Command line flags -> their values, "" for a switch; the last one wins, as on the command line."""
    values: dict[str, str] = {}
    name = ""
    for word in flags:
        if word.startswith("--"):
            name, _, value = word.partition("=")
            values[name] = value
        elif name:
            values[name] = f"{values[name]} {word}".strip()
    return values


def given(values: Mapping[str, str], flag: str) -> str | None:
    """Of ``flag_values`` that of a flag, which may be shortened as argparse takes it; None where it is not there."""
    found = [value for name, value in values.items() if name != "--" and flag.startswith(name)]
    return found[-1] if found else None


def find_dumps(run: Path, flags: Mapping[str, str]) -> list[Path]:
    """A loop's, or RUN where it is a dump, or the --marge.dump_dir of the flags (``place_of``); [] without any."""
    if of_loop := [f / "explore" for f in iteration_folders(run)[1:] if (f / "explore").is_dir()]:
        return of_loop
    if any(run.glob("rollout-*.parquet")):
        return [run]
    places = [place_of(run, flags.get("--marge.dump_dir") or "dump"), run / "dump"]
    return [place for place in places if place.is_dir()][:1]


def place_of(run: Path, named: str) -> Path:
    """The folder that a flag of the run named; one of that name in RUN goes first, as a run may have been copied."""
    inside = run / Path(named).name
    return inside if inside.is_dir() else Path(named)


def foreign_sentence(run: Path, places: Sequence[Path]) -> str | None:
    """Which of the places are not in RUN, so that a copy of a run does not show another one without a word."""
    foreign = [str(place) for place in places if not place.resolve().is_relative_to(run.resolve())]
    return f"{' and '.join(foreign)}, of which the summary of {run} tells, is outside of it" if foreign else None


def explored_with(folder: Path) -> dict[str, str]:
    """The flags of the exploration that wrote the folder -> their values, as ``flag_values``; {} when none did."""
    path = folder / "settings.json"
    settings = read_object(path) if path.is_file() else {}
    given = {flag: value for flag, value in settings.items() if value is not None and value is not False}
    words = {flag: value if isinstance(value, list) else [value] for flag, value in given.items()}
    return {flag: " ".join("" if word is True else str(word) for word in value) for flag, value in words.items()}


def iteration_folders(run: Path) -> list[Path]:
    """Folders of a DPO loop's evaluated iterations, iteration 0 first; none when the run is no loop."""
    folders = (run / f"iteration_{number}" for number in count())
    return list(takewhile(lambda folder: (folder / "heldout.json").is_file(), folders))


def read_evaluations(run: Path) -> list[Results]:
    """Before training, and after it or after each iteration; empty when the run was not evaluated so."""
    files = [folder / "heldout.json" for folder in iteration_folders(run)] or [run / "before.json", run / "after.json"]
    return [read_results(path) for path in files] if all(path.is_file() for path in files) else []
