"""The one exception that a user is meant to read."""

from sslpairs.words import redact


class UserError(Exception):
    """Something that the user can mend: the message says what was found, where, and what to do.

    The command line prints it in one or two lines, without a traceback, and exits with code 2. Passwords and keys in the text
    are hidden.
    """

    def __init__(self, text: str):
        super().__init__(redact(text))


class Unreadable(UserError):
    """A file that is there and cannot be read: nobody knows whether it is whole, so that nothing may replace it."""


def nearest(word: str, choices: list[str]) -> str:
    """``"; did you mean 'x'?"`` for the most similar choice, or ``""`` when nothing is similar."""
    from difflib import get_close_matches

    found = get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"; did you mean '{found[0]}'?" if found else ""
