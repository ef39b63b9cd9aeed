"""The one exception meant for the user, and how values and choices are shown in it."""

import re
import sys
from collections.abc import Iterable
from typing import NoReturn

from sslpairs.words import redact

SHOWN = 60
"""Maximum characters of a value, a key or a name in a message."""
LONGEST_WORD = 1000
"""Maximum characters of a word in a message: longer than any sensible path."""
LONGEST = 5000
"""Maximum characters of a message."""
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that move the cursor, change how the text around them is shown, break a line invisibly, or are lone surrogates."""


class UserError(Exception):
    """An error the user can fix: the message says what was found, where, and what to do.

    The command line prints it in one or two lines, without a traceback, and exits with code 2. The message can always be
    printed: control characters are escaped, very long texts are shortened, and passwords and keys are hidden.
    """

    def __init__(self, message: object = ""):
        super().__init__(redact(_printable(str(message))))


class Unreadable(UserError):
    """A file that exists but cannot be read: it may be intact, so nothing may replace it."""


def _printable(text: str) -> str:
    text = UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    if len(text) > LONGEST_WORD:
        text = re.sub(rf"\S{{{LONGEST_WORD},}}", lambda found: shown(found[0]), text)
    return shown(text, LONGEST)


def shown(text: object, longest: int = SHOWN) -> str:
    """A value, key or name for a message: its beginning and its end if it is very long."""
    text = str(text)
    return text if len(text) <= longest else f"{text[: longest * 2 // 3]} ... {text[-(longest // 4) :]}"


def listed(choices: Iterable[object], most: int = 40) -> str:
    """Names for a message, joined by commas; at most the first ``most``."""
    names = [shown(choice) for choice in choices]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def nearest(word: str, choices: Iterable[str], cutoff: float = 0.5) -> str:
    """``"; did you mean 'x'?"`` for the most similar choice, or ``""`` when nothing is similar."""
    from difflib import get_close_matches

    found = get_close_matches(word[:200], list(choices), n=1, cutoff=cutoff)
    return f"; did you mean '{shown(found[0])}'?" if found else ""


def stop(error: UserError | str) -> NoReturn:
    """Print an error in one or two lines and exit with code 2."""
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
