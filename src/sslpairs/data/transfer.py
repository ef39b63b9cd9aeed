"""A transfer: one or more connections that fill a part from one address.

Nothing that a server says is believed unless it agrees with what is on record and with what it said before.
"""

import contextlib
import html
import re
import ssl
import threading
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from sslpairs.data.memory import in_bytes
from sslpairs.data.names import shown as printable
from sslpairs.data.partial import LIMIT, Part, Span, Stopped
from sslpairs.data.progress import amount, say
from sslpairs.errors import shown
from sslpairs.words import counted, duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import Response, Session

CONNECT, READ = 10.0, 60.0
"""Seconds to wait for a connection, and for the next byte."""
ATTEMPTS = 5
"""Failures in a row, without a byte between them, after which a connection gives up."""
BACKOFF, LONGEST_BACKOFF = 1.0, 30.0
"""Seconds to wait after the first failure, doubled after each other one, and their maximum."""
PATIENCE = 600.0
"""Maximum seconds that a server may ask to wait."""
SAVING = 1.0
"""Seconds between two notes."""
BLOCK = 1 << 18
"""Maximum bytes that are read and written at once."""
PAGE = 1 << 16
"""Maximum bytes of a web page in which its title is looked for."""

CHANGED = "changed the file while it was downloaded"


class Refused(Exception):
    """An address is of no use. The message continues the name of its host."""


class Unlike(Exception):
    """What is here cannot be continued: the file must be transferred again, by one connection."""


class _Again(Exception):
    """A failure that may pass. ``wait``: seconds that the server asks for."""

    def __init__(self, message: str, wait: float = 0.0):
        super().__init__(message)
        self.wait = wait


class Transfer:
    """Fills a part from its address with at most ``connections`` at once."""

    def __init__(self, part: Part, connections: int):
        self.part, self.file, self.connections = part, part.file, connections
        self.host = urlsplit(part.url).hostname
        self._stop, self._wake = threading.Event(), threading.Event()
        self._begun = False
        self._several = False
        """Whether the server is known to answer ranges, so that more connections help."""
        self._error: Exception | None = None
        self._refusals: list[Refused] = []

    def run(self) -> None:
        """Return when nothing is missing. ``Refused``, ``Unlike``; UserError if the disk is full or cannot be written."""
        threads: list[threading.Thread] = []
        saved = time.monotonic()
        try:
            with amount(self.file.name) as show:
                while True:
                    if not threads or (self._several and len(threads) < self.connections):
                        # daemons: one that waits for a silent server must not keep the process
                        threads.append(threading.Thread(target=self._work, daemon=True))
                        threads[-1].start()
                        continue
                    if self._error or not self.part.spans or not any(thread.is_alive() for thread in threads):
                        break
                    self._wake.wait(0.2)
                    self._wake.clear()
                    if self.part.stale:
                        continue
                    show(self.part.done, self.part.size)
                    if time.monotonic() - saved >= SAVING:
                        self.part.save()
                        saved = time.monotonic()
        finally:
            self._stop.set()
        if self._error:
            raise self._error
        if self.part.spans:
            raise self._refusals[0]

    def _work(self) -> None:
        """One connection: fill spans until none is left."""
        failures = 0
        try:
            with _session() as session:
                while not self._stop.is_set() and (span := self.part.take()):
                    before, wait = span.at, 0.0
                    try:
                        self._fill(session, span)
                        failures = 0
                    except _Again as error:
                        failures = 1 if span.at > before else failures + 1
                        if failures >= ATTEMPTS:
                            raise Refused(f"{error}, {counted(failures, 'time')} in a row") from None
                        wait = max(error.wait, min(BACKOFF * 2 ** (failures - 1), LONGEST_BACKOFF))
                        if failures > 1 or error.wait:  # a line that is cut now and then is no news
                            say(f"{self.file.name}: {self.host} {error}; next attempt in {duration(wait)}")
                    finally:
                        self.part.release(span)
                    self._stop.wait(wait)
        except Refused as error:
            self._refusals.append(error)  # other connections may still succeed
        except Stopped:
            pass
        except Exception as error:
            self._error = self._error or error
        finally:
            self._wake.set()

    def _fill(self, session: "Session", span: Span) -> None:
        """Fill a span by one request, or what another connection leaves of it."""
        import requests
        import urllib3

        part = self.part
        whole = part.stale or (span.at, span.end) == (0, LIMIT if part.size is None else part.size)
        headers = {} if whole else {"Range": f"bytes={span.at}-{'' if part.size is None else span.end - 1}"}
        if not whole and part.proof:
            headers["If-Range"] = part.proof
        try:
            with session.get(part.url, headers=headers, stream=True, timeout=(CONNECT, READ)) as response:
                bounded = response.raw.length_remaining is not None
                block = self._whole(response, span) if whole else self._range(response, span)
                if response.status_code == 416:
                    return part.finish(span)
                surplus = -1
                while surplus < 0 and (block := block or response.raw.read1(BLOCK, decode_content=False)):
                    surplus, block = part.write(span, block), b""
                if part.size is None and surplus < 0:  # the body has ended, and thereby told its size
                    part.allocate(span.at)
                elif span.at < span.end:
                    raise _Again(f"ended the connection after {span.at:,} of {part.size:,} bytes")
                elif not bounded and span.end in (part.size, LIMIT):  # does it go on?
                    with contextlib.suppress(urllib3.exceptions.HTTPError):
                        surplus = max(surplus, 0) or len(response.raw.read1(1, decode_content=False))
                    if surplus > 0:
                        part.stale = True
                        raise Refused(f"sends more than {self._most()}")
                part.finish(span)
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            raise _failure(error) from error

    def _whole(self, response: "Response", span: Span) -> bytes:
        """Check the answer to a request for the whole file; returns its first bytes."""
        length, expected = response.raw.length_remaining, self.file.bytes
        if response.status_code != 200:
            raise _refusal(response)
        block = response.raw.read1(BLOCK, decode_content=False)
        if self._is_page(response, block, length):
            while len(block) < PAGE and (more := response.raw.read1(PAGE, decode_content=False)):
                block += more
            raise Refused(f"sent a web page instead of the file{_title(block)}")
        self._check(length)
        if self.part.stale:
            self.part.restart(span, length if expected is None else expected)
        elif length not in (None, self.part.size):
            raise Unlike(CHANGED)
        self._accept(response, ranges="bytes" in response.headers.get("Accept-Ranges", "").lower())
        return block

    def _range(self, response: "Response", span: Span) -> bytes:
        """Check the answer to a request for a range; nothing has been read of it."""
        part, status = self.part, response.status_code
        if status == 200:
            raise Unlike("does not continue: it ignores ranges, or has another file now")
        if status not in (206, 416):
            raise _refusal(response)
        said = response.headers.get("Content-Range", "").strip()
        found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", said)
        total = None if not found or found[2] == "*" else int(found[2])
        self._check(total)
        if status == 416:
            if total != span.at or len(part.spans) > 1 or not self.file.digest:
                raise Unlike("does not continue (416)")
            part.allocate(total)  # it was here already; the digest decides
        elif not found or found[1] != str(span.at):
            raise Refused(f"answers a range with another one ('{printable(shown(said))}')")
        elif part.size is None and total is None:
            raise Unlike("does not continue: it does not say how large the file is")
        elif part.size is None:
            part.allocate(total)
        elif total not in (None, part.size):
            raise Unlike(CHANGED)
        if not part.proof or response.headers.get("ETag") != part.proof:
            part.joined = True
        self._accept(response, ranges=status == 206)
        return b""

    def _accept(self, response: "Response", ranges: bool) -> None:
        """Begin with the first good answer: make room, say so, and let other connections start if ``ranges`` are answered."""
        part, name = self.part, self.file.name
        if not part.is_same(response.headers.get("ETag"), response.headers.get("Last-Modified")):
            raise Unlike(CHANGED)
        if self._begun:
            return
        self._begun = True
        if part.size is None:
            say(f"{name}: downloading it from {self.host}, which does not say how large it is")
        else:
            part.allocate(part.size)
            size = in_bytes(part.size)
            here = (
                f"{in_bytes(part.done)} of {size} are here; downloading the rest"
                if part.done
                else f"downloading {size}"
            )
            say(f"{name}: {here} from {self.host}")
        part.save()
        self._several = ranges and part.size is not None
        self._wake.set()

    def _is_page(self, response: "Response", block: bytes, length: int | None) -> bool:
        """Whether a body is HTML, by its type, unless its length is the one on record, or by its first bytes."""
        if self.file.name.endswith((".html", ".htm")):
            return False
        kind = response.headers.get("Content-Type", "").lower()
        said = kind.startswith(("text/html", "application/xhtml")) and (length is None or length != self.file.bytes)
        return said or bool(re.match(rb"\W{0,20}<!?(doctype\s+html|html)\b", block[:200], re.IGNORECASE))

    def _check(self, size: int | None) -> None:
        """``Refused`` for a size that the file cannot have."""
        least, limit = (0, LIMIT) if self.file.bytes is None else (self.file.bytes, self.file.bytes)
        if size is not None and not least <= size <= limit:
            raise Refused(f"announces {size:,} bytes, {'more' if size > limit else 'less'} than {self._most()}")

    def _most(self) -> str:
        if self.file.bytes is None:
            return f"{in_bytes(LIMIT)}, the limit for a file whose size is not on record"
        return f"the {self.file.bytes:,} bytes on record"


def check_redirect(response: "Response", **_: object) -> None:
    """A hook for every answer: bodies of redirects are not read, and https never becomes http (``Refused``)."""
    if response.is_redirect:
        response.close()
        target = urljoin(response.url, response.headers["Location"])
        if response.url.lower().startswith("https:") and not target.lower().startswith("https:"):
            raise Refused(
                f"redirects from https to {shown(printable(target))}, where anybody on the way could change the file"
            )


def _session() -> "Session":
    import requests

    session = requests.Session()  # with proxies and certificates from the environment
    session.headers.update({"User-Agent": "sslpairs", "Accept-Encoding": "identity"})
    session.hooks["response"].append(check_redirect)
    return session


def _title(page: bytes) -> str:
    found = re.search(r"<title[^>]*>([^<]*)", page.decode(errors="replace"), re.IGNORECASE)
    title = " ".join(html.unescape(found[1]).split()) if found else ""
    return f" (title '{printable(shown(title))}')" if title else ""


def _refusal(response: "Response") -> Exception:
    """What to raise for an answer without the file."""
    status = f"answered {response.status_code} {printable(shown(response.reason or ''))}".rstrip()
    if response.status_code not in (408, 425, 429) and response.status_code < 500:
        return Refused(status)
    wait = retry_after(response.headers)
    return _Again(status, wait) if wait <= PATIENCE else Refused(f"{status} and asks to wait for {duration(wait)}")


def retry_after(headers: "Mapping[str, str]") -> float:
    """Seconds that an answer asks to wait, which may state them or a date; 0 if it asks for nothing."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return min(float(value), 1e9)
    try:
        now = parsedate_to_datetime(headers["Date"]) if "Date" in headers else datetime.now(UTC)
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def _failure(error: Exception) -> Exception:
    """What to raise for an error of a connection: ``_Again`` if it may pass, else ``Refused``."""
    import requests
    from urllib3 import exceptions as kinds

    causes: list[BaseException] = []
    left: list[BaseException] = [error]
    while left:
        cause = left.pop(0)
        causes.append(cause)
        inner = (*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__)
        left += [e for e in inner if isinstance(e, BaseException) and not any(e is seen for seen in (*causes, *left))]

    def has(*kinds: type) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    why = next((f" ({e.strerror})" for e in reversed(causes) if isinstance(e, OSError) and e.strerror), "")
    if has(ssl.SSLCertVerificationError):
        return Refused(
            f"has no certificate that is trusted here{why}; REQUESTS_CA_BUNDLE names a file of others to trust"
        )
    if has(kinds.ProxyError):
        return _Again(f"cannot be reached through the proxy{why}")
    if has(kinds.NameResolutionError):
        return _Again("cannot be found: there is no such host, or no network")
    if has(kinds.NewConnectionError):
        return _Again(f"cannot be reached{why}")
    if has(kinds.ConnectTimeoutError):
        return _Again(f"cannot be reached within {duration(CONNECT)}")
    if has(kinds.ReadTimeoutError):
        return _Again(f"sent nothing for {duration(READ)}")
    if has(requests.ConnectionError, kinds.ProtocolError, kinds.SSLError):
        return _Again("cut the connection")
    return Refused(f"cannot be used ({printable(shown(error, 200))})")
