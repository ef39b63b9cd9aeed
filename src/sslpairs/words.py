"""Text helpers: counted nouns, durations, and texts without secrets."""

import os
import re
from collections.abc import Iterable

HIDDEN = "***"
SECRET = re.compile(
    r"password|passwd|passphrase|secret|token|api_?key|access_?key|account_?key|connection_?string|credential|custom_auth_header"
    r"|signature|customer_key|key_id"
)
"""Matches the lower-case name of a setting, a part of a URL or an environment variable with a secret value."""

_WORD = r"(?<![\w.~%-])[\w.~%-]{1,80}"
_PASSWORD = re.compile(
    # scheme://user:password@, where the password may contain unencoded slashes and @; host:8080/ has none
    r"(?P<before>\b[a-z][\w+.-]{0,20}://[^\s/?#:@'\"\[]{0,100}:)(?!\d{0,9}(?:[/?#\s'\"]|$))[^\s'\"]{0,300}@"
    # scheme://token@, except where it can only be a user name
    r"|(?P<scheme>\b(?!(?:ssh|sftp|hdfs|webhdfs|azure|abfss?|gs|s3)://)[a-z][\w+.-]{0,20}://)[^\s/?#:@'\"\[]{1,300}@"
    r"|(?P<header>\b(?:Basic|Bearer) )[\w.~+/=-]{6,}",
    re.IGNORECASE,
)
_NAMED = re.compile(rf"(?P<name>{_WORD})(?P<sign>=|(?P<quote>['\"]): (?P=quote))(?P<value>[^\s&;,\"'<>]+)")
"""?token=..., AccountKey=...; and the same in a printed mapping."""


def _hide(match: re.Match) -> str:
    name = match["name"].lower()
    return (
        f"{match['name']}{match['sign']}{HIDDEN}"
        if SECRET.search(name) or match["name"] in ("sig", "key", "Key", "auth")
        else match[0]
    )


def counted(number: int, noun: str) -> str:
    """``1 run``, ``2 runs``, ``1,000 runs``; of ``"table is"``, ``2 tables are``."""
    noun, _, verb = noun.partition(" ")
    if number != 1:
        noun = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
        verb = {"is": "are", "was": "were", "has": "have", "names": "name"}.get(verb, verb)
    return f"{number:,} {noun} {verb}".rstrip()


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without passwords and keys: those in URLs, after names such as ``token=``, in environment variables whose names
    suggest a secret, and ``secrets``."""
    known = [value for name, value in os.environ.items() if SECRET.search(name.lower())]
    known = [value for value in known if len(value) >= 8]  # a shorter one may be an ordinary word
    for value in sorted(filter(None, {*known, *secrets}), key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    text = _PASSWORD.sub(lambda match: next(filter(None, match.groups())) + HIDDEN + "@" * (not match["header"]), text)
    return _NAMED.sub(_hide, text)


def duration(seconds: float) -> str:
    """Readable duration, for example '2 h 05 min'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
