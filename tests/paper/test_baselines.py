"""Raw pixels and untrained networks: measured without a training, shown below every table, and what a claim must exceed."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from made_up import claim, digest, evaluation, plan
from matplotlib.figure import Figure
from projects import ROOT, edit_key
from tiny import PROTOCOLS, tiny_spec

from sslpairs.backbones import features as extracting
from sslpairs.backbones.features import features, pixels
from sslpairs.config.datasets import DatasetSettings
from sslpairs.config.protocols.knn import KNNSettings
from sslpairs.config.protocols.linear import LinearSettings
from sslpairs.config.reading import read_config
from sslpairs.config.site import read_site
from sslpairs.data.arrays import load
from sslpairs.data.images import Resident
from sslpairs.data.prepare import prepare
from sslpairs.errors import UserError
from sslpairs.evaluation import baselines, knn, linear
from sslpairs.evaluation.baselines import measure_baseline
from sslpairs.evaluation.encoded import Encoded
from sslpairs.files import write_record
from sslpairs.methods.build import build_method
from sslpairs.paper import figures
from sslpairs.paper.figures import draw
from sslpairs.paper.formats.markdown import to_markdown
from sslpairs.paper.provenance import provenance_page
from sslpairs.paper.results import frame
from sslpairs.paper.tables import build_table
from sslpairs.plan.baselines import identity, plan_baseline
from sslpairs.plan.build import Build
from sslpairs.plan.paths import evaluation_file
from sslpairs.plan.planner import make_plan
from sslpairs.plan.requests import Requests
from sslpairs.store.staging import small_files
from sslpairs.workflow.jobs import possible_jobs

# --- measured -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("prepared")
    source = {"kind": "digits", "size": 8, "test_per_class": 150}
    prepare("digits", DatasetSettings.model_validate({"title": "Digits", "source": source}), root)
    return root, load("digits", root)


@pytest.mark.parametrize("kind", ["untrained", "pixels"])
def test_a_baseline_is_the_evaluation_of_pixels_or_of_the_network_with_which_every_training_starts(prepared, kind):
    root, data = prepared
    spec = tiny_spec("byol", dataset=data.content)
    name, entry = plan_baseline(kind, "digits", data.content, spec.backbone.model_dump(), spec.seed, PROTOCOLS, "")
    measured = measure_baseline(name, entry, root, "cpu", 1)
    start = build_method(spec, 1, 16).backbone
    embed = {
        "pixels": lambda images: images.tensor.flatten(1) / 255,
        "untrained": lambda images: features(start, images, data.mean, data.std),
    }[kind]
    known, asked = ((embed(split.images), split.labels) for split in (data.train, data.test))
    encoded = Encoded(known, asked, 10, spec.seed)
    assert measured["protocols"] == {
        "linear": linear.measure(LinearSettings.model_validate(PROTOCOLS["linear"]), encoded),
        "knn": knn.measure(KNNSettings.model_validate(PROTOCOLS["knn"]), encoded),
    }


def test_large_images_are_averaged_down_before_their_pixels_are_compared():
    images = torch.randint(0, 256, (5, 3, 64, 48), dtype=torch.uint8)
    found = pixels(Resident(images), 32, block=2)
    assert found.shape == (5, 3 * 32 * 32)
    rows = images.double().div(255).unflatten(2, (32, 2)).mean(3)
    torch.testing.assert_close(found.double().view(5, 3, 32, 32)[..., 0], rows[..., :2].mean(3), atol=1e-6, rtol=0)
    small = images[..., :20, :20]
    assert torch.equal(pixels(Resident(small), 32), small.flatten(1) / 255)


def test_pixels_that_do_not_fit_are_told_with_a_remedy(monkeypatch):
    monkeypatch.setattr(extracting, "free_on", lambda device: 100)
    images = Resident(torch.zeros(5, 1, 8, 8, dtype=torch.uint8))
    data = SimpleNamespace(train=SimpleNamespace(images=images, labels=None), mean=None, std=None)
    with pytest.raises(UserError, match=r"the pixels of 5 images .* leave 'pixels' out of the scale's baselines"):
        baselines._embed({"kind": "pixels", "side": 32}, data, images, torch.device("cpu"))


# --- planned --------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path) -> Path:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    edit_key(tmp_path, "config.yaml", "seeds", 2)
    return tmp_path


def planned(root: Path, **choices) -> Build:
    return Build(make_plan(read_config(root, choices), {"digits": "d" * 64}), root)


def test_tables_share_the_baselines_of_one_network_and_one_data_set(root):
    build = planned(root)
    kinds = sorted(name.partition("-")[0] for name in build.plan.baselines)
    assert kinds == ["pixels"] * 2 + ["untrained"] * 2 * 2, "two seeds, two networks; pixels have none"
    for table in build.plan.tables.values():
        assert [row["id"] for row in table["baselines"]["rows"]] == ["untrained", "pixels"]
        assert {cell["column"] for cell in table["baselines"]["cells"]} == {one["id"] for one in table["columns"]}
    assert set(build.to_measure) == set(build.plan.baselines)


def test_a_scale_may_have_none_and_a_table_under_online_alone_has_none(root):
    edit_key(root, "papers/gps.yaml", "tables.gps-weak.metrics", ["online.top1"])
    edit_key(root, "scales/digits.yaml", "metrics", [])
    assert planned(root).plan.tables["gps-weak"]["baselines"] == {"rows": [], "cells": []}
    edit_key(root, "scales/digits.yaml", "baselines", ["pixels"])
    assert {name.partition("-")[0] for name in planned(root).plan.baselines} == {"pixels"}


def test_a_changed_protocol_measures_baselines_again_and_a_changed_training_does_not(root):
    before = set(planned(root).plan.baselines)
    edit_key(root, "recipes/digits.yaml", "training.optimizer.lr", 0.5)
    assert set(planned(root).plan.baselines) == before
    edit_key(root, "recipes/digits.yaml", "evaluation.knn.neighbours", 3)
    assert not set(planned(root).plan.baselines) & before


def measure_all(build: Build, value: float = 50.0) -> None:
    for name, entry in build.plan.baselines.items():
        spec, (run, key) = entry["spec"], name.split("/")
        protocols = {protocol: {"top1": value, "best_top1": value} for protocol in entry["protocols"]}
        protocols["few_labels"] = {"share": value, "per_class": value}
        path = build.root / evaluation_file(name)
        path.parent.mkdir(parents=True)
        facts = {"settings": entry["protocols"], "checkpoint": identity(entry), "code": "made up", "baseline": spec}
        write_record(path, {"format": 2, "run": run, "key": key, "protocols": protocols} | facts)


def test_only_missing_baselines_are_jobs_and_finished_ones_are_staged_and_rows_of_the_results(root):
    build = planned(root)
    jobs = possible_jobs(build, on_node=False)
    one, *_ = build.plan.baselines
    assert re.fullmatch(jobs.baseline, one)
    assert not re.fullmatch(jobs.evaluate, one), "two rules for one file"
    assert not re.fullmatch(jobs.train_and_evaluate, one.partition("/")[0]), "two rules for one file"
    run, _, key = next(iter(build.plan.evaluations)).partition("/")
    assert jobs.key == key
    assert re.fullmatch(jobs.train_and_evaluate, run), "made with its training"
    measure_all(build)
    done = Build(build.plan, root)
    assert done.to_measure == []
    assert done.damaged == []
    assert {str(evaluation_file(name)) for name in build.plan.baselines} <= set(small_files(done, [], False))
    rows = frame(done)
    assert set(rows.base) == {"untrained", "pixels"}
    assert set(rows[rows.base == "untrained"].backbone) == {"conv 8-16-32", "conv 4-8-16"}


def test_a_baseline_of_something_else_is_damage(root):
    build = planned(root)
    measure_all(build)
    first, second = (root / evaluation_file(name) for name in list(build.plan.baselines)[:2])
    shutil.copy(first, second)
    damaged = Build(build.plan, root)
    assert len(damaged.damaged) == 1
    assert str(second.relative_to(root)) in damaged.damaged[0]
    first.write_text("{")
    with pytest.raises(UserError, match="damaged"):
        Build(build.plan, root).seal_of(next(iter(build.plan.baselines)))


# --- shown ----------------------------------------------------------------------------------------------------------


def with_untrained(root: Path, level: float, seeds: int = 3):
    """GPS improves SimCLR (94) by 2 points; the untrained network is at ``level`` under ``linear``."""
    made = plan(root, ["simclr", "simclr+gps"], seeds=seeds, claims=[claim()])
    replicates = []
    for seed in range(seeds):
        name = f"untrained-digits-s{seed}-{digest(str(seed))[:12]}"
        where = evaluation(root, name, level + 0.1 * seed)
        replicates.append({"seed": seed, "run": name, "evaluation": where})
    row = {"id": "untrained", "label": "Untrained network", "base": "untrained", "strategies": []}
    cells = [{"row": "untrained", "column": "c0", "replicates": replicates}]
    return made | {"baselines": {"rows": [row], "cells": cells}}


def test_an_improvement_on_a_base_method_that_is_not_above_its_untrained_network_does_not_hold(tmp_path):
    high = build_table(with_untrained(tmp_path / "a", 80), tmp_path / "a")
    low = build_table(with_untrained(tmp_path / "b", 94), tmp_path / "b")
    assert high.claims[0].headline.verdict == "holds"
    assert low.claims[0].headline.verdict == "base not above the untrained network"
    assert low.claims[0].headline.tested == high.claims[0].headline.tested
    assert low.claims[0].judged["online.top1"].verdict == "holds", "online needs a training, so that it has no baseline"
    assert "**" not in to_markdown(low).split("Claims")[0].split("linear")[-1]


def test_tables_show_baselines_below_their_rows_and_a_dash_where_there_is_none(tmp_path):
    lines = [
        line
        for line in to_markdown(build_table(with_untrained(tmp_path, 80), tmp_path)).splitlines()
        if "Untrained" in line
    ]
    assert len(lines) == 1
    cells = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert cells == ["Untrained network", "80.1 ± 0.1 (80.6)", "–", "78.1 ± 0.1"]


def test_figures_show_baselines_as_dotted_lines(tmp_path):
    made = with_untrained(tmp_path, 90)
    figure = {"id": "f", "paper": "gps", "kind": "with-without", "title": "GPS", "table": "gps-weak"}
    texts = {}
    for metric in ("linear.top1", "online.top1"):
        draw(figure | {"metric": metric}, made, tmp_path, tmp_path / metric)
        texts[metric] = (tmp_path / f"{metric}.svg").read_text()
    assert "untrained network" in texts["linear.top1"]
    assert "untrained network" not in texts["online.top1"]


def test_the_lines_are_at_the_means_of_the_baselines(tmp_path):
    table = build_table(with_untrained(tmp_path, 90), tmp_path)
    axes = Figure().subplots()
    figures._draw_baselines(axes, table, "c0", "linear.top1")
    (line,) = axes.get_lines()
    assert list(line.get_ydata()) == pytest.approx([90.1] * 2)
    assert line.get_linestyle() == ":"


def test_the_provenance_page_lists_baselines_and_links_only_what_was_trained(tmp_path):
    text = provenance_page([with_untrained(tmp_path, 80)], tmp_path)
    assert text.count("<code>untrained-digits-") == 3
    assert 'href="#untrained' not in text
    assert 'href="#simclr-digits-' in text


# --- on a cluster ---------------------------------------------------------------------------------------------------


def test_a_baseline_asks_for_what_an_evaluation_of_the_same_size_does(root):
    build = planned(root)
    requests = Requests(build, read_site({}))
    for name, entry in build.plan.baselines.items():
        like = build.plan.evaluations[entry["like"]]
        assert build.plan.runs[like["run"]]["dataset"] == entry["dataset"]
        assert requests.evaluation(name) == requests.evaluation(entry["like"])
