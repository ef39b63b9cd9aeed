"""Downloads from a server on loopback that cuts, stalls, forgets and lies; kills at every moment; two processes at once."""

import contextlib
import datetime
import errno
import hashlib
import ipaddress
import json
import os
import platform
import pty
import random
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest
from kill_points import every_moment
from lying_server import CONTENT, SIZE, Gate, Server, cutting, endless, in_turn, redirecting, serving, status, until

from sslpairs.config.reading import read_config
from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import PublishedSource
from sslpairs.data import download as module
from sslpairs.data import partial, progress, transfer
from sslpairs.data.download import addresses, download
from sslpairs.errors import UserError

OTHER = random.Random(1).randbytes(SIZE)
NAME = "images.tar.gz"
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>Please\n sign in &amp; wait</title></head></html>"


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def server():
    with Server() as server:
        yield server
        server.shutdown()


# --- the files --------------------------------------------------------------------------------------------------------


def remote(*urls: str, content: bytes = CONTENT, **facts) -> RemoteFile:
    return RemoteFile(NAME, urls, **({"bytes": len(content), "sha256": sha(content)} | facts))


def unknown(*urls: str, **facts) -> RemoteFile:
    return RemoteFile(NAME, urls, **facts)


def refusal(file: RemoteFile, folder: Path) -> str:
    with pytest.raises(UserError) as error:
        download(file, folder)
    return str(error.value)


def note(folder: Path) -> dict:
    return json.loads((folder / f"{NAME}.part.json").read_bytes())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(transfer, "BACKOFF", 0.001)
    monkeypatch.setattr(transfer, "SAVING", 0.02)
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in ("SSLPAIRS_OFFLINE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(name)


# --- plain downloads --------------------------------------------------------------------------------------------------


def test_a_file_is_downloaded_once(server, tmp_path, capsys):
    file = remote(server.at("/a", serving()))
    assert download(file, tmp_path) == download(file, tmp_path) == tmp_path / NAME
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert names(tmp_path) == [NAME]
    assert len(server.requests) == 1
    said = capsys.readouterr().err.splitlines()
    assert said == [f"{NAME}: downloading 0.4 MB from 127.0.0.1", f"{NAME}: 0.4 MB, sha256 as on record"]


def test_requests_name_the_project_and_decline_compression(server, tmp_path):
    download(remote(server.at("/a", serving(Content_Encoding="gzip"))), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT, "bytes are kept as they are sent"
    headers = server.requests[0].headers
    assert headers["User-Agent"] == "sslpairs"
    assert headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("length", [True, False], ids=["length", "no length"])
@pytest.mark.parametrize("content", [CONTENT, b"", b"x"], ids=["usual", "empty", "one byte"])
@pytest.mark.parametrize("known", [True, False], ids=["size known", "size unknown"])
def test_sizes(server, tmp_path, content, length, known):
    url = server.at("/a", serving(content, length=length))
    download(remote(url, content=content, bytes=len(content) if known else None), tmp_path)
    assert (tmp_path / NAME).read_bytes() == content


def test_md5_is_compared_where_no_sha256_is_on_record(server, tmp_path):
    url = server.at("/a", serving())
    assert f"md5 is {md5(CONTENT)} instead of {md5(OTHER)}" in refusal(unknown(url, md5=md5(OTHER)), tmp_path)
    download(unknown(url, md5=md5(CONTENT).upper()), tmp_path)


def test_without_a_digest_on_record_the_one_to_record_is_printed(server, tmp_path, capsys):
    download(unknown(server.at("/a", serving())), tmp_path)
    assert (
        f"{NAME}: no digest is on record for it; record its sha256, {sha(CONTENT)}, and its size, 400,000 bytes"
        in capsys.readouterr().err.splitlines()
    )


def test_a_file_in_place_is_left_alone_and_one_of_another_size_is_told(server, tmp_path):
    (tmp_path / NAME).write_bytes(OTHER)
    file = remote(server.at("/a", serving()))
    assert download(file, tmp_path).read_bytes() == OTHER, "its digest is the caller's business"
    (tmp_path / NAME).write_bytes(b"half")
    assert refusal(file, tmp_path) == (
        f"{tmp_path / NAME} has 4 bytes, but 400,000 are on record: move it away or remove it, then run the same command again"
    )
    assert (tmp_path / NAME).read_bytes() == b"half"
    assert not server.requests


def test_offline_and_without_addresses_nothing_is_asked(server, tmp_path, monkeypatch):
    url = server.at("/a", serving())
    assert refusal(unknown(), tmp_path) == (
        f"{NAME} must be obtained by hand: download it from its authors and put it at {tmp_path / NAME}"
    )
    monkeypatch.setenv("SSLPAIRS_OFFLINE", "1")
    assert refusal(remote(url, "http://b.example/b"), tmp_path) == (
        f"{tmp_path / NAME} is missing, and SSLPAIRS_OFFLINE is set; unset it and run the same command again, or "
        f"download {url} (or http://b.example/b) and put it at {tmp_path / NAME}"
    )
    (tmp_path / NAME).write_bytes(CONTENT)
    assert download(remote(url), tmp_path) == tmp_path / NAME
    assert not server.requests
    monkeypatch.setenv("SSLPAIRS_OFFLINE", "0")
    download(remote(url), tmp_path / "new")
    assert addresses([remote(url), unknown()], tmp_path).count("\n") == 1


def test_planning_does_not_import_requests():
    code = "import sys, sslpairs.data.download; sys.exit('requests' in sys.modules or 'rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# --- cut, stalled and changed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("facts", [{}, {"bytes": None}], ids=["size known", "size unknown"])
def test_cut_connections_are_continued(server, tmp_path, facts):
    url = server.at("/a", cutting(serving(), 0, 1, 100_000, 100_000, SIZE - 1))
    download(remote(url, **facts), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    last = SIZE - 1
    expected = [None, None, *(f"bytes={start}-{last}" for start in (1, 100_000, 100_000, last))]
    assert server.asked("/a") == expected
    assert server.sent == SIZE
    assert server.requests[2].headers["If-Range"] == '"1"'


def test_a_body_without_a_length_that_ends_early_is_continued(server, tmp_path):
    url = server.at("/a", cutting(serving(length=False), 1000))
    download(remote(url), tmp_path)
    assert server.asked("/a") == [None, f"bytes=1000-{SIZE - 1}"]


@pytest.mark.parametrize("digest", [{"sha256": sha(CONTENT)}, {}], ids=["digest", "no digest"])
def test_chunks_of_unknown_number_that_lack_their_end(server, tmp_path, digest):
    def chunked(request, end=b"0\r\n\r\n"):
        request.head(200, Transfer_Encoding="chunked", ETag='"1"')
        for start in range(0, SIZE, 100_000):
            request.wfile.write(b"186a0\r\n" + CONTENT[start : start + 100_000] + b"\r\n")
        request.wfile.write(end)
        request.cut()

    def at_the_end(request):
        request.head(416, Content_Range=f"bytes */{SIZE}", Content_Length=4)
        request.body(b"nope")

    server.at("/a", in_turn(lambda request: chunked(request, b""), at_the_end, chunked))
    download(unknown(server.at("/a", server.answers["/a"]), **digest), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    again = [] if digest else [None]
    assert server.asked("/a") == [None, f"bytes={SIZE}-", *again], "the digest says that it was whole"


def test_a_server_that_always_cuts_is_given_up_and_the_part_is_kept(server, tmp_path):
    url = server.at("/a", cutting(serving(), *[100_000] * 99))
    assert refusal(remote(url), tmp_path) == (
        f"{NAME} was not downloaded: 127.0.0.1 cut the connection, 5 times in a row\n"
        f"run the same command again later (0.1 MB of 0.4 MB are kept), or download {url} and put it at {tmp_path / NAME}"
    )
    assert note(tmp_path)["missing"] == [[100_000, SIZE]]
    server.at("/a", serving())
    download(remote(url), tmp_path)
    assert server.sent == SIZE


def test_a_stalled_connection_is_continued(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "READ", 0.2)
    release = threading.Event()

    def stalling(request):
        serving()(request, 1000)
        release.wait(10)

    url = server.at("/a", in_turn(stalling, serving()))
    download(remote(url), tmp_path)
    release.set()
    assert server.asked("/a") == [None, f"bytes=1000-{SIZE - 1}"]
    release.clear()
    monkeypatch.setattr(transfer, "READ", 0.05)
    text = refusal(remote(server.at("/b", lambda _: release.wait(10))), tmp_path / "b")
    release.set()
    assert "127.0.0.1 sent nothing for 0 s, 5 times in a row" in text


def test_a_server_without_ranges_begins_anew(server, tmp_path, capsys):
    url = server.at("/a", cutting(serving(ranges=False, etag=None), 100_000))
    download(remote(url), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert server.asked("/a") == [None, f"bytes=100000-{SIZE - 1}", None]
    assert (
        f"{NAME}: 127.0.0.1 does not continue: it ignores ranges, or has another file now; beginning anew"
        in capsys.readouterr().err
    )


def test_a_server_without_ranges_that_always_cuts_is_given_up(server, tmp_path):
    url = server.at("/a", cutting(serving(ranges=False), *[100_000] * 99))
    assert "it ignores ranges, or has another file now, 3 times in a row" in refusal(remote(url), tmp_path)


NEW = {
    "ETag": {"etag": lambda request: f'"{request.number > 1}"'},
    "weak ETag": {"etag": lambda request: f'W/"{request.number > 1}"'},
    "date": {"etag": None, "modified": lambda request: f"Thu, 01 Jan 2026 00:00:0{request.number > 1:d} GMT"},
    "nothing": {"etag": None},
}


@pytest.mark.parametrize("mark", NEW)
def test_a_file_that_changes_meanwhile_is_not_joined_from_two(server, tmp_path, mark):
    answer = serving(lambda request: OTHER if request.number == 1 else CONTENT, **NEW[mark])
    url = server.at("/a", cutting(answer, 100_000))
    download(remote(url), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert server.asked("/a") == [None, f"bytes=100000-{SIZE - 1}", None]


def test_a_file_that_changes_its_size_meanwhile_is_not_joined_from_two(server, tmp_path):
    answer = serving(lambda request: OTHER if request.number == 1 else CONTENT[:-1], etag=None)
    url = server.at("/a", cutting(answer, 100_000))
    download(unknown(url), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT[:-1]


def test_a_file_that_changes_between_two_runs_is_not_joined_from_two(server, tmp_path):
    url = server.at("/a", cutting(serving(OTHER, etag='"old"'), *[100_000] * 99))
    refusal(unknown(url), tmp_path)
    server.at("/a", serving(CONTENT, etag='"new"'))
    download(unknown(url), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_416_begins_anew(server, tmp_path):
    url = server.at("/a", in_turn(lambda request: serving()(request, 1000), status(416), serving()))
    download(remote(url), tmp_path)
    assert server.asked("/a") == [None, f"bytes=1000-{SIZE - 1}", None]


@pytest.mark.parametrize(
    "damage", ["short", "long", "gone", "no note", "empty note", "half a note", "odd note", "other record"]
)
def test_a_note_counts_only_for_the_part_that_it_describes(server, tmp_path, damage):
    url = server.at("/a", cutting(serving(), *[100_000] * 99))
    refusal(remote(url), tmp_path)
    part, record = tmp_path / f"{NAME}.part", tmp_path / f"{NAME}.part.json"
    if damage in ("short", "long"):
        os.truncate(part, {"short": 50_000, "long": SIZE + 1}[damage])
    elif damage == "gone":
        part.unlink()
    elif damage == "no note":
        record.unlink()
    else:
        notes = {
            "empty note": "{}",
            "half a note": record.read_text()[:50],
            "odd note": json.dumps(note(tmp_path) | {"missing": [[5, "x"]]}),
            "other record": json.dumps(note(tmp_path) | {"file": [SIZE, "sha256", sha(OTHER)]}),
        }
        record.write_text(notes[damage])
    server.at("/a", status(404))
    assert "127.0.0.1 answered 404 Not Found" in refusal(remote(url), tmp_path)
    server.at("/a", serving())
    server.requests.clear()
    download(remote(url), tmp_path)
    assert server.asked("/a") == [None]
    assert names(tmp_path) == [NAME]


# --- lies -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1, 10**30])
def test_another_size_is_refused_before_a_byte_is_kept(server, tmp_path, size):
    url = server.at("/a", lambda request: request.head(200, Content_Length=size) or request.body(bytes(99)))
    assert (
        f"127.0.0.1 announces {size:,} bytes, {'more' if size > SIZE else 'less'} than the 400,000 bytes on record"
        in refusal(remote(url), tmp_path)
    )
    assert not names(tmp_path)


def test_another_size_of_a_range_is_refused(server, tmp_path):
    def other(request):
        request.head(206, Content_Range=f"bytes 1000-{SIZE}/{SIZE + 1}", Content_Length=SIZE - 999)
        request.body(CONTENT)

    url = server.at("/a", in_turn(lambda request: serving()(request, 1000), other))
    assert "127.0.0.1 announces 400,001 bytes, more than the 400,000 bytes on record" in refusal(remote(url), tmp_path)
    assert note(tmp_path)["missing"] == [[1000, SIZE]], "it may be continued elsewhere"


@pytest.mark.parametrize("said", ["bytes 0-399999/400000", "bytes 1000-2000", "", "items 1-2/3"])
def test_another_range_is_refused(server, tmp_path, said):
    def other(request):
        request.head(206, Content_Range=said, Content_Length=SIZE)
        request.body(CONTENT)

    url = server.at("/a", in_turn(lambda request: serving()(request, 1000), other))
    assert f"127.0.0.1 answers a range with another one ('{said}')" in refusal(remote(url), tmp_path)


def test_more_bytes_than_the_range_has_are_dropped(server, tmp_path):
    def generous(request):
        request.head(206, Content_Range=f"bytes 1000-{SIZE - 1}/{SIZE}", Content_Length=SIZE)
        request.body(CONTENT[1000:] + bytes(1000))

    url = server.at("/a", in_turn(lambda request: serving()(request, 1000), generous))
    download(remote(url), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_part_for_the_whole_is_refused(server, tmp_path):
    url = server.at("/a", status(206, Content_Range="bytes 0-0/1"))
    assert "127.0.0.1 answered 206 Partial Content" in refusal(remote(url), tmp_path)


def test_a_length_that_is_too_small_fails_the_digest(server, tmp_path):
    url = server.at("/a", lambda request: request.head(200, Content_Length=1000) or request.body(CONTENT))
    found, expected = sha(CONTENT[:1000]), sha(CONTENT)
    text = refusal(unknown(url, sha256=expected), tmp_path)
    assert f"127.0.0.1 sent a file whose sha256 is {found} instead of {expected}, which is on record" in text


def test_a_length_that_is_too_large_ends_in_the_file_if_the_digest_agrees(server, tmp_path):
    def boasting(request):
        request.head(200, Content_Length=SIZE + 1000)
        request.body(CONTENT)
        request.cut()

    url = server.at("/a", in_turn(boasting, serving()))
    download(unknown(url, sha256=sha(CONTENT)), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_an_endless_body_ends_at_the_size_on_record(server, tmp_path, monkeypatch):
    url = server.at("/a", endless)
    assert "127.0.0.1 sends more than the 400,000 bytes on record" in refusal(remote(url), tmp_path)
    assert not names(tmp_path), "a file without a digest would be taken for whole by the next run"
    monkeypatch.setattr(partial, "LIMIT", 300_000)
    monkeypatch.setattr(transfer, "LIMIT", 300_000)
    text = refusal(unknown(url), tmp_path / "unknown")
    assert "127.0.0.1 sends more than 0.3 MB, the limit for a file whose size is not on record" in text
    server.at("/a", serving())
    text = refusal(unknown(url), tmp_path / "announced")
    assert "127.0.0.1 announces 400,000 bytes, more than 0.3 MB, the limit" in text


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_is_told_from_the_file(server, tmp_path, kind):
    url = server.at("/a", serving(PAGE, Content_Type=kind))
    assert "127.0.0.1 sent a web page instead of the file (title 'Please sign in & wait')" in refusal(
        remote(url), tmp_path
    )
    assert not names(tmp_path)
    url = server.at("/a", serving(b"<p>\x1b[2J" * 50_000, length=False, Content_Type="text/html"))
    assert "127.0.0.1 sent a web page instead of the file\n" in refusal(remote(url), tmp_path)


def test_a_file_whose_size_is_on_record_is_no_web_page_whatever_its_type(server, tmp_path):
    download(remote(server.at("/a", serving(Content_Type="text/html"))), tmp_path)


def test_the_first_digits_of_a_digest_are_compared_where_no_more_are_on_record(server, tmp_path, capsys):
    url = server.at("/a", serving())
    text = refusal(unknown(url, sha256="0" * 8), tmp_path)
    assert f"sha256 is {sha(CONTENT)} instead of 00000000" in text
    assert names(tmp_path) == []
    download(unknown(url, sha256=sha(CONTENT)[:8]), tmp_path)
    assert "sha256 as on record" in capsys.readouterr().err
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_digests_of_published_data_sets_are_whole():
    datasets = read_config(Path(__file__).parents[1]).datasets.values()
    published = [dataset.source for dataset in datasets if isinstance(dataset.source, PublishedSource)]
    digests = [file.digest for source in published for file in source.remote() if file.digest]
    assert len(digests) > 20
    assert all(len(digest) == {"sha256": 64, "md5": 32}[algorithm] for algorithm, digest in digests)


def test_a_wrong_digest_is_not_kept_and_another_address_is_tried(server, tmp_path, capsys):
    wrong, right = server.at("/a", serving(OTHER)), server.at("/b", serving())
    download(remote(wrong, right), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    said = f"sent a file whose sha256 is {sha(OTHER)} instead of {sha(CONTENT)}, which is on record; trying 127.0.0.1"
    assert said in capsys.readouterr().err
    server.answers["/b"] = serving(OTHER)
    text = refusal(remote(wrong, right), tmp_path / "b")
    assert text.count(f"sha256 is {sha(OTHER)} instead of {sha(CONTENT)}") == 2
    assert not names(tmp_path / "b")


def test_control_characters_of_a_server_reach_no_terminal(server, tmp_path, capsys):
    page = serving(b"<html><title>\x1b[2Jcleared</title>")
    refusal(remote(server.at("/a", page), server.at("/b", page)), tmp_path)
    assert "title '\\x1b[2Jcleared'" in capsys.readouterr().err


# --- other answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [403, 404, 410, 304])
def test_another_address_is_tried(server, tmp_path, capsys, code):
    download(remote(server.at("/a", status(code)), server.at("/b", serving())), tmp_path)
    assert re.search(f"{NAME}: 127.0.0.1 answered {code} [A-Za-z ]+; trying 127.0.0.1\n", capsys.readouterr().err)
    assert len(server.requests) == 2


def test_404_everywhere_is_told_in_two_lines(server, tmp_path):
    urls = [server.at(path, status(404)) for path in ("/a", "/b")]
    assert refusal(remote(*urls), tmp_path) == (
        f"{NAME} was not downloaded: 127.0.0.1 answered 404 Not Found; 127.0.0.1 answered 404 Not Found\n"
        f"run the same command again later, or download {urls[0]} (or {urls[1]}) and put it at {tmp_path / NAME}"
    )


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_busy_server_is_asked_again(server, tmp_path, code):
    download(remote(server.at("/a", in_turn(status(code), status(code), serving()))), tmp_path)
    assert len(server.requests) == 3


def test_a_server_that_stays_busy_is_given_up(server, tmp_path):
    assert "127.0.0.1 answered 503 Service Unavailable, 5 times in a row" in refusal(
        remote(server.at("/a", status(503))), tmp_path
    )


def test_the_wait_that_a_server_asks_for_is_kept(server, tmp_path, capsys):
    download(remote(server.at("/a", in_turn(status(429, Retry_After=1), serving()))), tmp_path)
    assert f"{NAME}: 127.0.0.1 answered 429 Too Many Requests; next attempt in 1 s" in capsys.readouterr().err


def test_a_server_that_asks_to_wait_for_long_is_left_for_another(server, tmp_path, capsys):
    busy = server.at("/a", status(429, Retry_After=7200))
    download(remote(busy, server.at("/b", serving())), tmp_path)
    assert "127.0.0.1 answered 429 Too Many Requests and asks to wait for 2 h 00 min; trying" in capsys.readouterr().err


def test_dates_of_retry_after():
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    assert transfer.retry_after({"Retry-After": "Wed, 21 Oct 2026 07:29:00 GMT", "Date": date}) == 60
    assert transfer.retry_after({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert transfer.retry_after({"Retry-After": "9" * 400}) == 1e9
    assert [transfer.retry_after(headers) for headers in ({}, {"Retry-After": "soon"}, {"Retry-After": "-1"})] == [
        0
    ] * 3


def test_an_address_without_a_server_is_left_for_another(server, tmp_path, capsys):
    with Server() as other:
        gone = other.at("/a", serving())
        other.shutdown()
    download(remote(gone, server.at("/b", serving())), tmp_path)
    assert "127.0.0.1 cannot be reached (Connection refused), 5 times in a row; trying" in capsys.readouterr().err
    text = refusal(remote("http://nowhere.invalid/a"), tmp_path / "b")
    assert "nowhere.invalid cannot be found: there is no such host, or no network, 5 times in a row" in text
    assert "cannot be used (No connection adapters were found" in refusal(remote("file:///etc/passwd"), tmp_path / "b")


def test_redirects_are_followed(server, tmp_path):
    first = server.at("/a", redirecting("/b"))
    server.at("/b", redirecting(server.at("/c", serving())))
    download(remote(first), tmp_path)
    assert [request.path for request in server.requests] == ["/a", "/b", "/c"]
    text = refusal(remote(server.at("/a", redirecting("/a"))), tmp_path / "b")
    assert "127.0.0.1 cannot be used (Exceeded 30 redirects.)" in text


def test_the_body_of_a_redirect_is_not_read(server, tmp_path):
    def talkative(request):
        request.head(302, Location="/b", Connection="close")
        while True:
            request.body(bytes(1 << 14))

    server.at("/b", serving())
    download(remote(server.at("/a", talkative)), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT


# --- addresses that take over from each other ----------------------------------------------------------------------------


def test_another_address_continues_what_is_here_of_a_known_file(server, tmp_path):
    first = server.at("/a", cutting(serving(etag='"a"'), *[100_000] * 99))
    second = server.at("/b", serving(etag='"b"'))
    download(remote(first, second), tmp_path)
    assert server.asked("/b") == [f"bytes=100000-{SIZE - 1}"]
    assert server.requests[-1].headers["If-Range"] is None, "the ETag is of another server"
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_good_address_is_not_blamed_for_the_bytes_of_a_bad_one(server, tmp_path):
    first = server.at("/a", cutting(serving(OTHER), *[100_000] * 99))
    second = server.at("/b", serving())
    download(remote(first, second), tmp_path)
    assert server.asked("/b") == [f"bytes=100000-{SIZE - 1}", None]
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_files_without_a_digest_are_not_joined_from_two_addresses(server, tmp_path):
    first = server.at("/a", cutting(serving(OTHER), *[100_000] * 99))
    second = server.at("/b", status(404))
    refusal(unknown(first, second), tmp_path)
    assert note(tmp_path)["url"] == first, "kept until another address gives the file"
    server.at("/b", serving())
    download(unknown(second, first), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert server.asked("/b") == [None, None]


def test_what_is_here_is_continued_from_its_own_address_first(server, tmp_path):
    first, second = server.at("/a", status(404)), server.at("/b", cutting(serving(), *[100_000] * 99))
    refusal(unknown(first, second), tmp_path)
    server.at("/b", serving())
    server.at("/a", serving(OTHER))
    download(unknown(first, second), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert server.sent == SIZE


# --- several connections ------------------------------------------------------------------------------------------------


@pytest.fixture
def pieces(monkeypatch):
    monkeypatch.setattr(partial, "PIECE", 10_000)


@pytest.mark.parametrize("facts", [{}, {"bytes": None}], ids=["size known", "size unknown"])
def test_several_connections_share_a_file(server, tmp_path, pieces, facts):
    together = threading.Barrier(4)

    def answer(request):
        def slowly(content, body=request.body):
            body(content[:1000])
            if len(server.requests) <= 4:
                together.wait(10)  # until all four are here
            body(content[1000:])

        request.body = slowly
        serving()(request)

    download(remote(server.at("/a", answer), connections=4, **facts), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert not together.broken
    assert server.asked("/a")[0] is None, (
        "the first connection asks for the whole; the others take halves of what is left"
    )


def test_several_connections_that_are_all_cut_all_the_time(server, tmp_path, pieces):
    def answer(request):
        start = int(re.match(r"bytes=(\d+)", request.headers.get("Range", "bytes=0"))[1])
        serving()(request, start + 7000)

    download(remote(server.at("/a", answer), connections=4), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [False, "lie", 1], ids=["not offered", "offered, not kept", "kept, not offered"])
def test_one_connection_is_used_where_ranges_are_not_answered(server, tmp_path, pieces, ranges):
    answer = serving(ranges=False, Accept_Ranges="bytes") if ranges == "lie" else serving(ranges=ranges)
    download(remote(server.at("/a", answer), connections=4), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_server_that_refuses_more_connections_still_serves_the_first(server, tmp_path, pieces):
    refused = threading.Event()

    def answer(request):
        if request.number > 1 and not refused.is_set():
            status(403)(request)
            if request.number == 4:
                refused.set()
            return
        body = request.body
        request.body = lambda content: (body(content[:1000]), refused.wait(10), body(content[1000:]))
        serving()(request)

    download(remote(server.at("/a", answer), connections=4), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT


# --- kills --------------------------------------------------------------------------------------------------------------

CODE = """
import errno, fcntl, sys
from pathlib import Path
from sslpairs.config.remote import RemoteFile
from sslpairs.data import partial, transfer
from sslpairs.data.download import download
from sslpairs.errors import stop, UserError
transfer.SAVING, partial.PIECE = 0.01, 10_000
if "lockless" in sys.argv:
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")
    fcntl.flock = flock
try:
    download(RemoteFile({name!r}, ({url!r},), {size}, {digest!r}, connections=1 + 3 * ("several" in sys.argv)), Path(sys.argv[1]))
except UserError as error:
    stop(error)
"""


@pytest.fixture
def start():
    """Starts a process that downloads."""
    processes = []

    def start(url: str, folder: Path, *words: str, stderr=subprocess.PIPE) -> subprocess.Popen:
        code = CODE.format(name=NAME, url=url, size=SIZE, digest=sha(CONTENT))
        # where this runs in the background of a shell, SIGINT would be ignored
        heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        command = [sys.executable, "-c", heard + code, str(folder), *words]
        processes.append(subprocess.Popen(command, stderr=stderr, text=stderr == subprocess.PIPE))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


def noted(folder: Path, start: int):
    """Whether everything up to a byte is on record as being here."""

    def found() -> bool:
        try:
            return (
                next(folder.glob("*.json")).exists()
                and start == next(iter(json.loads(next(folder.glob("*.json")).read_text())["missing"]))[0]
            )
        except (StopIteration, FileNotFoundError):
            return False

    return found


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("lockless",)], ids=["locks", "no locks"])
def test_killed_again_and_again_nothing_is_transferred_twice(server, tmp_path, start, words):
    gate = Gate()
    url = server.at("/a", gate)
    for stop in (1, 150_000, SIZE - 1):
        gate.close(stop)
        process = start(url, tmp_path, *words)
        until(noted(tmp_path, stop))
        process.kill()
        process.wait()
        assert (tmp_path / NAME).exists() is False
    gate.close(SIZE)
    gate.opened.set()
    process = start(url, tmp_path, *words)
    assert process.wait() == 0, process.stderr.read()
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert server.sent == SIZE
    assert names(tmp_path) == [NAME]


def test_killed_with_several_connections_the_bytes_of_all_are_kept(server, tmp_path, start):
    opened = threading.Event()

    def answer(request):
        body = request.body

        def slowly(content):
            body(content[:20_000])
            if not opened.is_set():
                opened.wait(20)
                return request.cut()
            body(content[20_000:])

        request.body = slowly
        serving()(request)

    url = server.at("/a", answer)
    process = start(url, tmp_path, "several")
    until(
        lambda: (
            (tmp_path / f"{NAME}.part.json").exists() and sum(b - a for a, b in note(tmp_path)["missing"]) == 320_000
        )
    )
    process.kill()
    process.wait()
    opened.set()
    server.requests.clear()
    process = start(url, tmp_path, "several")
    assert process.wait() == 0, process.stderr.read()
    assert "0.1 MB of 0.4 MB are here; downloading the rest" in process.stderr.read()
    assert not {None, f"bytes=0-{SIZE - 1}"} & set(server.asked("/a"))
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.slow
def test_killed_at_every_change_of_a_file_the_next_run_completes_it(server, tmp_path, monkeypatch):
    import requests

    assert requests.__version__, "imported before the process is forked"
    monkeypatch.setattr(transfer, "SAVING", 0.0)
    file = remote(server.at("/a", cutting(serving(), 100_000, 100_000)))
    moments = 0
    for _ in every_moment(lambda: download(file, tmp_path), lambda: server.requests.clear()):
        moments += 1
        download(file, tmp_path)
        assert (tmp_path / NAME).read_bytes() == CONTENT
        assert set(names(tmp_path)) <= {NAME, f"{NAME}.lock", f"{NAME}.part.json"}, "empty, or of no harm"
        (tmp_path / NAME).unlink()
    assert moments >= 8


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_signal_it_says_that_it_continues(server, tmp_path, start, number):
    gate = Gate()
    url = server.at("/a", gate)
    gate.close(150_000)
    process = start(url, tmp_path)
    until(noted(tmp_path, 150_000))
    process.send_signal(number)
    assert process.wait(20) == (143 if number == signal.SIGTERM else -signal.SIGINT)
    assert f"{NAME}: stopped; 0.1 MB of 0.4 MB are kept; the same command continues\n" in process.stderr.read()
    assert note(tmp_path)["missing"] == [[150_000, SIZE]]
    assert note(tmp_path)["writer"] is None
    assert names(tmp_path) == [f"{NAME}.part", f"{NAME}.part.json"]
    gate.close(SIZE)
    gate.opened.set()
    download(remote(url), tmp_path)
    assert server.sent == SIZE


# --- several processes ------------------------------------------------------------------------------------------------------


def test_two_processes_download_once(server, tmp_path, start):
    gate = Gate()
    url = server.at("/a", gate)
    gate.close(150_000)
    first = start(url, tmp_path)
    assert gate.reached.wait(20)
    second = start(url, tmp_path)
    assert second.stderr.readline() == f"{NAME}: waiting for another process that downloads it\n"
    gate.opened.set()
    assert (first.wait(), second.wait()) == (0, 0)
    assert len(server.requests) == 1
    assert names(tmp_path) == [NAME]


def test_two_processes_without_locks_do_not_touch_each_others_part(server, tmp_path, start):
    gate = Gate()
    url = server.at("/a", gate)
    gate.close(150_000)
    both = [start(url, tmp_path, "lockless") for _ in range(2)]
    until(lambda: len(list(tmp_path.glob("*.json"))) == 2)
    parts = {f"{NAME}.part.{platform.node()}-{process.pid}" for process in both}
    assert parts <= set(names(tmp_path))
    gate.opened.set()
    assert [process.wait() for process in both] == [0, 0]
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert names(tmp_path) == [NAME]


def test_a_part_that_another_machine_writes_is_left_alone_until_it_falls_silent(server, tmp_path):
    url = server.at("/a", cutting(serving(), *[100_000] * 99))
    refusal(remote(url), tmp_path)
    part, record = tmp_path / f"{NAME}.part", tmp_path / f"{NAME}.part.json"
    record.write_text(json.dumps(note(tmp_path) | {"writer": "elsewhere-1"}))
    server.at("/a", serving())
    server.requests.clear()
    download(remote(url), tmp_path)
    assert server.asked("/a") == [None]
    assert part.exists()
    (tmp_path / NAME).unlink()
    for path in (part, record):
        os.utime(path, (time.time() - 100,) * 2)
    download(remote(url), tmp_path)
    assert server.asked("/a")[1:] == [f"bytes=100000-{SIZE - 1}"]
    assert names(tmp_path) == [NAME]


# --- the disk -----------------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_told_and_the_part_is_kept(server, tmp_path, monkeypatch):
    write = os.pwrite

    def full(handle, block, at):
        if at + len(block) > 100_000:
            if at == 100_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            block = block[: 100_000 - at]
        return write(handle, block, at)

    monkeypatch.setattr(os, "pwrite", full)
    url = server.at("/a", serving())
    assert refusal(remote(url), tmp_path) == (
        f"{tmp_path / NAME}.part: cannot be written (No space left on device); make room there, then run the same command again"
    )
    assert note(tmp_path)["missing"] == [[100_000, SIZE]]
    monkeypatch.undo()
    download(remote(url), tmp_path)
    assert server.asked("/a") == [None, f"bytes=100000-{SIZE - 1}"]


def test_a_disk_without_room_is_told_before_a_byte_is_written(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(partial.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 100_000))
    url = server.at("/a", serving())
    assert refusal(remote(url), tmp_path) == (
        f"{tmp_path / NAME}.part: 0.4 MB more are needed, but only 0.1 MB are free there; make room, then run the same command again"
    )


def test_a_folder_that_cannot_be_made_is_told(server, tmp_path):
    (tmp_path / "file").touch()
    assert "cannot be" in refusal(remote(server.at("/a", serving())), tmp_path / "file")


# --- the way --------------------------------------------------------------------------------------------------------------------


def test_a_proxy_is_taken_from_the_environment(server, tmp_path, monkeypatch):
    server.at("http://files.example/a", serving())
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    download(remote("http://files.example/a"), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    text = refusal(remote("http://files.example/a"), tmp_path / "b")
    assert "files.example cannot be reached through the proxy (Connection refused), 5 times in a row" in text


@pytest.fixture
def secure(tmp_path_factory):
    """A server of https, and the file with its certificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
    builder = builder.add_extension(address, False).add_extension(x509.BasicConstraints(True, None), True)
    path = tmp_path_factory.mktemp("certificate") / "certificate.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + builder.sign(key, hashes.SHA256()).public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with Server() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.scheme = "https"
        yield server, path
        server.shutdown()


def test_certificates_are_checked_and_others_are_taken_from_the_environment(secure, tmp_path, monkeypatch):
    server, path = secure
    url = server.at("/a", serving())
    text = refusal(remote(url), tmp_path)
    assert "127.0.0.1 has no certificate that is trusted here" in text
    assert "REQUESTS_CA_BUNDLE names a file of others to trust" in text
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    download(remote(url), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_https_never_becomes_http(secure, server, tmp_path, monkeypatch):
    safe, path = secure
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    target = server.at("/b", serving())
    text = refusal(remote(safe.at("/a", redirecting(target))), tmp_path)
    assert f"127.0.0.1 redirects from https to {target}, where anybody on the way could change the file" in text
    assert not server.requests
    download(remote(server.at("/c", redirecting(safe.at("/d", serving())))), tmp_path)


# --- progress -------------------------------------------------------------------------------------------------------------------


def test_lines_of_progress(capsys, monkeypatch):
    clock = iter([0, 5, 10, 12, 20, 30, 40])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.amount("a") as show:
        for done in (40_000_000, 50_000_000, 50_000_000, 50_500_000):
            show(done, 170_000_000)
        show(60_000_000, None)
        show(60_000_000, 170_000_000)
    assert capsys.readouterr().err.splitlines() == [
        "a: 50.0 MB of 170.0 MB, 1.0 MB/s, 2 min left",
        "a: 50.5 MB of 170.0 MB, 50 kB/s, 40 min left",
        "a: 60.0 MB, 950 kB/s",
        "a: 60.0 MB of 170.0 MB, 0 kB/s",
    ]


def test_a_terminal_shows_a_bar(server, tmp_path, start):
    gate = Gate()
    url = server.at("/a", gate)
    gate.close(150_000)
    terminal, side = pty.openpty()
    process = start(url, tmp_path, stderr=side)
    os.close(side)
    said = b""
    while b"/400.0 kB" not in said:
        said += os.read(terminal, 1000)
    gate.opened.set()
    with contextlib.suppress(OSError):  # the terminal is closed by the end of the process
        while block := os.read(terminal, 1000):
            said += block
    os.close(terminal)
    assert process.wait() == 0
    assert f"{NAME}: downloading 0.4 MB from 127.0.0.1".encode() in said
    assert f"{NAME}: 0.4 MB, sha256 as on record".encode() in said


def test_large_files_are_checked_with_progress(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "LARGE", 1000)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    download(remote(server.at("/a", serving())), tmp_path)
    assert f"{NAME} (sha256): 0.4 MB of 0.4 MB" in capsys.readouterr().err
