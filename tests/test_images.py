"""Where images are, how they are stored and how they are decoded: nothing of it changes a batch, a training or a run's name."""

import itertools
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from projects import say
from test_data import files, folder, png, write
from tiny import tiny_spec

from sslpairs.backbones.features import features, pixels
from sslpairs.config.datasets import Dataset
from sslpairs.data import arrays, images, memory, sources
from sslpairs.data.arrays import load
from sslpairs.data.images import Hosted, Resident, Streamed, decode_workers
from sslpairs.data.memory import free_memory, in_bytes
from sslpairs.data.prepare import prepare, read_receipt, stored_as, verify
from sslpairs.errors import Unreadable, UserError
from sslpairs.evaluation.evaluate import evaluate
from sslpairs.files import write_record
from sslpairs.front import fetch_datasets
from sslpairs.plan.build import run_folder
from sslpairs.streams import generator
from sslpairs.training.train import train

CUDA = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]
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
    assert torch.equal(made[0][0].cpu(), torch.from_numpy(whole).flatten(1).float() / 255)
    for flat, found in made[1:]:
        assert torch.equal(flat, made[0][0])
        assert torch.equal(found, made[0][1])


def test_pixels_that_do_not_fit_are_refused_before_they_are_taken(root, monkeypatch):
    found = load("arrays", root).train.images
    monkeypatch.setattr("sslpairs.backbones.features.free_on", lambda device: 61_439)
    with pytest.raises(UserError, match=r"pixels of 80 images as features take 0\.1 MB, and cpu has 0\.1 MB free; use ano"):
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


def trained(root: Path, name: str, residence: str, workers: int, monkeypatch, label="simclr+gps", device="cpu") -> dict:
    """A training and its evaluation; the receipts, and the checkpoint's bytes."""
    monkeypatch.setenv("SSLPAIRS_RESIDENCE", residence)
    monkeypatch.setenv("SSLPAIRS_WORKERS", str(workers))
    spec = tiny_spec(label, dataset=read_receipt(name, root)["content"], batch_size=16)
    run = f"{name}-{residence}-{workers}"
    entry = {"spec": spec.plain(), "dataset": name, "label": label, "guide": None}
    receipt = train(run, entry, root, device, 1)
    from test_training import PROTOCOLS

    found = evaluate(run, "key", PROTOCOLS, root, device, 1)["protocols"]
    state = torch.load(root / run_folder(run) / "checkpoint.pt", weights_only=True)
    metrics = (root / run_folder(run) / "metrics.csv").read_bytes()
    return {"loss": receipt["loss"], "found": found, "state": state | {"run": None}, "metrics": metrics}


def same(a, b) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("label", ["simclr+gps", "swav+spps", "byol+mixco"])
def test_a_run_has_the_same_weights_and_scores_from_streamed_and_resident_images(own, little, label, monkeypatch):
    first = trained(own, "arrays", "device", 0, monkeypatch, label)
    for name, residence, workers in (("arrays", "host", 0), ("files", "stream", 0), ("files", "stream", 3)):
        assert same(trained(own, name, residence, workers, monkeypatch, label), first), (residence, workers)


def test_workers_start_in_a_fork_of_a_warm_process_and_end_with_it(own, tmp_path):
    """The job is a fork of a server that ignored its children's ends; what it leaves running would keep its output open."""
    (own / "config").mkdir()
    (own / "config/config.yaml").write_text("")
    # A command of our own in the place of a training, in a server as ``sslpairs.warm`` serves it.
    code = (
        "import sys, pathlib, os, sslpairs.cli, sslpairs.warm as warm\n"
        "def main(words):\n"
        "    from sslpairs.data.arrays import load\n"
        "    found = load('files', pathlib.Path('.'), residence='stream', workers=3).train.images\n"
        "    print(sum(int(block.sum()) for _ in range(2) for block in found.blocks(7)))\n"
        "    found.pack.index[3, 2] += 1\n"
        "    list(found.blocks(7))\n"
        "sslpairs.cli.main = main\n"
        "warm.PRELOAD['training'] = ('sslpairs.data.arrays',)\n"
        "warm.serve(pathlib.Path(sys.argv[1]), 'training', int(sys.argv[2]))\n"
    )
    warm = tmp_path / f"warm-{os.getpid()}"
    warm.mkdir(mode=0o700)
    place = Path("/tmp") / f"sslpairs-images-{os.getpid()}"
    place.mkdir(mode=0o700)
    owner = subprocess.Popen(["sleep", "600"])
    folder = place / f"x-{owner.pid}"
    folder.mkdir(mode=0o700)
    server = subprocess.Popen([sys.executable, "-c", code, str(folder / "training.socket"), str(owner.pid)])
    try:
        for _ in range(600):
            if (folder / "training.socket").exists():
                break
            time.sleep(0.1)
        done = say(own, "sslpairs", "train", "x", SSLPAIRS_WARM=str(folder), PYTHONPATH=os.environ.get("PYTHONPATH", ""))
        assert str(2 * int(np.load(own / "data/arrays/train_images.npy").sum())) in done.stdout
        assert "image 3 is damaged (its bytes were altered)" in done.stderr
    finally:
        owner.kill()
        owner.wait()
        server.wait(10)
        shutil.rmtree(place, ignore_errors=True)
