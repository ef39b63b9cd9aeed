"""The command ``sslpairs``. Imports torch only for commands that train, evaluate or draw."""

import errno
import logging
import sys
import traceback
from typing import Annotated

import typer

from sslpairs import __version__
from sslpairs.cli.common import app, say_error
from sslpairs.errors import UserError
from sslpairs.files import unwritable
from sslpairs.terminal.screen import accept_any_encoding
from sslpairs.words import redact

# isort: off
from sslpairs.cli import plan, look, work, new, share, bench, write  # noqa: F401 - in the order of the help
# isort: on


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"sslpairs {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Entry point. Errors that the user can fix are printed in one or two lines with exit code 2."""
    accept_any_encoding()
    try:
        app(arguments, standalone_mode=True, prog_name="sslpairs")
    except UserError as error:
        say_error(str(error))
        sys.exit(2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        denied = error.errno in (errno.EACCES, errno.EPERM)
        say_error(unwritable(error.filename or "a file", error, "read or written" if denied else "written"))
        sys.exit(2)
    except Exception:
        # A bug, not a user error: keep the traceback, also in the log.
        logger = logging.getLogger("sslpairs")
        if logger.handlers:
            logger.error(redact(traceback.format_exc()))
        raise
