"""A table of images as a source: what it may say, and that errors name its lines."""

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from test_data import png, write

from sslpairs.config.datasets import DatasetSettings
from sslpairs.data import tables
from sslpairs.data.decoding import decode
from sslpairs.data.prepare import prepare
from sslpairs.data.splits import held_out
from sslpairs.errors import UserError

IMAGES = {f"{folder}/{n}.png": png(f"{folder} {n}") for folder in ("a", "b") for n in range(5)}
ROWS = [
    ("b/3.png", "dog", "train"),
    ("a/0.png", "cat", "train"),
    ("a/4.png", "cat", "test"),
    ("b/0.png", "cat", "train"),
    ("a/3.png", "dog", "test"),
    ("a/1.png", "ant", "train"),
]
"""Folders are no classes, and the class ant has no test images."""
EXPECTED = {
    "train": [(0, "a/1.png"), (1, "a/0.png"), (1, "b/0.png"), (2, "b/3.png")],
    "test": [(1, "a/4.png"), (2, "a/3.png")],
}


def text(rows, header="path,label,split", sign=",") -> bytes:
    return "".join(line + "\n" for line in [header.replace(",", sign), *(sign.join(row) for row in rows)]).encode()


def table(path: Path, **settings) -> DatasetSettings:
    source = {"kind": "csv", "path": str(path), "size": 8, **settings}
    return DatasetSettings.model_validate({"title": "Table", "source": source})


def check(tmp_path: Path, receipt: dict, expected=EXPECTED, classes=("ant", "cat", "dog"), images=IMAGES) -> None:
    assert receipt["classes"] == list(classes)
    for split in ("train", "test"):
        found, labels = (np.load(tmp_path / f"data/small/{split}_{what}.npy") for what in ("images", "labels"))
        assert labels.tolist() == [label for label, _ in expected[split]]
        assert np.array_equal(found, [decode(images[name], 8, 3) for _, name in expected[split]])


def refusal(tmp_path: Path, data: bytes | Path, **settings) -> str:
    """The error for a table with this content beside the images."""
    path = data if isinstance(data, Path) else tmp_path / "raw/table.csv"
    if not isinstance(data, Path):
        write(tmp_path / "raw", IMAGES | {"table.csv": data})
    with pytest.raises(UserError) as caught:
        prepare("small", table(path, **settings), tmp_path)
    said = str(caught.value)
    assert len(said.splitlines()) <= 2
    assert said.startswith("data set 'small': ")
    return said


@pytest.fixture
def folder(tmp_path) -> Path:
    return write(tmp_path / "raw", IMAGES | {"table.csv": text(ROWS)})


# --- forms ------------------------------------------------------------------------------------------------------------


def test_every_way_to_give_a_table_and_its_images_gives_the_same_content(tmp_path, folder, monkeypatch):
    inner = write(tmp_path / "pictures", IMAGES)
    monkeypatch.setenv("PICTURES", str(inner))
    packed = {kind: write(tmp_path / f"packed{kind}", IMAGES) for kind in (".zip", ".tar.gz", ".tar")}
    wrapped = write(tmp_path / "wrapped.zip", {f"pictures/{name}": data for name, data in IMAGES.items()})
    lists = tmp_path / "lists"
    write(lists, {"plain.csv": text(ROWS), "absolute.csv": text([(str(inner / row[0]), *row[1:]) for row in ROWS])})
    mixed = [(str(inner / row[0]) if n % 2 else row[0], *row[1:]) for n, row in enumerate(ROWS)]
    write(lists, {"mixed.csv": text(mixed)})
    write(lists, {"dots.csv": text([("./a/../" + row[0], *row[1:]) for row in ROWS])})
    write(lists, {"windows.csv": text([(row[0].replace("/", "\\"), *row[1:]) for row in ROWS]).replace(b"\n", b"\r\n")})
    ways = [
        table(folder),
        table(folder / "table.csv"),
        table(lists / "plain.csv", images="../pictures"),
        table(lists / "plain.csv", images="$PICTURES"),
        table(lists / "absolute.csv", images="../pictures"),
        table(lists / "mixed.csv", images="../pictures"),
        table(lists / "dots.csv", images=str(inner)),
        table(lists / "windows.csv", images="../pictures"),
        table(lists / "windows.csv", images="../packed.zip"),
        table(lists / "dots.csv", images="../packed.zip"),
        *(table(lists / "plain.csv", images=f"../{path.name}") for path in (*packed.values(), wrapped)),
        table(folder, storage="files"),
    ]
    contents = set()
    for way in ways:
        receipt = prepare("small", way, tmp_path)
        contents.add(receipt["content"])
        if "storage" not in receipt:
            check(tmp_path, receipt)
        assert receipt["form"].endswith(".csv")
    assert len(contents) == 1
    assert str(tmp_path) not in str(receipt["source"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("sign", [",", "\t", ";"])
def test_signs_encodings_quotes_and_blank_lines(tmp_path, sign, end, encoding):
    quoted = {"dog": '"dög, ""x""; y"', "cat": "  cat ", "ant": "ant"}
    lines = [
        ["path", "label", "split", "notes"],
        *([a, quoted[b], f" {c.title()} ", f'"two,;{end}lines"'] for a, b, c in ROWS),
    ]
    data = end.join(sign.join(line) for line in lines) + end + end + sign * 3 + end
    path = write(tmp_path / "raw", IMAGES | {"table.tsv": data.encode(encoding)})
    receipt = prepare("small", table(path), tmp_path)
    check(tmp_path, receipt, classes=("ant", "cat", 'dög, "x"; y'))
    assert receipt["counts"] == {"train": 4, "test": 2}


def test_accents_are_one_class_and_one_file_however_they_are_encoded(tmp_path):
    nfc, nfd = (unicodedata.normalize(form, "ä") for form in ("NFC", "NFD"))
    rows = [(f"{nfc}/1.png", f"K{nfd}", "train"), (f"{nfc}/2.png", f"K{nfc}", "test")]
    contents = set()
    for stored in (nfc, nfd):
        for suffix in ("", ".zip"):
            images = write(tmp_path / f"{len(stored)}{suffix}", {f"{stored}/{n}.png": png(str(n)) for n in (1, 2)})
            path = write(tmp_path / "lists", {"table.csv": text(rows)}) / "table.csv"
            receipt = prepare("small", table(path, images=str(images)), tmp_path)
            assert receipt["classes"] == [f"K{nfc}"]
            contents.add(receipt["content"])
    assert len(contents) == 1
    text_ = text([*rows, (f"{nfd}/1.png", "x", "test")])
    assert "is in line 2 too, an image that is trained on cannot be tested on" in refusal(tmp_path, text_)


def test_a_table_of_hotels_is_read_as_it_is(tmp_path, capsys):
    """Hotel-ID 2021: the class is the hotel, the folder its chain, and there are no test images."""
    rows = [(f"{n}.jpg", str(n % 2 + 85), str(40_000 + n % 3), "2018-02-15 01:00:00") for n in range(12)]
    images = {f"train_images/{chain}/{name}": png(name) for name, chain, *_ in rows} | {"test_images/x.jpg": png("x")}
    data = text(rows, header="image,chain,hotel_id,timestamp")
    path = write(
        tmp_path / "hotel-id-2021-fgvc8", images | {"train.csv": data, "sample_submission.csv": b"image,hotel_id\n"}
    )
    settings = {"path_column": "train_images/{chain}/{image}", "label_column": "hotel_id", "held_out": 0.25}
    assert "several tables in it (sample_submission.csv, train.csv); give the path" in refusal(
        tmp_path, path, **settings
    )
    receipt = prepare("small", table(path / "train.csv", **settings), tmp_path)
    assert receipt["classes"] == ["40000", "40001", "40002"]
    assert receipt["counts"] == {"train": 9, "test": 3}
    names = sorted(name for name in images if name.startswith("train"))
    labels = np.array([int(name.rpartition("/")[2][:-4]) % 3 for name in names])
    mask = held_out(names, labels, 0.25, 0)
    expected = {
        split: sorted((int(label), name) for label, name, out in zip(labels, names, mask, strict=True) if out == wanted)
        for split, wanted in (("train", False), ("test", True))
    }
    check(tmp_path, receipt, expected, receipt["classes"], images)


# --- splits -----------------------------------------------------------------------------------------------------------


def test_splits_have_several_names_and_one_is_tested_on(tmp_path, capsys):
    rows = [
        ("a/0.png", "x", "train"),
        ("a/1.png", "x", "validation"),
        ("a/2.png", "x", "valid"),
        ("b/0.png", "x", "VAL"),
    ]
    path = write(tmp_path / "raw", IMAGES | {"table.csv": text(rows)})
    assert prepare("small", table(path), tmp_path)["counts"] == {"train": 1, "test": 3}
    write(path, {"table.csv": text([*rows, ("b/1.png", "x", "Test")])})
    assert prepare("small", table(path), tmp_path)["counts"] == {"train": 1, "test": 1}
    assert "small: the val split is not used (3 images)" in capsys.readouterr().err
    assert prepare("small", table(path, test="val"), tmp_path)["counts"] == {"train": 1, "test": 3}
    write(path, {"table.csv": text(rows[:1])})
    assert "there is neither a test nor a val split; add one, or set 'held_out" in refusal(tmp_path, text(rows[:1]))
    assert "there is no test split" in refusal(tmp_path, text(rows), test="test")
    assert "no row is of the split train" in refusal(tmp_path, text(rows[1:]))


def test_images_without_a_label_are_trained_on_only(tmp_path):
    rows = [*ROWS, ("a/2.png", "", "train"), ("b/4.png", "ignored", "unlabelled"), ("b/1.png", "", "Unlabeled")]
    path = write(tmp_path / "raw", IMAGES | {"table.csv": text(rows)})
    receipt = prepare("small", table(path, train_per_class=1), tmp_path)
    assert receipt["unlabelled"] == 3
    train = [(0, "a/1.png"), (1, "a/0.png"), (2, "b/3.png"), (-1, "a/2.png"), (-1, "b/1.png"), (-1, "b/4.png")]
    check(tmp_path, receipt, EXPECTED | {"train": train})
    said = refusal(tmp_path, text([*ROWS, ("a/2.png", "", "test")]))
    assert "line 8: an image of test has no label" in said
    assert "no image to train on has a label" in refusal(
        tmp_path, text([("a/2.png", "", "train"), ("a/3.png", "x", "test")])
    )


def test_a_share_is_held_out_where_there_is_no_split(tmp_path):
    rows = [(name, "ab"[n % 2]) for n, name in enumerate(sorted(IMAGES))]
    path = write(tmp_path / "raw", IMAGES | {"table.csv": text(rows, header="path,label")})
    assert "there is neither a test nor a val split" in refusal(tmp_path, path)
    tested = []
    for part in range(5):
        receipt = prepare("small", table(path, held_out=0.2, part=part), tmp_path)
        assert receipt["counts"] == {"train": 8, "test": 2}
        tested += [image.tobytes() for image in np.load(tmp_path / "data/small/test_images.npy")]
    assert len(set(tested)) == 10
    # Rows of the test and val splits are left out, and never trained on.
    write(path, {"table.csv": text([(*row, "test" if n < 2 else "train") for n, row in enumerate(rows)])})
    receipt = prepare("small", table(path, held_out=0.25), tmp_path)
    assert receipt["counts"] == {"train": 6, "test": 2}
    single = [("a/0.png", "x"), ("a/1.png", "y")]
    said = refusal(tmp_path, text(single, header="path,label"), held_out=0.2)
    assert "there is no image to test on; add some, or increase 'held_out'" in said


def test_classes_without_test_images_are_counted_and_those_without_training_images_refused(tmp_path, folder, capsys):
    prepare("small", table(folder), tmp_path)
    assert "small: 1 of 3 classes have no test images" in capsys.readouterr().err
    said = refusal(
        tmp_path, text([*ROWS, ("b/1.png", "elk", "test"), ("b/2.png", "bee", "test"), ("b/4.png", "elk", "test")])
    )
    assert "line 8: the class 'elk' is tested on, but not trained on (2 of 4 classes)" in said
    write(folder, {"table.csv": text([(*row[:1], "one", row[2]) for row in ROWS])})
    prepare("small", table(folder), tmp_path)
    assert "has only one class, 'one'" in capsys.readouterr().err


def test_columns_limits_and_expected_numbers_are_set(tmp_path):
    rows = [("x", split, name, label) for name, label, split in ROWS]
    path = write(tmp_path / "raw", IMAGES | {"table.csv": text(rows, header="note,part, file ,class")})
    settings = {"path_column": "file", "label_column": "class", "split_column": "part"}
    receipt = prepare("small", table(path, **settings, train_per_class=1, channels=1), tmp_path)
    assert receipt["counts"] == {"train": 3, "test": 2}
    assert receipt["image"] == [1, 8, 8]
    check(tmp_path, prepare("small", table(path, **settings), tmp_path))
    dataset = DatasetSettings.model_validate(
        {"title": "x", "source": table(path, **settings).source.model_dump(), "expected": {"train": 5, "test": 2}}
    )
    with pytest.raises(UserError, match=r"expected\.train: 5 images expected, but"):
        prepare("small", dataset, tmp_path)
    assert table(path).source.record()["images"] is None
    assert table(path, images="/some/where/pictures").source.record()["images"] == "pictures"


@pytest.mark.parametrize("template", ["{a", "a}", "{}", "{ }", "{a{b}}", "x/{a}/}"])
def test_templates_of_paths_have_pairs_of_braces(template):
    with pytest.raises(ValidationError, match="put the name of each column in braces"):
        table(Path("x"), path_column=template)
    assert table(Path("x"), path_column="{a}/b {c}.jpg").source.path_column == "{a}/b {c}.jpg"


# --- what is refused --------------------------------------------------------------------------------------------------

HEAD = "path,label,split\na/0.png,x,train\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "there is no column 'path' in its first line ()"),
        (b"\n\n", "there is no column 'path' in its first line"),
        (b"path,label,split\n", "there are no rows below its first line"),
        ("file,label,split\na,b,c\n", "there is no column 'path' in its first line (file, label, split)"),
        (
            "path,labels,split\na,b,c\n",
            "there is no column 'label' in its first line (path, labels, split); did you mean 'labels'?",
        ),
        ("path;klass;split\na;b;c\n", "there is no column 'label' in its first line (path, klass, split)"),
        ("path,label,path\na,b,c\n", "its first line names the column 'path' twice"),
        ("path,label,split,split\na,b,c,c\n", "its first line names the column 'split' twice"),
        (HEAD + "a/1.png,x\n", "line 3 has 2 values, but the header names 3 columns"),
        (HEAD + "\na/1.png,x,test,more\n", "line 4 has 4 values, but the header names 3 columns"),
        (HEAD + 'a/1.png,"x\ny",test\n', "line 3: the label 'x\\ny' has a control character"),
        (HEAD + 'a/1.png,"x\n\n",test\na/1.png,x,test\n', "line 6: a/1.png is in line 3 too, it would count twice"),
        (HEAD + 'a/1.png,"x"y,test\n', "line 3 is not a row of a CSV table"),
        (HEAD + 'a/1.png,"x,test\n', "line 3 is not a row of a CSV table (unexpected end of data)"),
        (HEAD + ",x,test\n", "line 3: there is no path in it"),
        (HEAD + "a/1.png,x,dev\n", "line 3: the split is 'dev', not one of train, test, val, valid"),
        (HEAD + "a/1.png,x,\n", "line 3: the split is '', not one of"),
        (HEAD + "a/\0.png,x,test\n", "line 3: a/\\x00.png cannot be a path"),
        (HEAD + "a/9.png,x,test\na/8.png,x,test\n", "line 3: a/9.png is not a file in"),
        (HEAD + "a/9.png,x,test\na/8.png,x,test\n", "(nor are those of 1 more lines); add it, or correct 'images'"),
        (HEAD + "a,x,test\n", "line 3: a is not a file in"),
        (HEAD + "../outside.png,x,test\n", "line 3: ../outside.png is outside the folder"),
        (HEAD + f"{'a' * 5000},x,test\n", "is not a file in"),
        (HEAD + "a/1,x,test\n", "line 3: a/1 is not a file in"),
        (HEAD + "a/1,x,test\n", "; write path_column: '{path}.png'"),
        (
            HEAD + "b/../a/0.png,x,test\n",
            "line 3: b/../a/0.png is in line 2 too, an image that is trained on cannot be tested on",
        ),
        (HEAD + "a/0.png,x,train\n", "line 3: a/0.png is in line 2 too, it would count twice; remove one"),
        (HEAD + "a/0.png,y,train\n", "line 3: a/0.png is in line 2 too, with the label 'x' there and 'y' here"),
        (
            HEAD.encode() + b"a/1.png,K\xe4fer,test\n",
            "line 3 is not UTF-8; save the table as CSV with the encoding UTF-8",
        ),
        (HEAD.encode("utf-16"), "line 1 is not UTF-8"),
        (
            HEAD + "a/1.png," + "x" * 200_000 + ",test\n",
            "line 3 is not a row of a CSV table (field larger than field limit",
        ),
    ],
)
def test_errors_name_the_line(tmp_path, data, said):
    found = refusal(tmp_path, data if isinstance(data, bytes) else data.encode())
    assert "table.csv" in found
    assert said in found


def test_a_path_and_the_same_one_in_full_are_one_image(tmp_path):
    said = refusal(tmp_path, text([*ROWS, (str(tmp_path / "raw/a/0.png"), "cat", "test")]))
    assert "a/0.png is in line 3 too, an image that is trained on cannot be tested on" in said


def test_settings_that_do_not_fit_the_table_are_named(tmp_path):
    said = refusal(tmp_path, text(ROWS), split_column="part")
    assert "there is no column 'part' in its first line (path, label, split)" in said
    assert "correct 'split_column' under its source" in said
    said = refusal(tmp_path, text(ROWS), path_column="{folder}/{path}")
    assert "there is no column 'folder'" in said
    assert "correct 'path_column'" in said
    assert "there is no folder or archive" in refusal(tmp_path, text(ROWS), images="nowhere")
    assert "images '$SSLPAIRS_NOT_SET/x': the environment variable $SSLPAIRS_NOT_SET is not set" in refusal(
        tmp_path, text(ROWS), images="$SSLPAIRS_NOT_SET/x"
    )
    assert "there is no such file or folder" in refusal(tmp_path, tmp_path / "nowhere.csv")
    empty = write(tmp_path / "empty", {"a.txt": b"", ".hidden.csv": b""})
    assert "there is no .csv or .tsv file in it" in refusal(tmp_path, empty)
    packed = write(tmp_path / "all.zip", IMAGES | {"table.csv": text(ROWS)})
    assert "all.zip is an archive; give the path of the table" in refusal(tmp_path, packed)


def test_a_table_that_could_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_TABLE", 10)
    assert "table.csv has 0.0 MB, too much for a table of images" in refusal(tmp_path, text(ROWS))


@pytest.mark.parametrize("path", ["../a/0.png", "/etc/passwd", "a/../../x.png"])
def test_paths_outside_an_archive_are_refused(tmp_path, path):
    write(tmp_path / "images.zip", IMAGES)
    said = refusal(tmp_path, text([*ROWS, (path, "cat", "train")]), images="../images.zip")
    assert f"line 8: {path} points outside the archive images.zip" in said


def test_archives_are_checked_before_they_are_read(tmp_path):
    write(tmp_path / "images.tar", IMAGES)
    said = refusal(tmp_path, text([*ROWS, ("a/7.png", "cat", "train")]), images="../images.tar")
    assert "line 8: a/7.png is not a file in" in said
    assert "images.tar" in said
    data = (tmp_path / "images.tar").read_bytes()
    (tmp_path / "images.tar").write_bytes(data[: len(data) // 3])
    assert "images.tar is damaged or cut off" in refusal(tmp_path, text(ROWS), images="../images.tar")
    (tmp_path / "images.tar").write_bytes(b"no archive")
    assert "images.tar is damaged or cut off" in refusal(tmp_path, text(ROWS), images="../images.tar")
    write(tmp_path / "evil.tar", IMAGES | {"../evil.png": png(1)})
    assert "points outside the archive" in refusal(tmp_path, text(ROWS), images="../evil.tar")


def test_an_image_that_cannot_be_read_is_named(tmp_path, folder, monkeypatch):
    (folder / "a/0.png").write_bytes(b"no image")
    assert "a/0.png cannot be read as an image (unknown format)" in refusal(tmp_path, folder)
    monkeypatch.setattr("sslpairs.data.kinds.csv.MAX_BYTES", 5)
    assert "an image file may have at most" in refusal(tmp_path, folder)
    shutil.rmtree(folder / "a")
    assert "a/0.png is not a file in" in refusal(tmp_path, folder)
