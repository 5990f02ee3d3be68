"""Command-line flags from the fields of a dataclass, each of which carries its help text, range and choices."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, field, fields
from typing import Any, get_args, get_type_hints

from openrlhf_marge.entry_points import Registry


def option(
    default: Any, help: str, *, low: float | None = None, high: float | None = None,
    choices: Collection[str] | Registry[Any] | None = None, listed: bool = True,
) -> Any:  # fmt: skip
    """A dataclass field that carries what its flag needs: help text, inclusive range, choices.

    Of a registry the names of installed objects are choices, too. Choices are ``listed`` after the help text, those
    of a registry without the installed ones.
    """
    metadata = {"help": help, "low": low, "high": high, "choices": choices, "listed": listed}
    return field(default=default, metadata=metadata)


def options_of(kind: type) -> list[Field[Any]]:
    """The fields of a dataclass that are flags; those of the last class that it extends come first."""
    return [f for f in fields(kind) if f.metadata]


def check_values(values: Any, kind: type, prefix: str = "") -> None:
    """ValueError naming the first flag of ``kind`` whose value is out of its range or none of its choices."""
    for f in options_of(kind):
        if (value := getattr(values, f.name)) is not None:
            _check(f"--{prefix}{f.name}", value, f.metadata)


def _check(flag: str, value: Any, metadata: Mapping[str, Any]) -> None:
    low, high, choices = (metadata[key] for key in ("low", "high", "choices"))
    if isinstance(choices, Registry):
        choices.load(value)
    elif choices is not None and value not in choices:
        raise ValueError(f"{flag} is {value!r}; it must be one of {', '.join(choices)}")
    if low is not None and not value >= low:
        raise ValueError(f"{flag} is {value}; it must be at least {low:g}")
    if high is not None and not value <= high:
        raise ValueError(f"{flag} is {value}; it must be at most {high:g}")


def add_flags(
    parser: Any, kind: type, prefix: str = "", without: Collection[str] = (), *, with_range: bool = True
) -> None:
    """Add one flag per option of ``kind``; what may follow it is what the field's type says.

    ``parser`` is a parser or a group of one. Fields in ``without`` keep their defaults and get no flag. The help says
    range, choices and default where ``with_range``; otherwise it is the option's alone.
    """
    hints = get_type_hints(kind)
    for f in options_of(kind):
        assert f.default is not MISSING, f"{f.name} has no default"
        if f.name in without:
            parser.set_defaults(**{f"{prefix}{f.name}": f.default})
            continue
        type_ = next(t for t in (get_args(hints[f.name]) or (hints[f.name],)) if t is not type(None))
        nargs = "*" if isinstance(f.default, tuple) else None
        how = dict(action="store_true") if type_ is bool else dict(type=type_, nargs=nargs, default=f.default)
        help = _help(f.metadata, f.default) if with_range else f.metadata["help"]
        parser.add_argument(f"--{prefix}{f.name}", help=help, **how)


def _help(metadata: Mapping[str, Any], default: Any) -> str:
    bounds = [f"{name} {metadata[key]:g}" for key, name in (("low", "at least"), ("high", "at most"))
              if metadata[key] is not None]  # fmt: skip
    if (choices := metadata["choices"]) and metadata["listed"]:
        bounds.append("one of " + ", ".join(choices.own if isinstance(choices, Registry) else choices))
    text = f"{metadata['help']} [{'; '.join([*bounds, f'default {default!r}'])}]"
    return text.replace("%", "%%")
