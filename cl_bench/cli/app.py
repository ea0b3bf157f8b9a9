"""The application: which commands there are, and how errors end it.

Nothing heavy (torch, pandas, matplotlib) is imported until a command that needs it runs, so
that `--help` and `list` answer at once.
"""

from __future__ import annotations

import errno
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import Annotated, Any

import typer
import typer.core

from cl_bench.cli.bench import bench
from cl_bench.cli.check import check
from cl_bench.cli.compare import compare
from cl_bench.cli.crossvalidate import crossvalidate
from cl_bench.cli.data import data
from cl_bench.cli.describe import describe
from cl_bench.cli.frontier import frontier
from cl_bench.cli.landscape import landscape
from cl_bench.cli.leaderboard import leaderboard
from cl_bench.cli.listing import list_
from cl_bench.cli.new import new
from cl_bench.cli.predict import predict
from cl_bench.cli.reproduce import reproduce
from cl_bench.cli.run import run
from cl_bench.cli.show import show
from cl_bench.cli.tune import tune
from cl_bench.cli.variance import variance
from cl_bench.cli.wandb import wandb
from cl_bench.errors import UserError
from cl_bench.execution.signals import Interrupted

INTERRUPTED = 130


class _Commands(typer.core.TyperGroup):
    """The commands; one that was stopped ends with its signal's exit code, not always Ctrl-C's."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Interrupted as stopped:
            raise typer.Exit(stopped.exit_code) from None


app = typer.Typer(
    name="cl_bench",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Continual learning, measured: run strategies, compare what they forget.",
)


def _version(asked: bool) -> None:
    if asked:
        import cl_bench

        print(cl_bench.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


app.command()(run)
app.command()(tune)
app.command()(compare)
app.command()(frontier)
app.command()(show)
app.command()(predict)
app.command()(variance)
app.command()(crossvalidate)
app.command()(reproduce)
app.command("list")(list_)
app.command()(describe)
app.command()(new)
app.command()(data)
app.command()(check)
app.command()(wandb)
app.command()(bench)
app.command()(landscape)
app.add_typer(leaderboard, name="leaderboard")


def run_app(arguments: Sequence[str] | None = None) -> int:
    """Run a command; a mistake of the user's becomes one line on stderr and exit code 2."""
    typed = sys.argv[1:] if arguments is None else list(arguments)
    try:
        _refuse_empty(typed)
        code = app(typed, prog_name="cl_bench", standalone_mode=False, obj=tuple(typed))
        sys.stdout.flush()
    except UserError as error:
        return _mistake(str(error), error.choices)
    except (KeyboardInterrupt, typer.Abort) as stopped:
        return getattr(stopped, "exit_code", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output, such as `head`, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return _mistake(f"{str(error.filename)[:80]}…: a file's name this long cannot be")
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # a usage error
            return _usage(error)
        raise
    return code if isinstance(code, int) else 0


def _refuse_empty(typed: Sequence[str]) -> None:
    """Refuse an option that is given with nothing in it: it would be taken for its default."""
    for number, word in enumerate(typed):
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "=", word)
        if equals and not value.strip():
            before = typed[number - 1] if number else ""
            name = option or (before if before.startswith("--") else "an argument")
            raise UserError(f"{name} is empty; give it a value, or leave it out")


def _usage(error: Any) -> int:
    """Tell what was typed wrongly; a command that needs another word shows its help."""
    from pydantic import ValidationError

    from cl_bench.planning.validation import first_problem

    message = error.format_message()
    if "\n" in message:  # the help
        print(message, file=sys.stderr)
        return 2
    if isinstance(error.__cause__, ValidationError):
        value, right = first_problem(error.__cause__)
        option = error.param.get_error_hint().replace("'", "")
        message = f"{option}: {right}" if value in right else f"{option} = {value}: {right}"
    return _mistake(message)


def _mistake(message: str, choices: Sequence[str] = ()) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    for choice in choices:
        print(textwrap.indent(choice, "  "), file=sys.stderr)
    return 2
