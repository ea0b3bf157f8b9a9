"""The one exception for mistakes a user can mend.

The command line prints its message as a single line, its choices below, and exits with code 2;
anything else that is raised is a fault of the suite and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

MOST_KNOWN = 10
"""Names that are listed where none is near; of more, those that are nearest."""


class UserError(ValueError):
    """Something the user gave cannot work; the message says what, and what would be right.

    Args:
        message: one line.
        choices: what could be given, one a line, where that is too much for the message.
    """

    def __init__(self, message: str, choices: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.choices = tuple(choices)


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for a name that does not exist, with the nearest names that do.

    Args:
        kind: what the name stands for, in the singular ("strategy").
        name: the name that was given.
        known: every name that would have been right.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif len(names) > MOST_KNOWN:
        nearest = difflib.get_close_matches(name, names, n=MOST_KNOWN, cutoff=0)
        hint = f"the nearest of {len(names)} known: {', '.join(nearest)}"
    else:
        hint = f"known: {', '.join(names)}" if names else "none is known"
    return UserError(f"unknown {kind} '{name}'; {hint}")


def pick(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the one of some names that a name is, or is the start of.

    Args:
        kind: what the names stand for, in the singular ("published table").
        name: what was given.
        known: the names.

    Raises:
        UserError: it is none of them, or the start of several.
    """
    names = set(known)
    found = sorted(each for each in names if each.startswith(name))
    if name in names:
        return name
    if len(found) > 1:
        raise UserError(
            f"{kind} '{name}' is the start of several: {', '.join(found[:5])}; give more of one"
        )
    if not found:
        raise unknown(kind, name, names)
    return found[0]
