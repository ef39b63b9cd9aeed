"""What users put into folders and archives: pixels of every kind, names of every kind, and files that fill a memory or hang."""

import bz2
import gzip
import io
import lzma
import os
import random
import socket
import struct
import tarfile
import unicodedata
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_data import files, folder, png, read, refusal, write

from sslpairs.data import archives, decoding
from sslpairs.data.decoding import MAX_BYTES, MAX_PIXELS, decode
from sslpairs.data.names import shown
from sslpairs.data.prepare import prepare
from sslpairs.errors import UserError

# --- pixels -----------------------------------------------------------------------------------------------------------


def tiff(pixels: bytes, bits: tuple[int, ...], side: int = 8, **tags: int) -> bytes:
    """An uncompressed little-endian TIFF; ``tags`` by number, such as ``t262=0`` (photometric interpretation)."""
    facts = {256: side, 257: side, 258: bits, 259: 1, 262: 1, 273: 8, 277: len(bits), 278: side, 279: len(pixels)}
    facts |= {int(tag[1:]): value for tag, value in tags.items()}
    directory, more = b"", b""
    after = 8 + len(pixels) + 2 + 12 * len(facts) + 4
    for tag, value in sorted(facts.items()):
        values = value if isinstance(value, tuple) else (value,)
        content = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            content, more = struct.pack("<I", after + len(more)), more + content
        directory += struct.pack("<HHI", tag, 4, len(values)) + content
    header = b"II*\0" + struct.pack("<I", 8 + len(pixels))
    return header + pixels + struct.pack("<H", len(facts)) + directory + bytes(4) + more


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (tiff(np.arange(64, dtype="<u4").tobytes(), (32,)), "its pixels have 32 bits, and their range is unknown"),
        (tiff(np.arange(64, dtype="<i4").tobytes(), (32,), t339=2), "its pixels have 32 bits"),
        (tiff(np.arange(64, dtype="<f4").tobytes(), (32,), t339=3), "its pixels are fractions, whose range is unknown"),
        (tiff(bytes(96), (12,)), "its pixels have 12 bits, and their range is unknown"),
        (tiff(bytes(128), (16,), t339=2), "its pixels are signed numbers, whose range is unknown"),
        (tiff(bytes(64), (8,), t339=2), "its pixels are signed numbers"),
        (tiff(bytes(128), (16,), t262=0), "its pixels have 16 bits, and 0 is white"),
    ],
    ids=["u32", "i32", "f32", "u12", "i16", "i8", "u16 inverted"],
)
def test_pixels_of_unknown_range_are_refused_with_the_remedy(tmp_path, data, said):
    write(tmp_path / "raw", files() | {"train/cat/9.tif": data})
    text = refusal(tmp_path, folder("raw"))
    assert f"raw: train/cat/9.tif cannot be read as an image ({said}" in text
    assert "save it with 8 bits per channel, or with unsigned 16 bits); replace it or remove it" in text


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP.T], 2)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (tiff(RAMP.tobytes(), (8,)), RAMP),
        (tiff((255 - RAMP).tobytes(), (8,), t262=0), RAMP),
        (tiff((RAMP.astype("<u2") * 257).tobytes(), (16,)), RAMP),
        (saved(Image.fromarray(RAMP.astype(np.uint16) * 257), "PPM"), RAMP),
        (saved(Image.fromarray(RAMP.astype(">u2") * 257), "TIFF"), RAMP),
        (saved(Image.fromarray(RAMP > 100), "PNG"), (RAMP > 100) * 255),
        (saved(Image.fromarray(RAMP > 100), "TIFF"), (RAMP > 100) * 255),
        (tiff(COLOURS.tobytes(), (8, 8, 8), t262=2), COLOURS),
        (tiff((COLOURS.astype("<u2") * 257).tobytes(), (16, 16, 16), t262=2), COLOURS),
        (saved(Image.fromarray(np.dstack([255 - COLOURS, 0 * RAMP])).copy(), "PNG"), COLOURS * 0 + 255),
    ],
    ids=["L", "L inverted", "u16", "PGM 16", "u16 big-endian", "1", "1 TIFF", "RGB", "RGB 16", "RGBA clear"],
)
def test_pixels_of_every_other_kind_are_what_they_are(data, expected):
    expected = np.broadcast_to(np.atleast_3d(expected), (8, 8, 3))
    assert np.array_equal(decode(data, 8, 3).transpose(1, 2, 0), expected)


def test_colour_spaces_become_what_colour_management_says(tmp_path):
    """LAB could not become grey, and premultiplied grey could not be read."""
    lab = saved(Image.new("LAB", (8, 8), (128, 128, 128)), "TIFF")
    for channels in (1, 3):
        assert np.abs(decode(lab, 8, channels).astype(int) - 119).max() <= 1  # L* = 50.2 in sRGB
    ycbcr = saved(Image.new("RGB", (8, 8), (200, 100, 50)).convert("YCbCr"), "TIFF")
    assert np.abs(decode(ycbcr, 8, 3)[:, 0, 0].astype(int) - [200, 100, 50]).max() <= 2
    half = tiff(bytes([64, 128] * 64), (8, 8), t338=1)  # premultiplied: 64 of 128
    assert np.abs(decode(half, 8, 3).astype(int) - 191).max() <= 1  # half of grey 128, over white
    half = tiff(bytes([128, 128] * 64), (8, 8), t338=2)
    assert np.abs(decode(half, 8, 3).astype(int) - 191).max() <= 1


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(width: int, height: int, depth: int, colour: int, rows: bytes, clear: bytes = b"") -> bytes:
    """``rows`` are packed pixels, each row after a zero byte; ``clear`` is the colour that is transparent."""
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return start + (chunk(b"tRNS", clear) if clear else b"") + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("depth", "colour", "row", "clear", "expected"),
    [
        (1, 0, b"\xf0", b"\0\0", [255, 255]),
        (2, 0, b"\x55\xaa", b"\0\1", [255, 170]),
        (4, 0, b"\x33" * 2 + b"\x44" * 2, b"\0\3", [255, 68]),
        (8, 0, b"\x33" * 4 + b"\x44" * 4, b"\0\x33", [255, 0x44]),
        (16, 0, b"\x33\x33" * 4 + b"\x44\x44" * 4, b"\x33\x33", [255, 0x44]),
        (8, 2, b"\x33" * 12 + b"\x44" * 12, b"\0\x33" * 3, [255, 0x44]),
        (16, 2, b"\x33\x33" * 12 + b"\x44\x44" * 12, b"\x33\x33" * 3, [255, 0x44]),
    ],
)
def test_a_transparent_colour_becomes_white_at_every_depth(depth, colour, row, clear, expected):
    data = raw_png(8, 8, depth, colour, (b"\0" + row) * 8, clear)
    found = decode(data, 8, 3)
    assert found[:, 0, [0, 7]].tolist() == [expected] * 3


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_a_very_thin_image_is_cropped_before_it_is_resized(monkeypatch):
    sizes = []
    inner = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda *a, **k: sizes.append(a[1]) or inner(*a, **k))
    thin = raw_png(1, 60_000, 8, 0, _rows(60_000))
    assert decode(thin, 512, 1).shape == (1, 512, 512)
    assert sizes == [(512, 512 * 64)]
    sizes.clear()
    lying = saved(Image.open(io.BytesIO(thin)).transpose(Image.Transpose.ROTATE_90), "PNG")
    assert decode(lying, 8, 1).shape == (1, 8, 8)
    assert sizes == [(8 * 64, 8)]
    # The same pixels as when the whole image is resized.
    short = raw_png(1, 700, 8, 0, _rows(700))
    cropped = decode(short, 16, 1)
    monkeypatch.setattr(decoding, "LONGEST", 700)
    assert np.array_equal(decode(short, 16, 1), cropped)
    assert sizes[-2:] == [(16, 16 * 64), (16, 16 * 700)]


def _rows(count: int) -> bytes:
    return b"".join(b"\0" + bytes([value]) for value in random.Random(0).randbytes(count))


def test_an_image_with_too_many_pixels_is_refused_and_a_large_one_warns_of_nothing(tmp_path):
    assert Image.MAX_IMAGE_PIXELS * 2 == MAX_PIXELS
    bomb = raw_png(20_000, 20_000, 1, 0, b"")  # never decoded: the header says it
    write(tmp_path / "raw", files() | {"train/cat/9.png": bomb})
    text = refusal(tmp_path, folder("raw"))
    assert "train/cat/9.png cannot be read as an image (it has more than 178,956,970 pixels: make it smaller)" in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"truncated|broken"):
            decode(raw_png(9_500, 9_500, 1, 0, b""), 8, 3)  # Pillow itself would warn


def test_no_warning_of_a_library_reaches_the_user():
    exif = Image.Exif()
    exif[0x0112] = 1
    whole = saved(Image.new("RGB", (8, 8), "red"), "JPEG", exif=exif)
    corrupt = whole.replace(b"II*\0\x08\0\0\0\x01\0", b"II*\0\x08\0\0\0\xff\0").replace(
        b"MM\0*\0\0\0\x08\0\x01", b"MM\0*\0\0\0\x08\0\xff"
    )
    assert corrupt != whole
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        decode(corrupt, 8, 3)
    assert caught == []


def test_a_file_that_is_larger_than_any_image_is_refused_before_it_is_read(tmp_path):
    write(tmp_path / "raw", files())
    with open(tmp_path / "raw/train/cat/9.png", "wb") as file:
        file.truncate(8 << 30)
    text = refusal(tmp_path, folder("raw"))
    assert "raw: train/cat/9.png has 8.6 GB; an image file may have at most 1.1 GB; replace it or remove it" in text


@pytest.mark.parametrize("kind", [".tar", ".tar.gz", ".zip"])
@pytest.mark.parametrize("storage", ["arrays", "files"])
def test_a_member_of_an_archive_that_is_larger_than_any_image_is_refused(tmp_path, monkeypatch, kind, storage):
    monkeypatch.setattr(archives, "MAX_BYTES", 3 << 20)
    path = write(tmp_path / f"raw{kind}", files() | {"train/cat/9.png": bytes(3 << 20)})
    with pytest.raises(UserError, match=r"train/cat/9\.png cannot be read as an image \(unknown format\)"):
        prepare("small", folder(path, storage=storage), tmp_path)
    path = write(tmp_path / f"raw{kind}", files() | {"train/cat/9.png": bytes((3 << 20) + 1)})
    said = r"train/cat/9\.png has 3\.1 MB; an image file may have at most 3\.1 MB; replace it or remove it"
    with pytest.raises(UserError, match=said):
        prepare("small", folder(path, storage=storage), tmp_path)


@pytest.mark.parametrize("kind", [".tar", ".tar.gz", ".zip"])
def test_a_list_in_an_archive_is_bounded_like_an_image_and_junk_is_never_asked_for(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archives, "MAX_BYTES", 3 << 20)
    content = {"._a.txt": b"", "__MACOSX/a.txt": b"", "a.txt": b"short", "b.txt": bytes((3 << 20) + 1)}
    path = write(tmp_path / f"raw{kind}", content)
    asked = []
    found = list(archives.members("raw", path, lambda name: asked.append(name) or name == "a.txt"))
    assert [(member.name, member.data) for member in found] == [("a.txt", b"short"), ("b.txt", None)]
    assert asked == ["a.txt", "b.txt"]
    with pytest.raises(UserError, match=r"raw: b\.txt has 3\.1 MB"):
        list(archives.members("raw", path, {"b.txt"}))


def test_a_member_that_claims_gigabytes_is_refused_by_its_header(tmp_path):
    assert MAX_BYTES == 1 << 30
    path = tmp_path / "raw.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in files().items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        info = tarfile.TarInfo("train/cat/9.png")
        info.size = 3 << 30
        archive.addfile(info)
        archive.fileobj.truncate(archive.fileobj.tell() + (3 << 30))  # zeros that take no room
        archive.fileobj.seek(0, os.SEEK_END)
        archive.offset = archive.fileobj.tell()
    assert "train/cat/9.png has 3.2 GB; an image file may have at most 1.1 GB" in refusal(tmp_path, folder(path))


def test_a_tar_whose_descriptions_fill_the_memory_is_refused(tmp_path):
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, 4 << 30
        with open(tmp_path / "raw.tar", "wb") as file:
            file.write(info.tobuf(tarfile.USTAR_FORMAT))
            file.truncate(8 << 30)
        assert "raw.tar is damaged or cut off (4.3 GB of text describe one of its files)" in refusal(
            tmp_path, folder("raw.tar")
        )


@pytest.mark.parametrize("kind", ["", ".tar", ".zip"])
def test_a_memory_that_is_too_small_is_told(tmp_path, monkeypatch, kind):
    path = write(tmp_path / f"raw{kind}", files())

    def full(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(archives, "_check_size", full)
        assert "cannot be read: this machine's memory is too small for one of its files" in refusal(
            tmp_path, folder(path)
        )
    monkeypatch.setattr(decoding, "_eight_bits", full)
    assert "cannot be read as an image (this machine's memory is too small for it)" in refusal(tmp_path, folder(path))


# --- special files and links ------------------------------------------------------------------------------------------


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path has at most 108 bytes
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize("make", [pipe, listening, lambda path: path.symlink_to("/dev/zero")])
def test_pipes_sockets_and_devices_are_named_and_never_opened(tmp_path, make):
    make(tmp_path / "raw.tar")
    for sha256 in (None, "0" * 64):
        assert "raw.tar is a pipe, a socket or a device; give a folder or an archive as 'path'" in refusal(
            tmp_path, folder("raw.tar", sha256=sha256)
        )
    for place in ("train/cat/9.png", "train/fox", "test/cat/note.txt"):
        root = tmp_path / place.replace("/", "-")
        make(write(root, files()) / place)
        text = refusal(tmp_path, folder(root))
        assert f"{place} is a pipe, a socket or a device; put the " in text


def test_links_that_lead_nowhere_or_in_a_circle_are_named(tmp_path):
    for place, what in (("train/cat/9.png", "image"), ("train/fox", "folder"), ("val", "folder")):
        for target, said in (
            ("gone", "is a link to gone, which does not exist"),
            (None, "is a circular link"),
        ):
            root = write(tmp_path / f"{place.replace('/', '-')}-{target}", files())
            (root / place).symlink_to(target or root / place)
            text = refusal(tmp_path, folder(root))
            assert f"{root}: {place} {said}" in text
            assert f"; put the {what} itself there, or remove it" in text
    (tmp_path / "gone.tar").symlink_to(tmp_path / "absent")
    assert f"(it is a link to {tmp_path}/absent); put the data there" in refusal(tmp_path, folder("gone.tar"))
    (tmp_path / "circle.tar").symlink_to("circle.tar")
    assert "circle.tar cannot be read (Too many levels of symbolic links); correct" in refusal(
        tmp_path, folder("circle.tar")
    )


def test_a_class_that_is_a_link_in_an_archive_is_not_left_out(tmp_path):
    path = write(tmp_path / "raw.tar", files())
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo("train/fox")
        info.type, info.linkname = tarfile.SYMTYPE, "dog"
        archive.addfile(info)
    assert "train/fox is a link or a special file; put the folder itself there" in refusal(tmp_path, folder(path))


@pytest.mark.parametrize("path", ["~nobody-of-this-name/x.tar", "x" * 300 + ".tar", "a\0b.tar"])
def test_paths_that_no_file_can_have_are_told(tmp_path, path):
    text = refusal(tmp_path, folder(path))
    assert "config/datasets.yaml" in text
    assert text.isprintable()


# --- names ------------------------------------------------------------------------------------------------------------


def test_names_are_shown_on_one_line_of_printable_characters():
    assert shown("Kätzchen 猫 'a'") == "Kätzchen 猫 'a'"
    assert shown("K\udce4tzchen") == r"K\xe4tzchen"
    assert shown("a\nb\x1b[31m\u202e\u2028") == r"a\nb\x1b[31m\u202e\u2028"


def renamed(content: dict, old: str, new: str) -> dict:
    return {name.replace(old, new): data for name, data in content.items()}


@pytest.mark.parametrize("kind", ["", ".tar", ".tar.gz"])
@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("K\udce4tzchen", r"K\xe4tzchen is not UTF-8; rename that folder"),
        ("a\nb", r"a\nb has a control character or a line break; rename that folder"),
        ("a\x1b[2J", r"a\x1b[2J has a control character"),
    ],
)
def test_a_class_that_no_receipt_can_name_is_told_before_any_image_is_decoded(tmp_path, monkeypatch, kind, word, said):
    monkeypatch.setattr("sslpairs.data.packs.decode", None)
    path = write(tmp_path / f"raw{kind}", renamed(files(), "/cat/", f"/{word}/"))
    text = refusal(tmp_path, folder(path))
    assert f"the name of the class train/{said}" in text
    assert text.isprintable()


@pytest.mark.parametrize("kind", ["", ".tar", ".zip"])
@pytest.mark.parametrize("word", ["\udce4", "Icon\r", "a\nb"])
@pytest.mark.parametrize("place", ["train/cat/{}", "train/cat/{}.png", "train/{}.png", "train/cat/{}/"])
def test_errors_show_names_of_files_of_any_kind_on_one_line(tmp_path, kind, word, place):
    if kind == ".zip" and word == "\udce4":
        word = "\x80"  # zipfile writes no others
    content = files() | {place.format(word): b"" if place.endswith("/") else b"no image"}
    text = refusal(tmp_path, folder(write(tmp_path / f"raw{kind}", content)))
    assert text.isprintable()
    assert place.format(shown(word)).rstrip("/") in text


def test_a_file_whose_name_is_not_utf_8_is_an_image_like_others(tmp_path):
    content = renamed(files(), "/2.png", "/\udce4.png")
    assert prepare("odd", folder(write(tmp_path / "odd", content)), tmp_path)["counts"] == {"train": 6, "test": 4}
    assert prepare("tar", folder(write(tmp_path / "odd.tar", content)), tmp_path)["counts"]["train"] == 6


NFC, NFD = (unicodedata.normalize(form, "Kätzchen é") for form in ("NFC", "NFD"))


@pytest.mark.parametrize("storage", ["arrays", "files"])
def test_accents_have_one_spelling_in_classes_and_content(tmp_path, monkeypatch, storage):
    """As macOS and others write them: train and test match, and one data set has one content hash."""
    monkeypatch.setenv("SSLPAIRS_WORKERS", "0")
    content = renamed(files(), "/cat/", f"/{NFC}/") | {
        f"test/{NFC}/zoé.png": png("e"),
        f"test/{NFC}/zoé1.png": png("1"),
    }
    content |= {f"test/{NFC}/{unicodedata.normalize('NFC', 'é')}.png": png("2"), f"test/{NFC}/f.png": png("3")}
    other = {unicodedata.normalize("NFD", name): data for name, data in content.items()}
    mixed = {name: data for name, data in content.items() if name.startswith("train")}
    mixed |= {name: data for name, data in other.items() if name.startswith("test")}
    found = set()
    for number, names in enumerate((content, other, mixed)):
        for kind in ("", ".tar", ".zip"):
            path = write(tmp_path / f"raw{number}{kind}", names)
            receipt = prepare("small", folder(path, storage=storage), tmp_path)
            assert receipt["classes"] == [NFC, "dog"]
            found.add(receipt["content"])
    assert len(found) == 1


def test_two_folders_for_one_class_are_told_apart_in_words(tmp_path):
    path = write(tmp_path / "raw", files() | {f"train/{c}/0.png": png(1) for c in (NFC, NFD)})
    text = refusal(tmp_path, folder(path))
    assert f"train/ has two folders for the class '{NFC}', whose accents are written in two ways (" in text
    assert r"(Ka\u0308tzchen e\u0301, K\xe4tzchen \xe9); put their images into one" in text


def test_a_suggestion_that_looks_the_same_is_spelt_out(tmp_path):
    path = write(tmp_path / "raw", files() | {"test/d\u043eg/0.png": png(1)})  # a Cyrillic o
    assert r" (d\u043eg) is in test/ but not in train/; did you mean 'dog'?" in refusal(tmp_path, folder(path))


def test_names_in_zips_are_utf_8_also_where_the_zip_does_not_say_so(tmp_path):
    """Finder and Info-ZIP leave the flag out."""
    content = renamed(files(), "/cat/", f"/{NFC}/")
    path = write(tmp_path / "raw.zip", content)
    whole = path.read_bytes()
    for header, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        parts = whole.split(header)
        whole = header.join(parts[:1] + [part[: at - 4] + b"\0\0" + part[at - 2 :] for part in parts[1:]])
    path.write_bytes(whole)
    with zipfile.ZipFile(path) as archive:
        assert not any(info.flag_bits for info in archive.infolist())
    assert read("small", folder(path), tmp_path)[1] == [NFC, "dog"]


# --- archives ---------------------------------------------------------------------------------------------------------


def test_what_an_archive_is_its_content_decides(tmp_path):
    whole = read("small", folder(write(tmp_path / "raw", files())), tmp_path)[0]["train"][0]
    write(tmp_path / "plain.tar", files())
    plain = (tmp_path / "plain.tar").read_bytes()
    write(tmp_path / "packed.zip", files())
    for name, content in (
        ("gzip.tar", gzip.compress(plain)),
        ("xz.tar.gz", lzma.compress(plain)),
        ("bz2.tgz", bz2.compress(plain)),
        ("unpacked.tar.gz", plain),
        ("tar.zip", plain),
        ("gz.zip", gzip.compress(plain)),
        ("zip.tar.xz", (tmp_path / "packed.zip").read_bytes()),
        ("program.zip", b"a program" + (tmp_path / "packed.zip").read_bytes()),
    ):
        (tmp_path / name).write_bytes(content)
        assert np.array_equal(read("small", folder(name), tmp_path)[0]["train"][0], whole), name


def test_a_zip_with_backslashes_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        for name, data in files().items():
            info = zipfile.ZipInfo()
            info.filename = info.orig_filename = "set\\" + name.replace("/", "\\")
            archive.writestr(info, data)
        archive.writestr("set\\", b"")
    whole = read("small", folder(write(tmp_path / "raw", files())), tmp_path)[0]["train"][0]
    assert np.array_equal(read("small", folder("raw.zip"), tmp_path)[0]["train"][0], whole)


def test_a_single_class_is_told(tmp_path, capsys):
    content = {name: data for name, data in files().items() if "cat" in name}
    read("small", folder(write(tmp_path / "raw", content)), tmp_path)
    assert (
        f"warning: data set 'small': {tmp_path}/raw has only one class, 'cat': every accuracy will be 100 % and mean nothing"
        in capsys.readouterr().err
    )


def test_ascii_names_have_the_content_hash_that_they_always_had(tmp_path):
    """As computed before accents had one spelling: runs are named after it."""
    receipt = prepare("small", folder(write(tmp_path / "raw.tar.gz", files())), tmp_path)
    assert receipt["content"] == "19048b9437c8689b28751e46ff7fd5aea3c8754cb396b183c65961a1cf6dbe99"
