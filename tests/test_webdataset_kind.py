"""Shards in the WebDataset format: keys, labels and splits, what is used in which order, and what cannot be used."""

import gzip
import io
import json
import random
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from test_data import pixels, png, read, refusal, write

from sslpairs.config.datasets import DatasetSettings
from sslpairs.data.prepare import prepare
from sslpairs.data.shards import braces
from sslpairs.data.sources import is_here, open_source
from sslpairs.errors import UserError


def dataset(path, size=8, **settings) -> DatasetSettings:
    expected = settings.pop("expected", None)
    source = {"kind": "webdataset", "path": str(path), "size": size, **settings}
    return DatasetSettings.model_validate({"title": "Small", "source": source, "expected": expected})


def image(split: str, label: int, number: int) -> bytes:
    return png(f"{split} {label} {number}")


def samples(split="train", each=3, classes=2) -> list[tuple[str, dict[str, bytes]]]:
    """Keys with their files, in an order that is not sorted; labels are in .cls."""
    found = [
        (f"{label}_{n}", {"png": image(split, label, n), "cls": f"{label}".encode()})
        for label in range(classes)
        for n in range(each)
    ]
    random.Random(split).shuffle(found)
    return found


def shard(path: Path, content: list[tuple[str, dict[str, bytes]]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write(path, {f"{key}.{suffix}": data for key, files in content for suffix, data in files.items()})


def shards(folder: Path, train="small-train-{:04}.tar", test="small-test-{:02}.tar") -> Path:
    content = samples()
    for number in range(3):
        shard(folder / train.format(number), content[2 * number : 2 * number + 2])
    shard(folder / test.format(0), samples("test", 2))
    return folder


def expected(split="train", each=3, classes=2) -> np.ndarray:
    return np.stack([pixels(image(split, label, n)) for label in range(classes) for n in range(each)])


# --- shards, splits, order --------------------------------------------------------------------------------------------


def test_images_are_ordered_by_label_and_key(tmp_path):
    splits, classes = read("small", dataset(shards(tmp_path / "raw")), tmp_path)
    assert classes == ["0", "1"]
    assert splits["train"][1].tolist() == [0, 0, 0, 1, 1, 1]
    assert np.array_equal(splits["train"][0], expected())
    assert np.array_equal(splits["test"][0], expected("test", 2))


@pytest.mark.parametrize("storage", ["arrays", "files"])
def test_every_way_to_shard_has_the_same_content(tmp_path, storage):
    plain = shards(tmp_path / "plain")
    (plain / "_info.json").write_text("{}")
    (plain / "small-train-0000.json").write_text("{}")
    other = tmp_path / "other"
    shard(other / "x-train-0000.tar.gz", sorted(samples()))
    shard(other / "x-validation-0000.tar.gz", sorted(samples("test", 2)))
    as_json = [(key, {"JSON": json.dumps({"label": int(f["cls"])}).encode(), "PNG": f["png"]}) for key, f in samples()]
    shard(tmp_path / "json/train.tar", [("__info__", {"json": b"[]"}), *as_json])
    shard(tmp_path / "json/test.tar", [(k, f | {"txt": b"a cat", "seg.npy": b"x"}) for k, f in samples("test", 2)])
    paths = [plain, other, tmp_path / "json", shards(tmp_path / "split", "train/{:05}.tar", "val/{:05}.tar")]
    paths += [
        plain / "small-{train-{0000..0002},test-00}.tar",
        shards(tmp_path / "data", "wds/train_{}.tar", "wds/test_{}.tar"),
    ]
    receipts = [prepare("small", dataset(path, storage=storage), tmp_path) for path in paths]
    receipts.append(prepare("small", dataset(plain, storage=storage, train_per_class=9), tmp_path))
    assert len({receipt["content"] for receipt in receipts}) == 1
    assert receipts[0]["form"] == "4 shards"


def test_patterns_with_braces():
    assert braces("a-{08..11}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert braces("{x,y}-{0..1}") == ["x-0", "x-1", "y-0", "y-1"]
    assert braces("{t-{0..1},v-{00..01}}.tar") == ["t-0.tar", "t-1.tar", "v-00.tar", "v-01.tar"]
    assert braces("plain.tar") == ["plain.tar"]
    assert len(braces("{train-{0000..1023},val-{00..63}}.tar")) == 1088
    assert braces("open-{0..1") == ["open-{0..1"]
    assert len(braces("{0..999999999}{0..9}")) == 20_000


def test_patterns_name_what_is_used(tmp_path):
    raw = shards(tmp_path / "raw")
    part = dataset(raw / "small-{train-{0000,0002},test-00}.tar")
    assert is_here("small", part, tmp_path)
    receipt = prepare("small", part, tmp_path)
    assert receipt["counts"] == {"train": 4, "test": 4}
    assert receipt["source"]["path"] == "small-{train-{0000,0002},test-00}.tar"
    gone = dataset(raw / "small-{train-{0001..0004},test-00}.tar")
    assert "raw/small-train-0003.tar is missing (2 of 5 files are)" in refusal(tmp_path, gone)
    (raw / "small-train-0001.tar").unlink()
    text = refusal(tmp_path, dataset(raw))
    assert (
        "small-train number 1 is missing (2 of 3 files are there); get it, or name the files to use in 'path'" in text
    )


def test_a_single_shard_needs_a_share_to_test_on(tmp_path):
    raw = shard(tmp_path / "all.tar", samples(each=10))
    assert "set 'held_out: 0.2'" in refusal(tmp_path, dataset(raw))
    splits, _ = read("small", dataset(raw, held_out=0.2), tmp_path)
    assert [np.bincount(splits[split][1]).tolist() for split in ("train", "test")] == [[8, 8], [2, 2]]
    both = np.concatenate([splits[split][0] for split in ("train", "test")])
    assert {image.tobytes() for image in both} == {image.tobytes() for image in expected(each=10)}
    other, _ = read("small", dataset(raw, held_out=0.2, part=1), tmp_path)
    assert not {i.tobytes() for i in other["test"][0]} & {i.tobytes() for i in splits["test"][0]}


def test_without_limits_the_shards_are_read_once(tmp_path, capsys, monkeypatch):
    opened = []
    inner = tarfile.open
    raw = shards(tmp_path / "raw")
    monkeypatch.setattr(tarfile, "open", lambda *a, **k: opened.append(k["fileobj"].file.name) or inner(*a, **k))
    prepare("small", dataset(raw), tmp_path)
    assert sorted(Path(name).name for name in opened) == [
        "small-test-00.tar", "small-test-00.tar", "small-train-0000.tar", "small-train-0001.tar", "small-train-0002.tar"
    ]  # fmt: skip
    assert "twice" not in capsys.readouterr().err
    opened.clear()
    prepare("small", dataset(raw, train_per_class=1), tmp_path)
    assert len(opened) == 9
    assert "reading the shards twice: their labels first, to choose the images" in capsys.readouterr().err


def test_limits_take_the_first_by_key_and_read_no_others(tmp_path, capsys):
    content = [(key, files if key[-1] < "2" else files | {"png": b"never decoded"}) for key, files in samples(each=5)]
    for number in range(2):
        shard(tmp_path / f"raw/train-{number}.tar", content[5 * number : 5 * number + 5])
    shard(tmp_path / "raw/test.tar", samples("test", 1))
    splits, _ = read("small", dataset(tmp_path / "raw", train_per_class=2, test_per_class=2), tmp_path)
    assert np.array_equal(splits["train"][0], expected(each=5)[[0, 1, 5, 6]])
    assert "test: fewer than 2 images in 2 classes" in capsys.readouterr().err


@pytest.mark.parametrize("limit", [{}, {"train_per_class": 5}])
def test_counts_are_compared_whenever_they_are_known(tmp_path, limit):
    raw = shards(tmp_path / "raw")
    assert open_source("small", dataset(raw), tmp_path).counts is None
    assert prepare("small", dataset(raw, expected={"train": 6, "test": 4}, **limit), tmp_path)
    with pytest.raises(UserError, match=r"expected\.train: 7 images expected, but data set 'small': .*raw has 6"):
        prepare("small", dataset(raw, expected={"train": 7, "test": 4}, **limit), tmp_path)


def test_keys_may_begin_anew_in_each_shard(tmp_path):
    """They are then in the order of the shards; only the same image of the same key is a mistake."""
    for number in range(2):
        shard(tmp_path / f"raw/train-{number}.tar", [("000", {"png": image("a", 0, number), "cls": b"0"})])
    shard(tmp_path / "raw/test.tar", [("000", {"png": image("t", 0, 0), "cls": b"0"})])
    for limit in ({}, {"train_per_class": 2}):
        splits, _ = read("small", dataset(tmp_path / "raw", **limit), tmp_path)
        assert np.array_equal(splits["train"][0], expected("a", 2, 1))
    splits, _ = read("small", dataset(tmp_path / "raw", train_per_class=1), tmp_path)
    assert np.array_equal(splits["train"][0], expected("a", 1, 1))
    (tmp_path / "raw/train-1.tar").write_bytes((tmp_path / "raw/train-0.tar").read_bytes())
    text = refusal(tmp_path, dataset(tmp_path / "raw"))
    assert (
        "raw/train-1.tar: 000: another shard of the train split has the same sample; remove one of the shards" in text
    )


# --- labels and classes -----------------------------------------------------------------------------------------------


def test_a_test_split_without_labels_is_not_used(tmp_path, capsys):
    raw = shards(tmp_path / "raw")
    shard(raw / "small-val-00.tar", samples("val", 1))
    for without in (
        [(k, {"png": f["png"]}) for k, f in samples("test", 2)],
        [(k, f | {"cls": b"-1"}) for k, f in samples("test", 2)],
    ):
        shard(raw / "small-test-00.tar", without)
        splits, _ = read("small", dataset(raw), tmp_path)
        assert np.array_equal(splits["test"][0], expected("val", 1))
        assert "the test split has no labels, so it is not used" in capsys.readouterr().err
    assert "there is no test split" in refusal(tmp_path, dataset(raw, test="test"))
    mixed = sorted((k, f | {"cls": b"-1"} if k == "1_1" else f) for k, f in samples("test", 2))
    shard(raw / "small-test-00.tar", mixed)
    assert "raw/small-test-00.tar: 1_1 has no label, but is to be tested on; remove it" in refusal(
        tmp_path, dataset(raw)
    )
    assert "1 images of the test split have no label" in refusal(tmp_path, dataset(raw, test_per_class=9))


def test_training_images_without_a_label_come_last(tmp_path):
    raw = shards(tmp_path / "raw")
    shard(raw / "small-train-0003.tar", [("more", {"png": image("x", 0, 0), "cls": b" -1\n"})])
    for limit, count in (({}, 7), ({"train_per_class": 1}, 3)):
        receipt = prepare("small", dataset(raw, **limit), tmp_path)
        assert (receipt["unlabelled"], receipt["counts"]["train"]) == (1, count)
        assert np.load(tmp_path / "data/small/train_labels.npy")[-1] == -1


def test_labels_with_gaps_are_numbered_and_named(tmp_path, capsys):
    def sparse(split: str, each: int) -> list:
        return [(key, files | {"cls": b"20" if files["cls"] == b"1" else b"9"}) for key, files in samples(split, each)]

    shard(tmp_path / "raw/train.tar", sparse("train", 3))
    shard(tmp_path / "raw/test.tar", sparse("test", 2))
    contents = set()
    for limit in ({}, {"train_per_class": 9}):
        splits, classes = read("small", dataset(tmp_path / "raw", **limit), tmp_path)
        assert classes == ["9", "20"]
        assert splits["train"][1].tolist() == [0, 0, 0, 1, 1, 1]
        assert np.array_equal(splits["train"][0], expected())
    names = [f"class {n}" for n in range(21)]
    write(tmp_path / "raw", {"classes.txt": "\n".join(names).encode() + b"\n\n"})
    for given in (names, "classes.txt", str(tmp_path / "raw/classes.txt")):
        receipt = prepare("small", dataset(tmp_path / "raw", classes=given), tmp_path)
        assert receipt["classes"] == ["class 9", "class 20"]
        contents.add(receipt["content"])
        assert "19 classes without training images are left out: class 0, class 1," in capsys.readouterr().err
    assert len(contents) == 1


def test_words_as_labels_are_those_of_the_setting(tmp_path):
    words = {0: "dog", 1: "K\u00e4fer"}
    for split, each in (("train", 3), ("test", 2)):
        content = [
            (key, {"png": files["png"], "json": json.dumps({"label": words[int(files["cls"])]}).encode()})
            for key, files in samples(split, each)
        ]
        shard(tmp_path / f"raw/{split}.tar", content)
    text = refusal(tmp_path, dataset(tmp_path / "raw"))
    assert ".json has the word '" in text
    assert "list the words as 'classes' under its source" in text
    splits, classes = read("small", dataset(tmp_path / "raw", classes=["Ka\u0308fer", "dog"]), tmp_path)
    assert classes == ["K\u00e4fer", "dog"]
    assert np.array_equal(splits["train"][0], np.roll(expected(), 3, axis=0))
    text = refusal(tmp_path, dataset(tmp_path / "raw", classes=["K\u00e4fer", "dogs"]))
    assert "'dog' is not one of 'classes'; did you mean 'dogs'?" in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "classes.txt cannot be read (No such file"),
        (b"", "is empty or has an empty line"),
        (b"a\n\nb", "is empty or has an empty line"),
        (b"\xff", "cannot be read"),
    ],
)
def test_lists_of_classes_that_cannot_be_read_are_told(tmp_path, content, said):
    raw = shards(tmp_path / "raw")
    if content is not None:
        write(raw, {"classes.txt": content})
    assert said in refusal(tmp_path, dataset(raw, classes="classes.txt"))


# --- samples that cannot be used --------------------------------------------------------------------------------------

GOOD = {"png": image("x", 0, 0), "cls": b"0"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([("b", {"png": GOOD["png"]})], "train-0.tar: b has no label: neither .cls nor 'label' in .json; add one"),
        ([("b", {"png": GOOD["png"], "json": b'{"class": 1}'})], "b has no label"),
        ([("b", {"png": GOOD["png"], "json": b"[1]"})], "b has no label"),
        ([("b", {"png": GOOD["png"], "json": b"{"})], "train-0.tar: b.json is not JSON ("),
        ([("b", {"png": GOOD["png"], "json": b"[" * 100_000})], "train-0.tar: b.json is not JSON ("),
        ([("b", {"png": GOOD["png"], "json": b'{"label": 1.5}'})], "b.json: 'label' is 1.5; use a whole number or a word"),
        ([("b", {"png": GOOD["png"], "json": b'{"label": true}'})], "b.json: 'label' is true"),
        ([("b", GOOD | {"cls": b"cat"})], "train-0.tar: b.cls holds 'cat', not a whole number; words belong into .json"),
        ([("b", GOOD | {"cls": b""})], "b.cls holds '', not a whole number"),
        ([("b", GOOD | {"cls": b"-2"})], "train-0.tar: b has the label -2; labels count from 0, and -1 is none"),
        ([("b", {"cls": b"0"})], "train-0.tar: b has no image (.jpg, .png, ...)"),
        ([("b", GOOD | {"left.jpg": b"x"})], "train-0.tar: b has two images, .png and .left.jpg; keep one of each sample"),
        ([("b", GOOD | {"png": b""})], "train-0.tar: b.png is empty"),
        ([("b", GOOD | {"png": b"text"})], "b cannot be read as an image (unknown format)"),
        ([("b", GOOD), ("c", GOOD), ("b", {"jpg": b"x"})], "train-0.tar: b is there twice, not side by side; sort the shard"),
        ([("b", {"png": GOOD["png"]}), ("c", GOOD), ("b", {"cls": b"0"})], "b has no label"),
        ([("../b", GOOD)], "the name '../b.png' points outside the archive"),
        ([("/b", GOOD)], "the name '/b.png' points outside the archive"),
        ([], "no training image has a label"),
    ],
)  # fmt: skip
def test_samples_that_cannot_be_used_are_told_with_shard_and_key(tmp_path, content, said):
    shard(tmp_path / "raw/train-0.tar", [("a", GOOD), *content] if content else [])
    shard(tmp_path / "raw/test.tar", samples("test", 1, 1))
    for limit in ({}, {"train_per_class": 9}):
        assert said in refusal(tmp_path, dataset(tmp_path / "raw", **limit))


def test_a_sample_that_is_split_between_shards_is_told(tmp_path):
    test = samples("test", 1, 1)
    for first, second in (({"png": GOOD["png"]}, {"cls": b"0"}), (GOOD, {"json": b"{}"})):
        shard(tmp_path / "raw/train-0.tar", [("a", GOOD), ("b", first)])
        shard(tmp_path / "raw/train-1.tar", [("b", second), ("c", GOOD)])
        shard(tmp_path / "raw/test.tar", test)
        text = refusal(tmp_path, dataset(tmp_path / "raw"))
        assert "raw/train-0.tar: b is split: other files of it are in raw/train-1.tar; write whole samples" in text


def test_sizes_are_checked_before_anything_is_read(tmp_path):
    for suffix, most in (("png", 1 << 30), ("cls", 16 << 20), ("json", 16 << 20)):
        path = tmp_path / "raw/train-0.tar"
        path.parent.mkdir(exist_ok=True)
        info = tarfile.TarInfo(f"b.{suffix}")
        info.size = most + 1
        path.write_bytes(info.tobuf())  # and nothing else
        shard(tmp_path / "raw/test.tar", samples("test", 1, 1))
        text = refusal(tmp_path, dataset(tmp_path / "raw"))
        assert f"raw/train-0.tar: b.{suffix} has {'1.1 GB' if most == 1 << 30 else '16.8 MB'}, more than" in text


def test_labels_without_names_or_training_images_are_told(tmp_path):
    raw = shards(tmp_path / "raw")
    text = refusal(tmp_path, dataset(raw, classes=["only"]))
    assert "has the label 1; labels count from 0 to 0, and -1 is none" in text
    shard(raw / "small-test-00.tar", [("z", GOOD | {"cls": b"7"})])
    for limit in ({}, {"train_per_class": 1}):
        assert "the class '7' is in the test split, but not in train" in refusal(tmp_path, dataset(raw, **limit))


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_cut_and_damaged_shards_are_told(tmp_path, suffix):
    raw = shards(tmp_path / "raw", f"train-{{}}{suffix}", f"test-{{}}{suffix}")
    whole = (raw / f"train-1{suffix}").read_bytes()
    cuts = [whole[:200], whole[:-20], b"<html>"]
    if suffix == ".tar":
        cuts[:2] = whole[:700], whole[: 512 * 4]  # in a file, and between two
    for cut in cuts:
        (raw / f"train-1{suffix}").write_bytes(cut)
        for limit in ({}, {"train_per_class": 9}):
            text = refusal(tmp_path, dataset(raw, **limit))
            assert f"raw/train-1{suffix} is damaged or cut off (" in text
            assert "get it again" in text


def test_links_in_shards_are_not_followed(tmp_path):
    raw = shards(tmp_path / "raw")
    with tarfile.open(raw / "small-train-0003.tar", "w") as archive:
        info = tarfile.TarInfo("z.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(info)
        info = tarfile.TarInfo("z.cls")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"0"))
    assert "small-train-0003.tar: z has no image" in refusal(tmp_path, dataset(raw))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.zip": b""}, "there are no .tar or .tar.gz or .tgz or .tar.bz2 or .tar.xz files in it (found: a.zip)"),
        ({"test.tar": b""}, "no file of it has 'train' in its name (found: test.tar)"),
        ({"a/train.tar": b"", "b/train.tar": b""}, "several data sets are in it (a, b); give the path of one of them"),
    ],
)
def test_what_is_not_one_data_set_is_told(tmp_path, files, said):
    assert said in refusal(tmp_path, dataset(write(tmp_path / "raw", files)))


def test_files_whose_names_have_no_split_are_told_and_left_out(tmp_path, capsys):
    raw = shards(tmp_path / "raw")
    shard(raw / "other.tar", [])
    assert prepare("small", dataset(raw), tmp_path)["counts"] == {"train": 6, "test": 4}
    assert "not used, since no split is in their names: other.tar" in capsys.readouterr().err


def test_memory_holds_one_image_at_a_time(tmp_path):
    content = [(f"{n:03}", {"jpg": random.Random(n).randbytes(1 << 18), "cls": b"0"}) for n in range(64)]
    shard(tmp_path / "train.tar", content)
    shard(tmp_path / "test.tar", content[:1])
    opened = open_source("small", dataset(tmp_path / "{train,test}.tar"), tmp_path)
    tracemalloc.start()
    entries = opened.entries()
    assert all(next(entries).data == files["jpg"] for _, files in content)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 4 << 20


def test_what_the_first_bytes_say_counts_and_cls_comes_before_json(tmp_path):
    raw = shards(tmp_path / "raw")
    whole = prepare("small", dataset(raw), tmp_path)["content"]
    for file in raw.glob("*.tar"):
        content: dict = {}
        with tarfile.open(file) as archive:
            for member in archive.getmembers():
                content.setdefault(member.name[:3], {})[member.name[4:]] = archive.extractfile(member).read()
        for order in ("json png cls", "cls json png"):
            both = [
                (key, {s: (files | {"json": b'{"label": 5}'})[s] for s in order.split()})
                for key, files in content.items()
            ]
            shard(file, both)
            file.write_bytes(gzip.compress(file.read_bytes()))
            assert prepare("small", dataset(raw), tmp_path)["content"] == whole
