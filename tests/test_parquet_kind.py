"""Parquet files: their splits, columns and labels, what of them is used, in which order; and CIFAR-10 as on the Hugging Face Hub."""

import builtins
import dataclasses
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from test_data import pixels, png, read, refusal, write
from test_sources import saved

from sslpairs.config.datasets import DatasetSettings
from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.cifar10 import CIFAR10Settings
from sslpairs.data import parquet
from sslpairs.data.kinds import cifar10 as cifar10_kind
from sslpairs.data.prepare import prepare
from sslpairs.data.sources import find, is_here
from sslpairs.errors import UserError
from sslpairs.files import sha256_file

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def dataset(path, size=8, **settings) -> DatasetSettings:
    source = {"kind": "parquet", "path": str(path), "size": size, **settings}
    return DatasetSettings.model_validate({"title": "Small", "source": source})


def table(rows, classes=("cat", "dog"), image="image", label="label", kind=None, **more) -> pa.Table:
    """Rows of (label, file name, bytes), with the notes of ``datasets`` if there are names of classes."""
    images = pa.array([{"bytes": data, "path": path} for _, path, data in rows], IMAGE)
    made = pa.table({image: images, label: pa.array([row[0] for row in rows], kind), **more})
    if classes is None:
        return made
    features = {image: {"_type": "Image"}, label: {"names": list(classes), "_type": "ClassLabel"}}
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def save(path: Path, made: pa.Table, group: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made, path, row_group_size=group)
    return path


def samples(split="train", each=3) -> list[tuple]:
    """Two classes, in an order that is not sorted."""
    found = [(c, f"{n}.png", png(f"{split} {c} {n}")) for c in range(2) for n in range(each)]
    random.Random(split).shuffle(found)
    return found


def repository(folder: Path, names=("data/train-{:05}-of-{:05}.parquet", "data/test-{:05}-of-{:05}.parquet")) -> Path:
    """Two shards of training rows, one of test rows."""
    train, test = samples(), samples("test", 2)
    for number, part in enumerate((train[:4], train[4:])):
        save(folder / names[0].format(number, 2), table(part))
    save(folder / names[1].format(0, 1), table(test))
    return folder


def expected(split="train", each=3) -> np.ndarray:
    return np.stack([pixels(png(f"{split} {c} {n}")) for c in range(2) for n in range(each)])


# --- layouts and splits -----------------------------------------------------------------------------------------------


def test_images_are_ordered_by_label_and_file_name(tmp_path):
    splits, classes = read("small", dataset(repository(tmp_path / "raw")), tmp_path)
    assert classes == ["cat", "dog"]
    assert splits["train"][1].tolist() == [0, 0, 0, 1, 1, 1]
    assert np.array_equal(splits["train"][0], expected())
    assert np.array_equal(splits["test"][0], expected("test", 2))


@pytest.mark.parametrize("storage", ["arrays", "files"])
def test_every_layout_shard_and_format_has_the_same_content(tmp_path, storage):
    """The Hub's repositories, its cache of links, its converted copies, folders of splits, and the files of ``datasets``."""
    whole = repository(tmp_path / "whole")
    cache = tmp_path / "datasets--org--small"
    for file in sorted(whole.rglob("*.parquet")):
        blob = cache / "blobs" / sha256_file(file)
        link = cache / "snapshots" / "0b27" / file.relative_to(whole)
        for folder in (blob.parent, link.parent):
            folder.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(file.read_bytes())
        link.symlink_to(os.path.relpath(blob, link.parent))
    layouts = [whole, cache, cache / "snapshots/0b27", whole / "data"]
    layouts += [
        repository(tmp_path / "converted", ("default/train/{:04}.parquet", "default/test/{:04}.parquet")),
        repository(tmp_path / "hashes", ("train-{:05}-of-{:05}-a1b2.parquet", "test-{:05}-of-{:05}-dada.parquet")),
        repository(tmp_path / "named", ("test-set-train-{:05}-of-{:05}.parquet", "train-set-test.parquet")),
        repository(tmp_path / "dev", ("plain_text/training_{}.parquet", "plain_text/dev.parquet")),
    ]
    arrow = tmp_path / "arrow/org___small/default/0.0.0/abc"
    arrow.mkdir(parents=True)
    for split, each in (("train", 3), ("test", 2)):
        made = table(samples(split, each))
        with pa.ipc.new_stream(str(arrow / f"small-{split}.arrow"), made.schema) as stream:
            stream.write_table(made, max_chunksize=2)
        (arrow / f"cache-{split}.arrow").write_bytes(b"of an intermediate step")
        write(arrow.parent / "def.incomplete", {f"small-{split}.arrow": b"not finished"})
        with pa.ipc.new_file(str(arrow.parents[3] / f"{split}.arrow"), made.schema) as other:
            other.write_table(made, max_chunksize=2)
    layouts += [tmp_path / "arrow/org___small", tmp_path / "arrow"]
    (whole / "README.md").write_text("train")
    found = {prepare("small", dataset(path, storage=storage), tmp_path)["content"] for path in layouts}
    found.add(
        prepare(
            "small", dataset(whole / "data" / "{train-{00000..00001}-of-00002,test-00000-of-00001}.parquet"), tmp_path
        )["content"]
    )
    content = {
        f"{split}/{('cat', 'dog')[c]}/{name}": data
        for split, each in (("train", 3), ("test", 2))
        for c, name, data in samples(split, each)
    }
    source = {"kind": "image-folder", "path": str(write(tmp_path / "folders", content)), "size": 8}
    folders = DatasetSettings.model_validate({"title": "Small", "source": source})
    assert found == {prepare("small", folders, tmp_path)["content"]}


def test_a_pattern_counts_as_being_there(tmp_path):
    repository(tmp_path / "raw")
    assert is_here("small", dataset(tmp_path / "raw/data/train-{00000..00001}-of-00002.parquet"), tmp_path)
    assert not is_here("small", dataset(tmp_path / "raw/data/val-{00000..00001}-of-00002.parquet"), tmp_path)


def test_validation_and_test_are_told_apart(tmp_path):
    raw = repository(tmp_path / "raw")
    save(raw / "data/validation-00000-of-00001.parquet", table(samples("val", 1)))
    for test, name, each in (("auto", "test", 2), ("test", "test", 2), ("val", "val", 1)):
        splits, _ = read("small", dataset(raw, test=test), tmp_path)
        assert np.array_equal(splits["test"][0], expected(name, each))


def test_a_test_split_without_labels_is_not_used(tmp_path, capsys):
    raw = repository(tmp_path / "raw")
    save(raw / "data/test-00000-of-00001.parquet", table([(-1, path, data) for _, path, data in samples("test", 2)]))
    save(raw / "data/valid-00000-of-00001.parquet", table(samples("val", 1)))
    splits, _ = read("small", dataset(raw), tmp_path)
    assert np.array_equal(splits["test"][0], expected("val", 1))
    assert "the test split has no labels, so it is not used" in capsys.readouterr().err
    assert "there is no test split" in refusal(tmp_path, dataset(raw, test="test"))
    mixed = [(-1 if path == "0.png" else c, path, data) for c, path, data in samples("test", 2)]
    save(raw / "data/test-00000-of-00001.parquet", table(mixed))
    assert "2 images of the test split have no label" in refusal(tmp_path, dataset(raw))


def test_training_images_without_a_label_come_last(tmp_path):
    raw = repository(tmp_path / "raw")
    rows = [(c if path != "1.png" else None if c else -1, path, data) for c, path, data in samples()]
    for file in (raw / "data").glob("train*"):
        file.unlink()
    save(raw / "data/train.parquet", table(rows))
    receipt = prepare("small", dataset(raw, train_per_class=1), tmp_path)
    assert receipt["unlabelled"] == 2
    assert np.load(tmp_path / "data/small/train_labels.npy").tolist() == [0, 1, -1, -1]


def test_a_word_that_is_empty_is_no_class(tmp_path):
    raw = save(tmp_path / "images.parquet", table([("b" if c else "", *rest) for c, *rest in samples(each=5)], None))
    assert "the name of the class '' is empty" in refusal(tmp_path, dataset(raw, held_out=0.2))


def test_a_single_file_needs_a_share_to_test_on(tmp_path):
    raw = save(tmp_path / "images.parquet", table(samples(each=10)))
    assert "set 'held_out: 0.2'" in refusal(tmp_path, dataset(raw))
    splits, _ = read("small", dataset(raw, held_out=0.2), tmp_path)
    assert [np.bincount(splits[split][1]).tolist() for split in ("train", "test")] == [[8, 8], [2, 2]]
    both = np.concatenate([splits[split][0] for split in ("train", "test")])
    assert {image.tobytes() for image in both} == {image.tobytes() for image in expected(each=10)}
    folds = [read("small", dataset(raw, held_out=0.2, part=part), tmp_path)[0]["test"][0] for part in range(5)]
    assert len({image.tobytes() for fold in folds for image in fold}) == 20


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "there are no .parquet or .arrow files in it (found: nothing)"),
        ({"a.csv": 0}, "(found: a.csv)"),
        ({"test.parquet": 1}, "no file of it has 'train' in its name (found: test.parquet)"),
        ({"cropped/train.parquet": 1, "full/train.parquet": 1}, "several data sets are in it (cropped, full); give the path of one"),
        ({"train-00000-of-00003.parquet": 1, "train-00002-of-00003.parquet": 1}, "train number 1 is missing (2 of 3 files are there)"),
        ({"train-00000-of-00001.parquet": 1, "train-00000-of-00002.parquet": 1}, "have the same number; remove the one"),
        ({"train/0000.parquet": 1, "train/0002.parquet": 1}, "train number 1 is missing"),
        ({"datasets--a--b/snapshots/1/train.parquet": 1}, "this is the Hub's cache of datasets--a--b; give the path of one"),
        ({"snapshots/1/train.parquet": 1, "snapshots/2/train.parquet": 1}, "it has 2 snapshots, and refs/main names none of them"),
    ],
)  # fmt: skip
def test_what_is_not_one_whole_data_set_is_told(tmp_path, files, said):
    raw = tmp_path / "raw"
    raw.mkdir()
    for name, parquet_file in files.items():
        if parquet_file:
            save(raw / name, table(samples()))
        else:
            write(raw, {name: b""})
    assert said in refusal(tmp_path, dataset(raw))


def test_the_snapshot_of_main_is_chosen_and_years_are_no_numbers_of_shards(tmp_path):
    for revision in ("1", "2"):
        repository(tmp_path / "raw/snapshots" / revision, ("train-{1}01{0}.parquet", "test.parquet"))
    save(tmp_path / "raw/snapshots/1/train-2024.parquet", table(samples("more", 1)))
    write(tmp_path / "raw", {"refs/main": b"2"})
    assert prepare("small", dataset(tmp_path / "raw"), tmp_path)["counts"]["train"] == 6
    assert prepare("small", dataset(tmp_path / "raw/snapshots/1"), tmp_path)["counts"]["train"] == 8


def test_absent_and_broken_paths_are_told(tmp_path):
    raw = repository(tmp_path / "raw")
    (raw / "data/test-00000-of-00001.parquet").unlink()
    (raw / "data/test-00000-of-00001.parquet").symlink_to("../blobs/abc")
    assert "data/test-00000-of-00001.parquet is a link to ../blobs/abc, which does not exist; get it again" in refusal(
        tmp_path, dataset(raw)
    )
    assert "there is no such file or folder; put the data there" in refusal(tmp_path, dataset(tmp_path / "gone"))
    assert "raw/x-1.parquet is missing (2 of 2 files are)" in refusal(tmp_path, dataset(raw / "x-{1..2}.parquet"))
    text = tmp_path / "notes.txt"
    text.touch()
    assert "notes.txt is not a .parquet file" in refusal(tmp_path, dataset(text))
    os.mkfifo(tmp_path / "pipe.parquet")
    assert "is a pipe, a socket or a device" in refusal(tmp_path, dataset(tmp_path / "pipe.parquet"))


# --- columns, labels, names -------------------------------------------------------------------------------------------


def one_file(tmp_path: Path, made: pa.Table, test: pa.Table | None = None) -> Path:
    save(tmp_path / "raw/train.parquet", made)
    save(tmp_path / "raw/test.parquet", made if test is None else test)
    return tmp_path / "raw"


def test_columns_are_found_by_notes_names_and_types(tmp_path):
    rows, bare = samples(), pa.array([row[2] for row in samples()], pa.binary())
    other = pa.array([0, 1, 0, 1, 0, 1])
    for made in (
        table(rows, image="picture", label="species", number=other),
        table(rows, image="img", classes=None, thumbnail=bare, number=other).select(
            ["number", "thumbnail", "label", "img"]
        ),
        table(rows, image="x", label="y", classes=None, size=pa.array([1.5] * 6)),
    ):
        splits, _ = read("small", dataset(one_file(tmp_path, made)), tmp_path)
        assert np.array_equal(splits["train"][0], expected())
    made = table(rows, image="x", label="y", classes=None, number=other, thumbnail=bare)
    text = refusal(tmp_path, dataset(one_file(tmp_path, made)))
    assert "x, thumbnail may be the column of images; name it: 'image_column' under its source" in text
    text = refusal(tmp_path, dataset(tmp_path / "raw", image_column="x"))
    assert "y, number may be the column of labels; name it: 'label_column'" in text
    splits, _ = read("small", dataset(tmp_path / "raw", image_column="x", label_column="y"), tmp_path)
    assert np.array_equal(splits["train"][0], expected())
    text = refusal(tmp_path, dataset(tmp_path / "raw", image_column="thumbnails", label_column="y"))
    assert "has no column 'thumbnails'; did you mean 'thumbnail'? (it has x, y, number, thumbnail)" in text
    text = refusal(tmp_path, dataset(tmp_path / "raw", image_column="y"))
    assert "the column 'y' holds int64, not the bytes of images; correct 'image_column'" in text


def test_columns_that_cannot_be_used_are_told(tmp_path):
    rows = samples()
    paths = pa.table({"image": [row[1] for row in rows], "label": [row[0] for row in rows]})
    assert "the column 'image' holds string, not the bytes of images" in refusal(
        tmp_path, dataset(one_file(tmp_path, paths))
    )
    lists = table(rows, classes=None).set_column(1, "label", pa.array([[row[0]] for row in rows]))
    text = refusal(tmp_path, dataset(one_file(tmp_path, lists)))
    assert "the column 'label' holds list<" in text
    assert "not whole numbers or words" in text
    text = refusal(tmp_path, dataset(one_file(tmp_path, table(rows).drop_columns(["label"]))))
    assert "raw/train.parquet has no column of labels (it has image)" in text
    text = refusal(tmp_path, dataset(one_file(tmp_path, table(rows), table(rows, classes=("dog", "cat")))))
    assert "raw/train.parquet and raw/test.parquet differ in their columns or in the names of their classes" in text


@pytest.mark.parametrize(
    ("values", "kind", "classes", "swapped"),
    [
        ((3, 7), pa.int8(), ["3", "7"], False),
        ((10, 9), pa.uint64(), ["9", "10"], True),
        (("dog", "cat"), pa.string(), ["cat", "dog"], True),
        (("b", "a"), pa.large_string(), ["a", "b"], True),
        (("a", "b"), pa.dictionary(pa.int32(), pa.string()), ["a", "b"], False),
        ((False, True), pa.bool_(), ["0", "1"], False),
        (("Ka\u0308tzchen", "K\xe4fer"), pa.string(), ["K\xe4fer", "K\xe4tzchen"], True),
    ],
)
def test_labels_of_every_type_are_numbered_in_order(tmp_path, values, kind, classes, swapped):
    rows = [(values[c], path, data) for c, path, data in samples()]
    splits, found = read("small", dataset(one_file(tmp_path, table(rows, classes=None, kind=kind))), tmp_path)
    assert found == classes
    images = np.roll(expected(), 3 if swapped else 0, axis=0)
    assert np.array_equal(splits["train"][0], images)


def test_classes_without_training_images_are_left_out_and_told(tmp_path, capsys):
    rows = [(2 * c, path, data) for c, path, data in samples()]
    raw = one_file(tmp_path, table(rows, classes=("ant", "bee", "cow")), table(rows[:1], classes=("ant", "bee", "cow")))
    splits, classes = read("small", dataset(raw), tmp_path)
    assert classes == ["ant", "cow"]
    assert splits["train"][1].tolist() == [0, 0, 0, 1, 1, 1]
    told = capsys.readouterr().err
    assert "1 classes without training images are left out: bee" in told
    assert "the test split has no images of " in told


def test_labels_that_no_number_holds_are_told(tmp_path):
    rows = [(1 << 63, path, data) for _, path, data in samples()]
    raw = one_file(tmp_path, table(rows, classes=None, kind=pa.uint64()))
    assert "some labels have more than 63 bits; number the classes" in refusal(tmp_path, dataset(raw))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 1, 2], "the train split has the label 2; labels count from 0 to 1, since there are 2 names of classes"),
        ([0, 1, -2], "the train split has the label -2; labels count from 0 to 1"),
        ([-1, -1, None], "no training image has a label"),
        ([], "no training image has a label"),
    ],
)
def test_labels_out_of_range_are_told(tmp_path, labels, said):
    rows = [(label, None, png(str(n))) for n, label in enumerate(labels)]
    raw = one_file(tmp_path, table(rows, kind=pa.int64()), table(samples("test", 2)))
    assert said in refusal(tmp_path, dataset(raw))


def test_a_test_class_without_training_images_is_told(tmp_path):
    raw = one_file(tmp_path, table([row for row in samples() if row[0]]), table(samples("test", 2)))
    assert "the class 'cat' is in the test split, but not in train; add it there" in refusal(tmp_path, dataset(raw))


@pytest.mark.parametrize("names", [["b/x.png", "a/x.png"], ["z.png", None], [None, None], None])
def test_rows_order_images_without_unique_names(tmp_path, names):
    """In the order of the shards, in which 9 comes before 10."""
    rows = (
        [(0, f"{11 - n:02}.png", png(f"{n}")) for n in range(10)]
        if names
        else [(0, None, png(f"{n}")) for n in range(10)]
    )
    rows += [(0, name, png(f"more {n}")) for n, name in enumerate(names or [None, None])]
    made = table(rows, classes=None)
    if names is None:
        made = made.set_column(0, "image", pa.array([row[2] for row in rows], pa.large_binary()))
    save(tmp_path / "raw/train-9.parquet", made[:3])
    save(tmp_path / "raw/train-10.parquet", made[3:])
    save(tmp_path / "raw/test.parquet", made[:1])
    splits, _ = read("small", dataset(tmp_path / "raw"), tmp_path)
    assert np.array_equal(splits["train"][0], np.stack([pixels(data) for *_, data in rows]))


@pytest.mark.parametrize("named", [True, False])
def test_limits_take_the_first_in_the_order_and_read_no_others(tmp_path, capsys, named, monkeypatch):
    rows = [(c, path if named else None, data) for c, path, data in sorted(samples(each=5))]
    rows = [
        (c, path, data if (path or f"{n % 5}.png") < "2.png" else b"never decoded")
        for n, (c, path, data) in enumerate(rows)
    ]
    raw = one_file(tmp_path, table(rows), table(samples("test", 1)))
    read_groups = []
    inner = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile,
        "iter_batches",
        lambda *a, **k: read_groups.append((k["columns"], k["row_groups"])) or inner(*a, **k),
    )
    splits, _ = read("small", dataset(raw, train_per_class=2, test_per_class=2), tmp_path)
    assert np.array_equal(splits["train"][0], expected(each=5)[[0, 1, 5, 6]])
    assert "test: fewer than 2 images in 2 classes; all of them are used" in capsys.readouterr().err
    assert [groups for columns, groups in read_groups if "image.bytes" in columns] == [[0], [2], [3], [0]]
    assert all("label" in columns for columns, _ in read_groups if "image.bytes" not in columns)


# --- rows that cannot be used, damage ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((0, "pictures/9.png", None), "raw/train.parquet row 3 holds only the path of an image (pictures/9.png), not the image"),
        ((0, None, None), "raw/train.parquet row 3 has no image in image.bytes; remove the row"),
        ((0, None, b""), "raw/train.parquet row 3 has no image"),
        ((0, "9.png", b"text"), "9.png cannot be read as an image (unknown format)"),
    ],
)  # fmt: skip
def test_rows_without_a_usable_image_are_told(tmp_path, row, said):
    rows = sorted(samples())
    raw = one_file(tmp_path, table([*rows[:3], row, *rows[3:]]), table(samples("test", 1)))
    assert said in refusal(tmp_path, dataset(raw))


def test_rows_are_counted_in_each_file(tmp_path):
    raw = one_file(tmp_path, table(samples()))
    (raw / "train.parquet").rename(raw / "train-0.parquet")
    save(raw / "train-1.parquet", table([*samples("more"), (0, None, None)]))
    assert "raw/train-1.parquet row 6 has no image" in refusal(tmp_path, dataset(raw))


def test_offsets_that_point_elsewhere_are_told(tmp_path):
    """They would be read from anywhere in the memory."""
    made = pa.table({"image": pa.array([bytes(10), bytes(10)], pa.binary()), "label": [0, 0]})
    for split, end in (("train", 1 << 30), ("test", 20)):
        with pa.ipc.new_stream(str(tmp_path / f"{split}.arrow"), made.schema) as stream:
            stream.write_table(made)
        whole = (tmp_path / f"{split}.arrow").read_bytes()
        offsets = np.array([[0, 10, 20], [0, 10, end]], "<i4")
        assert whole.count(offsets[0].tobytes()) == 1
        (tmp_path / f"{split}.arrow").write_bytes(whole.replace(*(row.tobytes() for row in offsets)))
    assert "train.arrow is damaged or cut off (" in refusal(tmp_path, dataset(tmp_path / "{train,test}.arrow"))


def test_a_null_image_is_told_and_huge_ones_are_refused(tmp_path, monkeypatch):
    made = table(samples())
    images = pa.array([None] + [{"bytes": row[2], "path": row[1]} for row in samples()[1:]], IMAGE)
    raw = one_file(tmp_path, made.set_column(0, "image", images), made)
    assert "raw/train.parquet row 0 has no image" in refusal(tmp_path, dataset(raw))
    monkeypatch.setattr(parquet, "MAX_BYTES", 100)
    text = refusal(tmp_path, dataset(one_file(tmp_path, made)))
    assert "raw/train.parquet row 0 has 0.0 MB; an image file may have at most 0.0 MB" in text


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_damaged_and_cut_files_are_told(tmp_path, suffix):
    raw = one_file(tmp_path, table(samples()))
    if suffix == "arrow":
        for split in ("train", "test"):
            made = pq.read_table(raw / f"{split}.parquet")
            with pa.ipc.new_stream(str(raw / f"{split}.arrow"), made.schema) as stream:
                stream.write_table(made, max_chunksize=2)
            (raw / f"{split}.parquet").unlink()
    file = raw / f"train.{suffix}"
    whole = file.read_bytes()
    for damaged in (b"", b"<html>", whole[: len(whole) // 2], whole[:100] + whole[200:]):
        file.write_bytes(damaged)
        text = refusal(tmp_path, dataset(raw))
        assert f"raw/train.{suffix} is damaged or cut off (" in text or "differ in their columns" in text
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert f"raw/train.{suffix} is a pointer of Git LFS, not the file itself; get it: git lfs pull" in refusal(
        tmp_path, dataset(raw)
    )


def test_every_flipped_byte_is_told_or_changes_nothing_unseen(tmp_path):
    """Nothing but a UserError, whatever is damaged; pages have checksums."""
    made = table(samples())
    raw = one_file(tmp_path, made)
    pq.write_table(made, raw / "train.parquet", row_group_size=2, write_page_checksum=True)
    whole = bytearray((raw / "train.parquet").read_bytes())
    content = prepare("small", dataset(raw), tmp_path)["content"]
    refused = 0
    for at in range(0, len(whole), 97):
        (raw / "train.parquet").write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            assert prepare("small", dataset(raw), tmp_path)["content"] == content
        except UserError:
            refused += 1
    assert refused > len(whole) // 97 // 4


def test_one_large_group_of_rows_is_read_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "PIECE", 2 << 20)
    big = [(0, None, random.Random(n).randbytes(1 << 18)) for n in range(128)]
    file = tmp_path / "train.parquet"
    pq.write_table(table(big), file, write_batch_size=2)  # values in a page, which is read at once
    before, most = pa.total_allocated_bytes(), 0
    for number, (data,) in enumerate(parquet.rows("here", [file], ["image.bytes"])):
        assert data == big[number][2]
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 10 << 20 < 32 << 20 < file.stat().st_size + 1_000_000


def test_only_the_wanted_rows_of_several_files_are_given(tmp_path):
    files = [save(tmp_path / f"{n}.parquet", table([(0, f"{n}{i}", b"x") for i in range(5)])) for n in range(3)]
    wanted = np.zeros(15, bool)
    wanted[[1, 4, 10, 14]] = True
    assert list(parquet.rows("here", files, ("image.path", "label"), wanted)) == [
        (p, 0) for p in ("01", "04", "20", "24")
    ]
    assert [path for (path,) in parquet.rows("here", files, ["image.path"])] == [
        f"{n}{i}" for n in range(3) for i in range(5)
    ]
    with pytest.raises(UserError, match="changed while it was being read"):
        list(parquet.rows("here", files[:2], ["label"], wanted))
    with pytest.raises(UserError, match="changed while it was being read"):
        list(parquet.rows("here", files, ["label"], wanted[:12]))
    with pytest.raises(UserError, match=r"has no column 'fine_label' \(it has image, label\)"):
        list(parquet.rows("here", files, ["fine_label"]))


def test_without_pyarrow_the_remedy_is_told(tmp_path, monkeypatch):
    raw = repository(tmp_path / "raw")
    inner = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("pyarrow"):
            raise ModuleNotFoundError(name)
        return inner(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    text = refusal(tmp_path, dataset(raw))
    assert "pyarrow, which reads parquet files, is not installed; run `make setup`" in text
    assert "pip install 'sslpairs[parquet]'" in text


def test_planning_needs_neither_pyarrow_nor_numpy():
    code = "import sys, sslpairs.config.sources; assert not {'pyarrow', 'numpy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- CIFAR-10 on the Hub ----------------------------------------------------------------------------------------------

NAMES = cifar10_kind.FORMS.classes


def cifar(path, **settings) -> DatasetSettings:
    return DatasetSettings.model_validate(
        {"title": "CIFAR-10", "source": {"kind": "cifar10", "path": path and str(path), **settings}}
    )


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Both forms of 50 + 20 images, with their digests on record: the binary archive, and parquet files in another order."""
    random_images = np.random.default_rng(0).integers(0, 256, (70, 3, 32, 32), np.uint8)
    labels = np.arange(70, dtype=np.uint8) % 10
    records = np.concatenate([labels[:, None], random_images.reshape(70, -1)], 1)
    members = {
        f"cifar-10-batches-bin/data_batch_{n + 1}.bin": records[10 * n : 10 * n + 10].tobytes() for n in range(5)
    }
    members["cifar-10-batches-bin/test_batch.bin"] = records[50:].tobytes()
    (tmp_path / "binary").mkdir()
    archive = write(tmp_path / "binary/cifar-10-binary.tar.gz", members)
    files = {}
    for split, rows in (("train", np.arange(50)), ("test", np.arange(50, 70))):
        rows = np.random.default_rng(1).permutation(rows)
        content = [
            (int(labels[row]), None, saved(Image.fromarray(random_images[row].transpose(1, 2, 0)), "PNG"))
            for row in rows
        ]
        files[split] = save(
            tmp_path / f"hub/plain_text/{split}-00000-of-00001.parquet", table(content, NAMES, image="img"), group=8
        )
    hub = dataclasses.replace(
        cifar10_kind.FORMS.hub,
        files={split: RemoteFile(file.name, (), sha256=sha256_file(file)) for split, file in files.items()},
    )
    forms = dataclasses.replace(
        cifar10_kind.FORMS,
        binary=dataclasses.replace(cifar10_kind.BINARY, sha256=sha256_file(archive)),
        images={"train": 50, "test": 20},
        hub=hub,
    )
    monkeypatch.setattr(cifar10_kind, "FORMS", forms)
    monkeypatch.setattr(CIFAR10Settings, "official", (50, 20))
    return tmp_path


def test_the_hubs_cifar_has_the_content_of_the_binary_form(small, monkeypatch):
    whole = prepare("cifar10", cifar(small / "binary"), small)
    cache = small / "datasets--uoft-cs--cifar10/snapshots/0b27"
    cache.parent.mkdir(parents=True)
    cache.symlink_to(small / "hub")
    (small / "mine").mkdir()
    (small / "mine/cifar10").symlink_to(small / "hub")
    for path in (small / "hub", small / "hub/plain_text", cache.parents[1], cache, small / "mine"):
        receipt = prepare("cifar10", cifar(path), small)
        assert receipt["content"] == whole["content"]
        assert receipt["form"] == "uoft-cs/cifar10's parquet files (sha256 verified)"
    monkeypatch.setenv("HOME", str(small))
    monkeypatch.delenv("SSLPAIRS_SOURCES", raising=False)
    for variable, value in (("HF_HUB_CACHE", small), ("HF_HOME", small)):
        monkeypatch.setenv(variable, str(value))
        if variable == "HF_HOME":
            monkeypatch.delenv("HF_HUB_CACHE")
            (small / "hub").rename(small / "files")
            (small / "hub").mkdir()
            cache.unlink()
            cache.symlink_to(small / "files")
            (small / "datasets--uoft-cs--cifar10").rename(small / "hub/datasets--uoft-cs--cifar10")
            cache = small / "hub/datasets--uoft-cs--cifar10/snapshots/0b27"
        assert find("cifar10", cifar(None), small) == cache.parents[1]
        assert prepare("cifar10", cifar(None), small)["content"] == whole["content"]
    few = prepare("cifar10", cifar(cache, train_per_class=2, test_per_class=1), small)
    assert few["counts"] == {"train": 20, "test": 10}


def test_a_cifar_that_is_not_the_hubs_is_refused_or_titled_so(small):
    file = small / "hub/plain_text/test-00000-of-00001.parquet"
    made = pq.read_table(file)
    pq.write_table(made[:10], file)
    with pytest.raises(
        UserError, match=r"plain_text/test-00000-of-00001.parquet is not the authors' file: sha256 .* expected sha256"
    ):
        prepare("cifar10", cifar(small / "hub"), small)
    receipt = prepare("cifar10", cifar(small / "hub", original=False), small)
    assert receipt["counts"] == {"train": 50, "test": 10}
    assert receipt["title"] == "CIFAR-10 (not the original files)"
    assert receipt["form"].endswith("(not verified)")


def test_cifar_files_without_a_digest_on_record_need_a_word(small, monkeypatch):
    """As those of CIFAR-100, with its own column, and the Arrow files of ``datasets``."""
    whole = prepare("cifar10", cifar(small / "binary"), small)["content"]
    hub = dataclasses.replace(cifar10_kind.FORMS.hub, files=None, label="fine_label")
    monkeypatch.setattr(cifar10_kind, "FORMS", dataclasses.replace(cifar10_kind.FORMS, hub=hub))
    arrow = small / "uoft-cs___cifar10/plain_text/0.0.0/abc"
    arrow.mkdir(parents=True)
    for split in ("train", "test"):
        file = small / f"hub/plain_text/{split}-00000-of-00001.parquet"
        made = pq.read_table(file).rename_columns(["img", "fine_label"])
        made = made.append_column("coarse_label", pa.array([0] * len(made)))
        pq.write_table(made, file)
        with pa.ipc.new_stream(str(arrow / f"cifar10-{split}.arrow"), made.schema) as stream:
            stream.write_table(made)
    for path in (small / "hub", small / "uoft-cs___cifar10", arrow):
        with pytest.raises(UserError, match=r"not the authors' files, and there is no digest .*\n.*'original: false'"):
            prepare("cifar10", cifar(path), small)
        assert prepare("cifar10", cifar(path, original=False), small)["content"] == whole


def test_a_part_of_the_hubs_cifar_is_told(small):
    with pytest.raises(UserError, match="this is one of the files of a copy; give the path of the folder"):
        prepare("cifar10", cifar(small / "hub/plain_text/train-00000-of-00001.parquet"), small)
    (small / "hub/plain_text/test-00000-of-00001.parquet").unlink()
    with pytest.raises(UserError, match="there is no test split in it; get all files of uoft-cs/cifar10"):
        prepare("cifar10", cifar(small / "hub"), small)
