"""Words for people: numbers with their nouns, and texts without what is secret in them."""

import os
import re
from collections.abc import Iterable

HIDDEN = "***"
SECRET = re.compile(
    r"password|passwd|passphrase|secret|token|api_?key|access_?key|account_?key|connection_?string|credential|custom_auth_header"
    r"|signature|customer_key|key_id"
)
"""In the name of a setting, of a part of an address or of an environment variable, in lower case: its value is nobody else's."""

_WORD = r"(?<![\w.~%-])[\w.~%-]{1,80}"
_PASSWORD = re.compile(
    # scheme://user:password@, where the password may hold slashes and @ that nobody encoded; in host:8080/ there is none
    r"(?P<before>\b[a-z][\w+.-]{0,20}://[^\s/?#:@'\"\[]{0,100}:)(?!\d{0,9}(?:[/?#\s'\"]|$))[^\s'\"]{0,300}@"
    # scheme://token@, but not where it can only be a user's name
    r"|(?P<scheme>\b(?!(?:ssh|sftp|hdfs|webhdfs|azure|abfss?|gs|s3)://)[a-z][\w+.-]{0,20}://)[^\s/?#:@'\"\[]{1,300}@"
    r"|(?P<header>\b(?:Basic|Bearer) )[\w.~+/=-]{6,}",
    re.IGNORECASE,
)
_NAMED = re.compile(rf"(?P<name>{_WORD})(?P<sign>=|(?P<quote>['\"]): (?P=quote))(?P<value>[^\s&;,\"'<>]+)")
"""?token=..., AccountKey=...; and the same in a printed mapping."""


def _hide(found: re.Match) -> str:
    name = found["name"].lower()
    return (
        f"{found['name']}{found['sign']}{HIDDEN}"
        if SECRET.search(name) or found["name"] in ("sig", "key", "Key", "auth")
        else found[0]
    )


def counted(number: int, noun: str) -> str:
    """``1 run``, ``2 runs``, ``1,000 runs``; of ``"table is"``, ``2 tables are``."""
    noun, _, verb = noun.partition(" ")
    if number != 1:
        noun = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
        verb = {"is": "are", "was": "were", "has": "have", "names": "name"}.get(verb, verb)
    return f"{number:,} {noun} {verb}".rstrip()


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without passwords and keys: those in addresses, behind names such as ``token=``, in variables of the environment
    whose names say so, and ``secrets``."""
    known = [value for name, value in os.environ.items() if SECRET.search(name.lower())]
    known = [value for value in known if len(value) >= 8]  # a shorter one may be a word like any other
    for value in sorted(filter(None, {*known, *secrets}), key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    text = _PASSWORD.sub(lambda found: next(filter(None, found.groups())) + HIDDEN + "@" * (not found["header"]), text)
    return _NAMED.sub(_hide, text)


def duration(seconds: float) -> str:
    """For people, for example '2 h 05 min'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
