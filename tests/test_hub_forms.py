"""Copies of published data sets on the Hugging Face Hub: they have the content of the authors' files, or are refused with the reason."""

import io
import json
import random
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from test_data import write
from test_imagenet import (  # noqa: F401 - _small is a fixture
    CLASSES,
    FLAT,
    FOLDERS,
    HUNDRED,
    LABELS,
    TINY,
    TINY_SORTED,
    TINY_TRAIN,
    TINY_VAL,
    TRAINING,
    VALIDATION,
    _small,
    content,
    dataset,
    of,
    refusal,
    tiny_content,
    tiny_of,
)
from test_parquet_kind import save, table
from test_photograph_kinds import food
from test_pixel_kinds import SVHN

from sslpairs.config.sources.base import hub_caches
from sslpairs.config.sources.food101 import Food101Settings
from sslpairs.data import imagenet, photographs
from sslpairs.data.prepare import prepare
from sslpairs.data.sources import find

WORDS = [f"word {c}, another word" for c in CLASSES]
"""Names of the classes in ILSVRC/imagenet-1k."""
ALL = {name: CLASSES.index(of(name)) for name in TRAINING | VALIDATION}


def older(name: str) -> str:
    """The name of a file in the older archive of the Hub, which repeats the class."""
    return name.replace(".JPEG", f"_{of(name)}.JPEG")


def mixed(names, seed: int = 0) -> list[str]:
    return random.Random(seed).sample(sorted(names), len(names))


def tables(
    folder: Path, path=older, train=TRAINING, test=VALIDATION, classes=WORDS, name="data/{}-{:05}-of-{:05}.parquet"
) -> Path:
    """ILSVRC/imagenet-1k: two shards for training, one for validation, one of test images without labels."""
    rows = [(ALL[n], path(n), train[n]) for n in mixed(train)]
    for number, part in enumerate((rows[:7], rows[7:])):
        save(folder / name.format("train", number, 2), table(part, classes))
    save(folder / name.format("validation", 0, 1), table([(ALL[n], path(n), test[n]) for n in mixed(test)], classes))
    save(folder / name.format("test", 0, 1), table([(-1, "ILSVRC2012_test_00000001.JPEG", b"x")], classes))
    return folder


def shards(folder: Path, key=lambda name: name.removesuffix(".JPEG"), label=ALL.get, suffix="jpg") -> Path:
    """timm/imagenet-1k-wds: two shards for training, one for validation."""
    folder.mkdir(parents=True)
    train = mixed(TRAINING)
    parts = {"train-0000": train[:9], "train-0001": train[9:], "validation-0000": mixed(VALIDATION)}
    for part, names in parts.items():
        with tarfile.open(folder / f"imagenet1k-{part}.tar", "w") as archive:
            for name in names:
                facts = json.dumps({"filename": f"{of(name)}/{name}", "label": label(name)}).encode()
                files = {"cls": str(label(name)).encode(), suffix: (TRAINING | VALIDATION)[name], "json": facts}
                for kind, data in files.items():
                    info = tarfile.TarInfo(f"{key(name)}.{kind}")
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    return folder


def cached(folder: Path, repository: str) -> Path:
    return folder / f"datasets--{repository.replace('/', '--')}"


# --- ImageNet ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["imagenet", "imagenet100"])
@pytest.mark.parametrize("form", ["tables", "shards"])
def test_copies_of_imagenet_have_its_content(tmp_path, kind, form):
    classes = CLASSES if kind == "imagenet" else HUNDRED
    make, repository = {
        "tables": (tables, "ILSVRC/imagenet-1k"),
        "shards": (shards, "timm/imagenet-1k-wds"),
    }[form]
    original = form == "tables"
    if not original:  # as timm's, which TensorFlow Datasets saved again in part
        shared = make(tmp_path / "again")
        assert "in timm/imagenet-1k-wds's shards 23 images were saved again" in refusal(tmp_path, kind, shared)
    folder = make(cached(tmp_path, repository) / "snapshots/0b27")
    folders = write(tmp_path / "folders", FOLDERS | FLAT)
    for path in (tmp_path, cached(tmp_path, repository), folder, make(tmp_path / "here" / "raw"), tmp_path / "here"):
        if path == tmp_path:
            path = tmp_path / "hub"
            path.mkdir()
            cached(path, repository).symlink_to(cached(tmp_path, repository))
            cached(path, "a/b").mkdir()
        receipt = prepare("small", dataset(kind, path, original=original), tmp_path)
        assert receipt["content"] == content(TRAINING, VALIDATION, classes)
        assert receipt["classes"] == classes
        assert f"{repository}'s" in receipt["form"]
        verified = "numbers and names compared, no digests on record" if original else "not verified"
        assert verified in receipt["form"]
    limits = {"train_per_class": 2, "test_per_class": 1}
    assert (
        prepare("few", dataset(kind, folder, **limits, original=original), tmp_path)["content"]
        == prepare("few", dataset(kind, folders, **limits), tmp_path)["content"]
    )
    assert prepare("any", dataset(kind, folder, original=False), tmp_path)["content"] == receipt["content"]


def test_other_spellings_of_the_tables_are_read(tmp_path):
    expected = content(TRAINING, VALIDATION, CLASSES)
    for number, settings in enumerate(
        (
            {"path": lambda name: f"somewhere/{name}"},
            {"classes": None},
            {"classes": [f"{c} words" for c in CLASSES]},
            {"name": "default/{}/{:04}.parquet"},
            {"name": "ILSVRC___imagenet-1k/default/0.0.0/abc/imagenet-1k-{}-{:05}-of-{:05}.parquet"},
        )
    ):
        folder = tables(tmp_path / str(number), **settings)
        if "default/train" in "".join(str(one) for one in folder.rglob("*")):
            folder = folder / "default"
        assert prepare("small", dataset("imagenet", folder), tmp_path)["content"] == expected


def test_labels_by_the_names_of_the_classes_may_have_any_order(tmp_path, monkeypatch):
    turned = list(reversed(CLASSES))
    monkeypatch.setattr("test_hub_forms.ALL", {name: turned.index(of(name)) for name in TRAINING | VALIDATION})
    folder = tables(tmp_path / "raw", classes=turned)
    assert prepare("small", dataset("imagenet", folder), tmp_path)["content"] == content(TRAINING, VALIDATION, CLASSES)
    assert "is sorted into" in refusal(tmp_path, "imagenet", tables(tmp_path / "words"))


def test_copies_of_imagenet_without_names_are_used_only_if_that_is_wanted(tmp_path):
    nameless = tables(tmp_path / "tables", path=lambda _: None)
    text = refusal(tmp_path, "imagenet", nameless)
    assert "original: false" in text
    assert "have no names of their files, which tell whose they are" in text
    receipt = prepare("small", dataset("imagenet", nameless, original=False), tmp_path)
    assert receipt["counts"] == {"train": len(TRAINING), "test": len(VALIDATION)}
    assert receipt["form"] == "ILSVRC/imagenet-1k's parquet files (not verified)"
    labels = np.load(tmp_path / "data/small/test_labels.npy")
    assert labels.tolist() == sorted(LABELS)

    numbers = {name: f"{number:05}" for number, name in enumerate(ALL)}
    keyed = shards(tmp_path / "shards", key=numbers.get)
    receipt = prepare("small", dataset("imagenet", keyed, original=False, train_per_class=2), tmp_path)
    assert receipt["counts"] == {"train": 2 * len(CLASSES), "test": len(VALIDATION)}


def test_labels_of_another_list_of_classes_are_not_guessed(tmp_path, monkeypatch):
    nameless = {name: f"{number:05}" for number, name in enumerate(ALL)}
    made = {
        "words": tables(tmp_path / "words", classes=[*WORDS[:5], "a", "b"]),
        "tables": tables(
            tmp_path / "tables",
            path=lambda _: None,
            classes=None,
            train={n: d for n, d in TRAINING.items() if ALL[n] < 4},
            test={n: d for n, d in VALIDATION.items() if ALL[n] < 4},
        ),
        "shards": shards(tmp_path / "shards", nameless.get, lambda name: min(ALL[name], 3)),
    }
    for number, path in zip((7, 4, 4), made.values(), strict=True):
        for kind in ("imagenet", "imagenet100"):
            text = refusal(tmp_path, kind, path, original=False)
            assert f"its labels are of {number} classes, not of 6, and do not tell their WordNet IDs" in text


@pytest.mark.parametrize("form", ["tables", "shards"])
def test_copies_of_imagenet_that_cannot_be_used_are_refused_with_the_reason(tmp_path, form, monkeypatch):
    make, file = {
        "tables": (tables, "data/{}-00000-of-0000{}.parquet"),
        "shards": (shards, "imagenet1k-{}-0000.tar"),
    }[form]
    whole = make(tmp_path / "whole")
    train, val = whole / file.format("train", 2), whole / file.format("validation", 1)
    original = form == "tables"
    assert "this is one of the files of a copy; give the path of the folder" in refusal(tmp_path, "imagenet", train)
    before = train.read_bytes()
    train.write_bytes(before[: len(before) // 2])
    assert "is damaged or cut off" in refusal(tmp_path, "imagenet", whole, original=original)
    train.unlink()
    if form == "tables":  # the number of timm's shards is not on record
        assert "train number 0 is missing" in refusal(tmp_path, "imagenet", whole)
    train.write_bytes(before)
    val.rename(tmp_path / "val")
    assert "there is no val split in it; get all files of" in refusal(tmp_path, "imagenet", whole, original=original)
    (tmp_path / "val").rename(val)
    if form == "shards":
        wrong = make(tmp_path / "wrong", label=lambda name: (ALL[name] + 1) % 6)
        assert "is sorted into" in refusal(tmp_path, "imagenet", wrong, original=original)
        wrong = make(tmp_path / "none", label=lambda _: -1)
        assert "has the label -1; they are 0 to 5" in refusal(tmp_path, "imagenet", wrong, original=original)
    else:
        few = make(tmp_path / "few", train=dict(list(TRAINING.items())[1:]))
        assert "images expected" in refusal(tmp_path, "imagenet", few)
        monkeypatch.setattr(imagenet, "bytes_of_files", lambda _: (10**6, 10**6 + 1))
        assert "they were resized or saved again" in refusal(tmp_path, "imagenet", whole, original=original)
        empty = tmp_path / "empty/data"
        for split in ("train", "val"):
            save(empty / f"{split}.parquet", table([(0, "a", b"x")], WORDS)[:0])
        assert "there are no images in it" in refusal(tmp_path, "imagenet", empty)


def test_copies_are_found_in_the_hubs_cache(tmp_path, monkeypatch):
    for variable in ("HF_HUB_CACHE", "TFDS_DATA_DIR", "HF_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSLPAIRS_SOURCES", str(tmp_path / "sources"))
    assert hub_caches("a/b", "c/d")[0::3] == ("$HF_HUB_CACHE/datasets--a--b", "$HF_HUB_CACHE/datasets--c--d")
    cache = cached(tmp_path / "hf_home/hub", "timm/imagenet-1k-wds")
    shards(cache / "snapshots/1")
    for kind in ("imagenet", "imagenet100"):
        assert find("x", dataset(kind, None), tmp_path) == cache
    for kind, repository in {
        "svhn": "ufldl-stanford/svhn",
        "tiny-imagenet": "zh-plus/tiny-imagenet",
        "food101": "ethz/food101",
    }.items():  # not if the authors' files, which can be downloaded, are asked for
        cache = cached(tmp_path / ".cache/huggingface/hub", repository)
        (cache / "snapshots/1").mkdir(parents=True)
        assert find("x", dataset(kind, None), tmp_path) is None
        assert find("x", dataset(kind, None, original=False), tmp_path) == cache


# --- Tiny ImageNet, SVHN, Food-101 ------------------------------------------------------------------------------------


def test_the_copy_of_tiny_imagenet_is_used_if_that_is_wanted(tmp_path):
    def copy(folder: Path, named: bool, classes=TINY) -> Path:
        for split, images in (("train", TINY_TRAIN), ("valid", TINY_VAL)):
            rows = [(TINY.index(tiny_of(n)), n if named else None, images[n]) for n in mixed(images)]
            save(folder / f"data/{split}-00000-of-00001-1359597a978bc4fa.parquet", table(rows, classes))
        return folder

    path = copy(tmp_path / "raw", named=True)
    text = refusal(tmp_path, "tiny-imagenet", path)
    assert "these are not the authors' files, and there is no digest to compare them with" in text
    receipt = prepare("small", dataset("tiny-imagenet", path, original=False), tmp_path)
    assert receipt["content"] == tiny_content()
    assert receipt["form"] == "zh-plus/tiny-imagenet's parquet files (not verified)"
    few = prepare("few", dataset("tiny-imagenet", path, original=False, train_per_class=2), tmp_path)
    assert few["content"] == tiny_content(train=2)
    nameless = copy(tmp_path / "nameless", named=False)
    again = prepare("small", dataset("tiny-imagenet", nameless, original=False), tmp_path)
    assert again["counts"] == receipt["counts"]
    assert again["content"] != receipt["content"]  # in the order of the rows
    words = copy(tmp_path / "words", named=True, classes=["a", "b"])
    assert "its labels are of 2 classes, not of 3" in refusal(tmp_path, "tiny-imagenet", words, original=False)
    one = next(path.rglob("train-*.parquet"))
    assert "this is one of the files of a copy" in refusal(tmp_path, "tiny-imagenet", one)
    folders = write(path, {f"train/{tiny_of(n)}/{n}": d for n, d in TINY_TRAIN.items()} | TINY_SORTED)
    assert "tiny-imagenet's" not in prepare("small", dataset("tiny-imagenet", folders), tmp_path)["form"]


def test_the_copy_of_svhn_has_the_content_of_the_authors_files(tmp_path, monkeypatch):
    svhn = SVHN(monkeypatch, tmp_path / "svhn")
    expected = prepare("small", dataset("svhn", svhn.folder), tmp_path)["content"]
    copy = cached(tmp_path, "ufldl-stanford/svhn")
    folder = copy / "snapshots/1/cropped_digits"
    for split in ("train", "test", "extra"):
        rows = []
        for digit, image in zip(svhn.labels[split].tolist(), svhn.images[split], strict=True):
            file = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(file, "PNG")
            rows.append((digit, None, file.getvalue()))
        save(folder / f"{split}-00000-of-00001.parquet", table(rows[::-1], list("0123456789")))
    other = pa.table({"image": [b"x"], "digits": [[1, 2]]})
    save(copy / "snapshots/1/full_numbers/train-00000-of-00001.parquet", other)
    assert "these are not the authors' files, and there is no digest" in refusal(tmp_path, "svhn", copy)
    for path in (copy, folder, folder.parent):
        receipt = prepare("small", dataset("svhn", path, original=False), tmp_path)
        assert receipt["content"] == expected
        assert receipt["form"] == "ufldl-stanford/svhn's parquet files (not verified)"
    text = refusal(tmp_path, "svhn", copy, original=False, extra=True)
    assert "the extra images are read from extra_32x32.mat only" in text
    one = folder / "train-00000-of-00001.parquet"
    assert "this is one of the files of a copy" in refusal(tmp_path, "svhn", one)
    whole = one.read_bytes()
    for labels, classes, said in (
        (range(9), list("1234567890"), "train: the label 0 is '1', but 1 should be; get ufldl-stanford/svhn again"),
        (["3", "four"], None, "train: the label 3 is none"),
        ([3, None], None, "train: the label None is none"),
    ):
        save(one, table([(label, None, rows[0][2]) for label in labels], classes))
        assert said in refusal(tmp_path, "svhn", copy, original=False)
    one.write_bytes(whole)
    one.rename(folder / "training-00000-of-00001.parquet")
    (folder / "test-00000-of-00001.parquet").unlink()
    text = refusal(tmp_path, "svhn", copy, original=False)
    assert "there is no test split in it; get all files of ufldl-stanford/svhn" in text
    save(folder / "test-00000-of-00001.parquet", table([(0, None, b"x")])[:0])
    assert "test: there are no images in it" in refusal(tmp_path, "svhn", copy, original=False)


def test_the_copy_of_food101_has_the_content_of_the_authors_files(tmp_path, monkeypatch):
    files, expected = food()
    classes = expected["classes"]
    counts = len(expected["train"]), len(expected["test"])
    monkeypatch.setattr(Food101Settings, "official", counts)
    monkeypatch.setattr(photographs, "WHOLE", 0.0)  # the made files are smaller than the authors'
    monkeypatch.setattr(Food101Settings, "classes", len(classes))
    whole = prepare("small", dataset("food101", write(tmp_path / "food-101", files)), tmp_path)

    def copy(folder: Path, names=classes[::-1], path=lambda name: name.rpartition("/")[2]) -> Path:
        for split, part in (("train", "train"), ("test", "validation")):
            rows = [((len(classes) - 1 - at), path(name), files[name]) for at, name in expected[split]]
            save(folder / f"data/{part}-00000-of-00001.parquet", table(mixed(rows), names))
        return folder

    path = copy(tmp_path / "raw")
    assert "these are not the authors' files" in refusal(tmp_path, "food101", path)
    for limits in ({}, {"train_per_class": 2, "test_per_class": 1}):
        receipt = prepare("copy", dataset("food101", path, original=False, **limits), tmp_path)
        whole = prepare("small", dataset("food101", tmp_path / "food-101", **limits), tmp_path)
        assert receipt["content"] == whole["content"]
        assert receipt["classes"] == classes
    nameless = copy(tmp_path / "nameless", path=lambda _: None)
    receipt = prepare("copy", dataset("food101", nameless, original=False), tmp_path)
    assert tuple(receipt["counts"].values()) == counts
    assert receipt["form"] == "ethz/food101's parquet files (not verified)"
    for number, (names, said) in enumerate(
        (
            (None, "it does not state the names of its classes"),
            (("a/b", "c", "d"), "its class 'a/b' has no usable name"),
            (("a", "b"), "the label 2 is none of 2"),
        )
    ):
        wrong = copy(tmp_path / f"wrong{number}", names)
        assert said in refusal(tmp_path, "food101", wrong, original=False)
    one = path / "data/train-00000-of-00001.parquet"
    assert "this is one of the files of a copy" in refusal(tmp_path, "food101", one)
    one.unlink()
    assert "no file of it has 'train' in its name" in refusal(tmp_path, "food101", path, original=False)
