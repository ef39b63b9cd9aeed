"""``sslpairs fetch`` as a whole: data sets by name, found or downloaded from a server on loopback, prepared and recorded."""

import hashlib
import io
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from kill_points import every_moment
from lying_server import Gate, Server, serving, status, until
from projects import edit, git, make_tiny, say
from rich.console import Console

from sslpairs import cli
from sslpairs.config.reading import read_config
from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources import cifar10 as facts
from sslpairs.data import transfer
from sslpairs.data.folders import read_receipt, verify
from sslpairs.data.kinds import cifar10 as kind
from sslpairs.data.record import recorded
from sslpairs.errors import UserError
from sslpairs.plan.frozen import freeze
from sslpairs.terminal.datasets import listing
from sslpairs.workflow.builds import make_build
from sslpairs.workflow.fetch import Availability, availability, fetch_datasets

PROJECT = Path(__file__).resolve().parents[1]
TRAIN, TEST = 500, 100
SOURCE = "source: {kind: cifar10}"
MORE = """
  few:
    title: Few
    source: {kind: cifar10, train_per_class: 10, test_per_class: 5}
  copy:
    title: Copy
    source: {kind: cifar10, original: false}
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No proxies, and no copies of data sets in anybody's home."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in (
            "SSLPAIRS_OFFLINE",
            "SSLPAIRS_SOURCES",
            "HF_HOME",
            "HF_HUB_CACHE",
        ):
            monkeypatch.delenv(name)
    monkeypatch.setattr(transfer, "BACKOFF", 0.001)


def records(seed: int, number: int) -> bytes:
    """Images of ten classes as CIFAR-10's binary files hold them: squares of 8 pixels, so that they can be compressed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (number, 3, 4, 4), np.uint8)
    pixels = coarse.repeat(8, axis=2).repeat(8, axis=3).reshape(number, -1)
    return np.concatenate([np.arange(number, dtype=np.uint8)[:, None] % 10, pixels], axis=1).tobytes()


def tar_gz(content: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


MEMBERS = {
    "train": {f"data_batch_{n}.bin": records(n, TRAIN // 5) for n in range(1, 6)},
    "test": {"test_batch.bin": records(6, TEST)},
}
FOLDER = "cifar-10-batches-bin"
ARCHIVE = tar_gz({f"{FOLDER}/{name}": data for names in MEMBERS.values() for name, data in names.items()})
OTHER = tar_gz({f"{FOLDER}/{name}": data[::-1] for names in MEMBERS.values() for name, data in names.items()})
NAME = "cifar-10-binary.tar.gz"


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Project:
    """A project without data, whose CIFAR-10 is a small one on a server."""

    root: Path
    server: Server

    def fetch(self, *names: str, force: bool = False, unknown: bool = False, given=None, frozen=None) -> list[str]:
        return list(fetch_datasets(self.root, list(names), {}, frozen, force, unknown, given))

    def refusal(self, *names: str, **options) -> str:
        with pytest.raises(UserError) as error:
            self.fetch(*names, **options)
        return str(error.value)

    def states(self, *names: str) -> dict[str, str]:
        datasets = read_config(self.root).datasets
        return {one.name: one.state for one in availability(self.root, {name: datasets[name] for name in names})}

    def about(self, name: str) -> Availability:
        (found,) = availability(self.root, {name: read_config(self.root).datasets[name]})
        return found

    def configure(self, old: str, new: str) -> None:
        edit(self.root / "config/datasets.yaml", old, new)

    @property
    def requests(self) -> list[str]:
        return [request.path for request in self.server.requests]

    @property
    def archive(self) -> Path:
        return self.root / "sources/cifar10" / NAME


@pytest.fixture
def project(tmp_path, monkeypatch, server) -> Project:
    root = tmp_path / "project"
    shutil.copytree(PROJECT / "config", root / "config")
    with (root / "config/datasets.yaml").open("a") as file:
        file.write(MORE)
    edit(root / "config/config.yaml", "scale: digits ", "scale: cifar10-mini ")
    official = RemoteFile(NAME, (server.at("/cifar10", serving(ARCHIVE)),), len(ARCHIVE), sha(ARCHIVE))
    md5 = {split: {n: hashlib.md5(data).hexdigest() for n, data in names.items()} for split, names in MEMBERS.items()}
    forms = replace(kind.FORMS, binary=official, members=md5, images={"train": TRAIN, "test": TEST})
    monkeypatch.setattr(kind, "FORMS", forms)
    monkeypatch.setattr(facts, "BINARY", official)
    monkeypatch.setattr(facts.CIFAR10Settings, "official", (TRAIN, TEST))
    monkeypatch.chdir(root)
    return Project(root, server)


def put(path: Path, content: bytes = ARCHIVE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def unpacked(folder: Path) -> Path:
    for names in MEMBERS.values():
        for name, data in names.items():
            put(folder / FOLDER / name, data)
    return folder


@pytest.fixture(scope="module")
def content() -> str:
    """The content hash of the small CIFAR-10 by its definition: ordered by labels, then by the sha256 of the pixels."""
    digest = hashlib.sha256()
    arrays = {}
    for split, names in MEMBERS.items():
        rows = np.frombuffer(b"".join(names.values()), np.uint8).reshape(-1, 3073)
        rows = np.array(sorted(rows.tolist(), key=lambda row: (row[0], sha(bytes(row[1:])))), np.uint8)
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = (
            rows[:, 1:].reshape(-1, 3, 32, 32),
            rows[:, 0].astype("<i8"),
        )
    header = {
        "classes": kind.FORMS.classes,
        "arrays": [[n, arrays[n].dtype.str, list(arrays[n].shape)] for n in sorted(arrays)],
    }
    digest.update(json.dumps(header, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(arrays):
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


# --- downloaded ---------------------------------------------------------------------------------------------------------


def test_a_data_set_is_downloaded_by_its_name_prepared_and_recorded_and_the_second_call_asks_nobody(project, content):
    assert project.states("cifar10") == {"cifar10": "to download"}
    assert project.fetch("cifar10") == ["cifar10: prepared 500 training and 100 test images"]
    assert verify("cifar10", project.root)["content"] == recorded(project.root)["cifar10"] == content
    assert read_receipt("cifar10", project.root)["form"] == f"{NAME} (sha256 verified)"
    assert project.archive.read_bytes() == ARCHIVE
    assert project.server.sent == len(ARCHIVE)
    project.server.shutdown()
    before = {path: path.stat().st_mtime_ns for path in (project.root / "data/cifar10").iterdir()}
    assert project.fetch("cifar10") == ["cifar10: in place (500 training and 100 test images)"]
    assert {path: path.stat().st_mtime_ns for path in (project.root / "data/cifar10").iterdir()} == before
    shutil.rmtree(project.root / "sources")
    assert project.fetch("cifar10") == ["cifar10: in place (500 training and 100 test images)"], "its files may go"


def test_without_names_those_of_the_configuration_are_fetched(project):
    assert project.fetch() == ["cifar10-mini: prepared 500 training and 100 test images"]


def test_a_data_set_and_a_part_of_it_share_one_download(project):
    lines = project.fetch("cifar10", "few", "cifar10-224")
    assert [line.partition(":")[2] for line in lines[:2]] == [
        " prepared 500 training and 100 test images",
        " prepared 100 training and 50 test images",
    ]
    assert project.requests == ["/cifar10"]
    assert project.server.sent == len(ARCHIVE)
    few, whole = (np.load(project.root / f"data/{name}/train_images.npy") for name in ("few", "cifar10"))
    assert np.array_equal(few.reshape(10, 10, -1), whole.reshape(10, 50, -1)[:, :10]), "the first ones of each class"


def test_force_prepares_again_from_what_is_here(project):
    project.fetch("cifar10")
    (project.root / "data/cifar10/train_images.npy").write_bytes(b"")
    assert project.fetch("cifar10", force=True) == ["cifar10: prepared 500 training and 100 test images"]
    verify("cifar10", project.root)
    assert project.requests == ["/cifar10"]


def test_unknown_skips_what_is_recorded(project):
    project.fetch("few")
    shutil.rmtree(project.root / "data")
    assert project.fetch("cifar10", "few", unknown=True) == ["cifar10: prepared 500 training and 100 test images"]
    assert project.fetch("cifar10", "few", unknown=True) == []


def test_a_recorded_data_set_that_no_remote_has_is_downloaded_again_with_the_same_content(project, content):
    project.fetch("cifar10")
    for folder in ("data", "sources"):
        shutil.rmtree(project.root / folder)
    assert project.states("cifar10") == {"cifar10": "recorded"}
    assert project.fetch("cifar10") == ["cifar10: prepared 500 training and 100 test images"]
    assert recorded(project.root) == {"cifar10": content}
    assert project.requests == ["/cifar10", "/cifar10"]


def test_other_content_than_recorded_is_said_and_refused_in_a_frozen_plan(project, content):
    entry = {"meta": {"datasets": {"cifar10-mini": "0" * 64}}}
    (project.root / "data.dvc").write_text(yaml.safe_dump(entry))
    frozen = project.root / freeze(make_build(project.root).plan, project.root)
    assert project.refusal("cifar10-mini", frozen=frozen) == (
        f"data/cifar10-mini: the images from the source differ from the recorded ones ({content[:12]}, not 000000000000); if that is "
        "intended, run `sslpairs fetch cifar10-mini` and build again"
    )
    assert recorded(project.root) == {"cifar10-mini": "0" * 64}
    assert project.fetch("cifar10-mini") == [
        "cifar10-mini: prepared 500 training and 100 test images (its content has changed: its runs will be trained again)"
    ]
    assert recorded(project.root) == {"cifar10-mini": content}


def test_a_recorded_data_set_is_restored_rather_than_downloaded(project, monkeypatch):
    project.fetch("cifar10")
    receipt = read_receipt("cifar10", project.root)
    shutil.move(project.root / "data", project.root / "away")
    shutil.rmtree(project.root / "sources")

    def restore(name, root):
        shutil.move(project.root / "away", project.root / "data")
        return receipt

    monkeypatch.setattr("sslpairs.store.restore.restore_dataset", restore)
    assert project.fetch("cifar10") == ["cifar10: prepared 500 training and 100 test images"]
    assert project.requests == ["/cifar10"]


def test_of_two_files_only_the_one_that_is_lacking_is_downloaded(project, monkeypatch):
    second = RemoteFile("second.txt", (project.server.at("/second", status(404)),), 3, sha(b"abc"))
    monkeypatch.setattr(facts.CIFAR10Settings, "remote", lambda self: (facts.BINARY, second))
    assert "second.txt was not downloaded: 127.0.0.1 answered 404 Not Found" in project.refusal("cifar10")
    assert project.states("cifar10") == {"cifar10": "to download"}
    assert project.about("cifar10").files == {project.archive.with_name("second.txt"): 3}
    project.server.at("/second", serving(b"abc"))
    assert project.fetch("cifar10") == ["cifar10: prepared 500 training and 100 test images"]
    assert project.requests == ["/cifar10", "/second", "/second"]
    # A folder beside one of them may be another form of the rest.
    project.archive.with_name("second.txt").unlink()
    project.archive.with_name("second").mkdir()
    assert project.states("few") == {"few": "files here"}
    project.fetch("few")
    assert len(project.requests) == 3


# --- found --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["archive", "folder"])
@pytest.mark.parametrize(
    "place", ["sources/cifar10", "sources", "$SSLPAIRS_SOURCES", "$SSLPAIRS_SOURCES/cifar10", "cache"]
)
def test_what_is_on_this_machine_is_found_and_nothing_is_downloaded(
    project, content, monkeypatch, tmp_path, place, form
):
    if place.startswith("$"):
        monkeypatch.setenv("SSLPAIRS_SOURCES", str(tmp_path / "elsewhere"))
    folder = project.root / os.path.expandvars(place if place != "cache" else "$HOME/.keras/datasets")
    put(folder / NAME) if form == "archive" else unpacked(folder)
    assert project.states("cifar10") == {"cifar10": "files here"}
    assert project.about("cifar10").files == {}
    project.fetch("cifar10")
    assert recorded(project.root)["cifar10"] == content
    assert not project.requests


def test_downloads_go_to_the_folder_that_the_environment_names(project, monkeypatch, tmp_path):
    monkeypatch.setenv("SSLPAIRS_SOURCES", str(tmp_path / "elsewhere"))
    project.fetch("cifar10")
    assert (tmp_path / "elsewhere/cifar10" / NAME).read_bytes() == ARCHIVE
    assert not (project.root / "sources").exists()


def test_an_unfinished_download_is_not_taken_for_the_data_set(project, content):
    put(project.archive.with_name(f"{NAME}.part"), ARCHIVE[:1000])
    put(project.archive.with_name(f"{NAME}.part.json"), b"{}")
    put(project.archive.with_name(f"{NAME}.lock"), b"")
    assert project.states("cifar10") == {"cifar10": "to download"}
    project.fetch("cifar10")
    assert recorded(project.root)["cifar10"] == content


def test_an_empty_folder_of_its_name_is_not_taken_for_the_data_set(project, content):
    put(project.archive.with_name(".DS_Store"), b"")
    project.fetch("cifar10")
    assert recorded(project.root)["cifar10"] == content


def test_forms_that_are_not_read_say_that_they_are_in_the_way_of_a_download(project):
    path = put(project.root / "sources/cifar-10-matlab.tar.gz")
    assert project.refusal("cifar10") == (
        f"data set 'cifar10': {path.parent}: the .mat files are not read; get {NAME}: without these files in the way, `sslpairs fetch "
        "cifar10` downloads it"
    )
    path.unlink()
    project.fetch("cifar10")


# --- given --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["archive", "folder with the archive", "unpacked folder", "folder with that"])
def test_files_are_taken_from_where_the_user_says(project, content, tmp_path, form):
    given = tmp_path / "mine"
    if "archive" in form:
        put(given / NAME)
    else:
        unpacked(given)
    given = given / NAME if form == "archive" else given / FOLDER if form == "unpacked folder" else given
    assert project.fetch("cifar10", given=given) == ["cifar10: prepared 500 training and 100 test images"]
    assert recorded(project.root)["cifar10"] == content
    assert not project.requests
    shutil.rmtree(tmp_path / "mine")
    assert project.fetch("cifar10") == ["cifar10: in place (500 training and 100 test images)"]


def test_a_relative_path_starts_where_the_user_is(project, content, tmp_path, monkeypatch):
    put(tmp_path / "mine" / NAME)
    monkeypatch.chdir(tmp_path / "mine")
    project.fetch("cifar10", given=Path(NAME))
    assert recorded(project.root)["cifar10"] == content


def test_what_the_user_gives_is_read_even_where_another_copy_is_here(project, tmp_path):
    put(project.archive)
    text = project.refusal("cifar10", given=put(tmp_path / NAME, OTHER))
    assert f"{tmp_path / NAME} is not the authors' file: sha256 {sha(OTHER)}, expected sha256 {sha(ARCHIVE)}" in text


def test_wrong_uses_of_from_are_told(project, tmp_path):
    one = "--from is where the files of one data set or encoder are; name it: sslpairs fetch NAME --from PATH"
    assert project.refusal("cifar10", "few", given=tmp_path) == one
    assert (
        project.refusal("cifar10", given=tmp_path / "no")
        == f"--from {tmp_path / 'no'}: there is no such file or folder"
    )
    assert (
        project.refusal("digits", given=tmp_path)
        == "data set 'digits': its images come with a library; leave out --from"
    )
    assert "none of the forms of CIFAR-10 is in it; give the path of" in project.refusal("cifar10", given=project.root)
    assert not project.requests


# --- refused ------------------------------------------------------------------------------------------------------------


def test_what_must_be_obtained_by_hand_is_all_named_before_anything_is_downloaded(project):
    lines = project.refusal("cifar10", "imagenet", "hotel-id", "imagenet100").splitlines()
    sources = project.root / "sources"
    files = f"then put ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar into {sources}/imagenet, or: sslpairs fetch"
    assert [f"{files} imagenet --from PATH" in lines[0], f"{files} imagenet100 --from PATH" in lines[2]] == [True, True]
    assert lines[0].startswith("data set 'imagenet': not on this machine; get it from https://image-net.org/")
    assert "(terms: for non-commercial research and education only; needs an account)" in lines[0]
    assert lines[1] == (
        f"data set 'hotel-id': {sources}/hotel-id: there is no such file or folder; put the data there, or correct 'path' in "
        "config/datasets.yaml"
    )
    assert len(lines) == 3
    assert not project.requests
    assert not (project.root / "data").exists()


def test_a_path_that_is_set_is_neither_searched_for_elsewhere_nor_downloaded(project):
    project.configure(SOURCE, "source: {kind: cifar10, path: sources/mine}")
    put(project.archive)
    assert project.states("cifar10") == {"cifar10": "by hand"}
    assert project.refusal("cifar10") == (
        f"data set 'cifar10': {project.root}/sources/mine: there is no such file or folder; put the data there, or correct 'path' in "
        "config/datasets.yaml (without it the data set is searched for)"
    )
    put(project.root / "sources/mine" / NAME)
    project.fetch("cifar10")
    assert not project.requests


def test_offline_a_download_is_refused_and_what_is_here_is_used(project, monkeypatch):
    monkeypatch.setenv("SSLPAIRS_OFFLINE", "1")
    assert project.refusal("cifar10") == (
        f"{project.archive} is missing, and SSLPAIRS_OFFLINE is set; unset it and run the same command again, or download "
        f"{facts.BINARY.urls[0]} and put it at {project.archive}"
    )
    assert not project.requests
    put(project.archive)
    project.fetch("cifar10")


def test_an_unknown_name_is_told_with_a_similar_one(project):
    text = project.refusal("digits", "cifar-10")
    assert text.startswith("no data set or encoder 'cifar-10'; did you mean 'cifar10'? (digits, ")
    assert not (project.root / "data").exists()


@pytest.mark.parametrize("wrong", [OTHER, ARCHIVE[:-9] + b"damaged.."], ids=["another size", "the same size"])
def test_the_command_line_tells_a_wrong_download_with_both_digests_and_nothing_is_kept(project, capsys, wrong):
    project.server.at("/cifar10", serving(wrong))
    with pytest.raises(SystemExit) as end:
        cli.main(["fetch", "cifar10"])
    text = capsys.readouterr().err
    assert end.value.code == 2
    assert "Traceback" not in text
    if len(wrong) == len(ARCHIVE):
        assert f"sha256 is {sha(wrong)} instead of {sha(ARCHIVE)}" in text
    else:
        assert f"announces {len(wrong):,} bytes" in text
    assert "run the same command again later, or download http://127.0.0.1" in text
    assert not list((project.root / "sources").rglob("*.gz*"))
    assert recorded(project.root) == {}


def test_the_command_line_tells_a_wrong_file_with_both_digests(project, capsys):
    put(project.archive, OTHER)
    with pytest.raises(SystemExit) as end:
        cli.main(["fetch", "cifar10"])
    text = capsys.readouterr().err
    assert (end.value.code, "Traceback" in text) == (2, False)
    error = text[text.index("error: ") :].splitlines()
    assert error == [
        f"error: data set 'cifar10': {project.archive} is not the authors' file: sha256 {sha(OTHER)}, expected sha256 {sha(ARCHIVE)} "
        f"or sha256 {kind.FORMS.python.sha256}",
        "get it again, or set 'original: false' under its source in config/datasets.yaml to use it as it is",
    ]
    assert recorded(project.root) == {}


# --- listed and planned ---------------------------------------------------------------------------------------------------


def test_the_list_says_the_state_of_each_data_set(project):
    names = ("digits", "cifar10", "few", "imagenet", "hotel-id")
    assert project.states(*names) == {
        "digits": "files here",
        "cifar10": "to download",
        "few": "to download",
        "imagenet": "by hand",
        "hotel-id": "by hand",
    }
    assert project.about("cifar10").files == {project.archive: len(ARCHIVE)}
    assert project.about("few").images == (100, 50)
    assert project.about("hotel-id").images is None
    project.fetch("few")
    assert project.states("cifar10", "few") == {"cifar10": "files here", "few": "prepared"}
    shutil.rmtree(project.root / "data")
    assert project.states("few") == {"few": "files here"}
    shutil.rmtree(project.root / "sources")
    assert project.states("few") == {"few": "recorded"}
    project.configure("train_per_class: 10,", "train_per_class: 20,")
    assert project.states("few") == {"few": "to download"}, "another part is not the recorded one"


def test_a_data_set_prepared_with_other_settings_is_not_called_prepared_and_is_prepared_again(project):
    project.fetch("few")
    project.configure("train_per_class: 10,", "train_per_class: 20,")
    assert project.states("few") == {"few": "files here"}
    assert project.fetch("few") == [
        "few: prepared 200 training and 50 test images (its content has changed: its runs will be trained again)"
    ]


def test_the_list_fits_into_a_terminal_and_is_followed_by_origins_and_terms(project, capsys, monkeypatch):
    monkeypatch.setattr(cli.look.out, "width", 80)
    with pytest.raises(SystemExit) as end:
        cli.main(["fetch", "--list"])
    lines = capsys.readouterr().out.splitlines()
    assert not end.value.code
    table = [line.rstrip() for line in lines if line and line[0] in "┏┃┡│└"]
    assert max(map(len, table)) <= 80
    assert re.search(r"│ cifar10 +│ +500 │ +100 │ +\d\.\d MB │ to download │", "\n".join(table))
    assert len(lines) > len(table) + 1
    names = "cifar10-mini, cifar10, cifar100, cifar10-224, cifar100-224, few, copy"
    assert f"{names}: {facts.CIFAR10Settings.homepage} ({facts.CIFAR10Settings.terms})" in lines
    with pytest.raises(SystemExit):
        cli.main(["fetch", "few", "--list"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"few: {facts.CIFAR10Settings.homepage} ({facts.CIFAR10Settings.terms})"
    assert len(lines) == 7, "one data set"
    assert not project.requests
    console = Console(width=80, file=io.StringIO(), force_terminal=True)
    console.print(
        listing([Availability("a-name-of-18-signs", "to download", (1_281_167, 100_000), {Path("x"): None}, "", "")])
    )
    assert "size not on record │ to download" in console.file.getvalue()


def run_ids(root: Path) -> set[str]:
    return set(make_build(root).plan.runs)


def planned(capsys) -> list[str]:
    """What ``sslpairs plan`` says of data sets."""
    logging.getLogger("sslpairs").handlers.clear()
    with pytest.raises(SystemExit) as end:
        cli.main(["plan", "gps-augmentation"])
    assert not end.value.code
    lines = capsys.readouterr().out.splitlines()
    start = [number for number, line in enumerate(lines) if "not prepared yet" in line]
    return lines[start[0] : start[0] + 2] if start else []


def test_a_plan_says_what_is_missing_until_it_is_fetched_and_ids_are_final_then(project, capsys):
    about = f"{facts.CIFAR10Settings.homepage} ({facts.CIFAR10Settings.terms})"
    size = f"{len(ARCHIVE) / 1e6:.1f} MB"
    start = "1 data set is not prepared yet, so run ids are provisional; `sslpairs fetch` (or `make tables`) "
    provisional = run_ids(project.root)
    assert planned(capsys) == [
        f"{start}downloads {size} and prepares it:",
        f"  cifar10-mini: to download ({size}), {about}",
    ]
    assert run_ids(project.root) == provisional
    put(project.archive)
    assert planned(capsys) == [f"{start}prepares it:", f"  cifar10-mini: files here, {about}"]
    project.fetch()
    assert planned(capsys) == []
    final = run_ids(project.root)
    assert len(final) == len(provisional)
    assert not final & provisional
    for folder in ("data", "sources"):
        shutil.rmtree(project.root / folder)
    assert run_ids(project.root) == final, "the record is enough"
    assert planned(capsys) == []


def test_files_that_are_not_the_authors_own_are_titled_so_and_not_counted(project):
    edit(
        project.root / "config/scales/cifar10-mini.yaml",
        "datasets: {default: cifar10-mini}",
        "datasets: {default: copy}",
    )
    less = MEMBERS["train"] | {"test_batch.bin": records(7, TEST // 2)}
    put(project.root / "sources/cifar10" / NAME, tar_gz({f"{FOLDER}/{name}": data for name, data in less.items()}))
    assert project.about("copy").images is None
    assert project.fetch() == ["copy: prepared 500 training and 50 test images"]
    plan = make_build(project.root).plan
    heading = "Copy (not the original files)"
    assert plan.datasets["copy"]["title"] == read_receipt("copy", project.root)["title"] == heading
    columns = [column for table in plan.tables.values() for column in table["columns"]]
    assert {column["dataset"] for column in columns} == {heading}
    assert {column["test_images"] for column in columns} == {50}
    assert "is not the authors' file" in project.refusal("cifar10")


def test_the_papers_scale_is_planned_without_any_data(tmp_path, monkeypatch, capsys):
    shutil.copytree(PROJECT / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        cli.main(["plan", "--set", "scale=paper"])
    lines = capsys.readouterr().out.splitlines()
    assert not end.value.code
    (at,) = (number for number, line in enumerate(lines) if "not prepared yet" in line)
    assert re.fullmatch(
        r"\d+ data sets are not prepared yet, so run ids are provisional; `sslpairs fetch` \(or `make tables`\) downloads \d\.\d GB and "
        "more and prepares them, once what must be obtained by hand is here:",
        lines[at],
    )
    named = {line.split(":")[0].strip(): line for line in lines[at + 1 :] if line.startswith("  ")}
    assert {"cifar10", "stl10", "imagenet", "imagenet100", "pathmnist"} <= named.keys()
    assert "imagenet: by hand (154.6 GB), https://image-net.org/" in named["imagenet"]
    assert "pathmnist: to download (size not on record), " in named["pathmnist"]


# --- killed ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_at_every_change_of_a_file_the_same_command_ends_with_the_same_data(project, monkeypatch):
    import requests

    assert requests.__version__, "imported before the process is forked"
    monkeypatch.setattr(transfer, "SAVING", 0.0)

    def clean() -> None:
        for name in ("data", "sources"):
            shutil.rmtree(project.root / name, ignore_errors=True)
        (project.root / "data.dvc").unlink(missing_ok=True)

    def snapshot() -> dict[str, bytes]:
        files = [*(project.root / "data/few").iterdir(), project.root / "data.dvc", project.archive]
        return {str(path.relative_to(project.root)): path.read_bytes() for path in files}

    project.fetch("few")
    whole, moments = snapshot(), 0
    for moment in every_moment(lambda: project.fetch("few"), clean):
        moments += 1
        project.fetch("few")
        assert snapshot() == whole, moment
        assert sorted(path.name for path in (project.root / "data").iterdir() if not path.name.startswith(".")) == [
            "few"
        ]
    assert moments > 20


KIND = {
    "config/sources/dots.py": '''
"""Made-up dots, in two files on a server."""

from typing import Literal

from sslpairs.config.remote import RemoteFile
from sslpairs.config.sources.base import PublishedSource


class DotsSettings(PublishedSource):
    """Settings of ``data/kinds/dots.py``."""

    kind: Literal["dots"]

    homepage = "http://dots.example/"
    terms = "free"
    marks = ("dots-*.bin", "dots")
    classes = 2
    official = (400, 200)

    def image(self):
        """Grey."""
        return 1, 16

    def remote(self):
        """Two files."""
        return FILES


FILES = tuple(RemoteFile(*facts) for facts in {facts})
''',
    "data/kinds/dots.py": '''
"""Made-up dots."""

import numpy as np

from sslpairs.config.sources.dots import FILES
from sslpairs.data.official import verify
from sslpairs.data.sources import Opened
from sslpairs.errors import UserError


def open_source(name, source, path):
    """Two classes in turn."""
    folder, images = path / "dots" if (path / "dots").is_dir() else path, {}
    for split, file in zip(("train", "test"), FILES, strict=True):
        found = folder / file.name
        if not found.exists():
            raise UserError(f"data set '{name}': {folder}: there is no {file.name} in it")
        verify(f"data set '{name}': {found}", found, [file])
        images[split] = np.fromfile(found, np.uint8).reshape(-1, 1, 16, 16)
    labels = {split: np.arange(len(found)) % 2 for split, found in images.items()}
    return Opened(f"data set '{name}'", ["even", "odd"], labels, lambda split: iter([images[split]]))
''',
}
DOTS = {
    f"dots-{split}.bin": np.random.default_rng(seed).integers(0, 256, number * 256, np.uint8).tobytes()
    for seed, (split, number) in enumerate((("train", 400), ("test", 200)))
}


@dataclass
class Dots:
    """A copy of the project with a published kind of its own, whose two files are on a server."""

    root: Path
    server: Server

    @property
    def sources(self) -> Path:
        return self.root / "sources/dots"

    def fetch(self, *words: str, **environment: str) -> subprocess.CompletedProcess:
        done = say(self.root, "sslpairs", "fetch", *words, **environment)
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture
def dots(tmp_path, server) -> Dots:
    root = tmp_path / "project"
    root.mkdir()
    make_tiny(root, epochs=2, seeds=1)
    urls = {name: server.at(f"/{name}", serving(data)) for name, data in DOTS.items()}
    known = [(name, (urls[name],), len(data), sha(data)) for name, data in DOTS.items()]
    for file, text in KIND.items():
        (root / "src/sslpairs" / file).write_text(text.lstrip().replace("{facts}", repr(known)))
    edit(root / "config/datasets.yaml", "\ndatasets:\n", "\ndatasets:\n  dots: {title: Dots, source: {kind: dots}}\n")
    edit(root / "config/scales/digits.yaml", "datasets: {default: digits}", "datasets: {default: dots}")
    git(root, "init", "--quiet")
    shutil.rmtree(root / ".dvc")  # calling DVC takes seconds
    return Dots(root, server)


@pytest.mark.slow
def test_a_kind_of_two_files_is_downloaded_continued_and_found(dots):
    first, second = DOTS
    dots.server.at(f"/{second}", status(404))
    done = dots.fetch("dots")
    assert done.returncode == 2
    assert f"error: {second} was not downloaded: 127.0.0.1 answered 404 Not Found" in done.stderr
    assert os.listdir(dots.sources) == [first]
    dots.server.at(f"/{second}", serving(DOTS[second]))
    done = dots.fetch("dots")
    assert done.returncode == 0, done.stderr
    assert "dots: prepared 400 training and 200 test images" in done.stderr
    assert [request.path for request in dots.server.requests] == [f"/{first}", f"/{second}", f"/{second}"]
    assert dots.server.sent == sum(map(len, DOTS.values()))
    content = recorded(dots.root)["dots"]
    # Unpacked otherwise in the same folder: one file beside it is no unfinished download.
    (dots.sources / "dots").mkdir()
    for name in DOTS:
        shutil.copy(dots.sources / name, dots.sources / "dots")
    (dots.sources / second).unlink()
    done = dots.fetch("dots", "--force", SSLPAIRS_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert recorded(dots.root)["dots"] == content


@pytest.mark.slow
def test_a_command_that_is_killed_while_it_downloads_goes_on_and_no_byte_is_sent_twice(dots):
    gates = {name: Gate(data) for name, data in DOTS.items()}
    command = [sys.executable, "-m", "sslpairs", "fetch", "dots"]
    environment = os.environ | {"PYTHONPATH": str(dots.root / "src")}
    for (name, data), gate in zip(DOTS.items(), gates.values(), strict=True):
        dots.server.at(f"/{name}", gate)
        for stop in (30_000, len(data) - 1):
            gate.close(stop)
            process = subprocess.Popen(command, cwd=dots.root, env=environment, stderr=subprocess.DEVNULL)
            assert gate.reached.wait(60)
            note = dots.sources / f"{name}.part.json"
            _until_noted(note, stop)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert not (dots.sources / name).exists()
            assert not (dots.root / "data/dots").exists()
        gate.close(len(data))
        gate.opened.set()
    done = dots.fetch("dots")
    assert done.returncode == 0, done.stderr
    assert dots.server.sent == sum(map(len, DOTS.values()))
    assert sorted(os.listdir(dots.sources)) == sorted(DOTS)
    verify("dots", dots.root)


def _until_noted(note: Path, start: int) -> None:
    """Wait until everything up to a byte is on record as being here."""

    def found() -> bool:
        try:
            return json.loads(note.read_text())["missing"][0][0] == start
        except FileNotFoundError:
            return False

    until(found)


@pytest.mark.slow
def test_snakemake_lists_its_jobs_before_there_are_data_and_a_build_stops_and_names_all_that_are_lacking(dots):
    words = ("snakemake", "gps-augmentation")
    dry = say(dots.root, *words, "-n")
    assert dry.returncode == 0, dry.stdout + dry.stderr
    assert "prepare_data" in dry.stdout + dry.stderr
    build = say(dots.root, *words)
    text = build.stdout + build.stderr
    assert build.returncode != 0
    assert "not prepared yet: dots; run: sslpairs fetch dots" in text
    assert "`sslpairs plan` shows what is downloaded, and what must be obtained by hand" in text
    assert "Traceback" not in text
    assert not dots.server.requests
    assert not (dots.root / "data/dots").exists()
    assert dots.fetch("--unknown").returncode == 0
    dry = say(dots.root, *words, "-n")
    assert dry.returncode == 0, dry.stdout + dry.stderr
    assert "prepare_data" not in dry.stdout + dry.stderr
    assert "not prepared yet" not in say(dots.root, "sslpairs", "plan", words[1]).stdout


@pytest.mark.slow
def test_a_build_at_the_papers_scale_names_every_data_set_that_is_lacking(dots):
    build = say(dots.root, "snakemake", "spps-batch", "--config", "scale=paper")
    text = build.stdout + build.stderr
    assert build.returncode != 0
    (line,) = re.findall("not prepared yet: (.*); run: sslpairs fetch (.*)", text)
    assert line[0].replace(",", "") == line[1]
    assert {"cifar10", "imagenet100"} <= set(line[1].split())
    assert "Traceback" not in text
