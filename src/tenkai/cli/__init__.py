"""The command line. One line on standard error says what went wrong, the exit code whose it is.

0 done; 1 our bug; 2 bad input or usage; 3 trained, but the status says that it is not good;
130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer

from ..errors import InputError
from . import classes as classes  # adds its command
from . import densities as densities  # adds its command
from . import exporting as exporting  # adds its command
from . import judging as judging  # adds its command
from . import profiling as profiling  # adds its command
from .commands import app

DONE, BUG, BAD_INPUT, NOT_GOOD, INTERRUPTED = 0, 1, 2, 3, 130

# Typer brings its own copy of click or uses the installed one: the class is reached by its child.
UsageError: Any = typer.BadParameter.__bases__[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    command = typer.main.get_command(app)
    try:
        args = sys.argv[1:] if argv is None else list(argv)
        with command.make_context("tenkai", args) as context:
            return command.invoke(context) or DONE
    except typer.Exit as end:
        return end.exit_code
    except InputError as error:
        return _say(str(error), BAD_INPUT)
    except UsageError as error:
        return _say(_usage(error), BAD_INPUT)
    except (typer.Abort, KeyboardInterrupt):
        return _say("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception:
        traceback.print_exc()
        return _say(
            "this is a bug in tenkai, not a fault of the input. Please report it in the project's "
            "issue tracker with the lines above, the command and `tenkai --version`",
            BUG,
        )


def _say(message: str, code: int) -> int:
    """One line on standard error, whatever the message holds, that a terminal shows as it is."""
    line = " ".join(message.split())
    line = "".join(c if c.isprintable() else "�" for c in line)
    print(f"tenkai: {line}", file=sys.stderr)
    return code


def _usage(error: Any) -> str:
    message = error.format_message().rstrip(".")
    where = error.ctx.command_path if error.ctx else "tenkai"
    return f"{message}. See '{where} --help'."
