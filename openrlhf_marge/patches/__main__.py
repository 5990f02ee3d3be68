"""`python -m openrlhf_marge.patches`: parse, call one action, print what was done."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from .changing import apply, revert
from .copying import copy_to
from .installed import COMMAND, OPENRLHF, Host, PatchError, locate
from .states import PatchState, report

EPILOG = """\
exit code: 0 done (status: all patches are applied), 1 refused or failed (status: any other state), 2 usage.

Each file is told by the checksums of the wheel: stock, patched, or foreign (changed by hand or by an older series).
Nothing is written unless every file is stock or patched. Run `revert` before openrlhf_marge itself is upgraded."""


def main(argv: Sequence[str] | None = None, host: Host = OPENRLHF) -> int:
    """Runs one command; returns the exit code."""
    arguments = _parser(host).parse_args(argv)
    try:
        if arguments.command == "status":
            return _status(host)
        if arguments.command == "copy":
            _copy(arguments.to, host)
        else:
            _change(arguments.command, host)
    except PatchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser(host: Host) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description=f"Applies the patches of openrlhf_marge to the installed {host.requirement}, all or none.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("apply", help="patch the installed package; completes an apply or revert that was killed")
    states = ", ".join(state.value for state in PatchState)
    commands.add_parser("status", help=f"show each file of the package that Python imports, and in all: {states}")
    commands.add_parser("revert", help="bring back the installed package's own files, byte for byte")
    copy = commands.add_parser("copy", help="write a patched copy for PYTHONPATH and leave the installed one alone")
    text = f"folder that gets {host.name}/; made if missing; an earlier copy in it is replaced"
    copy.add_argument("--to", type=Path, required=True, metavar="DIR", help=text)
    return parser


def _status(host: Host) -> int:
    looked = report(host)
    print(looked.package)
    for file in looked.files:
        print(f"  {file.state.value:8}{file.path} ({', '.join(file.patches)})")
    print(looked.state.value)
    if looked.mend:
        print(looked.mend, file=sys.stderr)
    return 0 if looked.state is PatchState.APPLIED else 1


def _change(command: str, host: Host) -> None:
    changed = (apply if command == "apply" else revert)(host)
    installed = locate(host)
    state = PatchState.APPLIED if command == "apply" else PatchState.NOT_APPLIED
    print(f"{'now' if changed else 'already'} {state.value}: {installed.package}")
    if installed.shadow:
        print(f"note: Python imports {installed.shadow} instead; take it off PYTHONPATH to use the installed one")


def _copy(folder: Path, host: Host) -> None:
    target = copy_to(folder, host)
    print(f"patched copy: {target}")
    print(f"export PYTHONPATH={shlex.quote(str(target.parent))}${{PYTHONPATH:+:$PYTHONPATH}}")


if __name__ == "__main__":
    sys.exit(main())
