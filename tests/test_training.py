"""Training and evaluation of tiny runs: the same bytes from the same seed, whatever happens in between."""

import copy
import csv
import json
import math
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from kill_points import every_moment
from test_losses import cosine
from tiny import METHODS, PLAIN_VIEW, PROTOCOLS, STRATEGIES, small_digits, tiny_spec

from sslpairs.backbones import checkpoint
from sslpairs.backbones.build import build_backbone
from sslpairs.backbones.features import features
from sslpairs.config import recipes
from sslpairs.config.datasets import DatasetSettings
from sslpairs.data.arrays import load
from sslpairs.data.prepare import prepare
from sslpairs.errors import UserError
from sslpairs.evaluation import linear
from sslpairs.evaluation.encoded import Encoded
from sslpairs.evaluation.evaluate import evaluate, weights_digest
from sslpairs.evaluation.knn import knn_predict
from sslpairs.evaluation.linear import linear_layers
from sslpairs.files import both_digests, sha256_file, write_atomic, write_record
from sslpairs.guides.embed import embed, embed_with
from sslpairs.methods.base import Embeddings
from sslpairs.plan.answers import decode
from sslpairs.plan.build import is_whole
from sslpairs.plan.fingerprint import training_code
from sslpairs.plan.paths import evaluation_file, run_folder
from sslpairs.random_streams import generator as named_stream
from sslpairs.random_streams import stream_seed
from sslpairs.training import run as training_run
from sslpairs.training import trainer as training_loop
from sslpairs.training.compiled import compile_networks
from sslpairs.training.lars import LARS
from sslpairs.training.metrics import COLUMNS
from sslpairs.training.online import OnlineClassifier
from sslpairs.training.optimization import build_optimizer, rate_factor
from sslpairs.training.run import train
from sslpairs.training.trainer import Trainer

CPU = torch.device("cpu")


LABELS = [*METHODS, *(f"simclr+{name}" for name in STRATEGIES)]
"""Every base method, and every strategy; ``test_composition.py`` takes the steps of all combinations."""
REMEMBERING = ("moco", "mocoplus", "byol", "swav", "dino", "nnclr")
"""Base methods with more state than weights: queues, centres, momentum encoders."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return small_digits(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def data(prepared):
    return load("digits", prepared)


@pytest.fixture
def root(prepared, tmp_path):
    """A root of its own for each test, on the same data."""
    (tmp_path / "data").symlink_to(prepared / "data")
    return tmp_path


def run(root, label="simclr", name="a run", progress=None, guide=None, **how):
    content = load("digits", root).content
    spec = tiny_spec(label, dataset=content, **how)
    entry = {"spec": spec.plain(), "dataset": "digits", "label": label, "guide": guide}
    return train(name, entry, root, "cpu", 1, progress)


def folder_of(root, name="a run"):
    return root / run_folder(name)


def weights(root, name="a run"):
    return checkpoint.load(folder_of(root, name) / "checkpoint.pt")


def measured(root, name="a run"):
    """Rows of metrics.csv."""
    with open(folder_of(root, name) / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    return rows


def trainer(data, root, label="simclr", **how):
    return Trainer("a run", tiny_spec(label, **how), data, root, CPU)


def same_weights(a, b):
    return list(a) == list(b) and all(torch.equal(a[key], b[key]) for key in a)


# --- what a run leaves ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", LABELS)
def test_every_method_and_every_strategy_trains_to_a_finite_loss_and_a_receipt(label, root):
    receipt = run(root, label)
    rows = measured(root)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(math.isfinite(float(row["loss"])) for row in rows)
    assert math.isfinite(receipt["loss"])
    assert receipt == json.loads((folder_of(root) / "run.json").read_text())
    path = folder_of(root) / "checkpoint.pt"
    sha256, md5 = both_digests(path)
    assert receipt["checkpoint"] == {"sha256": sha256, "md5": md5, "bytes": path.stat().st_size}
    assert sorted(p.name for p in folder_of(root).iterdir()) == ["checkpoint.pt", "metrics.csv", "run.json"]
    assert (receipt["items"] > 297) == ("spps" in label)
    assert rows[-1]["steps"] == str(2 * (receipt["items"] // 64))
    content = weights(root)
    assert all(value.isfinite().all() for value in content["method"].values())
    fresh, _ = build_backbone(recipes.ConvNetSettings(kind="convnet", widths=[8, 16]), 1, 16)
    assert list(content["backbone"]) == list(fresh.state_dict())


@pytest.mark.parametrize("label", ["swav", "dino"])
def test_layers_that_are_frozen_at_first_train_with_momentum_afterwards(label, root):
    sgd = {"name": "sgd", "lr": 0.01, "reference_batch": None, "momentum": 0.9, "weight_decay": 1e-4}
    run(root, label, optimizer=sgd)  # the prototypes are frozen for 2 of 8 steps, DINO's last layer for 1 of 2 epochs
    assert len(measured(root)) == 2


def test_sgd_is_torchs_where_gradients_come_late():
    how = recipes.SGDSettings(name="sgd", lr=0.1, reference_batch=None, momentum=0.9, weight_decay=0.01)
    draws = torch.Generator().manual_seed(0)
    ours = torch.nn.Linear(3, 2)
    theirs = copy.deepcopy(ours)
    made = build_optimizer(how, [ours], 4)
    reference = torch.optim.SGD(theirs.parameters(), 0.1, momentum=0.9, weight_decay=0.01, foreach=False)
    for step in range(5):
        for layer in (ours, theirs):
            draws.manual_seed(step)
            layer.weight.grad = torch.randn(2, 3, generator=draws)
            layer.bias.grad = torch.randn(2, generator=draws) if step >= 2 else None
        made.step()
        reference.step()
        assert torch.allclose(ours.weight, theirs.weight, rtol=0, atol=1e-6)
        assert torch.allclose(ours.bias, theirs.bias, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_compiled_networks_train_alike_and_keep_their_names(data, root):
    plain, compiled = (trainer(data, root, "byol+clae") for _ in range(2))
    compiled.compile(backend="eager")  # captures and guards as any backend; torch's own takes a minute
    for epoch in (0, 1):
        assert math.isclose(plain._epoch(epoch)["loss"], compiled._epoch(epoch)["loss"], rel_tol=1e-5)
    ours, theirs = (made.method.state_dict() for made in (compiled, plain))
    assert list(ours) == list(theirs)
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-4) for key in ours)


@pytest.mark.parametrize(
    ("device", "alone", "how", "marks"),
    [
        ("cuda", True, {"mode": "reduce-overhead"}, True),
        ("cuda", False, {"backend": "inductor"}, False),
        ("cpu", True, {"backend": "inductor"}, False),
    ],
)
def test_steps_are_cuda_graphs_on_a_gpu_of_ones_own_only(monkeypatch, device, alone, how, marks):
    asked = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda network, **words: asked.append(words))
    begin = compile_networks([torch.nn.Linear(1, 1)] * 2, torch.device(device), alone)
    assert asked == [how, how]
    assert (begin is torch.compiler.cudagraph_mark_step_begin) == marks


def test_a_networks_features_are_taken_past_its_compilation(data):
    network, compiled = build_backbone(tiny_spec("simclr").backbone, 1, 16)[0], []
    found = features(network, data.test.images, data.mean, data.std)
    network.compile(backend=lambda graph, _: compiled.append(graph) or graph.forward)
    assert torch.equal(features(network, data.test.images, data.mean, data.std), found)
    assert not compiled
    network(torch.zeros(2, 1, 8, 8))
    assert compiled, "training's forward pass is what is compiled"


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("label", ["byol+clae", "mocoplus+spps+gps+mixco+dimcl"])
def test_compiled_networks_train_alike_on_a_gpu(prepared, root, label):
    on_gpu = load("digits", prepared, "cuda")
    plain, compiled = (Trainer("a run", tiny_spec(label), on_gpu, root, torch.device("cuda")) for _ in range(2))
    compiled.compile()
    assert compiled._begin_step is torch.compiler.cudagraph_mark_step_begin
    for epoch in (0, 1):
        assert math.isclose(plain._epoch(epoch)["loss"], compiled._epoch(epoch)["loss"], rel_tol=1e-3)


def test_all_strategies_together_train(root):
    run(root, "mocoplus+spps+gps+mixco+clae+dimcl")
    assert weights(root)["backbone"]["0.weight"].isfinite().all()


def test_training_moves_the_backbone_and_lowers_the_loss(root, data):
    run(root, epochs=6, batch_size=32)
    fresh = trainer(data, root).method.backbone.state_dict()
    assert not torch.equal(weights(root)["backbone"]["0.weight"], fresh["0.weight"])
    losses = [float(row["loss"]) for row in measured(root)]
    assert losses[-1] < losses[0]


def test_the_receipt_states_the_online_accuracy_of_the_last_and_best_epoch(root):
    receipt = run(root, epochs=3)
    values = [float(row["online_top1"]) for row in measured(root)]
    online = receipt["online"]
    assert online["last"] == pytest.approx(values[-1], rel=1e-5)
    assert online["best"] == pytest.approx(max(values), rel=1e-5)
    assert online["best_epoch"] == values.index(max(values)) + 1


def test_online_accuracy_is_tested_as_often_as_the_recipe_says_and_at_the_end(root):
    run(root, epochs=5, online={"lr": 1e-2, "weight_decay": 0.0, "every": 2})
    assert [bool(row["online_top1"]) for row in measured(root)] == [False, True, False, True, True]


def test_the_learning_rate_follows_the_schedule(root):
    run(root, epochs=3)
    # 4 steps an epoch, one epoch of warm-up; the last step of each epoch is reported.
    wanted = [1.0, (1 + math.cos(math.pi * 3 / 8)) / 2, (1 + math.cos(math.pi * 7 / 8)) / 2]
    got = [float(row["learning_rate"]) for row in measured(root)]
    assert got == pytest.approx([1e-3 * factor for factor in wanted], rel=1e-5)


# --- seeds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "label", ["simclr", "swav", "dino", "moco+mixco", "mocoplus+dimcl", "byol+spps", "simclr+clae+gps"]
)
def test_equal_seeds_give_the_same_bytes_and_other_seeds_other_ones(label, root):
    digests = [run(root, label, name, seed=seed)["checkpoint"]["sha256"] for name, seed in [("same", 3), ("x", 4)]]
    first, metrics = (folder_of(root, "same") / "checkpoint.pt").read_bytes(), measured(root, "same")
    torch.manual_seed(99)  # nothing may hang on the global generator
    assert run(root, label, "same", seed=3)["checkpoint"]["sha256"] == digests[0]
    assert (folder_of(root, "same") / "checkpoint.pt").read_bytes() == first
    assert measured(root, "same") == metrics
    assert digests[0] != digests[1]
    assert not same_weights(weights(root, "same")["backbone"], weights(root, "x")["backbone"])


def test_equal_seeds_start_from_equal_backbones_whatever_the_method(data, root):
    starts = [trainer(data, root, label).method.backbone.state_dict() for label in ("simclr", "byol", "moco+mixco")]
    assert all(same_weights(starts[0], other) for other in starts[1:])
    assert not same_weights(starts[0], trainer(data, root, seed=1).method.backbone.state_dict())


@pytest.mark.parametrize("label", ["simclr", "moco+mixco", "dino+clae"])
def test_a_run_in_bfloat16_trains_tests_and_leaves_a_receipt(label, root):
    receipt = run(root, label, precision="bfloat16")
    assert math.isfinite(receipt["loss"])
    assert all(value.dtype != torch.bfloat16 for value in weights(root)["method"].values())


def test_training_leaves_the_global_generator_alone(root):
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    run(root, "simclr+gps+mixco+clae")
    assert torch.equal(torch.rand(3), wanted)


# --- interruption --------------------------------------------------------------------------------------------------


class Interrupted(Exception):
    pass


def stop_after(count):
    def progress(done, epochs, facts):
        if done == count:
            raise Interrupted

    return progress


@pytest.mark.parametrize(
    "label",
    [
        *(pytest.param(base, marks=() if base in ("moco", "dino") else pytest.mark.slow) for base in REMEMBERING),
        pytest.param("moco+mixco+clae", marks=pytest.mark.slow),
        "simclr+clae+gps",
        "simclr+spps+dimcl",
    ],
)
def test_a_resumed_run_ends_in_the_same_bytes_as_one_without_interruption(label, root):
    wanted = run(root, label, epochs=4)
    whole, metrics = (folder_of(root) / "checkpoint.pt").read_bytes(), measured(root)
    for file in folder_of(root).iterdir():
        file.unlink()
    for stop in (1, 3):
        with pytest.raises(Interrupted):
            run(root, label, progress=stop_after(stop), epochs=4)
        assert sorted(p.name for p in folder_of(root).iterdir()) == ["last.ckpt", "metrics.csv"]
        assert measured(root) == metrics[:stop]
    done = []
    got = run(root, label, progress=lambda epoch, epochs, facts: done.append(epoch), epochs=4)
    assert done == [4]
    assert (folder_of(root) / "checkpoint.pt").read_bytes() == whole
    assert measured(root) == metrics
    for key in ("checkpoint", "metrics", "online", "loss", "items", "notes", "spec"):
        assert got[key] == wanted[key]
    assert not (folder_of(root) / "last.ckpt").exists()


def test_a_resumed_run_keeps_the_neighbours_that_it_built_itself(root):
    how = {"epochs": 6, "strategies": {"gps": {"rebuild": {"every": 2, "layer": "projection"}}}}
    run(root, "simclr+gps", **how)
    whole = (folder_of(root) / "checkpoint.pt").read_bytes()
    (folder_of(root) / "run.json").unlink()
    with pytest.raises(Interrupted):  # within the second table's epochs
        run(root, "simclr+gps", progress=stop_after(4), **how)
    run(root, "simclr+gps", **how)
    assert (folder_of(root) / "checkpoint.pt").read_bytes() == whole
    run(root, "simclr+gps", "fixed", epochs=6)
    assert not same_weights(weights(root)["backbone"], weights(root, "fixed")["backbone"])


@pytest.mark.parametrize("layer", ["backbone", "projection"])
def test_neighbours_are_rebuilt_from_the_network_in_training_every_so_many_epochs(layer, data, root, monkeypatch):
    made = trainer(data, root, "byol+gps", epochs=5, strategies={"gps": {"rebuild": {"every": 2, "layer": layer}}})
    (gps,), built = made.pairs, []
    monkeypatch.setattr(gps, "_build", lambda embedding: built.append(embedding))
    states = []
    for epoch in range(5):
        states.append(copy.deepcopy(made.method))
        made._epoch(epoch)
        assert len(built) == epoch // 2
    for embedding, before in zip(built, (states[2], states[4]), strict=True):
        before.eval()
        x = (data.train.images.tensor.float() / 255 - data.mean.view(1, -1, 1, 1)) / data.std.view(1, -1, 1, 1)
        with torch.no_grad():
            h = before.backbone(x)
            assert torch.allclose(embedding, h if layer == "backbone" else before.projector(h), atol=1e-5)
    assert made.method.backbone.training


def test_a_rebuild_leaves_norms_and_modes_as_they_were(data, root):
    made = trainer(data, root, "simclr+clae")
    made.method.projector.eval()
    before = copy.deepcopy(made.method.state_dict())
    embed_with(made.method, "projection", data)
    assert same_weights(made.method.state_dict(), before)
    assert made.method.backbone.training
    assert not made.method.projector.training


def views_of(made, batch):
    """The first views that a trainer makes of a batch of items."""
    images = list(made.data.train.images.batches(batch.T))
    return made._views(images, [whole[: len(batch)] for whole in next(made._params(0))])


@pytest.mark.parametrize("base", ["swav", "dino"])
def test_small_views_come_from_both_sources_in_turn_in_their_own_size(base, data, root):
    small = {"count": 3, "size": 6, "scale": [0.999, 1.0]}
    made = trainer(data, root, base, changes={"small": small}, augmentation=PLAIN_VIEW)
    xs = views_of(made, torch.tensor([[0, 10], [1, 11], [2, 12]]))
    assert [tuple(x.shape) for x in xs] == [(3, 1, 8, 8)] * 2 + [(3, 1, 6, 6)] * 3
    for number, x in enumerate(xs[2:]):
        # A crop of nearly everything: the small view is the resized image of its source, and of no other.
        whole, other = (
            torch.nn.functional.interpolate(xs[view], 6, mode="bilinear", antialias=True)
            for view in (number % 2, 1 - number % 2)
        )
        assert (x - whole).abs().mean() < 0.15
        assert (x - other).abs().mean() > 0.3


def test_the_second_view_may_be_drawn_otherwise(data, root):
    made = trainer(data, root, augmentation=PLAIN_VIEW | {"second": {"solarize": 1.0}})
    first, second = (x * data.std + data.mean for x in views_of(made, torch.tensor([[0, 0], [1, 1]])))
    assert torch.allclose(second, torch.where(first >= 0.5, 1 - first, first), atol=1e-6)


def test_a_resumable_state_that_is_slow_to_write_is_not_written_after_every_short_epoch(data, root, monkeypatch):
    now = 0.0
    monkeypatch.setattr(training_loop, "time", SimpleNamespace(perf_counter=lambda: now))

    def saves(cheap, epoch):
        monkeypatch.setattr(training_loop, "CHEAP", cheap)
        made, written = trainer(data, root, epochs=4), []

        def epoch_of(number):
            nonlocal now
            now += epoch
            return dict.fromkeys(COLUMNS, 0) | {"epoch": number + 1}

        def slow(path, made_by, rows):
            nonlocal now
            now += 0.5
            written.append(len(rows))

        monkeypatch.setattr(made, "_epoch", epoch_of)
        monkeypatch.setattr(made, "_save", slow)
        made.fit(root / "last.ckpt", {})
        return written

    assert saves(cheap=1.0, epoch=0.1) == [1, 2, 3, 4]
    assert saves(cheap=0.1, epoch=0.1) == [1, 4]
    assert saves(cheap=0.1, epoch=6.0) == [1, 3, 4]  # written again when twenty times what writing takes has passed
    assert saves(cheap=0.1, epoch=11.0) == [1, 2, 3, 4]


def test_a_damaged_resumable_state_starts_the_run_anew_and_says_so(root, caplog):
    wanted = run(root)["checkpoint"]
    (folder_of(root) / "last.ckpt").write_bytes(b"half a file")
    with caplog.at_level("WARNING"):
        assert run(root)["checkpoint"] == wanted
    assert "last.ckpt" in caplog.text
    assert "first epoch" in caplog.text


@pytest.mark.parametrize("what", ["code", "guide", "versions"])
def test_a_state_of_other_code_another_guide_or_other_libraries_is_not_gone_on_with(what, root, monkeypatch, caplog):
    run(root, name="the guide")
    whole = run(root, guide="the guide", epochs=4)["checkpoint"]
    (folder_of(root) / "run.json").unlink()
    with pytest.raises(Interrupted):
        run(root, guide="the guide", epochs=4, progress=stop_after(2))
    known = training_run.code_and_versions(root, training_code("simclr", (), "convnet"))
    if what == "guide":
        receipt = json.loads((folder_of(root, "the guide") / "run.json").read_text())
        receipt["checkpoint"]["sha256"] = "0" * 64
        write_record(folder_of(root, "the guide") / "run.json", receipt)
    else:
        other = "changed" if what == "code" else known["versions"] | {"torch": "3.0"}
        monkeypatch.setattr(training_run, "code_and_versions", lambda *_: known | {what: other})
    done = []
    with caplog.at_level("WARNING"):
        got = run(root, guide="the guide", epochs=4, progress=lambda epoch, *_: done.append(epoch))
    assert done == [1, 2, 3, 4]
    assert f"last.ckpt: made with a different {what}. Training starts from the first epoch." in caplog.text
    assert got["checkpoint"] == whole
    assert got["guide_checkpoint"] == ("0" * 64 if what == "guide" else whole_digest(root, "the guide"))


def whole_digest(root, name):
    return both_digests(folder_of(root, name) / "checkpoint.pt")[0]


@pytest.mark.parametrize(("gone", "epochs"), [(None, [1, 2]), ("checkpoint.pt", []), ("run.json", [])])
def test_the_state_of_a_training_that_had_ended_serves_only_where_its_files_are_missing(
    gone, epochs, root, monkeypatch
):
    keep = Path.unlink
    with monkeypatch.context() as patch:  # killed after the receipt, before the state is removed
        patch.setattr(Path, "unlink", lambda path, **how: path.name == "last.ckpt" or keep(path, **how))
        wanted = run(root)["checkpoint"]
    assert (folder_of(root) / "last.ckpt").exists()
    if gone:
        (folder_of(root) / gone).unlink()
    done = []
    assert run(root, progress=lambda epoch, *_: done.append(epoch))["checkpoint"] == wanted
    assert done == epochs
    assert not (folder_of(root) / "last.ckpt").exists()


@pytest.mark.slow
def test_a_training_that_is_killed_at_any_touch_of_a_file_is_ended_by_the_next_one_in_the_same_bytes(root):
    wanted = run(root)
    whole, metrics = (folder_of(root) / "checkpoint.pt").read_bytes(), measured(root)
    moments = 0
    for moment in every_moment(lambda: run(root), lambda: shutil.rmtree(folder_of(root))):
        moments += 1
        receipt = folder_of(root) / "run.json"
        assert not receipt.exists() or is_whole("a run", root), moment
        got = run(root)
        assert (folder_of(root) / "checkpoint.pt").read_bytes() == whole, moment
        assert measured(root) == metrics, moment
        for key in ("checkpoint", "metrics", "online", "loss", "items", "notes", "spec"):
            assert got[key] == wanted[key], moment
        assert sorted(path.name for path in folder_of(root).iterdir()) == ["checkpoint.pt", "metrics.csv", "run.json"]
    assert moments > 15


@pytest.mark.slow
def test_a_training_with_other_weights_that_is_killed_at_any_moment_never_leaves_numbers_of_the_old_ones(root):
    """The run is trained anew, with other weights than before: receipt and evaluations of those must go first."""
    other = run(root, name="another run", seed=7)
    old, new = folder_of(root, "another run"), folder_of(root)
    evaluation = root / "results/evals/a run/key.json"

    def before() -> None:
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(old, new)
        write_record(new / "run.json", other | {"run": "a run"})
        write_record(evaluation, {"format": 1, "checkpoint": other["checkpoint"]["sha256"]})

    for moment in every_moment(lambda: run(root), before):
        if (new / "run.json").exists():
            assert is_whole("a run", root), moment
            old_weights = json.loads((new / "run.json").read_text())["checkpoint"] == other["checkpoint"]
            assert evaluation.exists() == old_weights, moment
        run(root)
        assert not evaluation.exists()
        assert is_whole("a run", root)


def test_a_receipt_stands_only_where_the_metrics_are_the_same_too(root):
    wanted = run(root)
    path = folder_of(root) / "run.json"
    write_record(path, wanted | {"metrics": {"sha256": "0" * 64, "bytes": 1}})  # as of code that wrote other columns
    (folder_of(root) / "checkpoint.pt").unlink()
    assert run(root)["metrics"] == wanted["metrics"]
    assert is_whole("a run", root)


# --- what cannot be trained ----------------------------------------------------------------------------------------


def test_a_run_is_never_trained_on_other_images_than_it_is_named_after(root):
    entry = {
        "spec": tiny_spec("simclr", dataset="0" * 64).plain(),
        "dataset": "digits",
        "label": "simclr",
        "guide": None,
    }
    with pytest.raises(UserError, match="data/digits: not the images of this run"):
        train("a run", entry, root, "cpu", 1)
    assert not (folder_of(root) / "run.json").exists()


def test_a_loss_that_is_no_number_names_run_and_epoch_and_leaves_no_receipt(root):
    with pytest.raises(UserError, match=r"a run: the loss became .* in epoch [12], step \d+") as caught:
        run(root, changes={"temperature": 1e-42})
    assert "simclr's temperature 1e-42 too low" in str(caught.value)
    assert not (folder_of(root) / "run.json").exists()
    assert not (folder_of(root) / "checkpoint.pt").exists()


def test_a_batch_larger_than_the_data_is_an_error_with_both_numbers(root):
    with pytest.raises(UserError, match=r"a run: batch_size 298 exceeds the 297 training items"):
        run(root, batch_size=298)
    assert not (folder_of(root) / "run.json").exists()


def test_a_batch_of_all_the_data_is_one_step_an_epoch(root):
    run(root, batch_size=297)
    assert [row["steps"] for row in measured(root)] == ["1", "2"]


def test_an_odd_batch_with_mixco_is_an_error_that_a_user_can_read(root):
    with pytest.raises((UserError, ValueError), match="even batch"):
        run(root, "simclr+mixco", batch_size=33)


# --- the online classifier -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["simclr", "moco"])
def test_the_online_classifier_does_not_change_the_backbone(label, root):
    run(root, label, "slow", online={"lr": 1e-6, "weight_decay": 0.0, "every": 1})
    run(root, label, "fast", online={"lr": 0.5, "weight_decay": 0.1, "every": 2})
    slow, fast = weights(root, "slow"), weights(root, "fast")
    assert same_weights(slow["method"], fast["method"])
    assert not same_weights(slow["online"], fast["online"])


def test_each_view_teaches_the_online_classifier_its_own_sources_label(data, root, monkeypatch):
    seen = []
    monkeypatch.setattr(OnlineClassifier, "learn", lambda self, clean, labels: seen.append(labels))
    made = trainer(data, root, "simclr+gps", augmentation=PLAIN_VIEW)
    made._epoch(0)
    items = made._items_of(0)
    assert len(seen) == len(items) == made.steps_per_epoch
    assert any(not torch.equal(*batch.T) for batch in items)
    for both, batch in zip(seen, items, strict=True):
        assert [part.tolist() for part in both] == [data.train.labels[batch[:, v]].tolist() for v in (0, 1)]


@pytest.mark.parametrize("unlabelled", [False, True])
def test_the_online_classifier_learns_as_by_autograd_and_adam_from_images_with_a_label(unlabelled):
    draws = torch.Generator().manual_seed(0)
    how = recipes.OnlineClassifierSettings(lr=0.01, weight_decay=0.1, every=1)
    made = OnlineClassifier(how, 6, 4, 0, CPU, unlabelled)
    layer = copy.deepcopy(made.layer).requires_grad_()
    reference = torch.optim.Adam(layer.parameters(), 0.01, weight_decay=0.1)
    for _ in range(5):
        h, y = torch.randn(2, 8, 6, generator=draws), torch.randint(4, (2, 8), generator=draws)
        if unlabelled:
            y[:, ::3] = -1
        made.learn([Embeddings(features=h[0]), Embeddings(features=h[1])], list(y))
        loss = torch.nn.functional.cross_entropy(layer(h.flatten(0, 1)), y.flatten(), ignore_index=-1)
        reference.zero_grad()
        loss.backward()
        reference.step()
        for name, value in layer.state_dict().items():
            assert torch.allclose(made.layer.state_dict()[name], value, rtol=0, atol=1e-6), name


# --- items ---------------------------------------------------------------------------------------------------------


def test_an_epoch_uses_every_item_at_most_once_in_an_order_of_its_own(data, root):
    made, orders = trainer(data, root, "simclr+spps"), []
    for epoch in (0, 1):
        batches = made._items_of(epoch)
        assert len(batches) == made.steps_per_epoch == len(made.items) // 64
        orders.append(torch.cat(batches))
        allowed = {tuple(item) for item in made.items.tolist()}
        drawn = [tuple(item) for item in orders[-1].tolist()]
        assert len(set(drawn)) == len(drawn)
        assert set(drawn) <= allowed
    assert not torch.equal(*orders)


def test_as_many_steps_as_the_base_are_drawn_from_the_longer_list(data, root):
    base, longer, equal = (
        trainer(data, root, "simclr"),
        trainer(data, root, "simclr+spps"),
        trainer(data, root, "simclr+spps", strategies={"spps": {"steps": "as-base"}}),
    )
    assert base.steps_per_epoch == equal.steps_per_epoch < longer.steps_per_epoch
    assert torch.equal(equal.items, longer.items)
    drawn = torch.cat([torch.cat(equal._items_of(epoch)) for epoch in range(6)])
    mined = (drawn[:, 0] != drawn[:, 1]).double().mean().item()
    whole = (longer.items[:, 0] != longer.items[:, 1]).double().mean().item()
    assert mined == pytest.approx(whole, abs=0.05), "mined pairs and images as often as the list has them"


def test_how_many_steps_is_part_of_a_runs_id_only_where_it_changes_the_training():
    before = tiny_spec("simclr+spps").plain()
    assert "steps" not in before["strategies"]["spps"]
    assert (
        tiny_spec("simclr+spps", strategies={"spps": {"steps": "as-base"}}).plain()["strategies"]["spps"]["steps"]
        == "as-base"
    )


def test_the_order_of_images_and_their_views_are_the_same_with_and_without_a_strategy(data, root):
    plain, other = (trainer(data, root, label) for label in ("simclr", "simclr+gps+mixco"))
    assert torch.equal(*(torch.cat(made._items_of(0))[:, 0] for made in (plain, other)))
    for (ours, _), (theirs, _) in zip(plain._batches(0), other._batches(0), strict=True):
        assert torch.equal(ours[0], theirs[0])


@pytest.mark.parametrize("label", ["simclr", "simclr+gps"])
def test_views_do_not_depend_on_how_many_steps_are_planned_or_made_at_once(label, data, root, monkeypatch):
    made = trainer(data, root, label, batch_size=16)
    wanted = list(made._batches(0))
    assert len(wanted) > made.steps_at_once == training_loop.STEPS_SAMPLED
    for planned, at_once in ((3, 1), (3, 2), (1, 5), (7, 7)):
        monkeypatch.setattr(training_loop, "STEPS_SAMPLED", planned)
        made.steps_at_once = at_once
        for ours, theirs in zip(made._batches(0), wanted, strict=True):
            for one, other in zip(ours, theirs, strict=True):
                assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


# --- guides --------------------------------------------------------------------------------------------------------


def gps_guide(**guide):
    return {"gps": {"guide": guide}}


def test_the_pixel_guide_is_the_flat_image(data, root):
    guide = recipes.PixelGuide(kind="pixels")
    assert torch.equal(embed(guide, tiny_spec("simclr"), data, root), data.train.images.tensor.flatten(1) / 255)


def test_the_random_guide_hangs_on_the_seed_and_is_not_the_runs_own_start(data, root):
    guide = recipes.RandomGuide(kind="random")
    first, again, other = (embed(guide, tiny_spec("simclr", seed=seed), data, root) for seed in (0, 0, 1))
    assert first.shape == (297, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    start = features(trainer(data, root).method.backbone, data.train.images, data.mean, data.std)
    assert not torch.equal(first, start)


@pytest.mark.parametrize("label", ["simclr", "simclr+clae"])
def test_a_guide_is_the_trained_backbone_of_another_run(label, data, root):
    run(root, label, "guide")
    guide = recipes.CheckpointGuide(kind="checkpoint", run="guide", layer="backbone")
    made = embed(guide, tiny_spec("byol+gps"), data, root)
    network, _ = build_backbone(recipes.ConvNetSettings(kind="convnet", widths=[8, 16]), 1, 16)
    network.load_state_dict(weights(root, "guide")["backbone"])
    x = (data.train.images.tensor.float() / 255 - data.mean.view(1, -1, 1, 1)) / data.std.view(1, -1, 1, 1)
    with torch.no_grad():
        assert torch.allclose(made, network.eval()(x), atol=1e-5)
    how = gps_guide(kind="checkpoint", run="guide", layer="backbone")
    receipt = run(root, "byol+gps", guide="guide", strategies=how)
    assert receipt["guide"] == "guide"
    run(root, "byol+gps", "pixels")
    assert not same_weights(weights(root)["backbone"], weights(root, "pixels")["backbone"])


@pytest.mark.parametrize("label", ["simclr", "dino", "byol+clae"])
def test_a_guide_may_compare_raw_projections(label, data, root):
    run(root, label, "guide")
    guide = recipes.CheckpointGuide(kind="checkpoint", run="guide", layer="projection")
    made = embed(guide, tiny_spec("simclr+spps"), data, root)
    again = trainer(data, root, label).method
    again.load_state_dict(weights(root, "guide")["method"])
    x = (data.train.images.tensor.float() / 255 - data.mean.view(1, -1, 1, 1)) / data.std.view(1, -1, 1, 1)
    with torch.no_grad():
        assert torch.allclose(made, again.eval().embed(x).projection, atol=1e-5)
    assert made.shape == (297, 8)


def test_a_guide_of_another_architecture_keeps_its_own(root):
    run(root, name="guide", backbone={"kind": "convnet", "widths": [4]})
    run(root, "simclr+gps", strategies=gps_guide(kind="checkpoint", run="guide", layer="backbone"))
    assert len(weights(root)["backbone"]) > len(weights(root, "guide")["backbone"])


def test_a_missing_guide_is_an_error_that_names_its_file(root):
    with pytest.raises(UserError, match=r"results/runs/nobody/run\.json: missing"):
        run(root, "simclr+gps", strategies=gps_guide(kind="checkpoint", run="nobody", layer="backbone"))


# --- checkpoint files ----------------------------------------------------------------------------------------------


def test_a_checkpoint_loads_without_running_code_and_holds_what_it_says(root):
    run(root, "moco+clae")
    content = torch.load(folder_of(root) / "checkpoint.pt", weights_only=True)
    assert (content["format"], content["run"]) == (1, "a run")
    assert content["architecture"] == {"kind": "convnet", "widths": [8, 16]}
    assert content["method"]["queue"].shape == (1, 96, 8)
    assert any(".adversarial." in key for key in content["method"])
    assert not any(".adversarial." in key or ".main." in key for key in content["backbone"])
    network = checkpoint.load_backbone(folder_of(root) / "checkpoint.pt", 1, 16)
    assert same_weights(dict(network.state_dict()), content["backbone"])


class Harmful:
    def __reduce__(self):
        return exec, ("raise SystemExit('ran')",)


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "code", "missing", "folder"])
def test_a_damaged_checkpoint_is_an_error_that_names_the_file(damage, tmp_path):
    path = tmp_path / "checkpoint.pt"
    write_atomic(path, checkpoint.to_bytes({"backbone": {"weight": torch.arange(1000.0)}}))
    whole = path.read_bytes()
    if damage == "code":
        torch.save({"backbone": Harmful()}, path)
    elif damage in ("missing", "folder"):
        path.unlink()
        if damage == "folder":
            path.mkdir()
    else:
        path.write_bytes({"empty": b"", "text": b"not a checkpoint\n", "truncated": whole[: len(whole) // 2]}[damage])
    with pytest.raises(UserError, match=r"checkpoint\.pt"):
        checkpoint.load(path)


def test_no_damage_to_a_checkpoint_escapes_as_another_kind_of_error(tmp_path):
    path = tmp_path / "checkpoint.pt"
    noise = torch.Generator().manual_seed(0)
    escaped = {}
    for length in [1, 2, 5, 20, 100] * 100:
        content = bytes(torch.randint(0, 256, (length,), generator=noise).tolist())
        path.write_bytes(content)
        try:
            checkpoint.load(path)
        except UserError:
            continue
        except Exception as error:
            escaped[type(error).__name__] = content
    assert not escaped


def test_equal_checkpoints_are_equal_bytes_whatever_their_path(tmp_path):
    for name in ("a.pt", "b.ckpt"):
        write_atomic(tmp_path / name, checkpoint.to_bytes({"weight": torch.arange(10.0), "rows": [1, None, 2.5]}))
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.ckpt").read_bytes()


# --- knn -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (5, 0.1), (20, 0.5), (60, 0.07)])
def test_knn_is_the_weighted_vote_of_brute_force(k, temperature):
    generator = torch.Generator().manual_seed(k)
    known, queries = (torch.randn(n, 6, generator=generator, dtype=torch.float64) for n in (60, 25))
    known_labels = torch.randint(0, 4, (60,), generator=generator)
    answers = []
    for query in queries:
        near = sorted(((cosine(query, v).item(), y) for v, y in zip(known, known_labels.tolist(), strict=True)))[-k:]
        votes = [sum(math.exp(c / temperature) for c, y in near if y == label) for label in range(4)]
        answers.append(votes.index(max(votes)))
    predicted = knn_predict(known, known_labels, queries, k, temperature, 4)
    assert predicted.dtype == torch.int64
    assert predicted.tolist() == answers


def test_knn_works_at_temperatures_at_which_exp_overflows_and_in_blocks(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    known, queries = (torch.randn(n, 6, generator=generator) for n in (40, 30))
    known_labels = torch.randint(0, 3, (40,), generator=generator)
    nearest = known_labels[
        (queries / queries.norm(dim=1, keepdim=True) @ (known / known.norm(dim=1, keepdim=True)).T).argmax(1)
    ]
    assert torch.equal(knn_predict(known, known_labels, queries, 10, 1e-4, 3), nearest)
    whole = knn_predict(known, known_labels, queries, 10, 0.1, 3)
    monkeypatch.setattr("sslpairs.backbones.nearest.BLOCK_ENTRIES", 7 * 40)
    assert torch.equal(knn_predict(known, known_labels, queries, 10, 0.1, 3), whole)


@pytest.mark.parametrize("k", [0, 11])
def test_knn_with_more_neighbours_than_images_is_an_error(k):
    with pytest.raises(ValueError, match=f"{k} neighbours of 10 images"):
        knn_predict(torch.ones(10, 2), torch.zeros(10, dtype=torch.long), torch.ones(1, 2), k, 0.1, 2)


# --- linear --------------------------------------------------------------------------------------------------------


def separable(count=300, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 3
    centres = torch.tensor([[3.0, 0, 0, 0], [0, 3.0, 0, 0], [0, 0, 3.0, 0]])
    return centres[y] + 0.1 * torch.randn(count, 4, generator=generator), y


@pytest.mark.parametrize("standardize", [True, False])
def test_linear_reaches_100_percent_where_classes_are_separable(standardize):
    how = recipes.LinearSettings.model_validate(PROTOCOLS["linear"] | {"standardize": standardize})
    result = linear.measure(how, Encoded(separable(), separable(90, 1), 3, 0))
    assert result["top1"] == result["best_top1"] == result["top5"] == 100.0
    assert 1 <= result["best_epoch"] <= 40


def test_linear_states_the_last_epoch_and_the_first_best_one_apart():
    how = recipes.LinearSettings.model_validate(PROTOCOLS["linear"] | {"epochs": 8})
    generator = torch.Generator().manual_seed(0)
    noise = [(torch.randn(100, 5, generator=generator), torch.randint(0, 4, (100,), generator=generator)) for _ in "ab"]
    whole = linear.measure(how, Encoded(*noise, 4, 0))
    assert whole["best_top1"] >= whole["top1"]
    assert linear.measure(how, Encoded(*noise, 4, 0)) == whole


COSINE = {"name": "cosine", "warmup_epochs": 1, "final": 0.1, "initial": 0.2, "hold_epochs": 0.5}
OPTIMIZERS = {
    "sgd": {"name": "sgd", "lr": 0.3, "reference_batch": 32, "momentum": 0.9, "weight_decay": 1e-3},
    "plain sgd": {"name": "sgd", "lr": 0.3, "reference_batch": None, "momentum": 0.0, "weight_decay": 0.0},
    "adam": {"name": "adam", "lr": 0.01, "reference_batch": None, "weight_decay": 1e-3},
    "lars": {
        **{"name": "lars", "lr": 0.3, "reference_batch": 64, "momentum": 0.9, "weight_decay": 1e-3},
        **{"trust_coefficient": 0.02, "clip": False, "adapt_vectors": False},
    },
    "lars, clipped": {
        **{"name": "lars", "lr": 0.3, "reference_batch": None, "momentum": 0.9, "weight_decay": 1e-3},
        **{"trust_coefficient": 0.02, "clip": True, "adapt_vectors": True},
    },
}
SCHEDULES = {
    "cosine": COSINE,
    "cosine by epoch": COSINE | {"each": "epoch", "span_epochs": 6.0},
    "constant": {"name": "constant", "warmup_epochs": 0.5},
    "steps": {"name": "steps", "warmup_epochs": 0, "milestones": [1, 3], "factors": [0.1, 0.01]},
}


def layers_by_autograd(how, x, y, classes, seed):
    """The linear layer after each epoch, from ``torch.nn.Linear``, autograd and ``torch.optim``."""
    with torch.random.fork_rng():
        torch.manual_seed(stream_seed(seed, "linear"))
        layer = torch.nn.Linear(x.shape[1], classes).to(x.dtype)
    size = min(how.batch_size, len(x))
    settings = how.optimizer.model_dump(exclude={"name", "reference_batch"})
    if how.optimizer.reference_batch:
        settings["lr"] *= size / how.optimizer.reference_batch
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "lars": LARS}[how.optimizer.name]
    optimizer = kind(layer.parameters(), **settings)
    steps = math.ceil(len(x) / size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: rate_factor(how.schedule, i, steps, how.epochs))
    for epoch in range(how.epochs):
        order = torch.randperm(len(x), generator=named_stream(seed, "linear", epoch))
        for start in range(0, len(x), size):
            rows = order[start : start + size]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(layer(x[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
        yield layer.weight.detach().clone(), layer.bias.detach().clone()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_linear_takes_the_steps_of_autograd_and_torchs_optimizers(optimizer, schedule, monkeypatch):
    changes = {"epochs": 4, "batch_size": 32, "optimizer": OPTIMIZERS[optimizer], "schedule": SCHEDULES[schedule]}
    how = recipes.LinearSettings.model_validate(PROTOCOLS["linear"] | changes)
    draws = torch.Generator().manual_seed(1)
    # 107 images: the last batch of an epoch is a smaller one; gathered two batches at a time.
    x, y = torch.randn(107, 9, generator=draws, dtype=torch.float64), torch.randint(0, 5, (107,), generator=draws)
    monkeypatch.setattr("sslpairs.evaluation.linear.GATHERED_ENTRIES", 2 * 32 * 9)
    ours = [(weight.clone(), bias.clone()) for weight, bias in linear_layers(how, x, y, 5, 3)]
    wanted = list(layers_by_autograd(how, x, y, 5, 3))
    assert len(ours) == 4
    assert (ours[3][0] - ours[0][0]).abs().max() > 1e-4
    for (weight, bias), (known_weight, known_bias) in zip(ours, wanted, strict=True):
        assert torch.allclose(weight, known_weight, rtol=1e-9, atol=1e-11)
        assert torch.allclose(bias, known_bias, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("batch_size", [64, 1000])
def test_linear_counts_what_the_layers_of_autograd_get_right(standardize, batch_size, monkeypatch):
    changes = {"epochs": 6, "batch_size": batch_size, "optimizer": OPTIMIZERS["sgd"], "schedule": COSINE}
    how = recipes.LinearSettings.model_validate(PROTOCOLS["linear"] | changes | {"standardize": standardize})
    draws = torch.Generator().manual_seed(2)
    centres = 1.5 * torch.randn(30, 16, generator=draws)
    (x, y), (queries, answers) = (
        (centres[labels] + 3 + torch.randn(len(labels), 16, generator=draws), labels)
        for labels in (torch.randint(0, 30, (count,), generator=draws) for count in (900, 331))
    )
    monkeypatch.setattr("sslpairs.evaluation.linear.LOGITS", 30 * 50)  # several blocks of test images
    result = linear.measure(how, Encoded((x, y), (queries, answers), 30, 0))
    if standardize:
        mean, std = x.mean(0), x.std(0, correction=0)
        x, queries = (x - mean) / std, (queries - mean) / std
    layers = [(weight.clone(), bias.clone()) for weight, bias in layers_by_autograd(how, x, y, 30, 0)]
    scores = [queries @ weight.T + bias for weight, bias in layers]
    wanted = [100 * (score.argmax(1) == answers).double().mean().item() for score in scores]
    assert 30 < wanted[-1] < 99.5
    assert result["top1"] == pytest.approx(wanted[-1], abs=0.31)  # at most one image, where rounding decides
    assert result["best_top1"] == pytest.approx(max(wanted), abs=0.31)
    better = (scores[-1] > scores[-1].gather(1, answers[:, None])).sum(1)
    assert result["top5"] == pytest.approx(100 * (better < 5).double().mean().item(), abs=0.31)
    assert wanted[-1] < result["top5"]


def test_linear_survives_a_feature_that_never_varies():
    x, y = separable()
    x[:, 3] = 1e4
    how = recipes.LinearSettings.model_validate(PROTOCOLS["linear"])
    queries, answers = separable(90, 1)
    queries[:, 3] = 1e4
    assert linear.measure(how, Encoded((x, y), (queries, answers), 3, 0))["top1"] == 100.0


# --- evaluate ------------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(root):
    return root, run(root, "simclr+clae")


def evaluated(root, key="key"):
    return evaluate("a run", key, PROTOCOLS | {"online": None}, root, "cpu", 1)


def test_an_evaluation_states_all_protocols_and_the_checkpoint_it_read(trained, data):
    root, receipt = trained
    result = evaluated(root)
    assert result == json.loads((root / evaluation_file("a run/key")).read_text())
    assert set(result["protocols"]) == {"linear", "online", "knn"}
    online = receipt["online"]
    assert result["protocols"]["online"] == {
        "top1": online["last"],
        "best_top1": online["best"],
        "best_epoch": online["best_epoch"],
    }
    assert result["checkpoint"] == receipt["checkpoint"]["sha256"]
    assert (result["features"], result["backbone_unchanged"]) == (16, True)
    assert result["settings"] == PROTOCOLS
    network = checkpoint.load_backbone(folder_of(root) / "checkpoint.pt", 1, 16)
    known, asked = (features(network, s.images, data.mean, data.std) for s in (data.train, data.test))
    right = knn_predict(known, data.train.labels, asked, 5, 0.1, 10) == data.test.labels
    assert result["protocols"]["knn"]["top1"] == pytest.approx(100 * right.double().mean().item())
    kept = result["answers"]
    assert {name: list(found) for name, found in kept.items()} == {name: ["top1"] for name in result["protocols"]}
    assert decode(kept["knn"]["top1"]).tolist() == right.int().tolist()
    assert kept["online"]["top1"] == online["answers"]
    assert 100 * decode(online["answers"]).mean() == pytest.approx(online["last"])
    # Two tiny epochs already tell digits apart: chance is 10 percent.
    assert result["protocols"]["linear"]["top1"] > 30
    assert result["protocols"]["knn"]["top1"] > 30


def test_evaluating_twice_gives_equal_numbers_and_leaves_the_checkpoint_alone(trained):
    root, receipt = trained
    first = evaluated(root)
    torch.manual_seed(5)
    assert evaluated(root) == first
    assert sha256_file(folder_of(root) / "checkpoint.pt") == receipt["checkpoint"]["sha256"]


def test_an_encoder_can_be_evaluated_on_other_data_than_it_was_trained_on(trained, prepared, data):
    root, receipt = trained
    (root / "data").unlink()
    shutil.copytree(prepared, root / "data")
    enlarged = DatasetSettings.model_validate({"title": "Other", "source": {"kind": "digits", "size": 24}})
    content = prepare("other", enlarged, root)["content"]
    result = evaluate("a run", "other", PROTOCOLS, root, "cpu", 1, ("other", content))
    assert set(result["protocols"]) == {"linear", "knn"}, "online was measured on the training's own data"
    assert (result["dataset"], result["content"]) == ("other", content)
    assert result["checkpoint"] == receipt["checkpoint"]["sha256"]
    other = load("other", root)
    network = checkpoint.load_backbone(folder_of(root) / "checkpoint.pt", 1, 16)
    known, asked = (features(network, s.images, other.mean, other.std) for s in (other.train, other.test))
    right = knn_predict(known, other.train.labels, asked, 5, 0.1, 10) == other.test.labels
    assert result["protocols"]["knn"]["top1"] == pytest.approx(100 * right.double().mean().item())
    with pytest.raises(UserError, match="not the images of this run"):
        evaluate("a run", "other", PROTOCOLS, root, "cpu", 1, ("other", data.content))


def test_an_encoder_is_not_called_damaged_where_the_images_have_other_channels(trained):
    root, _ = trained
    with pytest.raises(UserError, match="trained on images of 1 channels, but these have 3"):
        checkpoint.load_backbone(folder_of(root) / "checkpoint.pt", 3, 16)


def test_a_backbone_that_changes_during_its_evaluation_is_noticed(trained, monkeypatch):
    root, _ = trained

    def careless(network, images, mean, std):
        with torch.no_grad():
            network[0].weight.add_(1e-3)
        return features(network, images, mean, std)

    monkeypatch.setattr("sslpairs.evaluation.evaluate.features", careless)
    with pytest.raises(RuntimeError, match="backbone changed"):
        evaluated(root)
    assert not (root / evaluation_file("a run/key")).exists()


def test_the_digest_of_weights_sees_parameters_and_buffers():
    network, _ = build_backbone(recipes.ConvNetSettings(kind="convnet", widths=[4]), 1, 16)
    seen = {weights_digest(network)}
    network[1].running_mean[0] += 1
    seen.add(weights_digest(network))
    with torch.no_grad():
        network[0].weight[0, 0, 0, 0] += 1
    seen.add(weights_digest(network))
    assert len(seen) == 3


@pytest.mark.parametrize("change", ["altered", "missing", "another"])
def test_a_checkpoint_that_is_not_the_receipts_is_refused(change, trained):
    root, _ = trained
    path = folder_of(root) / "checkpoint.pt"
    if change == "altered":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif change == "missing":
        path.unlink()
    else:
        run(root, name="other", seed=8)
        path.write_bytes((folder_of(root, "other") / "checkpoint.pt").read_bytes())
    with pytest.raises(
        UserError,
        match=r"checkpoint\.pt: (damaged, or not the checkpoint that run\.json names; |missing: )`sslpairs restore a run`",
    ):
        evaluated(root)
    assert not (root / evaluation_file("a run/key")).exists()


def test_a_run_without_a_receipt_is_not_evaluated(trained):
    root, _ = trained
    (folder_of(root) / "run.json").unlink()
    with pytest.raises(UserError, match=r"run\.json: missing"):
        evaluated(root)


def test_other_images_than_those_of_the_training_are_refused(trained):
    root, _ = trained
    prepared = (root / "data").resolve()
    (root / "data").unlink()
    shutil.copytree(prepared, root / "data")
    receipt = json.loads((root / "data/digits/dataset.json").read_text())
    write_record(root / "data/digits/dataset.json", receipt | {"content": "f" * 64})
    with pytest.raises(UserError, match="data/digits: not the images of this run"):
        evaluated(root)


def test_more_neighbours_than_training_images_is_an_error_that_a_user_can_read(trained):
    root, _ = trained
    wide = PROTOCOLS | {"knn": {"neighbours": 5000, "temperature": 0.1}}
    with pytest.raises(UserError, match="5000 neighbours"):
        evaluate("a run", "key", wide, root, "cpu", 1)


def test_features_leave_the_network_in_the_mode_in_which_it_came(data):
    network, _ = build_backbone(recipes.ConvNetSettings(kind="convnet", widths=[4]), 1, 16)
    for mode in (True, False):
        network.train(mode)
        before = weights_digest(network)
        made = features(network, data.train.images, data.mean, data.std, block=100)
        assert network.training is mode
        assert weights_digest(network) == before
        assert torch.allclose(made, features(network, data.train.images, data.mean, data.std), atol=1e-6)


def test_the_documented_step_runs_as_it_stands(capsys):
    page = (Path(__file__).parents[1] / "docs/steps.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    exec(code, names)  # our own page
    assert names["loss"].isfinite()
    assert "'mixco'" in capsys.readouterr().out


# --- metrics while a run trains ---------------------------------------------------------------------------------------


def test_metrics_are_there_epoch_by_epoch_and_end_in_the_bytes_that_the_receipt_names(root):
    seen = []

    def look(done, epochs, facts):
        seen.append((done, (folder_of(root) / "metrics.csv").read_bytes()))

    receipt = run(root, progress=look, epochs=3)
    whole = (folder_of(root) / "metrics.csv").read_bytes()
    assert sha256_file(folder_of(root) / "metrics.csv") == receipt["metrics"]["sha256"]
    for done, text in seen:
        assert text.splitlines() == whole.splitlines()[: 1 + done]


def test_a_line_of_an_epoch_that_was_not_saved_is_cut_when_the_run_resumes(root):
    run(root, epochs=3)
    whole = (folder_of(root) / "metrics.csv").read_bytes()
    (folder_of(root) / "run.json").unlink()
    with pytest.raises(Interrupted):
        run(root, progress=stop_after(1), epochs=3)
    with open(folder_of(root) / "metrics.csv", "a") as file:
        file.write("2,8,nonsense")
    with pytest.raises(Interrupted):
        run(root, progress=stop_after(2), epochs=3)
    assert (folder_of(root) / "metrics.csv").read_bytes().splitlines() == whole.splitlines()[:3]
    run(root, epochs=3)
    assert (folder_of(root) / "metrics.csv").read_bytes() == whole


def test_a_run_that_is_trained_again_and_killed_keeps_receipt_and_metrics(root):
    run(root)
    before = {name: (folder_of(root) / name).read_bytes() for name in ("run.json", "metrics.csv")}
    (folder_of(root) / "checkpoint.pt").unlink()
    with pytest.raises(Interrupted):
        run(root, progress=stop_after(1))
    assert {name: (folder_of(root) / name).read_bytes() for name in before} == before
    run(root)
    assert sorted(p.name for p in folder_of(root).iterdir()) == ["checkpoint.pt", "metrics.csv", "run.json"]
