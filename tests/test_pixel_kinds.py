"""Published data sets that are arrays of pixels, in all their forms, and the user's own arrays."""

import argparse
import hashlib
import io
import os
import pickle
import tarfile
import unicodedata
import zipfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image
from pydantic import ValidationError
from test_data import read, refusal, write

from sslpairs.config.datasets import DatasetSettings
from sslpairs.config.medmnist import SETS
from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources import SOURCES
from sslpairs.data.prepare import prepare

JPEGS = Path(__file__).resolve().parents[1] / "sources/cifar10-jpeg.tar.xz"
"""CIFAR-10 as photographs, where a clone has it."""


def dataset(kind: str, path: object = None, **settings) -> DatasetSettings:
    source = {"kind": kind, "path": path and str(path), **settings}
    return DatasetSettings.model_validate({"title": "Small", "source": source})


def content(root: Path, kind: str, path: object, **settings) -> str:
    return prepare("small", dataset(kind, path, **settings), root)["content"]


def packed(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    """A .tar.gz, in the order of the files."""
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def known(path: Path, **facts) -> RemoteFile:
    return RemoteFile(path.name, (), path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest(), **facts)


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def drawn(count: int, side: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, side, side), np.uint8)


# -------------------------------------------------------------------------------------------------------- CIFAR


class Python2(pickle._Pickler):
    """Writes text and bytes as Python 2 wrote its strings, in which the authors' files are."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_string(self, text):
        data = text.encode("latin1") if isinstance(text, str) else text
        self.write(b"T" + len(data).to_bytes(4, "little") + data)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_string


def python2(value: object) -> bytes:
    file = io.BytesIO()
    Python2(file, 2).dump(value)
    return file.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


class Cifar:
    """CIFAR-10 or CIFAR-100 in its forms, with other images; their digests replace those on record."""

    def __init__(self, kind: str, monkeypatch, train: int, test: int, images: dict | None = None):
        self.kind, module = kind, import_module(f"sslpairs.data.kinds.{kind}")
        self.forms, self.classes = module.FORMS, module.FORMS.classes
        rng, number = np.random.default_rng(1), len(self.classes)
        self.arrays = images or {
            split: (drawn(number * n, seed=n), rng.permutation(np.repeat(np.arange(number), n)))
            for split, n in (("train", train), ("test", test))
        }
        self.binary, self.python = self._binary(), self._python()
        counts = {split: len(labels) for split, (_, labels) in self.arrays.items()}
        verified = {
            key: {
                split: {name: md5(files[f"{folder}/{name}"]) for name in names}
                for split, names in getattr(self.forms, key).items()
            }
            for key, files, folder in (
                ("members", self.binary, self.forms.binary_folder),
                ("batches", self.python, self.forms.python_folder),
            )
        }
        self.forms = replace(self.forms, images=counts, **verified)
        self.module, self.patch = module, monkeypatch
        monkeypatch.setattr(SOURCES[kind], "official", (counts["train"], counts["test"]))
        self._know()

    def archives(self, folder: Path, mode: str = "w:gz") -> tuple[Path, Path]:
        folder.mkdir(exist_ok=True)
        files = packed(folder / self.forms.binary.name, self.binary, mode)
        pickles = packed(folder / self.forms.python.name, self.python, mode)
        self.forms = replace(self.forms, binary=known(files), python=known(pickles))
        self._know()
        return files, pickles

    def pngs(self, above: str = "") -> dict[str, bytes]:
        """Folders of classes. Names have no known order."""
        files, names = {}, iter(np.random.default_rng(2).permutation(100_000))
        for split, (images, labels) in self.arrays.items():
            for image, label in zip(images, labels, strict=True):
                file = io.BytesIO()
                Image.fromarray(image.transpose(1, 2, 0)).save(file, "PNG")
                name = f"{split}/{above}{self.classes[label]}/{next(names):05d}.png"
                files[f"{self.forms.folder}/{name}"] = file.getvalue()
        return files

    def _know(self):
        self.patch.setattr(self.module, "FORMS", self.forms)

    def _binary(self) -> dict[str, bytes]:
        files = {}
        for split, names in self.forms.members.items():
            images, labels = self.arrays[split]
            coarse = np.full((len(labels), self.forms.label_bytes - 1), 7, np.uint8)
            fine = labels[:, None].astype(np.uint8)
            records = np.concatenate([coarse, fine, images.reshape(len(labels), -1)], 1)
            for name, part in zip(names, np.split(records, len(names)), strict=True):
                files[f"{self.forms.binary_folder}/{name}"] = part.tobytes()
        return files

    def _python(self) -> dict[str, bytes]:
        """In another order, as other forms are."""
        files = {}
        for split, names in self.forms.batches.items():
            images, labels = self.arrays[split]
            order = np.random.default_rng(3).permutation(len(labels))
            for name, rows in zip(names, np.split(order, len(names)), strict=True):
                batch = {
                    "data": images[rows].reshape(len(rows), -1),
                    self.forms.label_key: labels[rows].tolist(),
                    "coarse_labels": [7] * len(rows),
                    "batch_label": f"a batch of {split}",
                }
                files[f"{self.forms.python_folder}/{name}"] = python2(batch)
        return files


@pytest.fixture(params=["cifar10", "cifar100"])
def cifar(request, monkeypatch) -> Cifar:
    return Cifar(request.param, monkeypatch, *{"cifar10": (10, 3), "cifar100": (2, 1)}[request.param])


def test_every_form_of_cifar_gives_one_content_in_the_order_of_labels_and_pixels(cifar, tmp_path, capsys):
    binary, python = cifar.archives(tmp_path / "archives")
    arrays, classes = read("small", dataset(cifar.kind, binary), tmp_path)
    assert classes == cifar.classes == sorted(classes)
    for split, (images, labels) in arrays.items():
        assert images.dtype == np.uint8
        order = sorted(
            (int(label), hashlib.sha256(image).digest()) for image, label in zip(*cifar.arrays[split], strict=True)
        )
        assert [(int(label), hashlib.sha256(i).digest()) for i, label in zip(images, labels, strict=True)] == order
    expected = content(tmp_path, cifar.kind, binary)
    forms = cifar.forms
    keras = write(tmp_path / "keras", {f"{forms.python_folder}-target_archive": python.read_bytes()})
    roots = {
        "the folder of the archive": (tmp_path / "archives", f"{forms.binary.name} (sha256 verified)"),
        "Keras": (keras, f"{forms.python.name} (sha256 verified)"),
        "python archive": (python, f"{forms.python.name} (sha256 verified)"),
        "binary": (write(tmp_path / "bin", cifar.binary), f"{forms.binary_folder}/ (md5 verified)"),
        "binary itself": (tmp_path / "bin" / forms.binary_folder, f"{forms.binary_folder}/ (md5 verified)"),
        "python": (write(tmp_path / "py", cifar.python), f"{forms.python_folder}/ (md5 verified)"),
        "Keras 3": (write(tmp_path / "k3" / f"{forms.python_folder}-target", cifar.python).parent, "/ (md5 verified)"),
    }
    for where, (path, form) in roots.items():
        assert content(tmp_path, cifar.kind, path) == expected, where
        assert capsys.readouterr().err.rstrip().endswith(form), where


def test_folders_of_pngs_are_cifar_if_they_need_not_be_the_original(cifar, tmp_path):
    expected = content(tmp_path, cifar.kind, write(tmp_path / "bin", cifar.binary))
    pngs = write(tmp_path / "png", cifar.pngs())
    assert "class folders, not the authors' files" in refusal(tmp_path, dataset(cifar.kind, pngs))
    receipt = prepare("small", dataset(cifar.kind, pngs, original=False), tmp_path)
    assert receipt["content"] == expected
    assert receipt["title"] == "Small (not the original files)"
    archive = packed(tmp_path / "cifar.tgz", cifar.pngs())
    assert content(tmp_path, cifar.kind, archive, original=False) == expected
    write(tmp_path / "sources", {"other/train/a/0.png": b"", "other/test/a/0.png": b""})
    write(tmp_path / "sources", cifar.pngs())
    assert content(tmp_path, cifar.kind, tmp_path / "sources", original=False) == expected
    for split in ("train", "test"):
        classes = pngs / cifar.forms.folder / split
        (classes / cifar.classes[0]).rename(classes / "zebra")
    text = refusal(tmp_path, dataset(cifar.kind, pngs, original=False))
    assert f"its classes are not those of {cifar.forms.title}; use kind: image-folder" in text


def test_cifar100_may_have_superclasses_above_its_classes(tmp_path, monkeypatch):
    cifar = Cifar("cifar100", monkeypatch, 2, 1)
    expected = content(tmp_path, "cifar100", write(tmp_path / "bin", cifar.binary))
    nested = write(tmp_path / "png", cifar.pngs("people/"))
    assert content(tmp_path, "cifar100", nested, original=False) == expected
    assert content(tmp_path, "cifar100", packed(tmp_path / "c.tgz", cifar.pngs("people/")), original=False) == expected


def test_limits_of_cifar_keep_the_first_of_each_class(cifar, tmp_path):
    path = write(tmp_path / "bin", cifar.binary)
    whole = read("small", dataset(cifar.kind, path), tmp_path)[0]
    few = read("small", dataset(cifar.kind, path, train_per_class=1, test_per_class=1), tmp_path)[0]
    for split, (images, labels) in few.items():
        assert np.array_equal(labels, np.arange(len(cifar.classes)))
        starts = np.searchsorted(whole[split][1], labels)
        assert np.array_equal(images, whole[split][0][starts])


def test_what_is_not_cifar_as_its_authors_published_it_is_refused_with_the_remedy(cifar, tmp_path):
    kind, forms = cifar.kind, cifar.forms
    cifar.archives(tmp_path / "right")
    forms = cifar.forms
    name = next(iter(forms.members["train"]))
    changed = dict(cifar.binary)
    record = bytearray(changed[f"{forms.binary_folder}/{name}"])
    record[-1] ^= 1
    changed[f"{forms.binary_folder}/{name}"] = bytes(record)
    other = packed(tmp_path / forms.binary.name, changed)
    text = refusal(tmp_path, dataset(kind, other))
    assert f"is not the authors' file: sha256 {known(other).sha256}, expected sha256 {forms.binary.sha256}" in text
    assert "original: false" in text
    assert prepare("small", dataset(kind, other, original=False), tmp_path)["counts"]["train"] == forms.images["train"]

    folder = write(tmp_path / "changed", changed)
    text = refusal(tmp_path, dataset(kind, folder))
    assert f"{name} is not the authors' file: md5 {md5(bytes(record))}, expected {forms.members['train'][name]}" in text
    (folder / forms.binary_folder / name).write_bytes(record[:-1])
    for original in (True, False):
        assert f"{name} has {len(record) - 1:,} bytes" in refusal(tmp_path, dataset(kind, folder, original=original))
    size = forms.label_bytes + 3072
    (folder / forms.binary_folder / name).write_bytes(record[:-size])
    assert f"{name} has {len(record) - size:,} bytes instead of {len(record):,}" in refusal(
        tmp_path, dataset(kind, folder)
    )
    part = prepare("small", dataset(kind, folder, original=False), tmp_path)
    assert part["counts"]["train"] == forms.images["train"] - 1
    (folder / forms.binary_folder / name).unlink()
    assert f"there is no {name} in it" in refusal(tmp_path, dataset(kind, folder))

    wrong = dict(cifar.binary)
    wrong[f"{forms.binary_folder}/{name}"] = b"\xc8" * len(record)
    assert "to 200; get it again" in refusal(tmp_path, dataset(kind, write(tmp_path / "wrong", wrong), original=False))
    cut = tmp_path / "cut" / forms.binary.name
    cut.parent.mkdir()
    cut.write_bytes((tmp_path / "right" / forms.binary.name).read_bytes()[:-2000])
    assert "is not the authors' file" in refusal(tmp_path, dataset(kind, cut))
    assert "is damaged or cut off" in refusal(tmp_path, dataset(kind, cut, original=False))
    above = packed(tmp_path / "above.tar.gz", {f"../{key}": data for key, data in cifar.binary.items()})
    assert "points outside the archive" in refusal(tmp_path, dataset(kind, above, original=False))
    nothing = write(tmp_path / "nothing", {"a/b.txt": b""})
    assert f"none of the forms of {forms.title} is in it" in refusal(tmp_path, dataset(kind, nothing))


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("trainLabels.csv", "this is Kaggle's copy, whose test images have no labels"),
        ("cifar-10-batches-mat/data_batch_1.mat", "the .mat files are not read"),
        ("cifar-10-matlab.tar.gz", "the .mat files are not read"),
    ],
)
def test_forms_of_cifar_that_cannot_be_used_are_named(tmp_path, file, said):
    path = write(tmp_path / "raw", {file: b""})
    for place in (path, path / file):
        text = refusal(tmp_path, dataset("cifar10", place))
        assert f"{said}; get cifar-10-binary.tar.gz: without these files in the way, `sslpairs fetch small`" in text


def test_a_pickle_that_would_run_code_is_refused_and_not_run(cifar, tmp_path, monkeypatch):
    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/attacked",)

    files = dict(cifar.python)
    name = next(iter(cifar.forms.batches["train"]))
    files[f"{cifar.forms.python_folder}/{name}"] = pickle.dumps({"data": Attack(), cifar.forms.label_key: [0]})
    folder, archive = write(tmp_path / "py", files), packed(tmp_path / "py.tar.gz", files)
    for path in (folder, archive):
        text = refusal(tmp_path, dataset(cifar.kind, path, original=False))
        assert f"{name} is not the authors' file: md5" in text
        assert "pickles of others are never read" in text
    assert f"{name} is not the authors' file: md5" in refusal(tmp_path, dataset(cifar.kind, folder))
    monkeypatch.setattr(
        hashlib, "md5", lambda *_, **__: argparse.Namespace(hexdigest=lambda: "equal")
    )  # md5 can be forged
    batches = {split: dict.fromkeys(names, "equal") for split, names in cifar.forms.batches.items()}
    monkeypatch.setattr(cifar.module, "FORMS", replace(cifar.forms, batches=batches))
    for path in (folder, archive):
        text = refusal(tmp_path, dataset(cifar.kind, path, original=False))
        assert f"{name}: not a pickle of arrays (it names posix.system" in text
    for value in ({"data": 1}, b"cut", {"data": np.zeros((2, 3072)), cifar.forms.label_key: [0, 0]}):
        (folder / cifar.forms.python_folder / name).write_bytes(
            pickle.dumps(value)[:-1] if value == b"cut" else python2(value)
        )
        assert f"{name}: " in refusal(tmp_path, dataset(cifar.kind, folder, original=False))
    assert not (tmp_path / "attacked").exists()


def photographs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found = {"train": ([], []), "test": ([], [])}
    with tarfile.open(JPEGS) as archive:
        for member in archive:
            if member.isfile():
                split, c = member.name.split("/")[-3:-1]
                image = Image.open(io.BytesIO(archive.extractfile(member).read())).convert("RGB")
                found[split][0].append(np.asarray(image).transpose(2, 0, 1))
                found[split][1].append(c)
    classes = sorted(set(found["test"][1]))
    mixed = {split: np.random.default_rng(4).permutation(len(labels)) for split, (_, labels) in found.items()}
    return {
        split: (np.stack(images)[mixed[split]], np.array([classes.index(c) for c in labels])[mixed[split]])
        for split, (images, labels) in found.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("real", [False, True])
def test_the_whole_of_cifar10_has_one_content_from_files_and_pickles(tmp_path, monkeypatch, real):
    """60,000 images: photographs where they are here, else drawn ones of the same number."""
    cifar = Cifar("cifar10", monkeypatch, 5000, 1000, photographs() if real and JPEGS.exists() else None)
    found = set()
    for path in cifar.archives(tmp_path / "archives", "w"):
        found.add(content(tmp_path, "cifar10", path))
        path.unlink()
    assert len(found) == 1
    assert dataset("cifar10").source.counts() == (50_000, 10_000)


# ------------------------------------------------------------------------------------------------------- STL-10


class STL10:
    """STL-10 in small: 20 images with a label, folds of 10, 30 without one, and 20 to test on."""

    def __init__(self, monkeypatch, tmp_path: Path):
        rng = np.random.default_rng(5)
        config, kind = (import_module(f"sslpairs.{room}.stl10") for room in ("config.sources", "data.kinds"))
        for module in (config, kind):
            for constant, value in (("LABELLED", 20), ("FOLD", 10), ("UNLABELED", 30), ("TEST", 20)):
                monkeypatch.setattr(module, constant, value)
        self.images = {
            name: drawn(n, 96, seed=n + i)
            for i, (name, n) in enumerate((("train", 20), ("test", 20), ("unlabeled", 30)))
        }
        self.labels = {name: rng.permutation(np.repeat(np.arange(10), 2)) for name in ("train", "test")}
        self.folds = [rng.choice(20, 10, replace=False) for _ in range(10)]
        files = {f"{name}_X.bin": images.swapaxes(2, 3).tobytes() for name, images in self.images.items()}
        files |= {f"{name}_y.bin": (labels + 1).astype(np.uint8).tobytes() for name, labels in self.labels.items()}
        known_files = {name: RemoteFile(name, (), len(data), md5=md5(data)) for name, data in files.items()}
        monkeypatch.setattr(kind, "MEMBERS", known_files)
        files["fold_indices.txt"] = "".join(" ".join(map(str, fold)) + " \n" for fold in self.folds).encode()
        self.files = {f"stl10_binary/{name}": files[name] for name in sorted(files)}
        self.archive = packed(tmp_path / "stl10_binary.tar.gz", self.files)
        monkeypatch.setattr(kind, "ARCHIVE", known(self.archive))


@pytest.fixture
def stl10(monkeypatch, tmp_path) -> STL10:
    return STL10(monkeypatch, tmp_path)


def test_stl10_is_the_labelled_images_first_then_those_without_a_label(stl10, tmp_path):
    arrays, classes = read("small", dataset("stl10", stl10.archive), tmp_path)
    assert classes == ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
    images, labels = arrays["train"]
    assert np.array_equal(images, np.concatenate([stl10.images["train"], stl10.images["unlabeled"]]))
    assert np.array_equal(labels, np.concatenate([stl10.labels["train"], np.full(30, -1)]))
    assert np.array_equal(arrays["test"][0], stl10.images["test"])
    assert np.array_equal(arrays["test"][1], stl10.labels["test"])
    receipt = prepare("small", dataset("stl10", stl10.archive), tmp_path)
    assert receipt["unlabelled"] == dataset("stl10").source.unlabelled() == 30


@pytest.mark.parametrize("settings", [{}, {"unlabeled": False}, {"fold": 2}, {"train_per_class": 1, "size": 32}])
def test_forms_of_stl10_have_one_content(stl10, tmp_path, capsys, settings):
    unpacked = write(tmp_path / "torchvision", stl10.files)
    expected = content(tmp_path, "stl10", stl10.archive, **settings)
    assert "stl10_binary.tar.gz (sha256 verified)" in capsys.readouterr().err
    for path in (unpacked, unpacked / "stl10_binary"):
        assert content(tmp_path, "stl10", path, **settings) == expected
        said = capsys.readouterr().err
        assert "stl10_binary/ (md5 verified)" in said
        assert ("fold_indices.txt (no digest on record)" in said) == ("fold" in settings)
    write(tmp_path / "torchvision", {"stl10_binary.tar.gz": stl10.archive.read_bytes()})
    assert content(tmp_path, "stl10", unpacked, **settings) == expected
    assert "stl10_binary/ (md5 verified)" in capsys.readouterr().err
    (unpacked / "stl10_binary" / "test_X.bin").unlink()  # half unpacked
    assert content(tmp_path, "stl10", unpacked, **settings) == expected
    assert "stl10_binary.tar.gz (sha256 verified)" in capsys.readouterr().err


def test_a_fold_of_stl10_keeps_its_labels_and_limits_leave_images_without_one(stl10, tmp_path):
    for settings, labelled, others in (
        ({"fold": 3}, 10, 40),
        ({"fold": 3, "unlabeled": False}, 10, 10),
        ({"train_per_class": 1}, 10, 30),
        ({"train_per_class": 1, "unlabeled": False}, 10, 0),
        ({}, 20, 30),
    ):
        settled = dataset("stl10", stl10.archive, **settings)
        arrays, _ = read("small", settled, tmp_path)
        labels = arrays["train"][1]
        assert ((labels >= 0).sum(), (labels < 0).sum()) == (labelled, others)
        assert settled.source.unlabelled() == others
        assert settled.source.counts() == (labelled + others, 20)
        if "fold" in settings:
            assert np.array_equal(np.flatnonzero(labels >= 0), np.sort(stl10.folds[3]))
            assert np.array_equal(labels[labels >= 0], stl10.labels["train"][np.sort(stl10.folds[3])])
        else:
            first = [np.flatnonzero(stl10.labels["train"] == c)[: settings.get("train_per_class")] for c in range(10)]
            assert np.array_equal(labels[labels >= 0], stl10.labels["train"][np.sort(np.concatenate(first))])
    assert dataset("stl10", fold=3, train_per_class=1).source.counts() is None
    few = read("small", dataset("stl10", stl10.archive, fold=3, train_per_class=1), tmp_path)[0]["train"][1]
    assert np.bincount(few[few >= 0]).max() == 1


def test_without_the_unlabelled_images_their_file_is_not_needed(stl10, tmp_path):
    del stl10.files["stl10_binary/unlabeled_X.bin"]
    folder = write(tmp_path / "raw", stl10.files)
    assert prepare("small", dataset("stl10", folder, unlabeled=False), tmp_path)["counts"] == {"train": 20, "test": 20}
    assert "there is no unlabeled_X.bin in it" in refusal(tmp_path, dataset("stl10", folder))


def test_what_is_not_stl10_is_refused(stl10, tmp_path, monkeypatch):
    folder = write(tmp_path / "raw", stl10.files)
    file = folder / "stl10_binary" / "train_X.bin"
    whole = file.read_bytes()
    file.write_bytes(b"\0" + whole[1:])
    text = refusal(tmp_path, dataset("stl10", folder))
    assert f"train_X.bin is not the authors' file: md5 {md5(file.read_bytes())}, expected md5 {md5(whole)}" in text
    receipt = prepare("small", dataset("stl10", folder, original=False), tmp_path)
    assert receipt["title"] == "Small (not the original files)"
    file.write_bytes(whole[:-1])
    assert "train_X.bin has 552,959 bytes instead of 552,960" in refusal(tmp_path, dataset("stl10", folder))
    assert "no whole number of images" in refusal(tmp_path, dataset("stl10", folder, original=False))
    file.write_bytes(whole[: 27_648 * 15])
    assert "train: 15 images, but 20 labels" in refusal(tmp_path, dataset("stl10", folder, original=False))
    file.write_bytes(whole)
    (folder / "stl10_binary" / "fold_indices.txt").write_text("1 2 3\n" * 10)
    assert "fold_indices.txt: line 5 is not 10 different numbers below 20" in refusal(
        tmp_path, dataset("stl10", folder, fold=4)
    )
    (folder / "stl10_binary" / "fold_indices.txt").unlink()
    assert "there is no fold_indices.txt in it" in refusal(tmp_path, dataset("stl10", folder, fold=4))

    other = packed(tmp_path / "other.tar.gz", stl10.files | {"stl10_binary/train_y.bin": bytes(20)})
    assert "is not the authors' file: sha256" in refusal(tmp_path, dataset("stl10", other))
    assert "train: labels from -1 to -1" in refusal(tmp_path, dataset("stl10", other, original=False))
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(stl10.archive.read_bytes()[:-5000])
    assert "is damaged or cut off" in refusal(tmp_path, dataset("stl10", cut, original=False))
    monkeypatch.setattr("sslpairs.data.kinds.stl10.free_memory", lambda: 1_000_000)
    text = refusal(tmp_path, dataset("stl10", stl10.archive))
    assert "it takes 1.9 MB of memory, but only 1.0 MB are free; unpack it (tar -xzf)" in text


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("stl10_matlab/train.mat", "the .mat files are not read"),
        ("data/train-00000-of-00001.parquet", "lack the unlabelled images"),
        ("train/airplane/0.png", "kind: image-folder"),
        ("a.txt", "STL-10 is not in it"),
    ],
)
def test_forms_of_stl10_that_cannot_be_used_are_named(tmp_path, file, said):
    text = refusal(tmp_path, dataset("stl10", write(tmp_path / "raw", {file: b""})))
    assert said in text
    assert "stl10_binary.tar.gz" in text


# --------------------------------------------------------------------------------------------------------- SVHN


class SVHN:
    """SVHN in small."""

    counts = {"train": 40, "test": 20, "extra": 30}

    def __init__(self, monkeypatch, folder: Path):
        config, kind = (import_module(f"sslpairs.{room}.svhn") for room in ("config.sources", "data.kinds"))
        self.images = {part: drawn(n, seed=n) for part, n in self.counts.items()}
        self.labels = {part: np.random.default_rng(n).permutation(np.arange(n) % 10) for part, n in self.counts.items()}
        self.folder, self.files = folder, {}
        folder.mkdir()
        for part, images in self.images.items():
            self.files[part] = self.save(folder / f"{part}_32x32.mat", images, self.labels[part])
        facts = {part: known(file) for part, file in self.files.items()}
        for module in (config, kind):
            monkeypatch.setattr(module, "FILES", facts)
            monkeypatch.setattr(module, "COUNTS", self.counts)

    def save(self, path: Path, images: np.ndarray, labels: np.ndarray, **others) -> Path:
        digits = np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)
        scipy.io.savemat(path, {"X": images.transpose(2, 3, 1, 0), "y": digits, **others}, do_compression=True)
        return path


@pytest.fixture
def svhn(monkeypatch, tmp_path) -> SVHN:
    return SVHN(monkeypatch, tmp_path / "svhn")


@pytest.mark.parametrize("extra", [False, True])
def test_svhn_is_read_in_the_order_of_labels_and_pixels(svhn, tmp_path, capsys, extra):
    if not extra:
        svhn.files["extra"].unlink()
    settled = dataset("svhn", svhn.folder, extra=extra)
    arrays, classes = read("small", settled, tmp_path)
    assert (
        "train_32x32.mat, test_32x32.mat" + ", extra_32x32.mat" * extra + " (sha256 verified)"
        in capsys.readouterr().err
    )
    assert classes == list("0123456789")
    assert settled.source.counts() == (40 + 30 * extra, 20)
    assert [file.name for file in settled.source.remote()][2:] == ["extra_32x32.mat"] * extra
    for split, parts in (("train", ("train", "extra")[: 1 + extra]), ("test", ("test",))):
        pairs = [pair for part in parts for pair in zip(svhn.labels[part], svhn.images[part], strict=True)]
        order = sorted((int(label), hashlib.sha256(image).digest()) for label, image in pairs)
        images, labels = arrays[split]
        assert [(int(label), hashlib.sha256(i).digest()) for i, label in zip(images, labels, strict=True)] == order
    assert content(tmp_path, "svhn", svhn.files["test"], extra=extra) == content(
        tmp_path, "svhn", tmp_path, extra=extra
    )


def test_what_is_not_svhn_is_refused(svhn, tmp_path, monkeypatch):
    file, labels = svhn.files["train"], svhn.labels["train"]
    few = read("small", dataset("svhn", svhn.folder, train_per_class=2, test_per_class=1), tmp_path)[0]
    assert {split: len(found) for split, (_, found) in few.items()} == {"train": 20, "test": 10}
    shuffled = np.random.default_rng(0).permutation(40)
    whole = content(tmp_path, "svhn", svhn.folder)
    expected = known(file).sha256
    svhn.save(file, svhn.images["train"][shuffled], labels[shuffled])
    text = refusal(tmp_path, dataset("svhn", svhn.folder))
    assert f"train_32x32.mat is not the authors' file: sha256 {known(file).sha256}, expected sha256 {expected}" in text
    assert content(tmp_path, "svhn", svhn.folder, original=False) == whole  # another order of the same images
    for found, said in (
        (
            {"X": np.zeros((8, 8, 3, 4), np.uint8), "y": np.ones((4, 1))},
            "it should hold X, uint8 of shape 32 x 32 x 3 x N",
        ),
        ({"X": np.zeros((32, 32, 3, 4)), "y": np.ones((4, 1))}, "it should hold X"),
        ({"y": np.ones((4, 1))}, "found y double of shape (4, 1)"),
        ({"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.zeros((4, 1))}, "labels from 0 to 0 instead of 1 to 10"),
    ):
        scipy.io.savemat(file, found)
        assert said in refusal(tmp_path, dataset("svhn", svhn.folder, original=False))
    svhn.save(file, svhn.images["train"], labels)
    data = file.read_bytes()
    for broken in (data[:-40], data[:100], b"", b"\x89HDF\r\n\x1a\n" + bytes(600), b"<html>" * 100):
        file.write_bytes(broken)
        text = refusal(tmp_path, dataset("svhn", svhn.folder, original=False))
        assert "train_32x32.mat" in text
        assert "get it again" in text
    file.unlink()
    assert (
        "there is no train_32x32.mat in it; put it there, or move what is there away: then `sslpairs fetch small`"
        in refusal(tmp_path, dataset("svhn", svhn.folder))
    )
    svhn.save(file, svhn.images["train"], labels)
    monkeypatch.setattr("sslpairs.data.kinds.svhn.free_memory", lambda: 1000)
    text = refusal(tmp_path, dataset("svhn", svhn.folder, original=False))
    assert "reading it takes 0.2 MB of memory, but only 0.0 MB are free" in text


def test_the_other_format_of_svhn_is_named(tmp_path):
    text = refusal(tmp_path, dataset("svhn", write(tmp_path / "raw", {"x/train.tar.gz": b""})))
    assert "the full numbers (format 1)" in text
    assert "get train_32x32.mat: without these files in the way, `sslpairs fetch small`" in text


# ----------------------------------------------------------------------------------------------------- MedMNIST


def medmnist(folder: Path, monkeypatch, flag="pathmnist", side=28, compress=False, **change) -> Path:
    """A set in small, in the form of the authors."""
    facts = SETS[flag]
    rng = np.random.default_rng(6)
    arrays = {}
    for split, count in (("train", 50), ("val", 9), ("test", 20)):
        shape = (count, side, side, 3) if facts.channels == 3 else (count, side, side)
        arrays[f"{split}_images"] = rng.integers(0, 256, shape, np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % len(facts.classes)).astype(np.uint8)[:, None]
    arrays |= change
    path = folder / (f"{flag}.npz" if side == 28 else f"{flag}_{side}.npz")
    folder.mkdir(exist_ok=True, parents=True)
    (np.savez_compressed if compress else np.savez)(path, **{k: a for k, a in arrays.items() if a is not None})
    digests = list(facts.md5)
    digests[(28, 64, 128, 224).index(side)] = md5(path.read_bytes())
    monkeypatch.setitem(SETS, flag, replace(facts, train=50, test=20, md5=tuple(digests)))
    return path


@pytest.mark.parametrize(
    ("flag", "side", "compress"), [("pathmnist", 28, True), ("pathmnist", 64, False), ("retinamnist", 28, False)]
)
@pytest.mark.parametrize("grey", [False, True])
def test_a_set_of_medmnist_is_read_in_its_order(tmp_path, monkeypatch, flag, side, compress, grey):
    flag = "tissuemnist" if grey else flag
    path = medmnist(tmp_path / "med", monkeypatch, flag, side, compress)
    settings = {"set": flag, "resolution": side}
    arrays, classes = read("small", dataset("medmnist", path, **settings), tmp_path)
    assert classes == list(SETS[flag].classes)
    with np.load(path) as stored:
        for split, (images, labels) in arrays.items():
            expected = stored[f"{split}_images"]
            assert np.array_equal(images, expected[:, None] if grey else expected.transpose(0, 3, 1, 2))
            assert np.array_equal(labels, stored[f"{split}_labels"][:, 0])
    whole = content(tmp_path, "medmnist", path, **settings)
    assert (
        content(tmp_path, "medmnist", path.parent, **settings)
        == content(tmp_path, "medmnist", tmp_path, **settings)
        == whole
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".medmnist").mkdir(parents=True)
    path.rename(tmp_path / "home" / ".medmnist" / path.name)
    assert content(tmp_path, "medmnist", None, **settings) == whole
    few, _ = read("small", dataset("medmnist", None, **settings, train_per_class=2), tmp_path)
    assert np.array_equal(few["train"][0], arrays["train"][0][: 2 * len(classes)])
    resized, _ = read("small", dataset("medmnist", None, **settings, size=32, channels=3 if grey else 1), tmp_path)
    assert resized["test"][0].shape == (20, 3 if grey else 1, 32, 32)


def test_what_is_not_the_set_of_medmnist_is_refused(tmp_path, monkeypatch):
    path = medmnist(tmp_path / "med", monkeypatch)
    for place, other in ((path, "tissuemnist"), (path, "pathmnist"), (path.parent, "pathmnist")):
        text = refusal(tmp_path, dataset("medmnist", place, set=other, resolution=64))
        assert f"is not {other}_64.npz; set 'set: pathmnist' and 'resolution: 28'" in text
    assert "there is no tissuemnist.npz in it" in refusal(tmp_path, dataset("medmnist", path.parent, set="tissuemnist"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    text = refusal(tmp_path, dataset("medmnist", path, set="pathmnist"))
    assert f"is not the authors' file: md5 {md5(whole[:-1000])}, expected md5 {md5(whole)}" in text
    assert "not an .npz file, or it is cut off" in refusal(
        tmp_path, dataset("medmnist", path, set="pathmnist", original=False)
    )
    damaged = bytearray(whole)
    damaged[len(whole) // 3] ^= 1
    path.write_bytes(damaged)
    text = refusal(tmp_path, dataset("medmnist", path, set="pathmnist", original=False))
    assert "pathmnist.npz: train_images.npy is damaged or cut off (Bad CRC-32" in text
    for change, said in (
        ({"test_labels": None}, "there is no test_labels in it"),
        (
            {"train_labels": np.zeros((50, 14), np.uint8)},
            "train_labels: uint8 of shape (50, 14) instead of one integer",
        ),
        ({"train_labels": np.full((50, 1), 9)}, "train: labels from 9 to 9"),
        ({"train_images": np.zeros((50, 28, 28), np.uint8)}, "instead of uint8 of shape (N, 28, 28, 3)"),
        (
            {"train_labels": np.array([[None]] * 50)},
            "train_labels.npy holds Python objects, which are pickles and never loaded",
        ),
    ):
        medmnist(tmp_path / "med", monkeypatch, **change)
        assert said in refusal(tmp_path, dataset("medmnist", path, set="pathmnist"))
    medmnist(
        tmp_path / "med", monkeypatch, train_images=np.zeros((49, 28, 28, 3), np.uint8), train_labels=np.zeros(49, int)
    )
    text = refusal(tmp_path, dataset("medmnist", path, set="pathmnist"))
    assert "train: 50 images expected" in text


def test_the_facts_of_medmnist_are_complete_and_what_cannot_be_used_is_refused_in_the_settings():
    assert len({digest for facts in SETS.values() for digest in facts.md5}) == 4 * len(SETS) == 44
    for flag, facts in SETS.items():
        source = dataset("medmnist", None, set=flag).source
        assert source.image() == (facts.channels, 28)
        assert source.counts() == (facts.train, facts.test)
        assert facts.terms in source.terms
        assert source.record()["size"] == 28
    for flag, said in (("chestmnist", "up to 14 labels each"), ("organmnist3d", "three dimensions")):
        with pytest.raises(ValidationError, match=f"{flag} cannot be used: its images have {said}"):
            dataset("medmnist", None, set=flag)


# -------------------------------------------------------------------------------------------------------- NumPy


def own(path: Path, **arrays) -> Path:
    """A folder, or an .npz."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        path.mkdir()
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", array)
    return path


RNG = np.random.default_rng(7)
IMAGES, TESTS = RNG.integers(0, 256, (24, 12, 10, 3), np.uint8), RNG.integers(0, 256, (8, 12, 10, 3), np.uint8)
LABELS, ASKED = np.arange(24) % 4, np.arange(8) % 4


def test_arrays_in_any_file_axes_and_names_are_one_data_set_in_their_order(tmp_path):
    named = {"train_images": IMAGES, "train_labels": LABELS, "test_images": TESTS, "test_labels": ASKED}
    keras = {"x_train": IMAGES, "y_train": LABELS[:, None], "x_test": TESTS, "y_test": ASKED.astype(np.uint8)}
    first = {key: a.transpose(0, 3, 1, 2) if "images" in key else a for key, a in named.items()}
    ways = [own(tmp_path / "a.npz", **named), own(tmp_path / "a", **named), own(tmp_path / "k.npz", **keras)]
    ways += [
        own(tmp_path / "f", **{k: np.ascontiguousarray(a) for k, a in first.items()}),
        own(tmp_path / "K", X_train=IMAGES, Y_train=LABELS, x_test=TESTS, y_test=ASKED),
    ]
    np.savez_compressed(tmp_path / "z.npz", **named)
    (tmp_path / "inside").mkdir()
    np.savez(tmp_path / "inside" / "any.npz", **named)
    found = {content(tmp_path, "numpy", path, size=10) for path in (*ways, tmp_path / "z.npz", tmp_path / "inside")}
    assert len(found) == 1
    arrays, classes = read("small", dataset("numpy", ways[0], size=10), tmp_path)
    assert classes == ["0", "1", "2", "3"]
    assert np.array_equal(arrays["train"][0], IMAGES[:, 1:11].transpose(0, 3, 1, 2))
    assert np.array_equal(arrays["train"][1], LABELS)
    few, _ = read("small", dataset("numpy", ways[0], size=10, train_per_class=2), tmp_path)
    assert np.array_equal(few["train"][0], arrays["train"][0][:8])


def test_classes_are_the_sorted_labels_of_any_kind(tmp_path):
    for number, (labels, expected) in enumerate(
        (
            (np.array([10, 9, 100, -1] * 6), ["9", "10", "100"]),
            (np.array([True, False] * 12), ["0", "1"]),
            (np.array(["dog", "cat", "K\u00e4fer", "Ka\u0308fer"] * 6), ["K\u00e4fer", "cat", "dog"]),
            (np.array([2**63 + 1, 7] * 12, np.uint64), ["7", str(2**63 + 1)]),
        )
    ):
        path = own(tmp_path / f"{number}.npz", x_train=IMAGES, y_train=labels, x_test=TESTS[:2], y_test=labels[:2])
        arrays, classes = read("small", dataset("numpy", path, size=10), tmp_path)
        assert classes == expected
        plain = labels.astype(int) if labels.dtype == bool else labels
        text = [unicodedata.normalize("NFC", str(label)) for label in plain]
        assert [classes[label] if label >= 0 else "-1" for label in arrays["train"][1]] == text
        receipt = prepare("small", dataset("numpy", path, size=10), tmp_path)
        assert receipt.get("unlabelled", 0) == text.count("-1")


def test_grey_images_and_splits_to_test_on(tmp_path):
    grey = np.random.default_rng(8).integers(0, 256, (40, 9, 9), np.uint8)
    labels = np.arange(40) % 4
    path = own(tmp_path / "g.npz", train_images=grey, train_labels=labels, val_images=grey[:8], val_labels=labels[:8])
    arrays, _ = read("small", dataset("numpy", path, size=9, channels=1), tmp_path)
    assert np.array_equal(arrays["test"][0][:, 0], grey[:8])
    assert "there is no test split" in refusal(tmp_path, dataset("numpy", path, size=9, test="test"))
    path = own(tmp_path / "h.npz", train_images=grey[..., None], train_labels=labels)
    assert "set 'held_out: 0.2'" in refusal(tmp_path, dataset("numpy", path, size=9))
    tested = []
    for part in range(5):
        arrays, _ = read("small", dataset("numpy", path, size=9, channels=1, held_out=0.2, part=part), tmp_path)
        assert np.bincount(arrays["test"][1]).tolist() == [2] * 4
        assert len(arrays["train"][1]) == 32
        tested += [image.tobytes() for image in arrays["test"][0]]
    assert sorted(tested) == sorted(image.tobytes() for image in grey)  # folds


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x_train": None}, "there are no train_images in it; add them"),
        ({"y_test": None}, "there are no test_labels in it; add them"),
        ({"x_train": None, "y_train": None}, "there are no train_images in it (found: x_test, y_test)"),
        ({"train_images": IMAGES}, "train_images, x_train are the same by their names"),
        ({"x_train": IMAGES / 255}, "x_train.npy: pixels are float64; save them as uint8 from 0 to 255, for example"),
        ({"x_train": IMAGES.astype(int)}, "pixels are int64; save them as uint8"),
        ({"x_train": IMAGES[..., :2]}, "shape (24, 12, 10, 2) has neither 1 nor 3 channels"),
        ({"x_train": IMAGES[:, :3]}, "shape (24, 3, 10, 3) can be N,H,W,C and N,C,H,W"),
        ({"x_train": IMAGES[:, 0, :, 0]}, "shape (24, 10) is none of"),
        (
            {"x_train": np.asfortranarray(IMAGES)},
            "x_train.npy is stored column by column; save numpy.ascontiguousarray(array)",
        ),
        ({"y_train": np.eye(4, dtype=int)[LABELS]}, "one-hot labels: save labels.argmax(1)"),
        ({"y_train": LABELS[:-1]}, "shape (23,) instead of one label for each of 24 images"),
        ({"y_train": LABELS.astype(float)}, "labels are float64; save them as integers"),
        ({"y_train": LABELS - 2}, "there is the label -2; only -1"),
        ({"y_train": np.full(24, -1)}, "train: there are no images with a label"),
        ({"y_test": ASKED - 1}, "test: label -1 stands for images without a label, which cannot be tested on"),
        ({"y_test": ASKED + 1}, "the class '4' is in test but not in train"),
        ({"y_test": np.array(["a"] * 8)}, "the class 'a' is in test but not in train"),
        ({"y_train": np.array(["a", "a\nb"] * 12)}, r"the name of the class 'a\nb' has a control character"),
        ({"y_train": np.array(["a", ""] * 12)}, "the name of the class '' is empty"),
        ({"y_train": np.array([{}] * 24)}, "y_train.npy holds Python objects, which are pickles and never loaded"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".npz"])
def test_arrays_that_cannot_be_images_or_labels_are_refused_with_the_remedy(tmp_path, change, said, suffix):
    arrays = {"x_train": IMAGES, "y_train": LABELS, "x_test": TESTS, "y_test": ASKED} | change
    path = own(tmp_path / f"own{suffix}", **{key: array for key, array in arrays.items() if array is not None})
    assert said in refusal(tmp_path, dataset("numpy", path, size=10))


def test_files_that_are_no_arrays_are_refused(tmp_path):
    arrays = {"x_train": IMAGES, "y_train": LABELS, "x_test": TESTS, "y_test": ASKED}
    folder, path = own(tmp_path / "own", **arrays), own(tmp_path / "own.npz", **arrays)
    whole = (folder / "x_train.npy").read_bytes()
    for broken, said in (
        (whole[:-1], "x_train.npy is cut off: 8,767 bytes do not hold uint8"),
        (b"text", "is not an array"),
        (b"", "is not an array"),
    ):
        (folder / "x_train.npy").write_bytes(broken)
        assert said in refusal(tmp_path, dataset("numpy", folder, size=10))
    assert "is one array; give the folder of it" in refusal(tmp_path, dataset("numpy", folder / "y_train.npy", size=10))
    assert "there is no such file or folder" in refusal(tmp_path, dataset("numpy", tmp_path / "none", size=10))
    assert "there are no train_images in it (found: no arrays)" in refusal(
        tmp_path, dataset("numpy", write(tmp_path / "e", {"a.txt": b""}), size=10)
    )
    write(tmp_path / "two", {"a.npz": b"", "b.npz": b""})
    assert "there are several files in it (a.npz, b.npz); give one" in refusal(
        tmp_path, dataset("numpy", tmp_path / "two", size=10)
    )
    data = path.read_bytes()
    for broken in (data[:-30], data[:1000], b"", b"text"):
        path.write_bytes(broken)
        assert "is not an .npz file, or it is cut off" in refusal(tmp_path, dataset("numpy", path, size=10))
    damaged = bytearray(data)
    damaged[3000] ^= 1
    path.write_bytes(damaged)
    assert "x_train.npy is damaged or cut off (Bad CRC-32" in refusal(tmp_path, dataset("numpy", path, size=10))


def test_a_header_that_promises_more_than_the_file_holds_is_refused_before_anything_is_read(tmp_path):
    path = tmp_path / "bomb.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 64, 64)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", header.getvalue() + bytes(10**6))
    assert "x_train.npy is cut off" in refusal(tmp_path, dataset("numpy", path, size=10))
