"""ImageNet, ImageNet-100 and Tiny ImageNet in every form in which they lie on disks: the same images, classes and content."""

import gzip
import hashlib
import io
import random
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_data import write

from sslpairs.config.datasets import DatasetSettings
from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.imagenet import TRAIN as TRUE_TRAIN
from sslpairs.config.sources.imagenet import VAL as TRUE_VAL
from sslpairs.config.sources.imagenet import ImageNetSettings
from sslpairs.config.sources.imagenet100 import ImageNet100Settings
from sslpairs.config.sources.tiny_imagenet import TinyImageNetSettings
from sslpairs.data import imagenet, imagenet_archives, wnids
from sslpairs.data.decoding import decode
from sslpairs.data.kinds import tiny_imagenet
from sslpairs.data.prepare import content_hash, prepare
from sslpairs.data.sources import find, open_source
from sslpairs.errors import UserError

CLASSES = ["n00000001", "n00000002", "n00000003", "n00000004", "n00000005", "n00000006"]
HUNDRED = ["n00000002", "n00000004", "n00000005"]
"""What stands for ImageNet-100 here."""
LABELS = [5, 0, 3, 1, 2, 4, 4, 2, 1, 0, 3, 5]
"""Of the validation images, by their numbers."""
SIZE = 8
TRUE_LISTS = wnids.LISTS


def dataset(kind: str, path: Path | None, **settings) -> DatasetSettings:
    source = {"kind": kind, "path": path and str(path), "size": SIZE, **settings}
    return DatasetSettings.model_validate({"title": kind, "source": source})


def picture(seed: str, kind: str = "JPEG", mode: str = "RGB") -> bytes:
    side = (16, 12)
    pixels = random.Random(seed).randbytes(16 * 12 * len(Image.new(mode, (1, 1)).getbands()))
    file = io.BytesIO()
    Image.frombytes(mode, side, pixels).save(file, kind)
    return file.getvalue()


TRAINING = {f"{c}_{n}.JPEG": picture(f"{c} {n}") for c in CLASSES for n in (1003, 7, 29, 110)[: 2 + int(c[-1]) % 3]}
TRAINING["n00000002_7.JPEG"] = picture("a", "PNG")  # ImageNet has one PNG and 22 CMYK images of that name
TRAINING["n00000004_7.JPEG"] = picture("b", mode="CMYK")
TRAINING["n00000005_7.JPEG"] = picture("c", mode="L")
VALIDATION = {f"ILSVRC2012_val_{n:08}.JPEG": picture(f"val {n}") for n in range(1, 13)}


def of(name: str) -> str:
    """The class of an image."""
    return name[:9] if name.startswith("n") else CLASSES[LABELS[int(name[15:23]) - 1]]


def tar(content: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def inner() -> dict[str, bytes]:
    """The archives in the training archive."""
    return {f"{c}.tar": tar({n: d for n, d in reversed(TRAINING.items()) if of(n) == c}) for c in reversed(CLASSES)}


TRAIN_TAR, VAL_TAR = tar(inner()), tar(dict(reversed(VALIDATION.items())))
FOLDERS = {f"train/{of(name)}/{name}": data for name, data in TRAINING.items()}
SORTED = {f"val/{of(name)}/{name}": data for name, data in VALIDATION.items()}
FLAT = {f"val/{name}": data for name, data in VALIDATION.items()}
KAGGLE = {f"ILSVRC/Data/CLS-LOC/{name}": data for name, data in (FOLDERS | FLAT).items()} | {
    "ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG": picture("test"),
    "ILSVRC/Annotations/CLS-LOC/train/n00000001/n00000001_7.xml": b"<a/>",
    "ILSVRC/ImageSets/CLS-LOC/val.txt": b"ILSVRC2012_val_00000001 1",
    "LOC_val_solution.csv": b"ImageId,PredictionString\nILSVRC2012_val_00000001,n00000006 1 2 3 4\n",
}


@pytest.fixture(autouse=True)
def _small(tmp_path, monkeypatch):
    """Lists, numbers and digests of a small ImageNet with six classes, three of which are ImageNet-100."""
    lists = tmp_path / "lists"
    lists.mkdir()
    for name, classes in (
        ("imagenet", CLASSES),
        ("imagenet100", HUNDRED),
        ("imagenet100_scan", ["n00000001", "n00000003", "n00000004"]),
        ("tiny_imagenet", TINY),
    ):
        (lists / f"{name}.txt").write_text("".join(f"{c}\n" for c in classes))
    (lists / "imagenet_val.z").write_bytes(zlib.compress(struct.pack(f"<{len(LABELS)}H", *LABELS)))
    monkeypatch.setattr(wnids, "LISTS", lists)
    for name, data in (("TRAIN", TRAIN_TAR), ("VAL", VAL_TAR)):
        file = getattr(imagenet, name)
        monkeypatch.setattr(imagenet, name, RemoteFile(file.name, (), len(data), hashlib.sha256(data).hexdigest()))
    numbers = (len(TRAINING), len(VALIDATION))
    monkeypatch.setattr(ImageNetSettings, "official", numbers)
    monkeypatch.setattr(imagenet, "IMAGES", dict(zip(("train", "test"), numbers, strict=True)))
    numbers = tuple(sum(of(name) in HUNDRED for name in images) for images in (TRAINING, VALIDATION))
    monkeypatch.setattr(ImageNet100Settings, "official", numbers)
    monkeypatch.setattr(TinyImageNetSettings, "official", (3 * len(TINY), 2 * len(TINY)))
    monkeypatch.setattr(TinyImageNetSettings, "classes", len(TINY))
    monkeypatch.setenv("SSLPAIRS_WORKERS", "0")


def content(train: dict[str, bytes], test: dict[str, bytes], classes: list[str], of=of) -> str:
    """The content hash that these images must have."""
    arrays = {}
    for split, images in (("train", train), ("test", test)):
        ordered = sorted((classes.index(of(name)), name) for name in images if of(name) in classes)
        arrays[f"{split}_images"] = np.stack([decode(images[name], SIZE, 3) for _, name in ordered])
        arrays[f"{split}_labels"] = np.array([label for label, _ in ordered], np.int64)
    return content_hash(arrays, classes)


def refusal(tmp_path: Path, kind: str, path: Path | None, **settings) -> str:
    with pytest.raises(UserError) as caught:
        prepare("refused", dataset(kind, path, **settings), tmp_path)
    assert not (tmp_path / "data/refused").exists()
    return str(caught.value)


def archives(folder: Path, train: bytes = TRAIN_TAR, val: bytes = VAL_TAR) -> Path:
    return write(folder, {"ILSVRC2012_img_train.tar": train, "ILSVRC2012_img_val.tar": val})


FORMS = {
    "archives": (
        {"ILSVRC2012_img_train.tar": TRAIN_TAR, "ILSVRC2012_img_val.tar": VAL_TAR, "ILSVRC2012_devkit_t12.tar.gz": b""},
        "ILSVRC2012_img_train.tar (sha256 verified), ILSVRC2012_img_val.tar (sha256 verified)",
    ),
    "archives in a folder": ({"a/ILSVRC2012_img_train.tar": TRAIN_TAR, "a/ILSVRC2012_img_val.tar": VAL_TAR}, "sha256"),
    "compressed": (
        {"ILSVRC2012_img_train.tar.gz": gzip.compress(TRAIN_TAR), "ILSVRC2012_img_val.tar": VAL_TAR},
        "ILSVRC2012_img_train.tar.gz (sha256 verified), ILSVRC2012_img_val.tar (sha256 verified)",
    ),
    "archive and folder": (
        {"ILSVRC2012_img_train.tar": TRAIN_TAR} | FLAT,
        "train.tar (sha256 verified), val/ (numbers",
    ),
    "folder and archive": (FOLDERS | {"ILSVRC2012_img_val.tar": VAL_TAR}, "train/ (numbers and names compared"),
    "inner archives": ({f"train/{name}": data for name, data in inner().items()} | FLAT, "train/*.tar (numbers"),
    "folders": (FOLDERS | SORTED, "train/ (numbers and names compared, no digests on record), val/ (numbers"),
    "flat": (FOLDERS | FLAT, "val/ (numbers"),
    "flat train": ({f"train/{n}": d for n, d in TRAINING.items()} | FLAT, "train/ (numbers"),
    "wrapped": ({f"imagenet/{n}": d for n, d in (FOLDERS | SORTED).items()}, "imagenet/train/ (numbers"),
    "names of archives": (
        {
            n.replace("train/", "ILSVRC2012_img_train/").replace("val/", "ILSVRC2012_img_val/"): d
            for n, d in (FOLDERS | FLAT).items()
        },
        "ILSVRC2012_img_train/ (numbers",
    ),
    "kaggle": (KAGGLE, "ILSVRC/Data/CLS-LOC/train/ (numbers"),
    "kaggle, part": ({n.removeprefix("ILSVRC/"): d for n, d in KAGGLE.items()}, "Data/CLS-LOC/train/ (numbers"),
    "names with classes": (
        {n.replace(".JPEG", f"_{n.split('/')[1]}.JPEG"): d for n, d in (FOLDERS | SORTED).items()},
        "train/ (numbers",
    ),
    "flat names with classes": (
        FOLDERS | {n.replace(".JPEG", f"_{of(n[4:])}.JPEG"): d for n, d in FLAT.items()},
        "train/ (numbers",
    ),
    "junk": (
        FOLDERS | SORTED | {"train/.DS_Store": b"", "val/n00000001/._ILSVRC.JPEG": b"x", "train/n00000001/a.txt": b""},
        "train/",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_imagenet_have_the_same_content(tmp_path, form):
    files, said = FORMS[form]
    receipt = prepare("set", dataset("imagenet", write(tmp_path / "raw", files)), tmp_path)
    assert receipt["content"] == content(TRAINING, VALIDATION, CLASSES)
    assert receipt["classes"] == CLASSES
    assert said in receipt["form"]
    part = prepare("part", dataset("imagenet100", tmp_path / "raw"), tmp_path)
    assert part["content"] == content(TRAINING, VALIDATION, HUNDRED)
    assert part["form"].startswith("3 of 6 classes in ") or "compressed" in form
    skimmed = form in ("archives", "archives in a folder", "archive and folder")
    assert ("ILSVRC2012_img_train.tar (only its size compared)" in part["form"]) == skimmed


@pytest.mark.parametrize("kind", [".zip", ".tar", ".tar.gz"])
@pytest.mark.parametrize("tree", ["kaggle", "folders"])
def test_archives_of_the_folders_have_the_same_content(tmp_path, kind, tree):
    raw = write(tmp_path / f"raw{kind}", dict(reversed((KAGGLE if tree == "kaggle" else FORMS["wrapped"][0]).items())))
    receipt = prepare("set", dataset("imagenet", raw), tmp_path)
    assert receipt["content"] == content(TRAINING, VALIDATION, CLASSES)
    assert receipt["form"] == f"raw{kind} (numbers and names compared, no digests on record)"
    assert prepare("part", dataset("imagenet100", raw), tmp_path)["content"] == content(TRAINING, VALIDATION, HUNDRED)
    some = prepare("some", dataset("imagenet", raw, train_per_class=2, test_per_class=1), tmp_path)
    assert some["content"] == content(*limited(2, 1), CLASSES)


def test_kaggles_archive_is_found_in_a_folder(tmp_path):
    (tmp_path / "raw").mkdir()
    write(tmp_path / "raw/imagenet_object_localization_patched2019.tar.gz", KAGGLE)
    receipt = prepare("set", dataset("imagenet", tmp_path / "raw"), tmp_path)
    assert receipt["content"] == content(TRAINING, VALIDATION, CLASSES)
    assert receipt["form"].startswith("imagenet_object_localization_patched2019.tar.gz (numbers")


def limited(train: int, test: int) -> tuple[dict, dict]:
    """The first images of each class by name."""
    return tuple(
        {n: d for n, d in images.items() if n in sorted(m for m in images if of(m) == of(n))[:limit]}
        for images, limit in ((TRAINING, train), (VALIDATION, test))
    )


@pytest.mark.parametrize(
    "form", ["archives", "compressed", "inner archives", "folders", "flat", "flat train", "names with classes"]
)
def test_limits_keep_the_first_images_by_name_in_every_form(tmp_path, form):
    raw = write(tmp_path / "raw", FORMS[form][0])
    for train, test in ((1, 1), (3, 2)):
        wanted = dataset("imagenet", raw, train_per_class=train, test_per_class=test)
        assert prepare("set", wanted, tmp_path)["content"] == content(*limited(train, test), CLASSES)
        wanted = dataset("imagenet100", raw, train_per_class=train)
        assert prepare("set", wanted, tmp_path)["content"] == content(*limited(train, 2), HUNDRED)


def test_files_and_arrays_have_the_same_content(tmp_path):
    raw = archives(tmp_path / "raw")
    for storage in ("files", "arrays", "auto"):
        receipt = prepare("set", dataset("imagenet", raw, storage=storage), tmp_path)
        assert receipt["content"] == content(TRAINING, VALIDATION, CLASSES)
        assert receipt.get("storage", "arrays") == ("files" if storage == "files" else "arrays")
        assert "storage" not in receipt["source"]


def test_one_of_the_archives_may_be_named(tmp_path):
    raw = archives(tmp_path / "raw")
    for name in ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"):
        assert prepare("set", dataset("imagenet", raw / name), tmp_path)["counts"] == {"train": 18, "test": 12}


def test_the_parts_of_imagenet_alone_and_as_links(tmp_path):
    own = {n: d for n, d in (FOLDERS | SORTED).items() if n.split("/")[1] in HUNDRED}
    receipt = prepare("set", dataset("imagenet100", write(tmp_path / "own", own)), tmp_path)
    assert receipt["content"] == content(TRAINING, VALIDATION, HUNDRED)
    assert receipt["form"].startswith("train/ (numbers")
    whole = write(tmp_path / "whole", FOLDERS | SORTED)
    for split in ("train", "val"):
        (tmp_path / "links" / split).mkdir(parents=True)
        for c in HUNDRED:
            (tmp_path / "links" / split / c).symlink_to(whole / split / c)
    receipt = prepare("set", dataset("imagenet100", tmp_path / "links"), tmp_path)
    assert receipt["content"] == content(TRAINING, VALIDATION, HUNDRED)
    (tmp_path / "links/train" / HUNDRED[0]).unlink()
    (tmp_path / "links/train" / HUNDRED[0]).symlink_to("gone")
    assert f"train/{HUNDRED[0]}/ is no folder, nor a link to one that exists" in refusal(
        tmp_path, "imagenet100", tmp_path / "links"
    )


# --- what is refused --------------------------------------------------------------------------------------------------


def forged(archive: bytes, image: bytes) -> bytes:
    """The archive with another photograph of the same length."""
    file = io.BytesIO()
    Image.new("RGB", (16, 12), "red").save(file, "JPEG")
    assert archive.count(image) == 1
    assert len(file.getvalue()) < len(image)
    return archive.replace(image, file.getvalue().ljust(len(image), b"\0"))


@pytest.mark.parametrize("kind", ["imagenet", "imagenet100"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_archives_that_are_not_the_authors_are_refused_unless_that_is_wanted(tmp_path, kind, suffix):
    train = forged(TRAIN_TAR, TRAINING["n00000005_29.JPEG"])
    packed = gzip.compress(train) if suffix else train
    raw = write(tmp_path / "raw", {f"ILSVRC2012_img_train.tar{suffix}": packed, "ILSVRC2012_img_val.tar": VAL_TAR})
    if kind == "imagenet" or suffix:
        text = refusal(tmp_path, kind, raw)
        assert f"ILSVRC2012_img_train.tar{suffix} is not the authors' file: sha256 " in text
        assert hashlib.sha256(train).hexdigest() in text
        assert f"expected {hashlib.sha256(TRAIN_TAR).hexdigest()}" in text
        assert "set 'original: false' under its source" in text
    else:  # the classes of others are skipped, so that there is no digest of the whole
        assert "(only its size compared)" in prepare("set", dataset(kind, raw), tmp_path)["form"]
    receipt = prepare("set", dataset(kind, raw, original=False), tmp_path)
    assert "not verified" in receipt["form"]
    assert receipt["title"] == f"{kind} (not the original files)"
    raw = archives(tmp_path / "val", val=forged(VAL_TAR, VALIDATION["ILSVRC2012_val_00000004.JPEG"]))
    assert "ILSVRC2012_img_val.tar is not the authors' file: sha256 " in refusal(tmp_path, kind, raw)


@pytest.mark.parametrize("kind", ["imagenet", "imagenet100"])
def test_archives_of_another_size_are_refused_before_they_are_read(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(imagenet_archives, "tar_members", None)
    raw = archives(tmp_path / "raw", train=TRAIN_TAR[:-10240])
    text = refusal(tmp_path, kind, raw)
    assert f"{len(TRAIN_TAR) - 10240:,} bytes, expected {len(TRAIN_TAR):,} bytes" in text
    raw = archives(tmp_path / "val", val=VAL_TAR + bytes(512))
    assert "ILSVRC2012_img_val.tar is not the authors' file: " in refusal(tmp_path, kind, raw)


@pytest.mark.parametrize("kind", ["imagenet", "imagenet100"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_archives_that_are_cut_are_told_in_every_way_to_read_them(tmp_path, kind, suffix):
    name = f"ILSVRC2012_img_train.tar{suffix}"
    for number, at in enumerate((512, 700, len(TRAIN_TAR) // 2, len(TRAIN_TAR) - 10_000)):
        cut = gzip.compress(TRAIN_TAR[:at]) if suffix else TRAIN_TAR[:at]
        raw = write(tmp_path / f"{number}", {name: cut, "ILSVRC2012_img_val.tar": VAL_TAR})
        for original in (False, True) if suffix else (False,):
            text = refusal(tmp_path, kind, raw, original=original)
            assert name in text
            assert "is damaged or cut off (unexpected end of data); get it again" in text
    whole = inner()
    whole["n00000004.tar"] = whole["n00000004.tar"][:700]
    text = refusal(tmp_path, kind, archives(tmp_path / "inner", train=tar(whole)), original=False)
    assert "ILSVRC2012_img_train.tar: n00000004.tar is damaged or cut off" in text
    raw = write(tmp_path / "folder", {f"train/{name}": data for name, data in whole.items()} | FLAT)
    assert "n00000004.tar is damaged or cut off" in refusal(tmp_path, kind, raw)


def test_names_that_point_outside_are_refused(tmp_path):
    evil = tar({"../n00000001.tar": b""} | inner())
    assert "points outside the archive" in refusal(
        tmp_path, "imagenet", archives(tmp_path / "a", train=evil), original=False
    )
    whole = inner() | {"n00000004.tar": tar({"../../n00000004_7.JPEG": picture("x")})}
    text = refusal(tmp_path, "imagenet", archives(tmp_path / "b", train=tar(whole)), original=False)
    assert "n00000004.tar: the name '../../n00000004_7.JPEG' points outside the archive" in text


def test_a_photograph_of_gigabytes_is_refused_by_its_header(tmp_path, monkeypatch):
    monkeypatch.setattr(imagenet_archives, "LARGEST", 100)
    text = refusal(tmp_path, "imagenet", archives(tmp_path / "raw"))
    assert "which is no photograph of ImageNet" in text


NUMBERED = "development kit's ID of a class or an index"


def without(files: dict[str, bytes], part: str) -> dict[str, bytes]:
    assert any(part in name for name in files)
    return {name: data for name, data in files.items() if part not in name}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            without(FOLDERS, "n00000003") | FLAT,
            "1 of the 6 classes are missing in the training split, the first one is n00000003",
        ),
        (without(FOLDERS, "n00000003_7.") | FLAT, "train: 18 images expected, but "),
        (FOLDERS | without(FLAT, "00000012"), "test: 12 images expected, but "),
        (FOLDERS, "there is no validation split in it; give the path of a folder that holds ILSVRC2012_img_train.tar"),
        (FLAT, "there is no training split in it"),
        ({"a/b.txt": b""}, "none of its forms is in it"),
        (FOLDERS | {n.replace("val/", "val/490/"): d for n, d in FLAT.items()}, NUMBERED),
        ({n.replace("/n0000000", "/"): d for n, d in FOLDERS.items()} | FLAT, NUMBERED),
        (
            FOLDERS | without(SORTED, "00000003.") | {"val/n00000001/ILSVRC2012_val_00000003.JPEG": b""},
            "is sorted into n00000001, but belongs to n00000004",
        ),
        (
            FOLDERS | {n.replace(".JPEG", "_n00000001.JPEG"): d for n, d in FLAT.items()},
            "is sorted into n00000001, but belongs to n00000006",
        ),
        (
            FOLDERS | FLAT | {"train/n00000001/n00000002_5.JPEG": b""},
            "is sorted into n00000001, but belongs to n00000002",
        ),
        (
            FOLDERS | FLAT | {"train/n00000001/0.JPEG": b""},
            "0.JPEG is not called like the authors' files (n01440764_10026.JPEG)",
        ),
        (FOLDERS | FLAT | {"val/ILSVRC2012_val_00000013.JPEG": b""}, "ILSVRC2012_val_00000013.JPEG is not called like"),
        (
            FOLDERS | without(FLAT, "00000001.") | {"val/ILSVRC2012_val_00000001.png": picture("x", "PNG")},
            "00000001.png is not called like",
        ),
    ],
)
def test_folders_that_are_not_the_authors_files_are_refused_with_the_reason(tmp_path, files, said):
    assert said in refusal(tmp_path, "imagenet", write(tmp_path / "raw", files))


def test_limits_do_not_hide_that_images_are_missing(tmp_path):
    """With a limit the numbers are not known in advance."""
    for number, files in enumerate((without(FOLDERS, "n00000003_7.") | FLAT, FOLDERS | without(FLAT, "00000012"))):
        raw = write(tmp_path / f"{number}", files)
        assert "images expected, but it has " in refusal(tmp_path, "imagenet", raw, train_per_class=1, test_per_class=1)
    whole = inner() | {"n00000004.tar": tar({"n00000004_7.JPEG": TRAINING["n00000004_7.JPEG"]})}
    raw = write(tmp_path / "inner", {f"train/{n}": d for n, d in whole.items()} | FLAT)
    assert "train: 18 images expected, but it has 16" in refusal(tmp_path, "imagenet", raw, train_per_class=1)


def test_resized_copies_are_noticed_by_their_bytes(tmp_path, capsys):
    for split, images in (("train", TRAINING), ("test", VALIDATION)):
        low, high = imagenet.bytes_of_files(split)
        assert low <= sum(map(len, images.values())) <= high
    larger = {n: d + bytes(40_000) for n, d in (FOLDERS | FLAT).items()}
    for number, files in enumerate((larger, FOLDERS | {n: d for n, d in larger.items() if "val" in n})):
        raw = write(tmp_path / f"{number}", files)
        assert "they were resized or saved again" in refusal(tmp_path, "imagenet", raw)
        assert prepare("set", dataset("imagenet", raw, original=False), tmp_path)["counts"]["train"] == 18


def test_a_part_of_resized_files_is_warned_of(tmp_path, capsys, monkeypatch):
    """There is no number of bytes on record for a hundred classes, so that only their mean is known, and that not exactly."""
    monkeypatch.setattr(
        imagenet,
        "bytes_of_files",
        lambda split: (0, sum(map(len, {"train": TRAINING, "test": VALIDATION}[split].values()))),
    )
    files = FOLDERS | SORTED
    prepare("set", dataset("imagenet100", write(tmp_path / "raw", files)), tmp_path)
    assert "warning" not in capsys.readouterr().err
    files |= {n: d + bytes(len(d)) for n, d in files.items() if "val" in n}
    prepare("set", dataset("imagenet100", write(tmp_path / "raw", files)), tmp_path)
    said = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(said) == 1
    assert "test: the files have 2" in said[0]
    assert "% of the bytes that ImageNet's have on average: if they were resized or saved again, set" in said[0]


def test_the_bounds_of_the_authors_files_are_close(monkeypatch):
    monkeypatch.setattr(imagenet, "TRAIN", TRUE_TRAIN)
    monkeypatch.setattr(imagenet, "VAL", TRUE_VAL)
    monkeypatch.setattr(imagenet, "IMAGES", {"train": 1_281_167, "test": 50_000})
    monkeypatch.setattr(wnids, "LISTS", TRUE_LISTS)
    for split in ("train", "test"):
        low, high = imagenet.bytes_of_files(split)
        assert 0.985 < low / high < 1


@pytest.mark.parametrize("original", [True, False])
def test_other_lists_of_a_hundred_classes_are_refused(tmp_path, original):
    scan = ["n00000001", "n00000003", "n00000004"]
    raw = write(tmp_path / "scan", {n: d for n, d in (FOLDERS | SORTED).items() if n.split("/")[1] in scan})
    text = refusal(tmp_path, "imagenet100", raw, original=original)
    assert "another list of 3 classes (SCAN's), 1 in common; ImageNet-100 is CMC's list here" in text
    raw = write(tmp_path / "any", {n: d for n, d in (FOLDERS | SORTED).items() if n.split("/")[1] in CLASSES[:3]})
    assert "another list of 3 classes, 1 in common" in refusal(tmp_path, "imagenet100", raw, original=original)
    raw = write(tmp_path / "kaggle", {f"train.X{n}/{c}/{c}_7.JPEG": b"" for n, c in enumerate(CLASSES[:3])})
    text = refusal(tmp_path, "imagenet100", raw, original=original)
    assert "this is Kaggle's ambityga/imagenet100, another list of 3 classes, 1 in common" in text
    raw = archives(tmp_path / "tar", train=tar({n: d for n, d in inner().items() if n[:9] in scan}))
    assert "another list of 3 classes (SCAN's)" in refusal(tmp_path, "imagenet100", raw, original=False)


def test_imagenet100_as_imagenet_is_told(tmp_path):
    own = {n: d for n, d in (FOLDERS | SORTED).items() if n.split("/")[1] in HUNDRED}
    text = refusal(tmp_path, "imagenet", write(tmp_path / "own", own))
    assert "3 of the 6 classes are missing" in text
    assert "these are the classes of kind: imagenet100" in text


def test_a_part_of_other_files_is_used_if_that_is_wanted(tmp_path):
    files = {f"train/{c}/{n}.png": picture(f"{c}{n}", "PNG") for c in CLASSES[1:3] for n in range(3)}
    files |= {f"val/{c}/{n}.png": picture(f"v{c}{n}", "PNG") for c in CLASSES for n in range(2)}
    receipt = prepare("set", dataset("imagenet", write(tmp_path / "raw", files), original=False), tmp_path)
    assert (receipt["classes"], receipt["counts"]) == (CLASSES[1:3], {"train": 6, "test": 4})
    assert receipt["form"] == "train/ (not verified), val/ (not verified)"
    receipt = prepare("set", dataset("imagenet100", tmp_path / "raw", original=False), tmp_path)
    assert (receipt["classes"], receipt["counts"]) == ([CLASSES[1]], {"train": 3, "test": 2})


def test_a_path_that_does_not_exist_is_told(tmp_path):
    for kind in ("imagenet", "imagenet100", "tiny-imagenet"):
        for name in ("gone", "ILSVRC2012_img_train.tar", "tiny-imagenet-200.zip"):
            assert "there is no such file or folder; correct 'path'" in refusal(tmp_path, kind, tmp_path / name)


def test_files_that_disappear_while_they_are_read_are_told(tmp_path):
    raw = write(tmp_path / "raw", FOLDERS | SORTED)
    for settings in ({}, {"train_per_class": 1}):
        opened = open_source("set", dataset("imagenet", raw, **settings), tmp_path)
        first = sorted(raw.glob("train/n00000003/*"))[0]
        data = first.read_bytes()
        first.unlink()
        with pytest.raises(UserError, match=r"images, and then .* when they were read; run the command again"):
            list(opened.entries())
        first.write_bytes(data)


# --- where they are found ---------------------------------------------------------------------------------------------


def test_they_are_found_where_they_lie(tmp_path, monkeypatch):
    monkeypatch.setenv("SSLPAIRS_SOURCES", "sources")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    imagenet_, hundred, tiny = (dataset(kind, None) for kind in ("imagenet", "imagenet100", "tiny-imagenet"))
    here = tmp_path / "sources"
    write(here / "other", {"train/cat/0.png": b""})
    assert [find("x", one, tmp_path) for one in (imagenet_, hundred, tiny)] == [None] * 3
    manual = archives(tmp_path / "home/tensorflow_datasets/downloads/manual")
    assert find("x", imagenet_, tmp_path) == find("x", hundred, tmp_path) == manual
    write(here / "tiny-imagenet-200", {"train/n01443537/images/n01443537_0.JPEG": b""})
    assert find("x", tiny, tmp_path) == here
    write(here / "imagenet", {"train/n01440764/n01440764_10026.JPEG": b"", "train/n01558993/n01558993_1.JPEG": b""})
    assert find("x", imagenet_, tmp_path) == find("x", hundred, tmp_path) == here / "imagenet"
    write(here / "imagenet100", {"train/n01558993/n01558993_1.JPEG": b""})
    assert find("x", hundred, tmp_path) == here / "imagenet100"
    assert find("x", imagenet_, tmp_path) == here / "imagenet"


def test_what_is_not_here_is_named_with_its_terms(tmp_path, monkeypatch):
    monkeypatch.setenv("SSLPAIRS_SOURCES", "sources")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    for kind in ("imagenet", "imagenet100"):
        text = refusal(tmp_path, kind, None)
        assert "not on this machine; get it from https://image-net.org/challenges/LSVRC/2012/2012-downloads.php" in text
        assert "(terms: for non-commercial research and education only; needs an account)" in text
        assert f"put ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar into {tmp_path}/sources/imagenet" in text
    assert "tiny-imagenet-200.zip into" in refusal(tmp_path, "tiny-imagenet", None)


def test_the_right_folder_is_chosen_among_others(tmp_path):
    files = {f"a/train/{c}/{c}_1.JPEG": b"" for c in ("n00000001", "n99999999")} | {"a/val/n00000001/x.JPEG": b""}
    raw = write(tmp_path / "raw", files | {f"b/{n}": d for n, d in (FOLDERS | SORTED).items()})
    receipt = prepare("set", dataset("imagenet", raw), tmp_path)
    assert receipt["form"].startswith("b/train/ (numbers")
    assert receipt["content"] == content(TRAINING, VALIDATION, CLASSES)


# --- Tiny ImageNet ----------------------------------------------------------------------------------------------------

TINY = ["n00000010", "n00000020", "n00000030"]
TINY_LABELS = [1, 0, 2, 2, 1, 0]
TINY_TRAIN = {
    f"{c}_{n}.JPEG": picture(f"{c} {n}", mode="L" if n else "RGB") for c in reversed(TINY) for n in (0, 2, 10)
}
TINY_VAL = {f"val_{n}.JPEG": picture(f"tiny {n}") for n in range(6)}
NOTES = "".join(f"val_{n}.JPEG\t{TINY[label]}\t0\t1\t2\t3\n" for n, label in enumerate(TINY_LABELS)).encode()


def tiny_of(name: str) -> str:
    return TINY[TINY_LABELS[int(name[4:-5])]] if name.startswith("val") else name[:9]


TINY_REST = {
    "wnids.txt": "\n".join(reversed(TINY)).encode(),
    "words.txt": b"n00000010\tcat\n",
    **{f"train/{c}/{c}_boxes.txt": b"" for c in TINY},
    **{f"test/images/test_{n}.JPEG": picture("test") for n in range(3)},
}
TINY_NATIVE = {f"train/{tiny_of(n)}/images/{n}": d for n, d in TINY_TRAIN.items()}
TINY_FLAT = {n.replace("/images", ""): d for n, d in TINY_NATIVE.items()}
TINY_IMAGES = {f"val/images/{n}": d for n, d in TINY_VAL.items()} | {"val/val_annotations.txt": NOTES}
TINY_SORTED = {f"val/{tiny_of(n)}/{n}": d for n, d in TINY_VAL.items()}
TINY_FORMS = {
    "native": TINY_REST | TINY_NATIVE | TINY_IMAGES,
    "sorted": TINY_REST | TINY_NATIVE | TINY_SORTED,
    "sorted, images": TINY_NATIVE | {n.replace("/val_", "/images/val_"): d for n, d in TINY_SORTED.items()},
    "sorted, list kept": TINY_NATIVE | TINY_SORTED | {"val/val_annotations.txt": NOTES},
    "flattened": TINY_FLAT | TINY_SORTED,
    "images sorted": TINY_FLAT | {n.replace("val/", "val/images/"): d for n, d in TINY_SORTED.items()},
    "junk": TINY_FLAT | TINY_SORTED | {".DS_Store": b"", "train/n00000010/._n00000010_0.JPEG": b""},
}


def tiny_content(train: int = 3, test: int = 2) -> str:
    some = (
        {n: d for n, d in images.items() if n in sorted(m for m in images if tiny_of(m) == tiny_of(n))[:limit]}
        for images, limit in ((TINY_TRAIN, train), (TINY_VAL, test))
    )
    return content(*some, TINY, tiny_of)


def official(monkeypatch, path: Path) -> None:
    data = path.read_bytes()
    file = RemoteFile("tiny-imagenet-200.zip", ("http://x",), len(data), md5=hashlib.md5(data).hexdigest())
    monkeypatch.setattr(tiny_imagenet, "ARCHIVE", file)


@pytest.mark.parametrize("form", TINY_FORMS)
@pytest.mark.parametrize("wrapped", ["", "tiny-imagenet-200/"])
def test_all_folders_of_tiny_imagenet_have_the_same_content(tmp_path, form, wrapped):
    raw = write(tmp_path / "raw", {wrapped + n: d for n, d in TINY_FORMS[form].items()})
    receipt = prepare("set", dataset("tiny-imagenet", raw), tmp_path)
    assert receipt["content"] == tiny_content()
    assert receipt["classes"] == TINY
    assert receipt["form"] == f"{wrapped or 'raw/'} (numbers and names compared, no digests on record)"
    limited = dataset("tiny-imagenet", raw, train_per_class=2, test_per_class=1)
    assert prepare("set", limited, tmp_path)["content"] == tiny_content(2, 1)


@pytest.mark.parametrize("form", ["native", "flattened"])
@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_archives_of_tiny_imagenet_have_the_same_content(tmp_path, monkeypatch, form, suffix):
    files = {f"tiny-imagenet-200/{n}": d for n, d in TINY_FORMS[form].items()}
    (tmp_path / "raw").mkdir()
    path = write(tmp_path / f"raw/tiny{suffix}", files)
    text = refusal(tmp_path, "tiny-imagenet", path)
    assert f"{path} is not the authors' file: md5 {hashlib.md5(path.read_bytes()).hexdigest()}" in text
    assert "expected md5 90528d7ca1a48142e341f4ef8d21d0de" in text
    receipt = prepare("set", dataset("tiny-imagenet", path, original=False), tmp_path)
    assert (receipt["content"], receipt["form"]) == (tiny_content(), f"tiny{suffix} (not verified)")
    official(monkeypatch, path)
    receipt = prepare("set", dataset("tiny-imagenet", path), tmp_path)
    assert (receipt["content"], receipt["form"]) == (tiny_content(), "tiny-imagenet-200.zip (md5 verified)")
    path.rename(tmp_path / "raw/tiny-imagenet-200.zip")
    receipt = prepare("set", dataset("tiny-imagenet", tmp_path / "raw", storage="files"), tmp_path)
    assert (receipt["content"], receipt["storage"]) == (tiny_content(), "files")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (without(TINY_FLAT, "n00000020") | TINY_SORTED, "1 of the 3 classes are missing, such as n00000020"),
        (without(TINY_FLAT, "_10.") | TINY_SORTED, "train: n00000010 has 2 images, and the authors' 3"),
        (TINY_FLAT | without(TINY_SORTED, "val_3"), "test: n00000030 has 1 images, and the authors' 2"),
        (TINY_FLAT | TINY_SORTED | TINY_IMAGES, "test: n00000010 has 4 images, and the authors' 2"),
        (TINY_FLAT | without(TINY_IMAGES, ".txt"), "is in the folder of no class, and val_annotations.txt, which tells it, is"),
        (TINY_FLAT | TINY_SORTED | {"train/n00000040/n00000040_1.JPEG": b""}, "n00000040 is not one of its classes"),
        (TINY_FLAT | TINY_SORTED | {"train/n00000010/a.JPEG": b""}, "is not called like the authors' files (n01443537_0.JPEG)"),
        (TINY_FLAT | TINY_SORTED | {"train/n00000010/n00000020_1.JPEG": b""}, "is sorted into n00000010, but belongs to n00000020"),
        (TINY_FLAT | {"val/n00000010/val_0.JPEG": b"", "val/val_annotations.txt": NOTES}, "10, but belongs to n00000020"),
        (TINY_FLAT | TINY_SORTED | {"val/val_annotations.txt": b"<html>"}, "val_annotations.txt is not a list of names and classes"),
        (TINY_FLAT, "there is no val/ beside train/"),
        (TINY_SORTED, "none of the forms of Tiny ImageNet is in it"),
    ],
)  # fmt: skip
def test_folders_that_are_not_tiny_imagenet_are_refused_with_the_reason(tmp_path, files, said):
    raw = write(tmp_path / "raw", files)
    assert said in refusal(tmp_path, "tiny-imagenet", raw)


def test_a_part_of_tiny_imagenet_is_used_if_that_is_wanted(tmp_path):
    files = {n: d for n, d in (TINY_FLAT | TINY_SORTED).items() if "n00000020" not in n}
    receipt = prepare("set", dataset("tiny-imagenet", write(tmp_path / "raw", files), original=False), tmp_path)
    assert (receipt["classes"], receipt["counts"]) == ([TINY[0], TINY[2]], {"train": 6, "test": 4})
    raw = write(tmp_path / "b", {n: d for n, d in files.items() if "val" not in n} | {"val/n00000020/val_9.JPEG": b""})
    assert "val/ has no images of its classes" in refusal(tmp_path, "tiny-imagenet", raw, original=False)


def test_a_damaged_zip_of_tiny_imagenet_is_told(tmp_path, monkeypatch):
    path = write(tmp_path / "tiny.zip", TINY_FORMS["native"])
    data = path.read_bytes()
    for damaged in (
        data[: len(data) // 2],
        data.replace(TINY_TRAIN["n00000010_0.JPEG"], TINY_TRAIN["n00000010_0.JPEG"][::-1]),
    ):
        path.write_bytes(damaged)
        assert "is damaged or cut off" in refusal(tmp_path, "tiny-imagenet", path, original=False)
    write(path, {"tiny/../../train/n00000010/n00000010_0.JPEG": b""})
    assert "points outside the archive" in refusal(tmp_path, "tiny-imagenet", path, original=False)


# --- the true lists ---------------------------------------------------------------------------------------------------


@pytest.fixture
def _true_lists(monkeypatch):
    monkeypatch.setattr(wnids, "LISTS", TRUE_LISTS)


@pytest.mark.usefixtures("_true_lists")
def test_the_lists_are_those_on_record():
    every, hundred, scan, tiny = map(wnids.wnids, ("imagenet", "imagenet100", "imagenet100_scan", "tiny_imagenet"))
    assert [len(one) for one in (every, hundred, scan, tiny)] == [1000, 100, 100, 200]
    for one in (every, hundred, scan, tiny):
        assert one == sorted(set(one))
        assert set(one) <= set(every)
        assert all(map(wnids.WNID.fullmatch, one))
    digest = hashlib.sha256("".join(f"{one}\n" for one in hundred).encode()).hexdigest()
    assert digest == "5ee5db69d488bb799a286d8e181801c3d02798776c1ce9203e5450f64e086e07"
    assert {"n02869837", "n01749939", "n02488291"} <= set(hundred)
    assert wnids.another_list(scan, hundred) == "another list of 100 classes (SCAN's), 12 in common"
    assert wnids.another_list(every[:100], hundred) == "another list of 100 classes (stable-datasets'), 8 in common"
    assert (every[0], every[-1], tiny[0], hundred[0]) == ("n01440764", "n15075141", "n01443537", "n01558993")


@pytest.mark.usefixtures("_true_lists")
def test_the_labels_of_the_validation_split_are_those_on_record():
    """The first ones as in Caffe's val.txt; the development kit has IDs 490, 361, 171, 822 there."""
    labels = wnids.validation_labels()
    assert (labels.dtype, labels.shape) == (np.dtype("<u2"), (50_000,))
    assert np.bincount(labels).tolist() == [50] * 1000
    assert labels[:6].tolist() == [65, 970, 230, 809, 516, 57]
    names = [wnids.wnids("imagenet")[label] for label in labels[:4]]
    assert names == ["n01751748", "n09193705", "n02105855", "n04263257"]
    assert hashlib.sha256(labels.tobytes()).hexdigest() == LABELS_SHA256


LABELS_SHA256 = "f5350687a5a78da7e645040d352767bc06c1c99d9dfb34f1623b2d1a1d046b76"


def test_the_lists_are_part_of_the_package():
    import tomllib

    from projects import ROOT

    facts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    files = [file for pattern in facts["sslpairs.data"] for file in (ROOT / "src/sslpairs/data").glob(pattern)]
    assert {file.name for file in files} >= {"imagenet.txt", "imagenet100.txt", "tiny_imagenet.txt", "imagenet_val.z"}
