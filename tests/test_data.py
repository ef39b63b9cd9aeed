"""Data sets: sources, preparation, the record in data.dvc, and arrays."""

import errno
import fcntl
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from kill_points import every_moment
from PIL import Image
from projects import wait_for

from sslpairs.config.datasets import Datasets, DatasetSettings, Expected
from sslpairs.data import prepare as preparing
from sslpairs.data import progress
from sslpairs.data import record as recording
from sslpairs.data.arrays import load
from sslpairs.data.folders import locked, read_receipt, verify
from sslpairs.data.kinds.digits import _test_indices, enlarge_digits
from sslpairs.data.prepare import content_hash, prepare
from sslpairs.data.record import contents, record, recorded
from sslpairs.data.splits import held_out
from sslpairs.errors import UserError
from sslpairs.files import sha256_file, write_record
from sslpairs.store.publish import _data
from sslpairs.store.staging import Published
from sslpairs.workflow.fetch import fetch_datasets

PROJECT = Path(__file__).resolve().parents[1]
# Recipes and receipts of published results name this: a change of it makes every digits run a new run.
DIGITS_CONTENT = "ed51f880d48aaea7a9adef8072dd479a795ce31363bb4bd3855e244af7b012ec"


def digits(**settings) -> DatasetSettings:
    return DatasetSettings.model_validate({"title": "Digits", "source": {"kind": "digits", **settings}})


def folder(path, size=8, **settings) -> DatasetSettings:
    source = {"kind": "image-folder", "path": str(path), "size": size, **settings}
    return DatasetSettings.model_validate({"title": "Small", "source": source})


def png(value, width=8, height=8, mode="RGB", **options) -> bytes:
    """An image of one colour, or of random pixels where ``value`` is a seed string."""
    if isinstance(value, str):
        pixels = random.Random(value).randbytes(width * height * len(Image.new(mode, (1, 1)).getbands()))
        image = Image.frombytes(mode, (width, height), pixels)
    else:
        image = Image.new(mode, (width, height), value)
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def files(held_out="test") -> dict[str, bytes]:
    """Two classes: 3 training and 2 test images each, written in an order that is not sorted."""
    return {
        f"{split}/{c}/{n}.png": png(f"{split} {c} {n}")
        for split, count in ((held_out, 2), ("train", 3))
        for c in ("dog", "cat")
        for n in reversed(range(count))
    }


def write(path: Path, content: dict[str, bytes]) -> Path:
    """A folder, .zip or .tar.* with this content; a name that ends in / is a folder."""
    suffix = "".join(path.suffixes)
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    elif suffix.startswith((".tar", ".tgz")):
        with tarfile.open(path, "w:" + {"tgz": "gz", "tar": ""}.get(path.suffix[1:], path.suffix[1:])) as archive:
            for name, data in content.items():
                info = tarfile.TarInfo(name.rstrip("/"))
                info.size = len(data)
                info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
                archive.addfile(info, io.BytesIO(data))
    else:
        for name, data in content.items():
            file = path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.mkdir() if name.endswith("/") else file.write_bytes(data)
    return path


def pixels(data: bytes, mode="RGB") -> np.ndarray:
    return np.atleast_3d(np.asarray(Image.open(io.BytesIO(data)).convert(mode))).transpose(2, 0, 1)


def one_image(tmp_path: Path, data: bytes, suffix=".png", **settings) -> np.ndarray:
    """The image as the source gives it."""
    shutil.rmtree(tmp_path / "one", ignore_errors=True)
    write(tmp_path / "one", {f"train/a/0{suffix}": data, "train/a/1.png": png("two"), "test/a/0.png": png(1)})
    return read("one", folder(tmp_path / "one", **settings), tmp_path)[0]["train"][0][0]


def read(name: str, dataset: DatasetSettings, root: Path) -> tuple[dict, list[str]]:
    """Images and labels of both splits, and the classes."""
    receipt = prepare(name, dataset, root)
    folder = root / "data" / name
    return {
        split: tuple(np.load(folder / f"{split}_{kind}.npy") for kind in ("images", "labels"))
        for split in ("train", "test")
    }, receipt["classes"]


def refusal(tmp_path: Path, dataset: DatasetSettings) -> str:
    with pytest.raises(UserError) as caught:
        read("small", dataset, tmp_path)
    text = str(caught.value)
    assert len(text.splitlines()) <= 2
    assert text.startswith("data set 'small': ")
    return text


# ---------------------------------------------------------------------------------------------------------- digits


def test_the_digits_split_is_stratified_disjoint_and_complete(tmp_path):
    from sklearn.datasets import load_digits

    splits, classes = read("digits", digits(size=8), tmp_path)
    train, test = splits["train"], splits["test"]
    assert classes == list("0123456789")
    assert np.bincount(test[1]).tolist() == [50] * 10
    assert train[0].shape == (1297, 1, 8, 8)
    assert (train[0].dtype, train[1].dtype) == (np.uint8, np.int64)
    # Together they are the 1,797 images, each once with its label.
    bunch = load_digits()
    whole = np.floor(bunch.images * 255 / 16 + 0.5).astype(np.uint8)
    everything = sorted((image.tobytes(), label) for image, label in zip(whole, bunch.target, strict=True))
    parts = [(i.tobytes(), n) for images, labels in splits.values() for i, n in zip(images, labels, strict=True)]
    assert sorted(parts) == everything


def test_a_larger_digits_test_split_contains_the_smaller_one():
    labels = np.arange(1797) % 10
    small, large = (set(_test_indices(labels, n).tolist()) for n in (20, 50))
    assert small < large
    assert (len(small), len(large)) == (200, 500)


def test_digits_content_is_the_same_everywhere_and_always(tmp_path):
    splits, classes = read("digits", digits(), tmp_path)
    arrays = {}
    for split, (images, labels) in splits.items():
        arrays |= {f"{split}_images": images, f"{split}_labels": labels}
    assert splits["train"][0].shape == (1297, 1, 16, 16)
    assert content_hash(arrays, classes) == DIGITS_CONTENT


@pytest.mark.parametrize("size", [8, 9, 16, 28, 96])
def test_enlarged_digits_agree_with_float64_bilinear_interpolation(size):
    images = np.random.default_rng(0).integers(0, 17, (20, 8, 8))
    exact = torch.nn.functional.interpolate(
        torch.from_numpy(images).double()[:, None], (size, size), mode="bilinear", align_corners=False
    )[:, 0].numpy()
    ours = enlarge_digits(images, size)
    assert ours.dtype == np.uint8
    assert np.abs(ours - exact * 255 / 16).max() <= 0.5 + 1e-9
    assert enlarge_digits(np.full((1, 8, 8), 16), size).min() == 255


# ---------------------------------------------------------------------------------------------------- image folders


@pytest.mark.parametrize("kind", ["", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip"])
@pytest.mark.parametrize("wrapper", ["", "set/"])
def test_folder_and_every_archive_give_the_same_images(tmp_path, kind, wrapper):
    content = files(held_out="val" if wrapper else "test")
    junk = {"readme.txt": b"", "train/notes.txt": b"", "train/cat/.DS_Store": b"", "train/cat/Thumbs.db": b""}
    junk |= {"__MACOSX/train/fox/1.png": b"", ".git/x": b"", "train/._cat/1.png": b""}
    path = write(tmp_path / f"small{kind}", {f"{wrapper}{name}": data for name, data in (content | junk).items()})
    splits, classes = read("small", folder(path), tmp_path)
    assert classes == ["cat", "dog"]
    assert splits["train"][1].tolist() == [0, 0, 0, 1, 1, 1]
    assert splits["test"][1].tolist() == [0, 0, 1, 1]
    for split, (images, _) in splits.items():
        names = sorted(name for name in content if name.startswith("train") == (split == "train"))
        assert np.array_equal(images, np.stack([pixels(content[name]) for name in names]))


@pytest.mark.parametrize("kind", ["", ".tar", ".zip"])
def test_one_of_test_and_val_is_tested_on_as_set(tmp_path, capsys, kind):
    content = files() | {f"val/{c}/9.png": png(f"{c} 9") for c in ("cat", "dog")}
    path = write(tmp_path / f"small{kind}", content)
    for choice, number, unused in ({}, 4, "val/"), ({"test": "test"}, 4, "val/"), ({"test": "val"}, 2, "test/"):
        splits, _ = read("small", folder(path, **choice), tmp_path)
        assert len(splits["test"][0]) == number
        assert f"small: {unused} not used" in capsys.readouterr().err
    assert np.array_equal(splits["test"][0][1], pixels(content["val/dog/9.png"]))


def test_held_out_parts_are_folds_of_each_class_that_no_other_image_changes(tmp_path):
    names = [f"train/{c}/{n}.png" for c in ("cat", "dog") for n in range(10)]
    content = {name: png(name) for name in names}
    parts = []
    for part in range(5):
        splits, _ = read("small", folder(write(tmp_path / f"{part}", content), held_out=0.2, part=part), tmp_path)
        (train, _), (test, labels) = splits["train"], splits["test"]
        assert labels.tolist() == [0, 0, 1, 1]
        parts.append({image.tobytes() for image in test})
        assert len(train) == 16
        assert not parts[-1] & {image.tobytes() for image in train}
    assert len(set.union(*parts)) == 20
    wrapped = write(tmp_path / "wrapped.tar", {f"pretrain/{name}": data for name, data in content.items()})
    again, _ = read("small", folder(wrapped, held_out=0.2, part=4), tmp_path)
    assert {image.tobytes() for image in again["test"][0]} == parts[4]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 13, 24])
def test_folds_of_any_number_of_images_test_on_each_just_once(count):
    masks = [held_out(list(map(str, range(count))), np.zeros(count, int), 0.2, part) for part in range(5)]
    assert all(mask.sum() >= (count > 1) for mask in masks)
    if count >= 5:
        assert sum(mask.astype(int) for mask in masks).tolist() == [1] * count


def test_the_images_held_out_do_not_depend_on_how_accents_are_encoded(tmp_path):
    names = [f"train/{c}/\u00e9{n}.png" for c in ("\u00e4", "b") for n in range(10)]
    receipts = []
    for form in ("NFC", "NFD"):
        path = write(tmp_path / f"{form}.zip", {unicodedata.normalize(form, name): png(name) for name in names})
        receipts.append(prepare("small", folder(path, held_out=0.2), tmp_path))
    assert receipts[0]["content"] == receipts[1]["content"]


def test_a_file_that_is_twice_in_an_archive_is_refused(tmp_path):
    path = write(tmp_path / "small.tar", files())
    with tarfile.open(path, "a") as archive:
        data = png("other")
        info = tarfile.TarInfo("train/cat/0.png")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    assert "train: 6 images were found, but then 7 were read: a name is in it more than once" in refusal(
        tmp_path, folder(path)
    )


def test_a_split_without_images_is_refused(tmp_path):
    path = write(tmp_path / "small", {f"train/{c}/0.png": png(c) for c in ("cat", "dog")})
    assert "there are no test images in it" in refusal(tmp_path, folder(path, held_out=0.2))
    stated = folder(path, held_out=0.2).model_copy(update={"expected": Expected(train=1, test=1)})
    assert "there are no test images in it" in refusal(tmp_path, stated)


def test_unlabeled_images_are_trained_on_without_a_class_if_asked_for(tmp_path, capsys):
    content = files() | {f"unlabeled/{name}.png": png(name) for name in ("x", "deep/y")}
    path = write(tmp_path / "small", content)
    splits, classes = read("small", folder(path), tmp_path)
    assert len(splits["train"][1]) == 6
    assert "unlabeled/ is not used" in capsys.readouterr().err
    splits, classes = read("small", folder(path, unlabeled=True, train_per_class=2), tmp_path)
    assert splits["train"][1].tolist() == [0, 0, 1, 1, -1, -1]
    assert classes == ["cat", "dog"]
    assert np.array_equal(splits["train"][0][-1], pixels(content["unlabeled/x.png"]))
    assert read_receipt("small", tmp_path)["unlabelled"] == 2
    assert "there is no unlabeled/ in it" in refusal(tmp_path, folder(write(tmp_path / "no", files()), unlabeled=True))


def test_classes_that_test_lacks_are_trained_on_and_named(tmp_path, capsys):
    splits, classes = read("small", folder(write(tmp_path / "small", without("test/dog"))), tmp_path)
    assert classes == ["cat", "dog"]
    assert splits["test"][1].tolist() == [0, 0]
    assert "no test images of dog: " in capsys.readouterr().err


def test_settings_of_splits_change_the_record_only_if_they_are_used(tmp_path):
    plain = {"kind", "path", "size", "channels", "train_per_class", "test_per_class", "sha256"}
    assert folder("x").source.record().keys() == plain
    assert folder("x", held_out=0.2, part=1).source.record().keys() == plain | {"held_out", "part"}
    with pytest.raises(ValueError, match="there is no such part"):
        folder("x", held_out=0.5, part=2)


def test_names_in_a_tar_may_begin_with_a_dot(tmp_path):
    path = write(tmp_path / "small.tar", {f"./{name}": data for name, data in files().items()})
    assert len(read("small", folder(path), tmp_path)[0]["train"][0]) == 6


def test_limits_take_the_first_by_name_and_leave_the_rest_undecoded(tmp_path, capsys):
    content = files()
    content["train/cat/2.png"] = b"not an image"  # never looked at
    path = write(tmp_path / "small.tar.xz", content)
    splits, _ = read("small", folder(path, train_per_class=2, test_per_class=9), tmp_path)
    names = ["train/cat/0.png", "train/cat/1.png", "train/dog/0.png", "train/dog/1.png"]
    assert np.array_equal(splits["train"][0], np.stack([pixels(content[name]) for name in names]))
    assert "small: test: fewer than 9 images in cat 2, dog 2; all of them are used" in capsys.readouterr().err


def test_paths_expand_home_and_variables_and_start_at_the_project(tmp_path, monkeypatch):
    write(tmp_path / "raw", files())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAW_DATA", str(tmp_path))
    for path in ("raw", "~/raw", "$RAW_DATA/raw", "${RAW_DATA}/raw"):
        assert len(read("small", folder(path), tmp_path)[0]["test"][0]) == 4
    monkeypatch.delenv("RAW_DATA")
    assert "the environment variable ${RAW_DATA} is not set" in refusal(tmp_path, folder("${RAW_DATA}/raw"))


def test_another_number_of_images_than_expected_is_refused_with_file_key_and_both_numbers(tmp_path, small):
    held = {"train": 6, "test": 4}
    for split, other in (("train", 50_000), ("test", 1)):
        dataset = small.model_copy(update={"expected": Expected(**held | {split: other})})
        with pytest.raises(UserError) as caught:
            prepare("small", dataset, tmp_path)
        message = str(caught.value)
        assert f"config/datasets.yaml: datasets.small.expected.{split}: {other:,} images expected" in message
        assert f"has {held[split]};" in message
        assert not (tmp_path / "data" / "small").exists()
    assert prepare("small", small.model_copy(update={"expected": Expected(**held)}), tmp_path)["counts"] == held


def test_expected_numbers_change_neither_the_content_nor_the_record_of_the_source(tmp_path, small):
    before = prepare("small", small, tmp_path)
    expecting = small.model_copy(update={"expected": Expected(**before["counts"])})
    assert prepare("small", expecting, tmp_path) == before


def test_what_is_prepared_already_is_compared_with_the_expected_numbers_too(tmp_path, small):
    shutil.copytree(PROJECT / "config", tmp_path / "config")
    entry = small.model_dump(exclude={"expected"}) | {"expected": {"train": 7, "test": 4}}
    (tmp_path / "config/datasets.yaml").write_text(yaml.safe_dump({"datasets": {"small": entry}}))
    known = {"datasets": {"small": prepare("small", small, tmp_path)["content"]}}
    (tmp_path / "data.dvc").write_text(yaml.safe_dump({"meta": known}))
    with pytest.raises(UserError, match=r"datasets.small.expected.train: 7 images expected, but data/small has 6"):
        list(fetch_datasets(tmp_path, ["small"], {}, None, False, False))


def test_links_to_class_folders_are_followed_in_a_folder(tmp_path):
    write(tmp_path / "all", files())
    for split in ("train", "test"):
        (tmp_path / "subset" / split).mkdir(parents=True)
        (tmp_path / "subset" / split / "cat").symlink_to(tmp_path / "all" / split / "cat")
    assert read("small", folder(tmp_path / "subset"), tmp_path)[1] == ["cat"]


def test_greys_palettes_transparency_and_16_bits(tmp_path):
    grey = one_image(tmp_path, png((255, 0, 0)), channels=1)
    assert grey.shape == (1, 8, 8)
    assert grey[0, 0, 0] == 76  # ITU-R 601: 0.299 x 255
    half = one_image(tmp_path, png((0, 0, 0, 0), mode="RGBA"))
    assert half.min() == 255  # transparent becomes white, whatever colour lies under it
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    file = io.BytesIO()
    palette.save(file, "GIF")
    assert one_image(tmp_path, file.getvalue(), suffix=".GIF")[:, 4, 4].tolist() == [10, 20, 30]
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8), 32768, np.uint16)).save(file, "PNG")
    assert one_image(tmp_path, file.getvalue())[:, 4, 4].tolist() == [128] * 3


def test_the_shorter_side_is_resized_and_the_centre_cropped(tmp_path):
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = [255, 100, 0]
    file = io.BytesIO()
    Image.fromarray(wide).save(file, "PNG")
    image = one_image(tmp_path, file.getvalue())
    assert image.shape == (3, 8, 8)
    assert np.array_equal(image[:, 4, 3], [255, 100, 0])
    # The middle third fills the crop; bicubic filtering reaches two pixels in from its edges.
    assert np.all(image[:, :, 2:6] == np.array([255, 100, 0])[:, None, None])
    assert one_image(tmp_path, png("long", 9, 31)).shape == (3, 8, 8)


def test_a_photograph_is_turned_upright(tmp_path):
    image = Image.new("RGB", (16, 16))
    image.paste((255, 255, 255), (0, 0, 16, 8))  # white above; orientation 6 turns that to the right
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif, quality=95)
    upright = one_image(tmp_path, file.getvalue(), suffix=".jpg", size=16)
    assert upright[:, :, 12:].min() > 240
    assert upright[:, :, :4].max() < 15


# ---------------------------------------------------------------------------------------------------------- errors


def without(*gone):
    return {name: data for name, data in files().items() if not name.startswith(gone)}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a/b.png": png(1)}, "there is no train/ in it (found: a)"),
        (without("train/"), "there is no train/ in it; training images belong in train/<class>/"),
        (without("test/"), "there is neither a test nor a val split; add one"),
        (files() | {"train/fox/": b"", "test/fox/1.png": png(1)}, "train/fox/ has no images; add some"),
        (files() | {"test/dogg/0.png": png(1)}, "the class 'dogg' is in test/ but not in train/; did you mean 'dog'?"),
        (files() | {"train/cat/a.json": b"{}"}, "train/cat/a.json is not an image (.bmp"),
        (files() | {"train/x.png": png(1)}, "train/x.png is in no class; put it into train/<class>/"),
        (files() | {"train/cat/deep/x.png": png(1)}, "is nested too deeply; images belong directly in train/<class>/"),
        (files() | {"train/cat/9.png": b"no"}, "train/cat/9.png cannot be read as an image (unknown format); replace"),
        (files() | {"train/cat/9.png": png("x")[:-30]}, "train/cat/9.png cannot be read as an image ("),
        ({f"{a}/{n}": d for n, d in files().items() for a in "xy"}, "both x/ and y/ have splits; give the path of one"),
        ({"train/": b"", "test/": b""}, "train/ has no classes"),
    ],
)
@pytest.mark.parametrize("kind", ["", ".tar.gz", ".zip"])
def test_a_wrong_layout_is_named(tmp_path, kind, content, said):
    path = write(tmp_path / f"raw{kind}", content)
    text = refusal(tmp_path, folder(path))
    assert said in text
    assert str(path) in text


def test_wrong_files_are_named(tmp_path):
    assert "there is no such file or folder; put the data there" in refusal(tmp_path, folder("absent.tar"))
    (tmp_path / "raw.rar").write_bytes(b"")
    assert "neither a folder nor an archive of a known type; use one of .tar, .tar.gz" in refusal(
        tmp_path, folder("raw.rar")
    )
    path = write(tmp_path / "raw.zip", files())
    assert len(read("small", folder(path, sha256=sha256_file(path)), tmp_path)[1]) == 2
    text = refusal(tmp_path, folder(path, sha256="0" * 64))
    assert f"has sha256 {sha256_file(path)}, but config/datasets.yaml expects 0000" in text
    assert "get the file again" in text
    assert "'sha256' is for archives: remove it" in refusal(
        tmp_path, folder(write(tmp_path / "raw", files()), sha256="0" * 64)
    )


@pytest.mark.parametrize("kind", [".tar", ".tar.gz", ".tar.xz", ".tar.bz2", ".zip"])
def test_archives_cut_off_anywhere_are_refused(tmp_path, kind):
    path = write(tmp_path / f"raw{kind}", files())
    whole = path.read_bytes()
    if kind == ".tar":
        whole = whole[:10_700]  # the ten files take 10,240 bytes; what follows is padding
    for part in (0, 0.3, 0.7, 0.99):
        path.write_bytes(whole[: int(len(whole) * part)])
        assert f"{path} is damaged or cut off (" in refusal(tmp_path, folder(path))


def test_a_tar_that_ends_between_two_files_or_has_a_damaged_header_is_refused(tmp_path):
    path = write(tmp_path / "raw.tar", files())
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1].offset
    whole = path.read_bytes()
    path.write_bytes(whole[:last])
    assert "it does not end like a tar archive" in refusal(tmp_path, folder(path))
    path.write_bytes(whole[:last] + b"x" + whole[last + 1 :])
    assert "it does not end like a tar archive" in refusal(tmp_path, folder(path))


def test_a_wrong_checksum_in_a_zip_names_the_member(tmp_path):
    path = write(tmp_path / "raw.zip", files())
    data = files()["train/cat/0.png"]
    path.write_bytes(path.read_bytes().replace(data, data[:-1] + b"x"))
    text = refusal(tmp_path, folder(path))
    assert "is damaged or cut off" in text
    assert "train/cat/0.png" in text


def test_links_and_names_that_lead_out_of_an_archive_are_refused(tmp_path):
    path = write(tmp_path / "raw.tar", files() | {"../train/cat/7.png": png(1)})
    assert "the name '../train/cat/7.png' points outside the archive" in refusal(tmp_path, folder(path))
    path = write(tmp_path / "raw.tar", files() | {"/train/cat/7.png": png(1)})
    assert "the name '/train/cat/7.png' points outside" in refusal(tmp_path, folder(path))
    with tarfile.open(path, "w") as archive:
        for name in files():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)
    assert "test/dog/1.png is a link or a special file" in refusal(tmp_path, folder(path))


def test_a_jpg_that_is_postscript_runs_nothing(tmp_path):
    write(tmp_path / "raw", files() | {"train/cat/9.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"})
    assert "train/cat/9.jpg cannot be read as an image (unknown format)" in refusal(tmp_path, folder("raw"))


# -------------------------------------------------------------------------------------------------------- progress


def test_a_log_gets_a_line_at_the_start_every_ten_seconds_and_at_the_end(tmp_path, capsys, monkeypatch):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress, "time", type("Clock", (), {"monotonic": staticmethod(lambda: next(clock))}))
    read("small", folder(write(tmp_path / "raw.tar", files())), tmp_path)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[:2] == ["small: reading the list of files in raw.tar", "small: reading 10 images"]
    assert lines[2:-2] == ["small: 3 of 10 images", "small: 6 of 10 images", "small: 9 of 10 images"]
    assert lines[-2] == "small: preparing 10 images"
    assert lines[-1].startswith("small: read 6 training and 4 test images of 2 classes, 3 x 8 x 8, in ")


def test_a_terminal_gets_a_bar(tmp_path, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    read("small", folder(write(tmp_path / "raw.tar", files())), tmp_path)
    assert "10/10" in terminal.getvalue()
    assert "images\n" not in terminal.getvalue()


# ----------------------------------------------------------------------------------------------------- preparation


@pytest.fixture
def small(tmp_path) -> DatasetSettings:
    """A data set whose source lies in tmp_path, which is also the project's root."""
    return folder(write(tmp_path / "raw.tar", files()))


def snapshot(root: Path) -> dict[str, bytes]:
    data = root / "data"
    return {str(p.relative_to(data)): p.read_bytes() for p in data.rglob("*") if p.is_file()}


def test_prepared_files_hold_the_arrays_and_the_receipt_describes_them(tmp_path, small):
    receipt = prepare("small", small, tmp_path)
    place = tmp_path / "data" / "small"
    assert receipt == json.loads((place / "dataset.json").read_text()) == read_receipt("small", tmp_path)
    splits, classes = read("small", small, tmp_path)
    images = np.load(place / "train_images.npy")
    assert np.array_equal(images, splits["train"][0])
    assert np.array_equal(np.load(place / "test_labels.npy"), splits["test"][1])
    scaled = images.astype(np.float64) / 255
    np.testing.assert_allclose(receipt["mean"], scaled.mean((0, 2, 3)), rtol=1e-13)
    np.testing.assert_allclose(receipt["std"], scaled.std((0, 2, 3)), rtol=1e-12)
    assert (receipt["classes"], receipt["image"], receipt["counts"]) == (classes, [3, 8, 8], {"train": 6, "test": 4})
    assert (receipt["name"], receipt["title"], receipt["format"]) == ("small", "Small", 1)
    assert receipt["source"] == small.source.record()
    assert (receipt["source"]["path"], receipt["source"]["size"]) == ("raw.tar", 8)
    file = receipt["files"]["train_images.npy"]
    assert file == {"sha256": sha256_file(place / "train_images.npy"), "bytes": 6 * 3 * 64 + 128}
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["small"]
    verify("small", tmp_path)


def test_the_same_source_gives_the_same_bytes(tmp_path, small):
    prepare("small", small, tmp_path)
    first = snapshot(tmp_path)
    prepare("small", small, tmp_path)
    assert snapshot(tmp_path) == first


def test_the_content_hash_sees_pixels_labels_and_classes_and_nothing_else(tmp_path, small):
    one, two = prepare("one", small, tmp_path), prepare("two", small, tmp_path)
    assert one["content"] == two["content"]
    arrays = {"images": np.arange(12, dtype=np.uint8).reshape(3, 2, 2), "labels": np.array([0, 1, 1])}
    base = content_hash(arrays, ["a", "b"])
    other_order = {name: np.asfortranarray(arrays[name]) for name in reversed(arrays)}
    assert content_hash(other_order, ["a", "b"]) == base
    assert content_hash(arrays | {"labels": arrays["labels"].astype(">i8")}, ["a", "b"]) == base
    variants = [
        (arrays, ["a", "c"]),
        (arrays | {"images": arrays["images"].reshape(3, 4, 1)}, ["a", "b"]),
        (arrays | {"labels": np.array([0, 1, 0])}, ["a", "b"]),
        (arrays | {"labels": arrays["labels"].astype(np.int32)}, ["a", "b"]),
    ]
    assert len({base, *(content_hash(*variant) for variant in variants)}) == 5


def fail(error):
    def failing(*_, **__):
        raise error

    return failing


@pytest.mark.parametrize("had", [False, True], ids=["first", "again"])
@pytest.mark.parametrize(
    ("place", "error", "expected", "said"),
    [
        ("numpy.lib.format.write_array_header_1_0", KeyboardInterrupt(), KeyboardInterrupt, None),
        (
            "numpy.lib.format.write_array_header_1_0",
            OSError(errno.ENOSPC, "No space left on device"),
            UserError,
            "No space left on device.; make",
        ),
        (
            "numpy.lib.format.write_array_header_1_0",
            OSError("9 requested and 2 written"),
            UserError,
            "9 requested and 2 written.; make",
        ),
        ("sslpairs.data.prepare.write_record", PermissionError(13, "Permission denied"), UserError, "check the permis"),
        ("sslpairs.data.packs.decode", UserError("image"), UserError, "image"),
        ("sslpairs.data.prepare.sha256_file", lambda *_: os.kill(os.getpid(), signal.SIGTERM), SystemExit, "143"),
    ],
    ids=["ctrl-c", "disk full", "disk full, NumPy", "permission", "bad image", "sigterm"],
)
def test_an_interrupted_preparation_leaves_what_was_there(
    tmp_path, small, monkeypatch, had, place, error, expected, said
):
    if had:
        prepare("small", small, tmp_path)
    before = snapshot(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)
    changed = folder(write(tmp_path / "new.tar", files() | {"train/cat/5.png": png("five")}))
    with monkeypatch.context() as patch:
        patch.setattr(place, error if callable(error) else fail(error))
        with pytest.raises(expected, match=said):
            prepare("small", changed, tmp_path)
    assert snapshot(tmp_path) == before
    assert sorted(os.listdir(tmp_path / "data")) == ["small"][:had]
    assert signal.getsignal(signal.SIGTERM) is handler
    assert prepare("small", changed, tmp_path)["counts"]["train"] == 7


def test_when_the_last_rename_fails_the_old_data_come_back(tmp_path, small, monkeypatch):
    prepare("small", small, tmp_path)
    before = snapshot(tmp_path)
    rename = os.rename

    def second_fails(source, target):
        if Path(source).name == "new":
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(KeyboardInterrupt):
        prepare("small", small, tmp_path)
    assert snapshot(tmp_path) == before


def test_what_killed_processes_left_is_removed_and_old_data_among_it_saved(tmp_path, small):
    prepare("small", small, tmp_path)
    before = snapshot(tmp_path)
    data = tmp_path / "data"
    done = subprocess.Popen(["true"])
    done.wait()
    for pid in (done.pid, os.getpid(), os.getppid()):
        (data / f".preparing-some-set-{pid}" / "new").mkdir(parents=True)
    shutil.move(data / "small", data / f".preparing-some-set-{done.pid}" / "old")  # killed between the two renames
    prepare("other", small, tmp_path)
    assert sorted(os.listdir(data)) == [f".preparing-some-set-{os.getppid()}", "other", "some-set"]
    saved = {f"small/{path.name}": path.read_bytes() for path in (data / "some-set").iterdir()}
    assert saved == before


def test_a_second_process_waits(tmp_path, capsys):
    order = []

    def second():
        with locked(tmp_path):
            order.append("second")

    (tmp_path / "data").mkdir()
    with open(tmp_path / "data" / ".lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        thread = threading.Thread(target=second)
        thread.start()
        said = []
        wait_for(lambda: said.append(capsys.readouterr().err) or "waiting for another process that" in "".join(said))
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]
    with locked(tmp_path), locked(tmp_path):  # nested: no deadlock
        pass


def test_what_cannot_be_prepared_says_so(tmp_path, small):
    with pytest.raises(UserError, match=r"data set '\.\./x': this name cannot be used for a folder"):
        prepare("../x", small, tmp_path)
    flat = folder(write(tmp_path / "flat", {"train/a/0.png": png(7), "test/a/0.png": png("b")}))
    with pytest.raises(UserError, match="channel 0 has the same value in all pixels"):
        prepare("flat", flat, tmp_path)
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "data").write_text("a file")
    with pytest.raises(UserError, match=r"blocked/data: cannot be written \(File exists\); check the permissions"):
        prepare("digits", digits(), tmp_path / "blocked")


@pytest.mark.slow
@pytest.mark.parametrize("had", [False, True], ids=["first", "again"])
def test_a_preparation_that_is_killed_at_any_touch_of_a_file_leaves_all_or_nothing(tmp_path, small, had):
    changed = folder(write(tmp_path / "new.tar", files() | {"train/cat/5.png": png("five")}))
    data = tmp_path / "data"

    def before() -> None:
        shutil.rmtree(data, ignore_errors=True)
        if had:
            prepare("small", small, tmp_path)

    before()
    old = verify("small", tmp_path)["content"] if had else None
    new = prepare("small", changed, tmp_path)["content"]
    whole = snapshot(tmp_path)
    moments = 0
    for moment in every_moment(lambda: prepare("small", changed, tmp_path), before):
        moments += 1
        receipt = read_receipt("small", tmp_path)
        if receipt:  # between two renames there is none, and the next preparation brings it back
            assert verify("small", tmp_path)["content"] in (old, new), moment
        prepare("small", changed, tmp_path)
        assert snapshot(tmp_path) == whole, moment
        assert sorted(os.listdir(data)) == ["small"]
    assert moments > 8


def test_damaged_receipts_and_files_are_named_with_the_remedy(tmp_path, small):
    assert read_receipt("small", tmp_path) is None
    with pytest.raises(UserError, match="data set 'small' is not prepared; run: sslpairs fetch small"):
        verify("small", tmp_path)
    prepare("small", small, tmp_path)
    place = tmp_path / "data" / "small"
    labels = place / "test_labels.npy"
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-1] + b"\1")
    with pytest.raises(UserError, match=r"test_labels.npy differs from its receipt; .*: sslpairs fetch small --force"):
        verify("small", tmp_path)
    labels.unlink()
    with pytest.raises(UserError, match=r"test_labels.npy is missing; prepare it again: sslpairs fetch small --force"):
        verify("small", tmp_path)
    receipt = json.loads((place / "dataset.json").read_text())
    for text, said in (
        ("{", "Expecting"),
        ("{}", "it is not of format 1"),
        ("[]", "it is not of format 1"),
        (json.dumps(receipt | {"mean": [0.9]}), "its seal does not match: it was altered"),
    ):
        (place / "dataset.json").write_text(text)
        with pytest.raises(UserError, match=rf"dataset.json is damaged \({said}.*sslpairs fetch small --force"):
            read_receipt("small", tmp_path)
    write_record(place / "dataset.json", {key: value for key, value in receipt.items() if key != "mean"})
    with pytest.raises(UserError, match=r"dataset.json is damaged \(it lacks mean\)"):
        read_receipt("small", tmp_path)


# ---------------------------------------------------------------------------------------------------------- arrays


def test_loaded_tensors_are_the_prepared_arrays(tmp_path, small):
    receipt = prepare("small", small, tmp_path)
    data = load("small", tmp_path)
    splits, classes = read("small", small, tmp_path)
    for split in ("train", "test"):
        loaded = getattr(data, split)
        assert (loaded.images.tensor.dtype, loaded.labels.dtype) == (torch.uint8, torch.int64)
        assert np.array_equal(loaded.images.tensor.numpy(), splits[split][0])
        assert np.array_equal(loaded.labels.numpy(), splits[split][1])
    assert (data.classes, data.content, data.title) == (classes, receipt["content"], "Small")
    assert data.mean.dtype == data.std.dtype == torch.float32
    torch.testing.assert_close(data.mean.double(), torch.tensor(receipt["mean"]).double())
    assert load("small", tmp_path, "meta").train.images.device.type == "meta"


def test_loading_what_is_absent_or_damaged_says_so(tmp_path, small):
    with pytest.raises(UserError, match="data set 'small' is not prepared; run: sslpairs fetch small"):
        load("small", tmp_path)
    receipt = prepare("small", small, tmp_path)
    file = tmp_path / "data" / "small" / "test_images.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(UserError, match=r"test_images.npy is damaged \(it has 895 bytes instead of 896\).*--force"):
        load("small", tmp_path)
    file.write_bytes(b"x" * len(whole))
    with pytest.raises(UserError, match=r"test_images.npy is damaged \(.*\); prepare it again"):
        load("small", tmp_path)
    file.unlink()
    with pytest.raises(UserError, match=r"test_images.npy is damaged \(.*No such file"):
        load("small", tmp_path)
    file.write_bytes(whole)
    write_record(file.parent / "dataset.json", receipt | {"counts": {"train": 6, "test": 5}})
    with pytest.raises(UserError, match=r"holds uint8 \(4, 3, 8, 8\) instead of uint8 \(5, 3, 8, 8\)"):
        load("small", tmp_path)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_images_that_cannot_be_read_are_not_called_damaged(tmp_path, small, monkeypatch, number):
    prepare("small", small, tmp_path)
    monkeypatch.setattr("sslpairs.data.arrays.np.load", fail(OSError(number, os.strerror(number))))
    with pytest.raises(UserError, match=rf"train_images\.npy: cannot be read \({os.strerror(number)}\)"):
        load("small", tmp_path)


def test_other_images_than_a_run_is_named_after_are_not_loaded(tmp_path, small):
    receipt = prepare("small", small, tmp_path)
    assert load("small", tmp_path, content=receipt["content"]).content == receipt["content"]
    with pytest.raises(
        UserError, match=r"data/small: not the images of this run .*; prepare those again with `sslpairs fetch small`"
    ):
        load("small", tmp_path, content="0" * 64)


@pytest.mark.gpu
def test_a_data_set_lies_on_the_gpu_that_was_asked_for(tmp_path, small):
    prepare("small", small, tmp_path)
    data = load("small", tmp_path, "cuda")
    tensors = (
        data.train.images.tensor,
        data.train.labels,
        data.test.images.tensor,
        data.test.labels,
        data.mean,
        data.std,
    )
    assert all(tensor.is_cuda for tensor in tensors)


def test_sources_preparation_and_record_start_without_heavy_libraries():
    code = (
        "import sys, sslpairs.data.folders, sslpairs.data.record\n"
        "assert 'numpy' not in sys.modules\n"
        "import sslpairs.data.sources, sslpairs.data.prepare, sslpairs.data.kinds.digits\n"
        "print(sorted({'torch', 'sklearn', 'PIL', 'rich', 'dvc', 'pandas'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


# ---------------------------------------------------------------------------------------------------------- record


def test_the_content_of_a_known_source_is_known_before_its_images_are_here_until_another_is_recorded(
    tmp_path, monkeypatch
):
    mini = Datasets.model_validate(yaml.safe_load((PROJECT / "config/datasets.yaml").read_text())).datasets[
        "cifar10-jpeg-mini"
    ]
    known = contents(tmp_path, {"any name": mini})["any name"]
    assert known.startswith("a69812a5550d")
    fewer = mini.model_copy(update={"source": mini.source.model_copy(update={"train_per_class": 100})})
    assert contents(tmp_path, {"fewer": fewer}) == {}
    monkeypatch.setattr(recording, "recorded", lambda root: {"any name": "another"})
    assert contents(tmp_path, {"any name": mini}) == {"any name": "another"}


@pytest.fixture
def project(tmp_path, monkeypatch, small):
    """A git repository with this project's DVC configuration and two prepared data sets, a and b."""
    for name in ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG"):
        monkeypatch.setenv(f"DVC_{name}_DIR", str(tmp_path / "dvc" / name))
    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    for file in (".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        shutil.copy(PROJECT / file, root / file)
    subprocess.run(["git", "init", "-q", root], check=True)
    prepare("a", small, root)
    prepare("b", folder(small.source.path, test_per_class=1), root)
    return root


def content(name, root) -> str:
    return read_receipt(name, root)["content"]


def tracked(root: Path) -> dict[str, str]:
    """File -> md5, in the listing that data.dvc points to."""
    md5 = yaml.safe_load((root / "data.dvc").read_text())["outs"][0]["md5"]
    listing = json.loads((root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).read_text())
    return {entry["relpath"]: entry["md5"] for entry in listing}


def test_the_record_follows_what_is_prepared(project, small, capsys, monkeypatch):
    assert recorded(project) == {}
    (project / "data" / ".preparing-c-1").mkdir()
    (project / "data" / ".preparing-c-1" / "x").write_text("x")
    shutil.move(project / "data" / "b", project / "b")
    record("a", content("a", project), project)
    assert recorded(project) == {"a": content("a", project)}
    receipts = {f"{name}/{kind}" for name in "ab" for kind in ("dataset.json", "train_images.npy")}
    assert tracked(project).keys() & receipts == {"a/dataset.json", "a/train_images.npy"}
    assert not [name for name in tracked(project) if name.startswith(".")]

    # A second data set joins while the first is not here: the first stays tracked.
    shutil.move(project / "data" / "a", project / "a")
    shutil.move(project / "b", project / "data" / "b")
    record("b", content("b", project), project)
    assert tracked(project).keys() >= receipts

    # What is recorded already costs no DVC command, also when it was prepared anew.
    shutil.move(project / "a", project / "data" / "a")
    assert recorded(project) == {"a": content("a", project), "b": content("b", project)}
    prepare("a", small, project)
    before = (project / "data.dvc").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", fail(AssertionError("DVC was called")))
        record("a", content("a", project), project)
        record("b", content("b", project), project)
    assert (project / "data.dvc").read_bytes() == before

    # Another title: the same content for training, but other bytes for DVC.
    old = tracked(project)["a/dataset.json"]
    prepare("a", small.model_copy(update={"title": "Renamed"}), project)
    record("a", content("a", project), project)
    assert tracked(project)["a/dataset.json"] != old
    assert recorded(project)["a"] == content("a", project)
    assert capsys.readouterr().err.count("warning") == 0


@pytest.mark.slow
def test_a_clone_without_cache_or_remote_drops_nothing_that_it_lacks(project, capsys):
    outs = [{"md5": f"{'0' * 32}.dir", "size": 2, "nfiles": 2, "hash": "md5", "path": "data"}]
    entry = {"outs": outs, "meta": {"datasets": {name: content(name, project) for name in "ab"}}}
    (project / "data.dvc").write_text(yaml.safe_dump(entry))
    shutil.move(project / "data" / "b", project / "b")
    record("a", content("a", project), project)
    err = capsys.readouterr().err
    assert "warning: DVC does not track data/a yet: " in err
    assert "tracked, but not here: b; get them: dvc pull, or sslpairs fetch" in err
    assert yaml.safe_load((project / "data.dvc").read_text())["outs"] == outs
    assert recorded(project)["a"] == content("a", project)

    shutil.move(project / "b", project / "data" / "b")  # now all is here, and a new listing can be made
    record("a", content("a", project), project)
    assert {"a/dataset.json", "b/dataset.json"} <= tracked(project).keys()
    assert "warning" not in capsys.readouterr().err


def test_without_dvc_the_content_is_recorded_and_the_remedy_told(project, capsys):
    shutil.rmtree(project / ".dvc")
    record("a", content("a", project), project)
    assert recorded(project) == {"a": content("a", project)}
    err = capsys.readouterr().err.splitlines()
    assert [line for line in err if "warning" in line] == [
        f"warning: DVC does not track data/a yet: there is no .dvc/ in {project}; run: dvc init, then: sslpairs fetch a"
    ]


def test_only_what_is_prepared_can_be_recorded(tmp_path):
    with pytest.raises(UserError, match="data set 'a' is not prepared; run: sslpairs fetch a"):
        record("a", "0" * 64, tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("outs: [", "cannot be read"),
        ("just words", "is not a DVC file"),
        ("meta: {datasets: {a: 1}}", "meta.datasets is not a map of names to hashes"),
        ("meta: [1]", "meta.datasets is not a map of names to hashes"),
    ],
)
def test_an_unreadable_record_is_named(tmp_path, text, said):
    (tmp_path / "data.dvc").write_text(text)
    with pytest.raises(UserError, match=rf"data\.dvc.*{said}.*git checkout data\.dvc"):
        recorded(tmp_path)


def test_a_data_dvc_without_our_record_is_empty(tmp_path):
    (tmp_path / "data.dvc").write_text("outs:\n- path: data\n")
    assert recorded(tmp_path) == {}
    assert recording._Loader is yaml.CSafeLoader
    assert preparing.FORMAT == 1


def fresh_clone(project, monkeypatch, **sets: DatasetSettings) -> list[str]:
    """Data sets are recorded, none is here, and DVC has no listing of data/; returns what is handed to DVC from now on."""
    outs = [{"md5": f"{'0' * 32}.dir", "size": 2, "nfiles": 2, "hash": "md5", "path": "data"}]
    meta = {"datasets": {}, "receipts": {}, "sources": {}}
    for name, dataset in sets.items():
        meta["datasets"][name] = prepare(name, dataset, project)["content"]
        meta["receipts"][name] = sha256_file(project / f"data/{name}/dataset.json")
        meta["sources"][name] = recording._source(dataset)
    shutil.rmtree(project / "data")
    (project / "data.dvc").write_text(yaml.safe_dump({"outs": outs, "meta": meta}))
    handed = []
    monkeypatch.setattr(
        recording.dvc,
        "add",
        lambda target, root: handed.append(target) or (None if target == "data" else "no listing"),
    )
    return handed


def test_own_data_on_a_fresh_clone_are_tracked_with_the_digits_that_are_not_here_yet(
    project, small, capsys, monkeypatch
):
    handed = fresh_clone(project, monkeypatch, digits=digits(size=8))
    own = prepare("own", small, project)["content"]
    record("own", own, project, {"own": small, "digits": digits(size=8)})
    assert handed == ["data/own", "data"]
    assert sorted(os.listdir(project / "data")) == ["digits", "own"]
    assert verify("digits", project)["content"] == recorded(project)["digits"]
    assert recorded(project)["own"] == own
    assert recording.tracked(project)
    assert recording.untracked(project) == []
    err = capsys.readouterr().err
    assert "digits: prepared too, since DVC tracks data/ as a whole" in err
    assert "warning" not in err


def test_data_whose_source_is_not_here_or_is_another_are_not_replaced_and_are_named(
    project, small, tmp_path, capsys, monkeypatch
):
    far = folder(write(tmp_path / "far.tar", files()))
    handed = fresh_clone(project, monkeypatch, far=far, other=digits(size=8))
    (tmp_path / "far.tar").unlink()
    own = prepare("own", small, project)["content"]
    record("own", own, project, {"own": small, "far": far, "other": digits(size=16)})
    assert handed == ["data/own"]
    assert (
        "warning: DVC does not track data/own yet: no listing (tracked, but not here: far, other; get them: dvc pull, or "
        "sslpairs fetch far other); fix that, then: sslpairs fetch own" in capsys.readouterr().err
    )
    assert recording.untracked(project) == ["own"]
    done = Published()
    assert _data(project, None, done) == []
    assert done.notes == [
        "data/: left out, since DVC does not track own; `sslpairs fetch own` tracks it, or reports the problem"
    ]
    # Other images under the same name are not the recorded ones.
    prepare("far", small.model_copy(update={"source": small.source.model_copy(update={"size": 9})}), project)
    prepare("other", digits(size=8), project)
    record("own", own, project)
    assert handed == ["data/own", "data/own"]
    assert "(tracked, but not here: far; get them" in capsys.readouterr().err
