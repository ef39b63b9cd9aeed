"""Where images are, how they are stored and how they are decoded: nothing of it changes a batch, a training or a run's name."""

import errno
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import yaml
from kill_points import every_moment
from projects import ROOT, say, wait_for
from test_data import files, folder, png, write
from test_training import PROTOCOLS
from tiny import tiny_spec
from torch.utils.data._utils import signal_handling

from sslpairs.backbones.features import features, pixels
from sslpairs.data import arrays, images, packs
from sslpairs.data.arrays import load
from sslpairs.data.folders import read_receipt, stored_as, verify
from sslpairs.data.images import Hosted, Resident, Streamed, decode_workers
from sslpairs.data.memory import free_memory, in_bytes
from sslpairs.data.prepare import prepare
from sslpairs.errors import Unreadable, UserError
from sslpairs.evaluation.evaluate import evaluate
from sslpairs.plan.paths import run_folder
from sslpairs.random_streams import generator
from sslpairs.training.run import train
from sslpairs.workflow.fetch import fetch_datasets

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
KINDS = [("arrays", "device", 0), ("arrays", "host", 0), ("files", "device", 0), ("files", "host", 2)]
KINDS += [("files", "stream", workers) for workers in (0, 1, 3)]


def pictures(each: int = 40) -> dict[str, bytes]:
    """Two classes of noise and of another size than they are prepared in; names in another order than they are stored."""
    names = [f"{split}/{c}/{n:02}.png" for n in range(each) for c in ("dog", "cat") for split in ("train", "test")]
    random = np.random.default_rng(0).permutation(names)
    return {str(name): png(str(name), *((12, 9) if "1" in name else (8, 15))) for name in random}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """One source, prepared as arrays and as files."""
    root = tmp_path_factory.mktemp("stored")
    path = write(root / "raw.tar.gz", pictures())
    for storage in ("arrays", "files"):
        prepare(storage, folder(path, storage=storage), root)
    return root


@pytest.fixture
def own(root, tmp_path) -> Path:
    """A copy whose files may be damaged."""
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def little(monkeypatch):
    """Pieces of five images, so that a batch is several."""
    monkeypatch.setattr(images, "PIECE", 5 * 3 * 64 + 7)


def shuffled(count: int, batch: int = 32) -> list[torch.Tensor]:
    """Batches of two epochs, the last of each smaller, and one in which images stand more than once."""
    orders = [torch.randperm(count, generator=generator(0, "order", epoch)) for epoch in range(2)]
    again = torch.randint(count, (50,), generator=generator(0, "again"))
    return [*orders[0].split(batch), again, *orders[1].split(batch), torch.empty(0, dtype=torch.int64)]


# --- batches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("name", "residence", "workers"), KINDS)
def test_batches_are_the_same_bit_for_bit_wherever_the_images_are(root, little, device, name, residence, workers):
    data = load(name, root, device, residence=residence, workers=workers)
    for which in ("train", "test"):
        whole = np.load(root / "data/arrays" / f"{which}_images.npy")
        split = getattr(data, which)
        assert type(split.images) is {"device": Resident, "host": Hosted, "stream": Streamed}[residence]
        assert (len(split.images), split.images.shape) == (80, (80, 3, 8, 8))
        assert (split.images.device.type, split.labels.device.type) == (device, device)
        assert np.array_equal(split.labels.cpu(), np.repeat([0, 1], 40))
        indices = shuffled(80)
        for index, batch in zip(indices, split.images.batches(indices), strict=True):
            assert (batch.dtype, batch.device.type) == (torch.uint8, device)
            assert np.array_equal(batch.cpu(), whole[index])
        blocks = list(split.images.blocks(33))
        assert [len(block) for block in blocks] == [33, 33, 14]
        assert np.array_equal(torch.cat(blocks).cpu(), whole)


@pytest.mark.parametrize("device", DEVICES)
def test_pixels_and_features_do_not_depend_on_where_images_are(root, device):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 5)).to(device)
    made = []
    for name, residence, workers in KINDS:
        data = load(name, root, device, residence=residence, workers=workers)
        flat = pixels(data.train.images, block=30)
        assert flat.device.type == device
        made.append((flat, features(network, data.train.images, data.mean, data.std, block=30)))
    whole = np.load(root / "data/arrays/train_images.npy")
    # A GPU divides by 255 as it multiplies by its reciprocal, which has another last digit.
    right = torch.from_numpy(whole).flatten(1).float()
    assert torch.equal(made[0][0].cpu(), right / 255 if device == "cpu" else right * (1 / 255))
    for flat, found in made[1:]:
        assert torch.equal(flat, made[0][0])
        assert torch.equal(found, made[0][1])


def test_pixels_that_do_not_fit_are_refused_before_they_are_taken(root, monkeypatch):
    found = load("arrays", root).train.images
    monkeypatch.setattr("sslpairs.backbones.features.free_on", lambda device: 61_439)
    with pytest.raises(
        UserError, match=r"pixels of 80 images as features take 0\.1 MB, but cpu has 0\.1 MB free; use ano"
    ):
        pixels(found)


@pytest.mark.parametrize("residence", ["host", "stream"])
def test_batches_are_made_ready_ahead_but_not_far(root, little, residence):
    """The next ones before they are asked for, and never the whole epoch."""
    found = load("files", root, residence=residence, workers=2).train.images
    asked = []
    indices = (asked.append(number) or torch.arange(5) for number in range(100))
    made = found.batches(indices)
    next(made)
    assert 2 <= len(asked) <= 2 * images.AHEAD + 1
    for number in range(2, 20):
        next(made)
        assert len(asked) <= number + 2 * images.AHEAD
    made.close()


def test_an_image_that_stands_in_a_batch_twice_is_decoded_once(root, monkeypatch):
    found = load("files", root, residence="stream", workers=0).train.images
    decoded = []
    inner = found.pack.image
    monkeypatch.setattr(found.pack, "image", lambda place: decoded.append(place) or inner(place))
    index = torch.tensor([7, 3, 7, 7, 3, 0])
    (batch,) = found.batches([index])
    assert sorted(decoded) == [0, 3, 7]
    assert torch.equal(batch, load("arrays", root).train.images.tensor[index])


def test_decoding_draws_nothing_from_the_random_streams_of_a_training(root):
    before = torch.get_rng_state()
    for workers in (0, 2):
        list(load("files", root, residence="stream", workers=workers).train.images.blocks(50))
    assert torch.equal(torch.get_rng_state(), before)


# --- trainings ------------------------------------------------------------------------------------------------------


def trained(root: Path, name: str, residence: str, workers: int, monkeypatch, label: str) -> tuple:
    """What a training and its evaluation leave: the checkpoint's and the metrics' bytes, and the scores."""
    monkeypatch.setenv("SSLPAIRS_RESIDENCE", residence)
    monkeypatch.setenv("SSLPAIRS_WORKERS", str(workers))
    place = root / run_folder("a run")
    shutil.rmtree(place, ignore_errors=True)
    spec = tiny_spec(label, dataset=read_receipt(name, root)["content"], batch_size=16)
    train("a run", {"spec": spec.plain(), "dataset": name, "label": label, "guide": None}, root, "cpu", 1)
    scores = evaluate("a run", "key", PROTOCOLS, root, "cpu", 1)["protocols"]
    return (place / "checkpoint.pt").read_bytes(), (place / "metrics.csv").read_bytes(), scores


@pytest.mark.parametrize("label", ["simclr+gps", pytest.param("swav+spps", marks=pytest.mark.slow)])
def test_a_run_has_the_same_weights_and_scores_from_streamed_and_resident_images(own, little, label, monkeypatch):
    first = trained(own, "arrays", "device", 0, monkeypatch, label)
    for name, residence, workers in (("arrays", "host", 0), ("files", "stream", 0), ("files", "stream", 3)):
        assert trained(own, name, residence, workers, monkeypatch, label) == first, (residence, workers)


JOB = """
import sys, pathlib, sslpairs.cli, sslpairs.fork_server as fork_server

def main(words):
    from sslpairs.data.arrays import load
    found = load("files", pathlib.Path("."), residence="stream", workers=3).train.images
    print(sum(int(block.sum()) for _ in range(2) for block in found.blocks(7)))
    found.pack.index[3, 2] += 1
    list(found.blocks(7))

sslpairs.cli.main = main
fork_server.PRELOAD["training"] = ("sslpairs.data.arrays",)
fork_server.serve(pathlib.Path(sys.argv[1]), "training", int(sys.argv[2]))
"""


@pytest.mark.slow
def test_workers_start_in_a_fork_of_a_warm_process(own):
    """Such a job is a child of a server that ignores its children's ends; it has this job in the place of a training."""
    owner = subprocess.Popen(["sleep", "600"])
    place = Path(tempfile.mkdtemp(prefix="sslpairs-"))  # short: a socket's path has at most 108 bytes
    build = place / f"x-{owner.pid}"
    build.mkdir(mode=0o700)
    server = subprocess.Popen([sys.executable, "-c", JOB, str(build / "training.socket"), str(owner.pid)])
    try:
        wait_for((build / "training.socket").exists)
        where = {"SSLPAIRS_WARM": str(build), "PYTHONPATH": str(ROOT / "src")}
        done = say(own, "sslpairs", "train", "x", **where)
        assert done.stdout == f"{2 * int(np.load(own / 'data/arrays/train_images.npy').sum())}\n"
        assert "image 3 is damaged (its bytes were altered)" in done.stderr
    finally:
        owner.kill()
        owner.wait()
        server.wait(60)
        shutil.rmtree(place, ignore_errors=True)


def in_a_child(work) -> int:
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    return child


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("ready", [False, True], ids=["at once", "later"])
def test_workers_end_when_their_process_is_killed(root, number, ready):
    found = load("files", root, residence="stream", workers=3).train.images
    read, write = os.pipe()

    def work():
        for _ in found.batches(torch.arange(9) for _ in range(1000)):
            os.write(write, b".")
            signal.pause()

    trainer = in_a_child(work)
    workers = wait_for(lambda: len(made := psutil.Process(trainer).children()) == 3 and made)
    if ready:
        assert os.read(read, 1) == b".", "the first batch"
    os.kill(trainer, number)
    os.waitpid(trainer, 0)
    wait_for(lambda: not any(worker.is_running() for worker in workers))
    os.close(read)
    os.close(write)


def test_workers_end_with_a_pass_and_with_one_that_is_given_up(root):
    found = load("files", root, residence="stream", workers=2).train.images
    before = set(multiprocessing.active_children())
    list(found.blocks(9))
    assert set(multiprocessing.active_children()) == before
    made = found.blocks(9)
    next(made)
    assert len(set(multiprocessing.active_children()) - before) == 2
    made.close()
    assert set(multiprocessing.active_children()) == before


@pytest.mark.parametrize("error", [EOFError(), ConnectionRefusedError(111, "Connection refused")])
def test_a_worker_that_ends_while_it_hands_an_image_over_is_the_same_error(root, monkeypatch, error):
    def ends(*_):
        raise error
        yield

    found = load("files", root, residence="stream", workers=2).train.images
    monkeypatch.setattr(found, "_loader", ends)
    with pytest.raises(UserError, match=r"a decode worker was killed \(.*(EOFError|refused)\)"):
        list(found.batches([torch.arange(9)]))


def test_the_handler_that_another_loader_of_torch_has_left_does_not_stay(root):
    class Two(torch.utils.data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, place):
            return place

    before = signal.getsignal(signal.SIGCHLD)
    signal_handling._SIGCHLD_handler_set = False  # as in a process that has had no loader yet
    try:
        assert len(list(torch.utils.data.DataLoader(Two(), num_workers=1))) == 2
        assert "torch" in signal.getsignal(signal.SIGCHLD).__module__
        next(load("files", root, residence="stream", workers=2).train.images.batches([torch.arange(9)]))
        assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_worker_that_is_killed_is_an_error_of_two_lines(root):
    found = load("files", root, residence="stream", workers=2).train.images
    before = set(multiprocessing.active_children())
    made = found.batches(torch.arange(9) for _ in range(10_000))
    next(made)
    for worker in set(multiprocessing.active_children()) - before:
        worker.kill()
    with pytest.raises(UserError, match=r"train\.pack: a decode worker was killed") as caught:
        list(made)
    assert len(str(caught.value).splitlines()) == 2
    assert "SSLPAIRS_WORKERS=2" in str(caught.value)


# --- storage --------------------------------------------------------------------------------------------------------


def test_files_and_arrays_have_one_content_hash_and_one_record(root):
    one, two = read_receipt("arrays", root), read_receipt("files", root)
    for key in ("content", "classes", "mean", "std", "image", "counts", "source"):
        assert one[key] == two[key], key
    assert (stored_as(one), stored_as(two)) == ("arrays", "files")
    assert "storage" not in one
    assert sorted(two["files"]) == sorted(f"{s}{kind}" for s in ("test", "train") for kind in KINDS_OF_FILES)
    for name in ("arrays", "files"):
        verify(name, root)


KINDS_OF_FILES = (".pack", "_index.npy", "_labels.npy")


@pytest.mark.parametrize("kind", ["", ".tar", ".tar.xz", ".zip"])
@pytest.mark.parametrize("held_out", ["test", "val"])
def test_the_order_of_storage_changes_neither_content_nor_images(tmp_path, root, kind, held_out):
    content = {name.replace("test/", f"{held_out}/"): data for name, data in pictures().items()}
    path = write(tmp_path / f"raw{kind}", dict(reversed(content.items())))
    receipt = prepare("again", folder(path, storage="files"), tmp_path)
    assert receipt["content"] == read_receipt("arrays", root)["content"]
    for which in ("train", "test"):
        blocks = getattr(load("again", tmp_path, residence="stream", workers=0), which).images.blocks(11)
        assert np.array_equal(torch.cat(list(blocks)), np.load(root / "data/arrays" / f"{which}_images.npy"))
        names = sorted(name for name in content if (name[:5] == "train") == (which == "train"))
        index = np.load(tmp_path / f"data/again/{which}_index.npy")
        pack = (tmp_path / f"data/again/{which}.pack").read_bytes()
        for name, (begin, length, _, _) in zip(names, index, strict=True):
            assert pack[begin : begin + length] == content[name]  # the source's own bytes
        assert len(pack) == index[:, 1].sum()


def test_the_same_source_gives_the_same_packs(root, tmp_path):
    for _ in range(2):
        prepare("files", folder(root / "raw.tar.gz", storage="files"), tmp_path)
        for path in (root / "data/files").iterdir():
            assert (tmp_path / "data/files" / path.name).read_bytes() == path.read_bytes()


def test_large_data_sets_are_kept_as_files_unless_told_otherwise(tmp_path, monkeypatch):
    source = write(tmp_path / "raw.tar", files())
    monkeypatch.setattr("sslpairs.data.prepare.ARRAYS_LIMIT", 10 * 3 * 64)
    assert stored_as(prepare("small", folder(source), tmp_path)) == "arrays"
    monkeypatch.setattr("sslpairs.data.prepare.ARRAYS_LIMIT", 10 * 3 * 64 - 1)
    assert stored_as(prepare("small", folder(source), tmp_path)) == "files"
    assert stored_as(prepare("small", folder(source, storage="arrays"), tmp_path)) == "arrays"


@pytest.mark.parametrize("residence", ["device", "host", "stream"])
def test_images_without_a_label_are_left_out_of_evaluations_wherever_they_are(tmp_path, residence):
    content = files() | {f"unlabeled/{n}.png": png(f"without {n}") for n in range(3)}
    source = folder(write(tmp_path / "raw.tar", content), unlabeled=True, storage="files")
    prepare("small", source, tmp_path)
    data = load("small", tmp_path, residence=residence, workers=0)
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1, -1, -1, -1]
    part = data.train.labelled()
    assert part.labels.tolist() == [0, 0, 0, 1, 1, 1]
    every = torch.cat(list(data.train.images.blocks(4)))
    assert torch.equal(torch.cat(list(part.images.blocks(4))), every[:6])
    assert data.test.labelled() is data.test


@pytest.mark.parametrize("storage", ["files", "arrays"])
def test_preparing_images_never_holds_them_all(tmp_path, storage):
    """Peaks of two sources, one of five times the images: they differ by names and indices, not by images."""
    peaks = []
    noise = {f"{split}/a/{n}.png": png(f"{split}{n}", 96, 96) for split in ("train", "test") for n in range(100)}
    for part in (20, 100):
        chosen = {name: data for name, data in noise.items() if int(Path(name).stem) < part}
        source = folder(write(tmp_path / f"{part}.tar", chosen), size=96, storage=storage)
        tracemalloc.start()
        prepare(f"set-{part}", source, tmp_path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 200_000  # the additional 160 images have 4.4 MB encoded, as many decoded


@pytest.mark.parametrize("bad", [b"no image", png("x", 8, 8)[:-30]], ids=["no image", "cut off"])
@pytest.mark.parametrize("workers", ["0", "2"])
def test_an_image_of_the_source_that_cannot_be_decoded_is_named_and_nothing_is_left(
    tmp_path, monkeypatch, bad, workers
):
    monkeypatch.setenv("SSLPAIRS_WORKERS", workers)
    source = write(tmp_path / "raw.zip", pictures() | {"train/dog/07.png": bad})
    with pytest.raises(
        UserError, match=r"raw\.zip: train/dog/07\.png cannot be read as an image \(.*\); replace it"
    ) as caught:
        prepare("small", folder(source, storage="files"), tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert os.listdir(tmp_path / "data") == []


def test_files_without_contrast_are_refused_like_arrays(tmp_path):
    path = write(tmp_path / "flat", {"train/a/0.png": png(7), "test/a/0.png": png("b")})
    with pytest.raises(UserError, match="channel 0 has the same value in all pixels"):
        prepare("flat", folder(path, storage="files"), tmp_path)


@pytest.mark.slow
def test_packing_that_is_killed_at_any_touch_of_a_file_leaves_all_or_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SSLPAIRS_WORKERS", "0")
    source = folder(write(tmp_path / "raw.tar", files()), storage="files")
    moments = 0
    for moment in every_moment(
        lambda: prepare("small", source, tmp_path), lambda: shutil.rmtree(tmp_path / "data", ignore_errors=True)
    ):
        moments += 1
        if read_receipt("small", tmp_path):
            verify("small", tmp_path)
        prepare("small", source, tmp_path)
        assert sorted(os.listdir(tmp_path / "data")) == ["small"], moment
    assert moments > 8


def test_fetch_follows_the_storage_that_is_asked_for_and_the_content_stays(tmp_path):
    """Neither the record of the data nor a run's name changes."""
    for part in ("config", ".dvc"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
    shutil.rmtree(tmp_path / ".dvc")  # the content is recorded all the same
    source = write(tmp_path / "raw.tar", files())

    def fetched(storage: str | None) -> tuple[str, str]:
        entry = {"kind": "image-folder", "path": str(source), "size": 8} | ({"storage": storage} if storage else {})
        text = yaml.safe_dump({"datasets": {"small": {"title": "Small", "source": entry}}})
        (tmp_path / "config/datasets.yaml").write_text(
            (ROOT / "config/datasets.yaml").read_text() + text.partition("\n")[2]
        )
        (line,) = fetch_datasets(tmp_path, ["small"], {}, None, False, False)
        record = yaml.safe_load((tmp_path / "data.dvc").read_text())["meta"]
        return line, stored_as(read_receipt("small", tmp_path)), record["datasets"]["small"], record["sources"]["small"]

    first = fetched(None)
    assert first[:2] == ("small: prepared 6 training and 4 test images", "arrays")
    again = fetched("files")
    assert again == ("small: prepared 6 training and 4 test images", "files", *first[2:])
    for storage in ("files", None):
        assert fetched(storage) == ("small: in place (6 training and 4 test images)", "files", *first[2:])
    assert fetched("arrays") == first


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("residence", ["device", "stream"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_pack_is_named_with_the_image_and_the_remedy(own, residence, workers):
    pack = own / "data/files/train.pack"
    begin, length = np.load(own / "data/files/train_index.npy")[17, :2]
    content = bytearray(pack.read_bytes())
    content[begin + length // 2] ^= 1
    pack.write_bytes(content)

    def read() -> None:
        data = load("files", own, residence=residence, workers=workers)
        list(data.train.images.batches([torch.arange(10), torch.arange(10, 20)]))

    remedy = "prepare it again: sslpairs fetch files --force"
    with pytest.raises(
        UserError, match=rf"train\.pack: image 17 is damaged \(its bytes were altered\); {remedy}$"
    ) as caught:
        read()
    assert str(caught.value).startswith("data set 'files': ")
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(UserError, match=r"train\.pack differs from its receipt; prepare it again"):
        verify("files", own)


def test_a_pack_of_another_size_or_with_another_index_is_not_loaded(own):
    place = own / "data/files"
    whole = (place / "test.pack").read_bytes()
    (place / "test.pack").write_bytes(whole[:-1])
    with pytest.raises(
        UserError, match=rf"test\.pack is damaged \(it has {len(whole) - 1:,} bytes instead of {len(whole):,}\); prep"
    ):
        load("files", own)
    (place / "test.pack").unlink()
    with pytest.raises(UserError, match=r"test\.pack is damaged \(.*No such file"):
        load("files", own)
    (place / "test.pack").write_bytes(whole)
    index = np.load(place / "test_index.npy")
    np.save(place / "test_index.npy", index[::-1])
    with pytest.raises(UserError, match=r"test_index\.npy is damaged \(its sha256 differs from its receipt"):
        load("files", own)


@pytest.mark.parametrize("workers", [0, 2])
def test_another_decoder_that_gives_other_pixels_is_noticed(root, monkeypatch, workers):
    """A run is named after pixels: it must not go on with slightly other ones."""
    found = load("files", root, residence="stream", workers=workers).train.images
    inner = packs.decode
    monkeypatch.setattr(packs, "decode", lambda *how: inner(*how) ^ 1)
    with pytest.raises(
        UserError,
        match=r"image 0 is damaged \(Pillow \S+ .*decodes it to different pixels than Pillow \S+ .*prepared\)",
    ):
        list(found.blocks(20))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_disk_that_cannot_be_read_is_not_called_damage(root, monkeypatch, workers):
    found = load("files", root, residence="stream", workers=workers).train.images

    def broken(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(packs.os, "pread", broken)
    with pytest.raises(Unreadable, match=r"train\.pack: cannot be read \(Input/output error\)"):
        list(found.blocks(20))


# --- the choice -----------------------------------------------------------------------------------------------------

NEEDED = 160 * 192
GPU = torch.device("cuda", 0)


def chosen(name: str, root: Path, monkeypatch, caplog, on_device: float, on_host: float, device="cpu", residence=None):
    """What is chosen, and the line that says so, where that much memory is free (1: as much as the images take)."""
    monkeypatch.setattr(arrays, "free_on", lambda device: int(on_device * NEEDED))
    monkeypatch.setattr(arrays, "free_memory", lambda: int(on_host * NEEDED))
    caplog.clear()
    with caplog.at_level(logging.INFO, "sslpairs"):
        found = arrays._residence(name, read_receipt(name, root), torch.device(device), residence, 4)
    (line,) = caplog.messages
    return found, line


def test_images_go_where_they_fit_and_that_is_said(root, monkeypatch, caplog):
    how = (root, monkeypatch, caplog)
    start = "data set 'arrays': 80 + 80 images, 0.0 MB"
    assert chosen("arrays", *how, 9, 9) == ("device", f"{start}, resident on cpu (0.3 MB free)")
    assert chosen("arrays", *how, 2, 9, GPU) == ("device", f"{start}, resident on cuda:0 (0.1 MB free)")
    assert chosen("arrays", *how, 1.99, 4 / 3 + 0.01, GPU) == (
        "host",
        f"{start}, in this machine's memory, batches go to cuda:0 (0.0 MB free)",
    )
    start, size = "data set 'files': 80 + 80 images, 0.0 MB", in_bytes(sum(map(len, pictures().values())))
    assert chosen("files", *how, 2, 9, GPU) == (
        "device",
        f"{start}, resident on cuda:0 (0.1 MB free), decoded once now",
    )
    assert chosen("files", *how, 1.99, 1.3, GPU) == (
        "stream",
        f"{start}, streamed to cuda:0 from {size} of files, decoded by 4 workers",
    )
    assert chosen("files", *how, 1.3, 1.3)[0] == "stream"


def test_what_fits_nowhere_is_refused_with_the_remedy(root, monkeypatch, caplog):
    how = (root, monkeypatch, caplog)
    with pytest.raises(UserError) as caught:
        chosen("arrays", *how, 1.9, 1.3, GPU)
    assert str(caught.value) == (
        "data set 'arrays': its 80 + 80 images, 0.0 MB, do not fit (cuda:0: 0.1 MB free, of which 50% may be used; "
        "this machine's memory: 0.0 MB free, of which 75% may be used)\nset 'storage: files' under its source in "
        "config/datasets.yaml, then: sslpairs fetch arrays"
    )
    with pytest.raises(UserError, match=r"do not fit \(cpu: 0\.0 MB free, of which 75% may be used\)\nset"):
        chosen("arrays", *how, 1.3, 1.3)
    # What a user forces may take all that is free, and no more.
    assert chosen("files", *how, 1, 1, GPU, "device")[0] == "device"
    with pytest.raises(UserError, match="unset SSLPAIRS_RESIDENCE to stream them"):
        chosen("files", *how, 0.9, 9, GPU, "device")
    with pytest.raises(
        UserError, match=r"stored as arrays, which cannot be streamed; set 'storage: files' under its sou"
    ):
        chosen("arrays", *how, 9, 9, "cpu", "stream")


def test_the_environment_chooses_too(root, monkeypatch):
    for word, kind in (("auto", Resident), ("host", Hosted), ("stream", Streamed)):
        monkeypatch.setenv("SSLPAIRS_RESIDENCE", word)
        assert type(load("files", root).train.images) is kind
    monkeypatch.setenv("SSLPAIRS_RESIDENCE", "gpu")
    with pytest.raises(UserError, match="SSLPAIRS_RESIDENCE: 'gpu' is not one of auto, device, host, stream"):
        load("files", root)


def test_the_number_of_workers(monkeypatch):
    monkeypatch.delenv("SSLPAIRS_WORKERS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(40), raising=False)
    monkeypatch.setattr(images, "free_shared_memory", lambda: 1 << 40)
    assert decode_workers((3, 32, 32)) == 16
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(3), raising=False)
    assert decode_workers((3, 32, 32)) == 3
    monkeypatch.setenv("SSLPAIRS_WORKERS", "12")
    assert decode_workers((3, 32, 32)) == 12
    monkeypatch.setattr(images, "free_shared_memory", lambda: 64 << 20)  # Docker's default
    assert decode_workers((3, 32, 32)) == 4
    monkeypatch.setattr(images, "free_shared_memory", lambda: 0)
    assert decode_workers((3, 32, 32)) == 0
    for wrong in ("many", "-1", ""):
        monkeypatch.setenv("SSLPAIRS_WORKERS", wrong)
        with pytest.raises(UserError, match=r"SSLPAIRS_WORKERS: '.*' is not a number of processes"):
            decode_workers((3, 32, 32))


def limits(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_free_memory_is_the_machines_or_what_a_container_or_job_leaves(tmp_path):
    limits(tmp_path, proc__meminfo="MemTotal: 900 kB\nMemAvailable:     500 kB\n")
    assert free_memory(tmp_path) == 512_000
    # Version 2: the job's own group has no limit, the one around it has; caches of files count as free.
    limits(tmp_path, proc__self__cgroup="0::/slurm/job\n")
    group = "sys/fs/cgroup/slurm"
    for place, limit in ((f"{group}/job", "max"), (group, "300000")):
        names = {"memory.max": limit, "memory.current": "250000", "memory.stat": "anon 9\ninactive_file 40000\n"}
        limits(tmp_path, **{f"{place}/{name}": text for name, text in names.items()})
    assert free_memory(tmp_path) == 90_000
    # Version 1, as inside a container, where the group's own path is not shown.
    limits(tmp_path, proc__self__cgroup="4:memory:/docker/abc\n3:cpuset:/docker/abc\n")
    names = {
        "memory.limit_in_bytes": "100000",
        "memory.usage_in_bytes": "80000",
        "memory.stat": "total_inactive_file 5000",
    }
    limits(tmp_path, **{f"sys/fs/cgroup/memory/{name}": text for name, text in names.items()})
    assert free_memory(tmp_path) == 25_000
    assert 0 < free_memory() < 1 << 50


# --- a GPU ----------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize(("name", "residence", "workers"), KINDS)
def test_no_batch_makes_the_host_wait_for_the_gpu(root, little, name, residence, workers):
    found = load(name, root, "cuda", residence=residence, workers=workers).train.images
    list(found.batches(shuffled(80)))  # the first use of pinned memory may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in found.batches(shuffled(80)):
            pass
    finally:
        torch.cuda.set_sync_debug_mode("default")
