"""The benchmark: its report is complete and its arithmetic right. Speeds are never tested, on no machine."""

import copy
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sslpairs import cli
from sslpairs.bench import setting
from sslpairs.bench.arms import Bare, Ours, Stock, random_views
from sslpairs.bench.measure import bench, count_flops, measure_rounds, ratio, spread
from sslpairs.bench.report import COLUMNS, cells, facts, to_markdown, to_terminal
from sslpairs.bench.setting import AUGMENTATION, QUICK, Setting, all_labels, bench_spec
from sslpairs.config.labels import parse_label
from sslpairs.config.methods import METHODS
from sslpairs.config.strategies import STRATEGIES
from sslpairs.errors import UserError
from sslpairs.training.optimization import base_rate

PROJECT = Path(__file__).resolve().parents[1]
TINY = Setting(size=8, batch=8, steps=1, stock_steps=1, repeats=3)


def run(*arguments: str, folder: Path = PROJECT) -> subprocess.CompletedProcess:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "80", "NO_COLOR": "1"}
    environment.pop("SSLPAIRS_WARM", None)
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


# --- arithmetic -----------------------------------------------------------------------------------------------------


def test_a_spread_is_median_and_extremes():
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0}


def test_a_ratio_is_taken_within_each_round():
    # The third round is ten times slower for both, which changes nothing.
    assert ratio([2.0, 4.0, 30.0], [1.0, 2.0, 10.0]) == {"median": 2.0, "min": 2.0, "max": 3.0}
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])


def test_everything_is_measured_once_a_round_after_one_round_that_does_not_count():
    called = []

    def arm(name: str):
        return lambda: called.append(name) or float(len(called))

    rounds = measure_rounds({"a": arm("a"), "b": arm("b")}, 2)
    assert "".join(called) == "ababab"
    assert rounds == {"a": [3.0, 5.0], "b": [4.0, 6.0]}


def test_operations_are_those_of_products_forwards_and_backwards():
    layer, x = nn.Linear(5, 7), torch.randn(3, 5)
    once = 2 * 3 * 5 * 7
    assert count_flops(lambda: layer(x)) == once
    # x needs no gradient: of the backward pass only the weights' product is left.
    assert count_flops(lambda: layer(x).sum().backward()) == 2 * once


def test_operations_of_strategies_are_those_of_their_passes():
    """Counted by hand in forward passes f of one view; the first layer needs no gradient of its input."""
    setting = Setting(size=16, batch=32, steps=1)
    arms = {label: Ours(label, setting) for label in ("simclr", "simclr+mixco", "simclr+clae", "simclr+gps")}
    found = {label: count_flops(arm.step) for label, arm in arms.items()}
    method, (x, _) = arms["simclr"].trainer.method, random_views(setting)
    f, first = count_flops(lambda: method.embed(x)), count_flops(lambda: method.backbone[0](x))
    assert found["simclr"] == pytest.approx(2 * (3 * f - first), rel=0.02)
    # MixCo: half as many mixed images as images, of both views.
    assert found["simclr+mixco"] - found["simclr"] == pytest.approx(3 * f - first, rel=0.02)
    # CLAE: the anchor, the attack forwards and back to the pixels, and the adversarial view.
    assert found["simclr+clae"] - found["simclr"] == pytest.approx(3 * f + (3 * f - first), rel=0.02)
    assert found["simclr+gps"] == found["simclr"]


# --- what is compared -----------------------------------------------------------------------------------------------


def test_every_base_method_and_strategy_is_measured():
    assert set(METHODS) <= set(all_labels())
    assert {name for label in all_labels() for name in parse_label(label).strategies} == set(STRATEGIES)
    assert set(QUICK) <= set(all_labels())
    for label in all_labels():
        assert bench_spec(label, TINY).base == parse_label(label).base


def test_what_the_recipe_has_no_values_for_is_not_measured(monkeypatch):
    full = setting.recipe()
    lacking = full.model_copy(update={"strategies": full.strategies.model_copy(update={"gps": None})})
    monkeypatch.setattr(setting, "recipe", lambda: lacking)
    assert "simclr+gps" not in all_labels()
    with pytest.raises(UserError, match=r"'byol\+gps': config/recipes/cifar10-mini.yaml has no values for 'gps'"):
        bench_spec("byol+gps", TINY)


def test_the_stock_pipeline_has_the_same_networks_and_rates():
    stock, ours, bare = Stock(TINY, workers=0), Ours("simclr", TINY).trainer, Bare("simclr", TINY)

    def shapes(modules) -> list[torch.Size]:
        return [p.shape for module in modules for p in module.parameters()]

    assert shapes([stock.model]) == shapes(ours.method.online_modules()) == shapes(bare.method.online_modules())
    for key in ("momentum", "weight_decay"):
        assert len({arm.optimizer.param_groups[0][key] for arm in (stock, ours, bare)}) == 1
    assert type(stock.optimizer) is type(ours.optimizer) is type(bare.optimizer)


def test_the_stock_pipelines_transforms_have_the_parameters_of_ours():
    steps = {
        type(step).__name__: step
        for step in Stock(TINY, workers=0).loader.dataset.dataset.transform.transforms[0].transform.transforms
    }
    crop, apply = steps["RandomResizedCrop"], steps["RandomApply"]
    jitter = apply.transforms[0]
    assert list(crop.scale) == AUGMENTATION["crop"]["scale"]
    assert list(crop.ratio) == pytest.approx(AUGMENTATION["crop"]["ratio"])
    assert steps["RandomHorizontalFlip"].p == AUGMENTATION["flip"]
    assert steps["RandomGrayscale"].p == AUGMENTATION["grayscale"]
    assert apply.p == AUGMENTATION["jitter"]["probability"]
    for key in ("brightness", "contrast", "saturation"):
        assert tuple(getattr(jitter, key)) == (1 - AUGMENTATION["jitter"][key], 1 + AUGMENTATION["jitter"][key])
    assert tuple(jitter.hue) == (-AUGMENTATION["jitter"]["hue"], AUGMENTATION["jitter"]["hue"])
    assert steps["GaussianBlur"].prob == 0.0
    assert AUGMENTATION["blur"] is None


def test_the_bare_step_is_the_step_of_the_training_on_the_same_views():
    """Same weights, same views: the bare step and the training step move them alike."""
    ours, bare = Ours("byol", TINY), Bare("byol", TINY)
    for group in bare.optimizer.param_groups:
        group["lr"] = ours.trainer.optimizer.param_groups[0]["lr"]
    ours.step()
    bare.step()
    for mine, other in zip(ours.trainer.method.parameters(), bare.method.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.slow
def test_the_stock_pipeline_needs_no_lightning():
    code = (
        "import sys; from sslpairs.bench.arms import Stock; from sslpairs.bench.setting import Setting\n"
        "if __name__ == '__main__': Stock(Setting(size=8, batch=8, steps=1, stock_steps=1), workers=0).seconds()\n"
        "print([name for name in sys.modules if name == 'pytorch_lightning'])"
    )
    assert run("-c", code).stdout.strip() == "[]"


# --- the report -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # made before a test's own threads are set
    made = bench([TINY], ["simclr+mixco", "byol"], ["simclr"], lambda line: None)
    torch.set_num_threads(before)
    return made


@pytest.mark.slow
def test_the_report_has_a_row_for_every_method_and_its_base(report):
    rows = report["sizes"][0]["rows"]
    assert [row["label"] for row in rows] == ["simclr", "simclr+mixco", "byol"]
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    for row in rows:
        spreads = [value for value in row.values() if isinstance(value, dict) and "median" in value]
        assert len(spreads) >= 3
        assert all(0 < value["min"] <= value["median"] <= value["max"] for value in spreads)
        assert row["images_per_second"]["median"] == pytest.approx(TINY.batch / row["seconds_per_step"]["median"])
        assert row["flops_per_step"] > 0
    simclr, mixco, byol = rows
    assert ("share_of_bare_step" in simclr, "share_of_bare_step" in mixco, "share_of_bare_step" in byol) == (1, 0, 1)
    assert mixco["flops_over_base"] == mixco["flops_per_step"] / simclr["flops_per_step"]
    assert "over_base" in mixco
    assert [row["label"] for row in rows if "ratio_to_lightly_stock" in row] == ["simclr"]


@pytest.mark.slow
def test_the_headline_is_simclr_at_the_first_size(report):
    simclr = report["sizes"][0]["rows"][0]
    for key in ("ratio_to_lightly_stock", "share_of_bare_step"):
        assert report[key] == simclr[key]["median"]
    # Medians of an odd number of rounds are those of one round each.
    assert simclr["share_of_bare_step"]["min"] <= report["share_of_bare_step"] <= simclr["share_of_bare_step"]["max"]


@pytest.mark.slow
def test_memory_is_that_of_a_training_alone(report):
    simclr, mixco, _ = report["sizes"][0]["rows"]
    assert 0 < simclr["peak_memory"]["before"] < simclr["peak_memory"]["peak"]
    assert mixco["peak_memory"] is None


@pytest.mark.slow
def test_the_machine_and_the_versions_are_told(report):
    machine = report["machine"]
    assert machine["threads"] == 1
    assert 1 <= machine["cores"] <= os.cpu_count()
    assert machine["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert {"python", "torchvision", "lightly"} <= set(machine["versions"])


@pytest.mark.slow
def test_table_and_page_show_every_row(report):
    from rich.console import Console

    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    wide = copy.deepcopy(report)  # a machine on which numbers scatter wildly
    wide["sizes"][0]["rows"][0]["ratio_to_lightly_stock"] = {"median": 1234.56, "min": 0.01, "max": 123456.78}
    for shown in (report, wide):
        for table in to_terminal(shown):
            console.print(table)
    shown, page = console.export_text(), to_markdown(report)
    assert "…" not in shown
    for row in report["sizes"][0]["rows"]:
        line = f"| {' | '.join(cells(row).values())} |"
        assert line in page
        assert line.count("|") == len(COLUMNS) + 1
        assert row["title"].split(" + ")[-1] in shown
    assert all(line in page for line in facts(report))


@pytest.mark.slow
def test_a_busy_machine_is_told(report):
    busy = report | {"machine": report["machine"] | {"load_before": 3.0, "cores": 2}}
    calm = report | {"machine": report["machine"] | {"load_before": 0.1, "cores": 2}}
    assert "busy" in " ".join(facts(busy))
    assert "busy" not in " ".join(facts(calm))


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_json_on_standard_output_is_json_alone(tmp_path):
    words = ["--size", "8", "--batch", "8", "--repeats", "1", "--methods", "simclr,simclr+clae", "--threads", "1"]
    page = tmp_path / "page.md"
    done = run("-m", "sslpairs", "bench", "--quick", *words, "--json", "-", "--markdown", str(page), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ratio_to_lightly_stock"] > 0
    assert report["share_of_bare_step"] > 0
    assert report["sizes"][0]["setting"]["size"] == 8
    assert page.read_text() == to_markdown(report)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--methods", "simclrr"], "did you mean 'simclr'"),
        (["--methods", "moco+dimcl"], "write mocoplus+dimcl"),
        (["--size", "4"], "--size 4: must be at least 8"),
        (["--batch", "7"], "--batch 7"),
        (["--repeats", "0"], "--repeats 0: must be at least 1"),
        (["--threads", "0"], "--threads 0: must be at least 1"),
        (["--network", "resnet"], "did you mean 'resnet18'"),
        (["--precision", "float16"], "did you mean 'bfloat16'"),
        (["--device", "cuda:99"], "'cuda:99' was requested"),
        (["--device", "gpu"], "--device gpu: write auto"),
    ],
    ids=" ".join,
)
def test_mistakes_are_answered_before_anything_is_measured(capsys, words, said):
    with pytest.raises(SystemExit) as end:
        cli.main(["bench", *words])
    text = capsys.readouterr().err
    assert end.value.code == 2
    assert said in text
    assert len(text.splitlines()) <= 2


def test_a_size_that_cannot_be_measured_is_refused():
    with pytest.raises(UserError, match="must be at least 1"):
        bench([Setting(steps=0)], ["simclr"], [], lambda line: None)


# --- the GPU's script, on the CPU -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gpu():
    specification = importlib.util.spec_from_file_location("gpu", PROJECT / "benchmarks/gpu.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules["gpu"] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def photographs(tmp_path) -> Path:
    draws = np.random.default_rng(0)
    for split, count in (("train", 10), ("test", 2)):
        for name in "abcdefghij":
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draws.integers(256, size=(16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.jpg")
    return tmp_path / "images"


@pytest.mark.slow
def test_the_gpus_script_checks_measures_and_trains_at_the_size_of_a_toy(tmp_path, photographs):
    out = tmp_path / "report.json"
    done = run("benchmarks/gpu.py", "--device", "cpu", "--small", "--data", str(photographs), "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(out.read_text())
    parts = report["parts"]
    assert list(parts) == ["correctness", "data", "training", "speed"]
    assert not any("error" in part for part in parts.values())
    assert report["checks"]
    assert all(check["good"] for check in report["checks"])
    assert parts["speed"]["ratio_to_lightly_stock"] > 0
    assert parts["speed"]["profile"]["most_time"]
    assert (parts["data"]["train"], parts["data"]["test"]) == (100, 20)
    assert parts["training"]["epochs"] == len(parts["training"]["rows"]) == 2
    assert 0 <= parts["training"]["knn_top1"] <= 100


def test_the_gpus_script_ends_with_its_budget_and_keeps_what_it_has(gpu, tmp_path, capsys):
    out = tmp_path / "report.json"
    words = ["--device", "cpu", "--small", "--only", "training", "--budget", "1", "--out", str(out)]
    gpu.main(words)
    report = json.loads(out.read_text())
    assert report["parts"]["training"]["epochs"] == 1
    assert "knn_top1" in report["parts"]["training"]
    assert "the budget ends here" in capsys.readouterr().out


def test_a_part_that_fails_is_reported_and_the_next_one_runs(gpu, tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("made up")

    monkeypatch.setattr(gpu, "speed", fails)
    out = tmp_path / "report.json"
    assert gpu.main(["--device", "cpu", "--small", "--only", "speed,training", "--out", str(out)]) == 1
    report = json.loads(out.read_text())
    assert "made up" in report["parts"]["speed"]["error"]
    assert report["parts"]["training"]["epochs"] == 2
    assert [check["what"] for check in report["checks"] if not check["good"]] == ["speed runs to its end"]


def test_losses_that_differ_are_noticed(gpu, tmp_path, monkeypatch):
    report = gpu.Report(tmp_path / "report.json", 60)
    found = {"cpu": 1.0, "float32": 1.0, "bfloat16": 1.0}
    monkeypatch.setattr(gpu, "losses", lambda label, place, precision: [found[precision]] * gpu.STEPS)
    gpu.correctness(report, ["simclr"], "cpu", {})
    assert all(check["good"] for check in report.content["checks"])
    found["bfloat16"] = 1.02
    gpu.correctness(report, ["simclr"], "cpu", {})
    assert [c["what"] for c in report.content["checks"] if not c["good"]] == [
        "simclr: bfloat16 against float32, 5 steps"
    ]


def test_the_gpus_training_is_lightlys(gpu):
    images = gpu.random_images(32, 20, "cpu")
    spec = gpu.run_spec(images, gpu.scales("cpu")["full"])
    assert base_rate(spec.optimizer, spec.batch_size) == pytest.approx(0.24)  # 6e-2 * 512 / 128
    assert (spec.batch_size, spec.epochs, spec.precision) == (512, 200, "bfloat16")
    assert (spec.backbone.depth, spec.backbone.stem) == (18, "cifar")
    assert (spec.method.simclr.projector.hidden, spec.method.simclr.projector.output) == ([512], 128)
    assert (spec.optimizer.momentum, spec.optimizer.weight_decay) == (0.9, 5e-4)
    assert spec.augmentation.model_dump(exclude={"second"}) == bench_spec("simclr", TINY).augmentation.model_dump(
        exclude={"second"}
    )
    assert (gpu.recipe().evaluation.knn.neighbours, gpu.recipe().evaluation.knn.temperature) == (200, 0.1)


@pytest.mark.gpu
def test_no_step_waits_for_the_gpu(gpu):
    for label in gpu.scales("cuda")["full"].compared:
        gpu.losses(label, "cuda", "bfloat16")


# --- the time that it may take --------------------------------------------------------------------------------------


def test_no_round_begins_that_would_last_too_long_but_the_first_is_measured():
    import time

    def slow() -> float:
        time.sleep(0.02)
        return 1.0

    started, counted = time.monotonic(), []
    assert measure_rounds({"a": slow}, 3, started, lambda: counted.append(1)) == {"a": [1.0]}
    assert len(counted) == 2  # with the one that does not count
    assert len(measure_rounds({"a": slow}, 3, started + 60)["a"]) == 3


@pytest.fixture(scope="module")
def hurried():
    """The report of a machine that has no time, and what its progress said."""
    import time

    ticks = []
    made = bench(
        [TINY], ["simclr"], ["simclr"], lambda line: None, time.monotonic(), lambda *facts: ticks.append(facts)
    )
    return made, ticks


@pytest.mark.slow
def test_a_slow_machine_measures_fewer_rounds_and_says_so(hurried, report):
    made, ticks = hurried
    assert made["sizes"][0]["rows"][0]["rounds"] == 1
    assert made["sizes"][0]["rows"][0]["peak_memory"] is None
    assert [(done, total) for done, total, _ in ticks][-1] == (1 + TINY.repeats, 1 + TINY.repeats)
    said = "\n".join(facts(made))
    assert f"too slow for {TINY.repeats} rounds in the time given: measured were 1 for simclr; fewer than 3" in said
    assert "no time was left for the memory of simclr" in said
    assert "medians of 1 round (" in to_markdown(made)
    assert f"medians of {TINY.repeats} rounds (" in to_markdown(report)
    assert report["notes"] == []
    assert "too slow" not in "\n".join(facts(report))


def test_quick_has_a_minute_unless_rounds_are_asked_for(monkeypatch):
    from sslpairs.bench import measure

    given = []

    def stop(settings, labels, memory, say, until, tick):
        given.append(until)
        raise UserError("enough")

    monkeypatch.setattr(measure, "bench", stop)
    for words in (["--quick"], ["--quick", "--repeats", "9"], []):
        with pytest.raises(SystemExit):
            cli.main(["bench", "--threads", "1", *words])
    assert given[0] is not None
    assert given[1:] == [None, None]
