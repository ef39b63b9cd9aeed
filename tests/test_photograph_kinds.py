"""FGVC-Aircraft, Flowers-102, Oxford-IIIT Pet, DTD, Food-101 and CUB-200-2011 in all their forms, made small."""

import hashlib
import io
import json
import random
import shutil
import tarfile
from dataclasses import replace
from importlib import import_module
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from scipy.io import savemat
from test_data import write

from sslpairs.config.datasets import DatasetSettings
from sslpairs.config.sources import SOURCES
from sslpairs.data import photographs
from sslpairs.data.decoding import decode
from sslpairs.data.prepare import prepare
from sslpairs.errors import UserError

Files = dict[str, bytes]


def jpg(seed: str, kind: str = "JPEG") -> bytes:
    """A picture of random pixels, wider than high."""
    file = io.BytesIO()
    Image.frombytes("RGB", (14, 11), random.Random(seed).randbytes(14 * 11 * 3)).save(file, kind)
    return file.getvalue()


def mat(**arrays) -> bytes:
    file = io.BytesIO()
    savemat(file, arrays)
    return file.getvalue()


# What each kind needs: the files of its folder, the expected images, and how they are packed. Names have one order, numbers another.


def aircraft() -> tuple[Files, dict]:
    classes = {
        "variant": ["707-320", "F-16A/B", "F/A-18"],
        "family": ["Boeing 707", "F-16"],
        "manufacturer": ["A b", "Boeing"],
    }
    parts = {
        "train": ["2000001", "1000002", "0000003"],
        "val": ["0500004", "0400005", "0300006"],
        "test": ["7000007", "6000008", "5000009"],
    }
    content = {f"images/{n}.jpg": jpg(n) for part in parts.values() for n in part} | {
        "images_box.txt": b"2000001 1 1 5 5\n"
    }
    for level, names in classes.items():
        plural = {"variant": "variants", "family": "families", "manufacturer": "manufacturers"}[level]
        content[f"{plural}.txt"] = "\n".join(names).encode() + b"\n"
        for part, numbers in (parts | {"trainval": parts["train"] + parts["val"]}).items():
            lines = "".join(f"{number} {names[at % len(names)]}\n" for at, number in enumerate(numbers))
            content[f"images_{level}_{part}.txt"] = lines.encode()
    expected = {
        split: sorted((at % 3, f"images/{n}.jpg") for part in names for at, n in enumerate(parts[part]))
        for split, names in {"train": ("train", "val"), "test": ("test",)}.items()
    }
    return content, {"classes": classes["variant"], **expected}


def flowers() -> tuple[Files, dict]:
    labels = [3, 1, 2, 2, 1, 3, 1, 2, 3, 3]
    splits = {"trnid": [2, 6, 3], "valid": [1, 4, 5], "tstid": [7, 9, 8, 10]}
    content = {f"jpg/image_{n:05d}.jpg": jpg(f"flower {n}") for n in range(1, 11)}
    content["imagelabels.mat"] = mat(labels=np.array([labels], np.uint8))
    content["setid.mat"] = mat(**{key: np.array([numbers], np.uint16) for key, numbers in splits.items()})
    expected = {
        split: sorted((labels[n - 1] - 1, f"jpg/image_{n:05d}.jpg") for key in keys for n in splits[key])
        for split, keys in {"train": ("trnid", "valid"), "test": ("tstid",)}.items()
    }
    return content, {"classes": ["1", "2", "3"], **expected}


def pets() -> tuple[Files, dict]:
    breeds = ["Abyssinian", "american_bulldog", "Bengal"]  # not the order of ASCII
    splits = {"trainval": (10, 9, 2), "test": (1, 30, 4)}
    content = {
        "images/Abyssinian_100.mat": b"no image",
        "annotations/trimaps/Bengal_1.png": jpg("t", "PNG"),
        "annotations/README": b"",
    }
    expected = {}
    for split, numbers in splits.items():
        lines = [f"{breed}_{n} {label} {1 + label % 2} 1\n" for n in numbers for label, breed in enumerate(breeds, 1)]
        content[f"annotations/{split}.txt"] = "".join(lines).encode()
        names = [(label, f"images/{breed}_{n}.jpg") for n in numbers for label, breed in enumerate(breeds)]
        content |= {name: jpg(name, "PNG" if "_30" in name else "JPEG") for _, name in names}
        expected["train" if split == "trainval" else "test"] = sorted(names)
    content["annotations/list.txt"] = b"#Image CLASS-ID SPECIES BREED ID\n"
    return content, {"classes": breeds, **expected}


def dtd() -> tuple[Files, dict]:
    classes = ["banded", "polka-dotted", "zigzagged"]
    content, expected = {}, {"train": [], "test": []}
    for number, part in product(range(1, 3), ("train", "val", "test")):
        at = ("train", "val", "test").index(part) + number - 1  # the second partition rotates the parts
        names = [f"{c}/{c}_{10 * (at % 3) + n:04d}.jpg" for c in reversed(classes) for n in (2, 1)]
        content[f"labels/{part}{number}.txt"] = ("\n".join(names) + "\n").encode()
        content |= {f"images/{name}": jpg(name) for name in names}
        if number == 1:
            expected["test" if part == "test" else "train"] += [
                (classes.index(n.split("/")[0]), f"images/{n}") for n in names
            ]
    content["imdb/imdb.mat"], content["images/waffled/.directory"] = b"", b""
    return content, {"classes": classes, **{split: sorted(names) for split, names in expected.items()}}


def food() -> tuple[Files, dict]:
    classes = ["apple_pie", "baklava", "waffles"]
    numbers = {"train": (1005649, 14, 9), "test": (200, 1011328)}
    content, expected = {"meta/classes.txt": b"apple_pie\n", "README.txt": b"", "license_agreement.txt": b""}, {}
    for split, ids in numbers.items():
        by_class = {c: [f"{c}/{n}" for n in ids] for c in reversed(classes)}
        content[f"meta/{split}.json"] = json.dumps(by_class).encode()
        expected[split] = sorted((at, f"images/{c}/{n}.jpg") for at, c in enumerate(classes) for n in ids)
        content |= {name: jpg(name) for _, name in expected[split]}
    return content, {"classes": classes, **expected}


def cub() -> tuple[Files, dict]:
    classes = ["001.Black_footed_Albatross", "002.Laysan_Albatross"]
    images = [(c, f"{c}/{c[4:]}_{n:04d}.jpg") for c in classes for n in (3, 1, 2, 7)]
    training = [n % 4 != 2 for n in range(len(images))]
    content = {f"images/{name}": jpg(name) for _, name in images} | {
        "classes.txt": b"1 001.Black_footed_Albatross\n",
        "parts/parts.txt": b"",
    }
    content["images.txt"] = "".join(f"{n} {name}\n" for n, (_, name) in enumerate(images, 1)).encode()
    content["image_class_labels.txt"] = "".join(f"{n} {int(c[:3])}\n" for n, (c, _) in enumerate(images, 1)).encode()
    content["train_test_split.txt"] = "".join(f"{n} {int(t)}\n" for n, t in enumerate(training, 1)).encode()
    expected = {
        split: sorted(
            (classes.index(c), f"images/{name}") for (c, name), t in zip(images, training, strict=True) if t == wanted
        )
        for split, wanted in (("train", True), ("test", False))
    }
    return content, {"classes": classes, **expected}


MAKERS = {"fgvc-aircraft": aircraft, "flowers102": flowers, "pets": pets, "dtd": dtd, "food101": food, "cub200": cub}
INSIDE = {
    "fgvc-aircraft": "fgvc-aircraft-2013b/data/",
    "dtd": "dtd/",
    "food101": "food-101/",
    "cub200": "CUB_200_2011/",
}
"""Folders in the archives."""
TORCHVISION = {
    "fgvc-aircraft": "fgvc-aircraft-2013b/data/",
    "flowers102": "flowers-102/",
    "pets": "oxford-iiit-pet/",
    "dtd": "dtd/dtd/",
    "food101": "food-101/",
    "cub200": "CUB_200_2011/",  # it has no such class
}
ARCHIVES = {kind: SOURCES[kind.replace("-", "_")].model_construct(kind=kind).remote() for kind in MAKERS}


def packed(kind: str, content: Files) -> dict[str, Files]:
    """The authors' files: name -> members, or the content of a file that is no archive."""
    if kind == "flowers102":
        return {"102flowers.tgz": {n: d for n, d in content.items() if n.startswith("jpg/")}} | {
            n: d for n, d in content.items() if n.endswith(".mat")
        }
    if kind == "pets":
        return {
            f"{top}.tar.gz": {n: d for n, d in content.items() if n.startswith(top)}
            for top in ("images", "annotations")
        }
    members = {"attributes.txt": b"1 x\n"} if kind == "cub200" else {}
    return {ARCHIVES[kind][0].name: members | {INSIDE[kind] + n: d for n, d in content.items()}}


def archive(path: Path, members: Files) -> Path:
    """A packed file; the name of DTD's has more dots than others."""
    return write(path.with_name("made" + (".tgz" if path.suffix == ".tgz" else ".tar.gz")), members).rename(path)


def write_official(folder: Path, kind: str, content: Files) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, inner in packed(kind, content).items():
        if isinstance(inner, bytes):
            (folder / name).write_bytes(inner)
        else:
            archive(folder / name, inner)
    return folder


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Make the small data of a kind, and let their digests and counts be the authors'."""

    def make(kind: str) -> tuple[Files, dict, Path]:
        content, expected = MAKERS[kind]()
        official = write_official(tmp_path / "official", kind, content)
        module, settings = kind.replace("-", "_"), SOURCES[kind.replace("-", "_")]
        files = []
        for file in ARCHIVES[kind]:
            data = (official / file.name).read_bytes()
            digests = {"sha256": hashlib.sha256(data).hexdigest(), "md5": hashlib.md5(data).hexdigest()}
            files.append(replace(file, bytes=len(data), **digests))
        photographed = sum(len(data) for name, data in content.items() if name.startswith(("images/", "jpg/")))
        files[0] = replace(files[0], bytes=photographed)  # small ones take more than the archive, unlike large ones
        monkeypatch.setattr(import_module(f"sslpairs.data.kinds.{module}"), "FILES", tuple(files))
        monkeypatch.setattr(settings, "classes", len(expected["classes"]))
        if kind == "fgvc-aircraft":
            monkeypatch.setattr(
                "sslpairs.data.kinds.fgvc_aircraft.CLASSES", {"variant": 3, "family": 2, "manufacturer": 2}
            )
        if hasattr(settings, "parts"):
            parts = {"fgvc-aircraft": (3, 3, 3), "flowers102": (3, 3, 4), "dtd": (6, 6, 6)}[kind]
            monkeypatch.setattr(settings, "parts", dict(zip(("train", "val", "test"), parts, strict=True)))
        else:
            monkeypatch.setattr(settings, "official", (len(expected["train"]), len(expected["test"])))
        return content, expected, official

    return make


def dataset(kind: str, path: Path | None, **settings) -> DatasetSettings:
    source = {"kind": kind, "path": path and str(path), "size": 8, **settings}
    return DatasetSettings.model_validate({"title": "Photographs", "source": source})


def refusal(tmp_path: Path, kind: str, path: Path | None, **settings) -> str:
    with pytest.raises(UserError) as caught:
        prepare("small", dataset(kind, path, **settings), tmp_path)
    text = str(caught.value)
    assert len(text.splitlines()) <= 2
    assert text.startswith("data set 'small': ")
    return text


def check(tmp_path: Path, receipt: dict, content: Files, expected: dict) -> None:
    """Images and labels are the expected ones, in their order."""
    assert receipt["classes"] == expected["classes"]
    for split in ("train", "test"):
        images, labels = (np.load(tmp_path / f"data/small/{split}_{what}.npy") for what in ("images", "labels"))
        assert labels.tolist() == [label for label, _ in expected[split]]
        assert np.array_equal(images, [decode(content[name], 8, 3) for _, name in expected[split]])


every_kind = pytest.mark.parametrize("kind", MAKERS)
three_parts = pytest.mark.parametrize("kind", ["fgvc-aircraft", "flowers102", "dtd"])
one_archive = pytest.mark.parametrize("kind", INSIDE)

# --- forms ------------------------------------------------------------------------------------------------------------


@every_kind
def test_every_form_gives_the_same_images_in_the_authors_classes(tmp_path, made, kind):
    content, expected, official = made(kind)
    folder = write(tmp_path / "unpacked", content)
    root = write(tmp_path / "torchvision", {TORCHVISION[kind] + name: data for name, data in content.items()})
    write(root, {"another/images/a.jpg": b"", "another/labels.txt": b""})
    outer = write(tmp_path / "outer", {f"raw/{TORCHVISION[kind]}{name}": data for name, data in content.items()})
    first = ARCHIVES[kind][0].name
    shutil.copytree(official, tmp_path / "beside/inner")
    forms = {
        official: "sha256 verified",
        official / first: "sha256 verified",
        tmp_path / "beside": "sha256 verified",
        folder: "complete, no digests on record",
        root: "complete, no digests on record",
        outer: "complete, no digests on record",
    }
    contents = set()
    for path, said in forms.items():
        receipt = prepare("small", dataset(kind, path), tmp_path)
        assert said in receipt["form"], path
        check(tmp_path, receipt, content, expected)
        contents.add(receipt["content"])
    assert len(contents) == 1


@every_kind
def test_they_are_found_where_they_are_downloaded_and_where_torchvision_puts_them(tmp_path, made, kind):
    content, expected, official = made(kind)
    with pytest.raises(UserError, match="not on this machine; get it from https://"):
        prepare("small", dataset(kind, None), tmp_path)
    write(tmp_path / "sources", {TORCHVISION[kind] + name: data for name, data in content.items()})
    receipt = prepare("small", dataset(kind, None), tmp_path)
    assert "no digests on record" in receipt["form"]
    check(tmp_path, receipt, content, expected)
    shutil.copytree(official, tmp_path / "sources" / kind, dirs_exist_ok=True)
    verified = prepare("small", dataset(kind, None), tmp_path)
    assert "sha256 verified" in verified["form"]
    assert verified["content"] == receipt["content"]


@pytest.mark.parametrize("kind", ["flowers102", "pets"])
def test_parts_may_be_packed_or_unpacked_each_for_itself(tmp_path, made, kind):
    content, expected, official = made(kind)
    whole = prepare("small", dataset(kind, official), tmp_path)["content"]
    images = ARCHIVES[kind][0].name
    (official / images).unlink()
    write(official, {name: data for name, data in content.items() if name.startswith(("images", "jpg"))})
    receipt = prepare("small", dataset(kind, official), tmp_path)
    assert receipt["content"] == whole
    assert "sha256 verified" in receipt["form"]
    assert f"{'jpg' if kind == 'flowers102' else 'images'}/ (complete, no digests on record)" in receipt["form"]
    check(tmp_path, receipt, content, expected)


def test_annotations_of_pets_may_be_unpacked_beside_the_archive_of_images(tmp_path, made):
    content, expected, official = made("pets")
    (official / "annotations.tar.gz").unlink()
    write(official, {name: data for name, data in content.items() if name.startswith("annotations")})
    receipt = prepare("small", dataset("pets", official / "images.tar.gz"), tmp_path)
    assert receipt["form"] == "official/ (complete, no digests on record), images.tar.gz (sha256 verified)"
    check(tmp_path, receipt, content, expected)


@every_kind
def test_another_archive_of_everything_is_read_if_it_need_not_be_the_original(tmp_path, made, kind):
    content, expected, _ = made(kind)
    (tmp_path / "elsewhere").mkdir()
    path = write(tmp_path / "elsewhere/mine.zip", {f"wrapper/{name}": data for name, data in content.items()})
    text = refusal(tmp_path, kind, path)
    assert "is not the authors' file" in text or "there is no" in text
    receipt = prepare("small", dataset(kind, path, original=False), tmp_path)
    assert receipt["form"] == "mine.zip (not verified)"
    assert receipt["title"] == "Photographs (not the original files)"
    check(tmp_path, receipt, content, expected)


def test_archives_of_pets_may_be_plain_tar_and_pictures_png(tmp_path, made, monkeypatch):
    content, expected, official = made("pets")
    files = []
    for file in import_module("sslpairs.data.kinds.pets").FILES:
        plain = io.BytesIO()
        with tarfile.open(official / file.name) as packed_, tarfile.open(fileobj=plain, mode="w") as plain_:
            for member in packed_:
                plain_.addfile(member, packed_.extractfile(member))
        (official / file.name).write_bytes(plain.getvalue())
        files.append(replace(file, sha256=hashlib.sha256(plain.getvalue()).hexdigest()))
    assert content["images/Abyssinian_30.jpg"].startswith(b"\x89PNG")
    monkeypatch.setattr("sslpairs.data.kinds.pets.FILES", tuple(files))
    check(tmp_path, prepare("small", dataset("pets", official), tmp_path), content, expected)


# --- settings ---------------------------------------------------------------------------------------------------------


@every_kind
def test_files_are_stored_as_they_are_and_limits_keep_the_first_of_each_class_by_name(tmp_path, made, kind):
    content, expected, official = made(kind)
    arrays = prepare("small", dataset(kind, official), tmp_path)
    files = prepare("small", dataset(kind, official, storage="files"), tmp_path)
    assert files["content"] == arrays["content"]
    assert files["storage"] == "files"
    receipt = prepare("small", dataset(kind, official, train_per_class=2, test_per_class=1), tmp_path)
    few = {
        split: [
            row for at, row in enumerate(expected[split]) if sum(r[0] == row[0] for r in expected[split][:at]) < limit
        ]
        for split, limit in (("train", 2), ("test", 1))
    }
    assert {split: len(rows) for split, rows in few.items()} == receipt["counts"]
    check(tmp_path, receipt, content, {"classes": expected["classes"], **few})


@three_parts
def test_training_and_test_parts_are_chosen(tmp_path, made, kind):
    made(kind)
    path = tmp_path / "official"
    seen = {}
    for train, test in (("trainval", "test"), ("train", "test"), ("train", "val")):
        receipt = prepare("small", dataset(kind, path, train=train, test=test), tmp_path)
        images = {split: np.load(tmp_path / f"data/small/{split}_images.npy") for split in ("train", "test")}
        seen[train, test] = {split: {image.tobytes() for image in found} for split, found in images.items()}
        assert receipt["source"] | {"train": train, "test": test} == receipt["source"]
    full, plain, tuning = seen.values()
    assert full["test"] == plain["test"]
    assert plain["train"] == tuning["train"]
    assert full["train"] == plain["train"] | tuning["test"]
    assert not plain["train"] & tuning["test"]
    assert not full["train"] & full["test"]
    with pytest.raises(
        ValidationError, match="test: val: these images are part of train: trainval; set 'train: train'"
    ):
        dataset(kind, path, test="val")


def test_the_classes_of_aircraft_are_variants_families_or_manufacturers(tmp_path, made):
    content, _, official = made("fgvc-aircraft")
    for level, plural in (("variant", "variants"), ("family", "families"), ("manufacturer", "manufacturers")):
        receipt = prepare("small", dataset("fgvc-aircraft", official, level=level), tmp_path)
        assert receipt["classes"] == content[f"{plural}.txt"].decode().splitlines()
    assert receipt["classes"] == ["A b", "Boeing"]
    assert receipt["counts"] == {"train": 6, "test": 3}


def test_the_partition_of_dtd_is_chosen(tmp_path, made):
    content, _, official = made("dtd")
    prepare("small", dataset("dtd", official, partition=2), tmp_path)
    names = sorted(content["labels/test2.txt"].decode().split())
    images = np.load(tmp_path / "data/small/test_images.npy")
    assert np.array_equal(images, [decode(content[f"images/{name}"], 8, 3) for name in names])
    with pytest.raises(ValidationError):
        dataset("dtd", official, partition=11)


@pytest.mark.parametrize(
    ("kind", "settings", "counts"),
    [
        ("fgvc-aircraft", {}, (6_667, 3_333)),
        ("fgvc-aircraft", {"train": "train", "test": "val"}, (3_334, 3_333)),
        ("fgvc-aircraft", {"train_per_class": 5}, None),  # classes differ in size
        ("flowers102", {}, (2_040, 6_149)),
        ("flowers102", {"train": "train"}, (1_020, 6_149)),
        ("pets", {}, (3_680, 3_669)),
        ("dtd", {}, (3_760, 1_880)),
        ("dtd", {"train": "train", "train_per_class": 10}, (470, 1_880)),
        ("food101", {"test_per_class": 1_000}, (75_750, 25_250)),
        ("cub200", {}, (5_994, 5_794)),
        ("cub200", {"original": False}, None),
    ],
)
def test_the_authors_counts_follow_from_the_settings(kind, settings, counts):
    source = DatasetSettings.model_validate({"title": "x", "source": {"kind": kind, **settings}}).source
    assert source.counts() == counts
    assert source.image() == (3, 224)
    assert "storage" not in source.record()
    for file in source.remote():
        assert len(file.sha256) == 64
        assert len(file.md5) == 32
        assert file.bytes > 0
        assert file.urls[0].startswith("http")
    assert all(file.name == Path(file.urls[0].partition("?")[0]).name for file in source.remote())


# --- what is refused --------------------------------------------------------------------------------------------------


@every_kind
def test_another_file_is_refused_with_both_digests(tmp_path, made, kind):
    _, _, official = made(kind)
    for file in import_module(f"sslpairs.data.kinds.{kind.replace('-', '_')}").FILES:
        before = (official / file.name).read_bytes()
        other = before + b"\0" * 512
        (official / file.name).write_bytes(other)
        text = refusal(tmp_path, kind, official)
        assert f"{file.name} is not the authors' file" in text
        assert hashlib.sha256(other).hexdigest() in text
        assert file.sha256 in text
        assert "'original: false'" in text
        (official / file.name).write_bytes(before)


def test_the_lists_of_flowers_are_verified_in_a_folder_too(tmp_path, made):
    content, _, _ = made("flowers102")
    content["setid.mat"] = mat(trnid=[1], valid=[2], tstid=[3])
    text = refusal(tmp_path, "flowers102", write(tmp_path / "raw", content))
    assert "setid.mat is not the authors' file: sha256" in text


@every_kind
def test_a_folder_that_lacks_images_is_refused_unless_it_may_be_a_part(tmp_path, made, kind, capsys):
    content, expected, _ = made(kind)
    path = write(tmp_path / "raw", content)
    _, name = expected["train"][0]
    (path / name).unlink()
    total = len(expected["train"]) + len(expected["test"])
    text = refusal(tmp_path, kind, path)
    assert (
        f"1 of the {total} images in its lists are not in {name.split('/')[0]}/, such as {name.split('/', 1)[1]}"
        in text
    )
    assert "original: false" in text
    # A limit does not hide it.
    assert "1 of the" in refusal(tmp_path, kind, path, train_per_class=1, test_per_class=1)
    receipt = prepare("small", dataset(kind, path, original=False), tmp_path)
    check(tmp_path, receipt, content, {**expected, "train": expected["train"][1:]})
    assert f"1 of {total} images are not there" in capsys.readouterr().err


@every_kind
def test_a_folder_of_smaller_copies_is_refused_unless_it_need_not_be_the_original(tmp_path, made, kind):
    content, expected, _ = made(kind)
    small = dict(content)
    for _, name in expected["train"] + expected["test"]:
        file = io.BytesIO()
        Image.open(io.BytesIO(content[name])).resize((9, 8)).save(file, "JPEG", quality=20)
        small[name] = file.getvalue()
    path = write(tmp_path / "raw", small)
    text = refusal(tmp_path, kind, path)
    assert "but the authors' archive of them has" in text
    assert "they were made smaller" in text
    check(tmp_path, prepare("small", dataset(kind, path, original=False), tmp_path), small, expected)


@every_kind
def test_a_part_in_an_archive_counts_for_limits(tmp_path, made, kind):
    content, expected, _ = made(kind)
    del content[expected["train"][0][1]]
    path = write_official(tmp_path / "raw", kind, content)
    receipt = prepare("small", dataset(kind, path, original=False, train_per_class=1), tmp_path)
    rest = expected["train"][1:]
    first = [next(row for row in rest if row[0] == label) for label in range(len(expected["classes"]))]
    check(tmp_path, receipt, content, {**expected, "train": first})


@every_kind
def test_a_verified_archive_that_lacks_images_is_refused_while_it_is_read(tmp_path, made, kind, monkeypatch):
    content, expected, official = made(kind)
    del content[expected["test"][0][1]]
    write_official(official, kind, content)
    monkeypatch.setattr(photographs, "verify", lambda where, path, known: known[0])
    text = refusal(tmp_path, kind, official)
    assert "1 of the images in its lists are not in it, such as" in text
    assert ARCHIVES[kind][0].name in text


@every_kind
def test_missing_parts_are_named(tmp_path, made, kind):
    content, _, official = made(kind)
    images = "jpg" if kind == "flowers102" else "images"
    for name in ("setid.mat",) if kind == "flowers102" else photograph_lists(kind):
        path = write(tmp_path / f"without-{name.replace('/', '-')}", {n: d for n, d in content.items() if n != name})
        assert f"there is no {name} in {path}, where other parts of " in refusal(tmp_path, kind, path)
    path = write(tmp_path / "no-images", {n: d for n, d in content.items() if not n.startswith(f"{images}/")})
    assert f"there is no {images}/ in {path}" in refusal(tmp_path, kind, path)
    if len(ARCHIVES[kind]) > 1:
        last = ARCHIVES[kind][-1].name
        (official / last).unlink()
        text = refusal(tmp_path, kind, official)
        assert "there is no " in text
        assert last in text


def photograph_lists(kind: str) -> tuple[str, ...]:
    return {
        "fgvc-aircraft": ("variants.txt", "images_variant_trainval.txt", "images_variant_test.txt"),
        "pets": ("annotations/trainval.txt", "annotations/test.txt"),
        "dtd": ("labels/train1.txt", "labels/val1.txt", "labels/test1.txt"),
        "food101": ("meta/train.json", "meta/test.json"),
        "cub200": ("images.txt", "image_class_labels.txt", "train_test_split.txt"),
    }[kind]


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind != "flowers102"])
def test_an_archive_without_a_list_is_refused(tmp_path, made, kind):
    content, _, _ = made(kind)
    for name in photograph_lists(kind):
        path = write_official(tmp_path / name.replace("/", "-"), kind, {n: d for n, d in content.items() if n != name})
        text = refusal(tmp_path, kind, path, original=False)
        assert f"there is no {name} in {ARCHIVES[kind][-1].name}; get it again" in text


@every_kind
def test_other_forms_are_refused_with_the_remedy(tmp_path, made, kind):
    made(kind)
    names = ", ".join(file.name for file in ARCHIVES[kind])
    text = refusal(tmp_path, kind, tmp_path / "nowhere")
    assert "nowhere: there is no such file or folder" in text
    empty = write(tmp_path / "empty", {"readme.txt": b""})
    text = refusal(tmp_path, kind, empty)
    assert "none of the forms of" in text
    assert names in text
    parquet = write(tmp_path / "hub", {"data/train-00000-of-00001.parquet": b"PAR1"})
    assert f"files of the datasets library, which are not read for {title(kind)}; get {names}" in refusal(
        tmp_path, kind, parquet
    )
    sorted_ = write(tmp_path / "sorted", {"train/a/1.jpg": jpg("1"), "test/a/2.jpg": jpg("2")})
    assert "these are class folders" in (text := refusal(tmp_path, kind, sorted_))
    assert "use kind: image-folder" in text


def title(kind: str) -> str:
    titles = {"fgvc-aircraft": "FGVC-Aircraft", "flowers102": "Flowers-102", "pets": "Oxford-IIIT Pet", "dtd": "DTD"}
    return (titles | {"food101": "Food-101", "cub200": "CUB-200-2011"})[kind]


@every_kind
def test_lists_of_fewer_images_or_classes_are_not_the_authors(tmp_path, made, kind, monkeypatch):
    _, expected, official = made(kind)
    settings = SOURCES[kind.replace("-", "_")]
    monkeypatch.setattr(settings, "classes", 50)
    if kind == "fgvc-aircraft":
        monkeypatch.setattr("sslpairs.data.kinds.fgvc_aircraft.CLASSES", {"variant": 50})
    text = refusal(tmp_path, kind, official)
    assert f"its lists have {len(expected['classes'])} classes, but {title(kind)} has 50" in text
    monkeypatch.undo()
    monkeypatch.setattr(photographs, "verify", lambda where, path, known: known[0])
    monkeypatch.setattr(settings, "classes", len(expected["classes"]))
    if kind == "fgvc-aircraft":
        monkeypatch.setattr("sslpairs.data.kinds.fgvc_aircraft.CLASSES", {"variant": 3})
    text = refusal(tmp_path, kind, official)
    assert f"images expected, but data set 'small': {official}" in text


@every_kind
@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_a_damaged_archive_is_refused(tmp_path, made, kind, cut):
    _, _, official = made(kind)
    path = official / ARCHIVES[kind][0].name
    data = path.read_bytes()
    path.write_bytes(data[: int(cut * len(data))])
    assert "is damaged or cut off" in refusal(tmp_path, kind, official, original=False)
    path.write_bytes(b"<html>not found</html>" * 100)
    assert "is damaged or cut off" in refusal(tmp_path, kind, official, original=False)


@every_kind
def test_names_that_point_outside_an_archive_are_refused(tmp_path, made, kind):
    content, _, official = made(kind)
    name = ARCHIVES[kind][0].name
    archive(official / name, {"../evil/images/a.jpg": jpg("evil")} | packed(kind, content)[name])
    text = refusal(tmp_path, kind, official, original=False)
    assert "the name '../evil/images/a.jpg' points outside the archive" in text


@every_kind
def test_an_image_that_is_twice_in_an_archive_is_refused(tmp_path, made, kind):
    content, expected, official = made(kind)
    name = ARCHIVES[kind][0].name
    members, image = packed(kind, content)[name], expected["train"][1][1]
    archive(official / name, members | {f"copy/{image}": jpg("other")})
    text = refusal(tmp_path, kind, official, original=False)
    assert f"{image.split('/', 1)[1]} is in it more than once" in text


@every_kind
def test_a_picture_that_cannot_be_decoded_is_named(tmp_path, made, kind):
    content, expected, _ = made(kind)
    image = expected["test"][1][1]
    path = write(tmp_path / "raw", content | {image: bytes(len(content[image]))})
    folder, _, file = image.partition("/")
    assert f"{path / folder}: {file} cannot be read as an image" in refusal(tmp_path, kind, path)


def test_an_archive_of_images_is_not_searched_for_lists_that_lie_elsewhere(tmp_path, made, monkeypatch):
    _, _, official = made("pets")
    read = []
    inner = photographs.open_members
    monkeypatch.setattr(photographs, "open_members", lambda where, path: read.append(path.name) or inner(where, path))
    prepare("small", dataset("pets", official), tmp_path)
    assert read == ["annotations.tar.gz"]


@one_archive
def test_the_first_pass_ends_with_the_last_list(tmp_path, made, kind, monkeypatch):
    content, expected, official = made(kind)
    name = ARCHIVES[kind][0].name
    members = packed(kind, content)[name]
    lists = [inner for inner in members if inner.endswith(photograph_lists(kind))]
    front = {inner: members[inner] for inner in lists} | {n: d for n, d in members.items() if n not in lists}
    read = []

    def noting(where, path):
        for one in inner(where, path):
            read.append(one[0])
            yield one

    inner = photographs.open_members
    monkeypatch.setattr(photographs, "open_members", noting)
    contents = set()
    for order in (front, dict(reversed(front.items()))):
        archive(official / name, order)
        monkeypatch.setattr(photographs, "verify", lambda where, path, known: known[0])
        receipt = prepare("small", dataset(kind, official), tmp_path)
        check(tmp_path, receipt, content, expected)
        contents.add(receipt["content"])
        last = max(list(order).index(one) for one in order if one.endswith(photograph_lists(kind)))
        assert read == [one for one in list(order)[: last + 1] if "/." not in one]
        read.clear()
    assert len(contents) == 1


# --- lists ------------------------------------------------------------------------------------------------------------


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


BAD = [
    ("fgvc-aircraft", "variants.txt", b"707-320\nF-16A/B\n707-320\n", "variants.txt has a name more than once"),
    (
        "fgvc-aircraft",
        "images_variant_test.txt",
        b"7000007 F-16\n",
        "'7000007 F-16' is not a number and a name of variants.txt",
    ),
    ("fgvc-aircraft", "images_variant_test.txt", b"7000007\n", "'7000007' is not a number and a name"),
    ("fgvc-aircraft", "images_variant_test.txt", b"2000001 707-320\n", "name 2000001.jpg more than once"),
    ("fgvc-aircraft", "images_variant_test.txt", b"\n", "there are no test images in it"),
    ("fgvc-aircraft", "variants.txt", b"\xff\xfe7", "variants.txt is not a text"),
    (
        "fgvc-aircraft",
        "variants.txt",
        b"707-320\nF-16A/B\nF/A-18\nx\x07y\n",
        "the name of its class 'x\\x07y' has a control",
    ),
    ("flowers102", "imagelabels.mat", b"", "imagelabels.mat cannot be read as a MATLAB file with labels"),
    ("flowers102", "imagelabels.mat", b"MATLAB 5.0 MAT-file" * 20, "imagelabels.mat cannot be read as a MATLAB file"),
    ("flowers102", "imagelabels.mat", mat(other=[1]), "with labels ('labels')"),
    ("flowers102", "imagelabels.mat", mat(labels=np.array([[0, 1, 2]], np.uint8)), "has no labels from 1"),
    ("flowers102", "imagelabels.mat", mat(labels=np.array([[1.5, 1.0]])), "labels are not whole numbers"),
    ("flowers102", "imagelabels.mat", mat(labels=np.array([["a", 1]], object)), "labels are not whole numbers"),
    ("flowers102", "imagelabels.mat", bytes(65_000), "65,000 bytes"),
    ("flowers102", "setid.mat", mat(trnid=[1], valid=[2], tstid=[99]), "setid.mat names image 99, but there are 10"),
    ("flowers102", "setid.mat", mat(trnid=[1], valid=[2], tstid=[1]), "name image_00001.jpg more than once"),
    (
        "flowers102",
        "setid.mat",
        mat(trnid=[1], tstid=[1]),
        "setid.mat cannot be read as a MATLAB file with trnid, valid, tstid",
    ),
    ("pets", "annotations/test.txt", b"Bengal_1\n", "'Bengal_1' is not a name with its breed and class"),
    ("pets", "annotations/test.txt", b"Bengal_1 0 1 1\n", "'Bengal_1 0 1 1' is not a name with its breed"),
    ("pets", "annotations/test.txt", b"Bengal_1 " + b"9" * 5_000, "is not a name with its breed and class"),
    (
        "pets",
        "annotations/test.txt",
        b"Bengal_1 1 1 1\n",
        "'Bengal_1 1 1 1' is not a name with its breed",
    ),  # 1 is Abyssinian
    ("pets", "annotations/test.txt", b"Bengal 3 1 1\n", "'Bengal 3 1 1' is not a name with its breed"),
    ("pets", "annotations/test.txt", b"Bengal_10 3 1 1\n", "name Bengal_10.jpg more than once"),
    ("dtd", "labels/test1.txt", b"banded_0001.jpg\n", "'banded_0001.jpg' is not a class and a file in it"),
    ("dtd", "labels/test1.txt", b"banded/../banded_0001.jpg\n", "is not a class and a file in it"),
    ("dtd", "labels/test1.txt", b"banded/banded_0001.jpg\n", "name banded/banded_0001.jpg more than once"),
    ("food101", "meta/test.json", b"{", "meta/test.json is not a JSON text"),
    ("food101", "meta/test.json", nested(100_000), "meta/test.json is not a JSON text"),
    ("food101", "meta/test.json", b"[]", "meta/test.json is not a map of classes to images"),
    ("food101", "meta/test.json", b'{"baklava": "baklava/200"}', "is not a map of classes to images"),
    ("food101", "meta/test.json", b'{"baklava": ["waffles/200"]}', "'waffles/200' is not an image of baklava"),
    ("food101", "meta/test.json", b'{"baklava": [200]}', "'200' is not an image of baklava"),
    ("food101", "meta/test.json", b'{"baklava": ["baklava/14"]}', "name baklava/14.jpg more than once"),
    ("cub200", "image_class_labels.txt", b"1 1\n2 1\n", "have not the same images"),
    ("cub200", "train_test_split.txt", b"1 0\n" * 2, "train_test_split.txt has the number 1 more than once"),
]


# MATLAB files hold the time at which they were written: their bytes cannot be part of a test's name
@pytest.mark.parametrize(
    ("kind", "name", "data", "said"), BAD, ids=lambda value: "" if isinstance(value, bytes) else None
)
def test_lists_of_another_kind_are_refused(tmp_path, made, kind, name, data, said):
    content, _, _ = made(kind)
    path = write(tmp_path / "raw", content | {name: data})
    assert said in refusal(tmp_path, kind, path, original=False)


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("image_class_labels.txt", b"1 1\n", b"1 2\n", "class '2', training '1' do not fit together"),
        ("image_class_labels.txt", b"1 1\n", b"1 x\n", "class 'x', training '1' do not fit together"),
        ("train_test_split.txt", b"1 1\n", b"1 2\n", "training '2' do not fit together"),
        ("images.txt", b"1 001.Black_footed_Albatross/", b"1 ", "do not fit together"),
        ("images.txt", b"_0003.jpg", b"_0001.jpg", "_0001.jpg more than once"),
    ],
)
def test_lists_of_cub_that_do_not_fit_together_are_refused(tmp_path, made, name, old, new, said):
    content, _, _ = made("cub200")
    content[name] = content[name].replace(old, new, 1)
    assert said in refusal(tmp_path, "cub200", write(tmp_path / "raw", content), original=False)


@every_kind
def test_a_list_that_could_fill_the_memory_is_refused_before_it_is_read(tmp_path, made, kind, monkeypatch):
    content, _, official = made(kind)
    monkeypatch.setattr(photographs, "MAX_LIST", 10)
    for path in (official, write(tmp_path / "raw", content)):
        assert "too much for a list" in refusal(tmp_path, kind, path, original=False)
