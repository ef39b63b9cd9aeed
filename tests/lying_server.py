"""A server on loopback that cuts, stalls, forgets and lies."""

import contextlib
import random
import re
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SIZE = 400_000
CONTENT = random.Random(0).randbytes(SIZE)


class Request(BaseHTTPRequestHandler):
    """One request. An answer is a function of it."""

    protocol_version = "HTTP/1.1"
    wbufsize = 0

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.requests.append(self)
            self.number = sum(request.path == self.path for request in self.server.requests)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            self.server.answers[self.path](self)

    def head(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def body(self, content: bytes) -> None:
        for start in range(0, len(content), 1 << 14):
            block = content[start : start + (1 << 14)]
            self.wfile.write(block)
            with self.server.lock:
                self.server.sent += len(block)

    def cut(self) -> None:
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.answers, self.requests, self.sent, self.lock = {}, [], 0, threading.Lock()
        self.scheme = "http"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, *_: object) -> None:  # a client that was killed
        pass

    def at(self, path: str, answer) -> str:
        self.answers[path] = answer
        return f"{self.scheme}://127.0.0.1:{self.server_port}{path}"

    def asked(self, path: str) -> list[str | None]:
        """The ranges that were asked for."""
        return [request.headers.get("Range") for request in self.requests if request.path == path]


def serving(content=CONTENT, etag='"1"', modified=None, ranges=True, length=True, **headers):
    """Answers with ``content``, or the range that is asked for. ``ranges``: 'silently' without saying that it can;
    ``content``, ``etag``, ``modified``: also functions of the request."""

    def answer(request: Request, stop: int | None = None) -> None:
        data, tag, date = (value(request) if callable(value) else value for value in (content, etag, modified))
        asked, condition = request.headers.get("Range"), request.headers.get("If-Range")
        facts = {"ETag": tag, "Last_Modified": date, **headers}
        if ranges is True:
            facts["Accept_Ranges"] = "bytes"
        start = 0
        if ranges and asked and condition in (None, tag):
            first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", asked).groups()
            start, end = int(first), min(int(last or len(data)), len(data) - 1)
            if start >= len(data):
                return request.head(416, Content_Range=f"bytes */{len(data)}", Content_Length=0)
            total, data = len(data), data[start : end + 1]
            request.head(206, Content_Range=f"bytes {start}-{end}/{total}", Content_Length=len(data), **facts)
        elif length:
            request.head(200, Content_Length=len(data), **facts)
        else:
            request.head(200, Connection="close", **facts)
            request.cut()
        if stop is None:
            return request.body(data)
        request.body(data[: max(0, stop - start)])
        request.cut()

    return answer


def in_turn(*answers):
    """The first request gets the first answer, and so on; the last one stays."""
    return lambda request: answers[min(request.number, len(answers)) - 1](request)


def cutting(answer, *stops: int):
    """The connection is cut at these bytes of the file, once at each."""
    return in_turn(*(lambda request, stop=stop: answer(request, stop) for stop in stops), answer)


def status(code: int, **headers):
    return lambda request: request.head(code, Content_Length=0, **headers)


def redirecting(target: str):
    return status(302, Location=target)


def endless(request: Request) -> None:
    request.head(200, Connection="close")
    while True:
        request.body(bytes(1 << 14))


class Gate:
    """An answer with ``content`` that stops at a byte of it until it is opened."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content, self.stop, self.reached, self.opened = content, len(content), threading.Event(), threading.Event()

    def __call__(self, request: Request) -> None:
        start = int(re.match(r"bytes=(\d+)", request.headers.get("Range", "bytes=0"))[1])
        body, stop, opened = request.body, self.stop, self.opened

        def gated(content):
            body(content[: stop - start])
            self.reached.set()
            opened.wait(20)
            if stop == self.stop:
                body(content[stop - start :])
            else:  # the process was killed
                request.cut()

        request.body = gated
        serving(self.content)(request)

    def close(self, stop: int) -> None:
        self.opened.set()
        self.stop, self.opened = stop, threading.Event()
        self.reached.clear()


def until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
