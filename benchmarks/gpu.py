"""All that is to be seen on a GPU, in one command and at most ten minutes, without a network:

    python benchmarks/gpu.py --data cifar10-jpeg.tar.xz --out gpu.json

1. data: decode the archive (train/<class>/*, test/<class>/*) that is given; nothing is ever downloaded.
2. correctness: losses of small trainings on CPU and GPU agree in float32, and of float32 and bfloat16 on the GPU; no step
   waits for the GPU.
3. training: SimCLR as in config/recipes/cifar10-lightly.yaml, 200 epochs with compiled networks, then kNN and linear evaluation.
4. speed: ResNet-18 (3x3 stem), 32 px, batch 512, bfloat16, beside the bare step and lightly's stock pipeline, each of ours
   with and without compiled networks; a profile.

Goals, on one H100, with compiled networks: training in 6 minutes with lightly's kNN of 84.8 %, more than 20,000 images a second,
5 times lightly's stock pipeline, 0.90 of the bare step; an evaluation in 10 seconds. The report is written anew after every part
and every few epochs, so that a kill loses nothing. Needs torch, torchvision, numpy, pillow, lightly (with lightning-utilities),
pydantic and pyyaml.
``--device cpu --small`` runs all of it at the size of a toy. Exit code 1 where a check fails or a goal is missed.
"""

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import torch  # noqa: E402

from sslpairs.backbones.features import features  # noqa: E402
from sslpairs.bench.arms import Ours, wait  # noqa: E402
from sslpairs.bench.measure import bench, machine, measure_rounds, ratio  # noqa: E402
from sslpairs.bench.setting import NETWORKS, Setting, bench_spec, random_images  # noqa: E402
from sslpairs.config.datasets import DatasetSettings  # noqa: E402
from sslpairs.config.methods import METHODS  # noqa: E402
from sslpairs.config.optimization import Constant, SGDSettings  # noqa: E402
from sslpairs.config.reading import load_yaml  # noqa: E402
from sslpairs.config.recipes import Methods, Recipe, Strategies  # noqa: E402
from sslpairs.config.sources.image_folder import ImageFolderSettings  # noqa: E402
from sslpairs.config.strategies import STRATEGIES  # noqa: E402
from sslpairs.data.arrays import ImageData, load  # noqa: E402
from sslpairs.data.prepare import prepare  # noqa: E402
from sslpairs.distributed.device import configure_process, pick_device  # noqa: E402
from sslpairs.evaluation.encoded import Encoded  # noqa: E402
from sslpairs.evaluation.knn import knn_predict  # noqa: E402
from sslpairs.evaluation.linear import measure as measure_linear  # noqa: E402
from sslpairs.files import write_atomic  # noqa: E402
from sslpairs.plan.spec import RunSpec  # noqa: E402
from sslpairs.training.trainer import Trainer  # noqa: E402

RATE = 0.001
STEPS, FIRST = 20, 5
FLOAT32 = {FIRST: 1e-4, STEPS: 1e-2}
"""Steps -> largest difference of a loss so far, between CPU and GPU in float32. Training amplifies rounding: on the CPU, at
this rate, a change of all weights by 1e-6 moves the losses of these methods by at most 1.5e-5 in the first 5 steps, and by
1.3e-3 in 20 (Barlow Twins, NNCLR; most of them less than 1e-4)."""
BFLOAT16 = {FIRST: 1e-2, STEPS: 5e-2}
"""The same between bfloat16 and float32 networks; on the CPU at most 2.6e-3 and 1.3e-2."""
RESERVE = 30.0
"""Seconds of the budget that are kept for the evaluation after the last epoch."""


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    compared: tuple[str, ...]
    """Labels whose losses on CPU and GPU are compared."""
    setting: Setting
    """Of the speed."""
    labels: tuple[str, ...]
    """Whose speed is measured."""
    epochs: int
    batch: int
    per_class: tuple[int | None, int | None]
    """Training and test images of each class; None for all."""
    neighbours: int


def scales(device: str) -> dict[str, Scale]:
    """``full`` for an H100, ``small`` to see that everything runs."""
    compared = (*METHODS, *(f"simclr+{name}" for name in STRATEGIES), "byol+dimcl", "simclr+mixco+clae")
    full = Setting(32, 512, 20, 6, 5, device, "resnet18", "bfloat16")
    small = Setting(16, 16, 2, 1, 1, device, "convnet", "bfloat16")
    return {
        "full": Scale(compared, full, ("simclr", "simclr+mixco", "simclr+clae", "byol"), 200, 512, (None, None), 200),
        "small": Scale(compared[-1:], small, ("simclr", "simclr+clae"), 2, 16, (10, 2), 5),
    }


class Report:
    """What is known so far; a file that is whole at any moment."""

    def __init__(self, path: Path, budget: float):
        self.path, self.started, self.budget = path, time.monotonic(), budget
        self.content: dict[str, Any] = {"format": 1, "checks": [], "parts": {}}

    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.budget - (time.monotonic() - self.started)

    def check(self, what: str, found: float | None, limit: float, *, least: bool) -> None:
        """Note whether ``found`` is at least, or at most, ``limit``."""
        good = found is not None and (found >= limit if least else found <= limit)
        self.content["checks"].append(
            {"what": what, "found": found, "limit": limit, "rule": "at least" if least else "at most", "good": good}
        )
        shown = "nothing" if found is None else f"{found:,.6g}"
        say(f"  {'ok ' if good else 'BAD'} {what}: {shown} ({'at least' if least else 'at most'} {limit:,g})")

    def part(self, name: str, run: Callable[[dict[str, Any]], None]) -> bool:
        """Run one part, which fills a mapping; a part that fails is noted, and the next one runs."""
        content = self.content["parts"][name] = {}
        started = time.monotonic()
        say(f"{name} ({self.left():.0f} s left)")
        try:
            run(content)
        except Exception as error:
            content["error"] = traceback.format_exc()
            self.content["checks"].append({"what": f"{name} runs to its end", "found": str(error), "good": False})
            say(f"  BAD {type(error).__name__}: {error}")
        content["seconds"] = round(time.monotonic() - started, 2)
        self.save()
        return "error" not in content

    def save(self) -> None:
        """Write all that is known."""
        self.content["seconds"] = round(time.monotonic() - self.started, 1)
        write_atomic(self.path, json.dumps(self.content, indent=1) + "\n")


def say(line: str) -> None:
    print(line, flush=True)


# --- data ---------------------------------------------------------------------------------------------------------


def read_data(archive: Path, scale: Scale, device: torch.device, content: dict[str, Any]) -> ImageData:
    """The images of an archive or folder, on the device."""
    train, test = scale.per_class
    source = ImageFolderSettings(
        kind="image-folder",
        path=str(archive.resolve()),
        size=scale.setting.size,
        train_per_class=train,
        test_per_class=test,
    )
    with tempfile.TemporaryDirectory() as folder:
        prepare("cifar10", DatasetSettings(title="CIFAR-10 (JPEG)", source=source), Path(folder))
        data = load("cifar10", Path(folder), device)
    content |= {"content": data.content, "train": len(data.train.labels), "test": len(data.test.labels)}
    say(f"  {content['train']:,} training and {content['test']:,} test images")
    return data


# --- correctness ----------------------------------------------------------------------------------------------------


def losses(label: str, device: str, precision: Literal["float32", "bfloat16"]) -> list[float]:
    """Of each step of a small training. Everything random is drawn on the CPU, so that devices see the same views.

    On a GPU a step after the first one that waits for the GPU raises ``RuntimeError``.
    """
    setting = Setting(size=16, batch=64, steps=STEPS, device=device, precision=precision)
    optimizer = SGDSettings(name="sgd", lr=RATE, reference_batch=None, momentum=0.9, weight_decay=5e-4)
    changes = {"optimizer": optimizer, "schedule": Constant(name="constant", warmup_epochs=0), "epochs": 10}
    spec = bench_spec(label, setting).model_copy(update=changes)
    images = random_images(setting.size, STEPS * setting.batch, device)
    trainer = Trainer(label, spec, images, ROOT, torch.device(device))
    found, step = [], trainer._step

    def recorded(*arguments: Any) -> torch.Tensor:
        found.append(step(*arguments))
        # Between the first step and the last one: an epoch's loss is read at its end.
        waiting_is_an_error(device, len(found) < trainer.steps_per_epoch)
        return found[-1]

    trainer._step = recorded
    try:
        trainer._epoch(0)
    finally:
        waiting_is_an_error(device, False)
    return torch.stack(found).cpu().tolist()


def waiting_is_an_error(device: str, on: bool) -> None:
    """Whether the host may wait for the GPU."""
    if torch.device(device).type == "cuda":
        torch.cuda.set_sync_debug_mode("error" if on else "default")


def difference(ours: list[float], reference: list[float]) -> float:
    """Largest difference, relative to the loss where it exceeds 1 (SimSiam's passes through 0)."""
    return max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(ours, reference, strict=True))


def correctness(report: Report, labels: Sequence[str], device: str, content: dict[str, Any]) -> None:
    """Losses of CPU and device, of float32 and bfloat16."""
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        for label in labels:
            try:
                cpu, float32, bfloat16 = (
                    losses(label, place, precision)
                    for place, precision in (("cpu", "float32"), (device, "float32"), (device, "bfloat16"))
                )
            except RuntimeError as error:  # a wait for the GPU is one
                content[label] = {"error": traceback.format_exc()}
                report.content["checks"].append({"what": f"{label} trains", "found": str(error), "good": False})
                say(f"  BAD {label}: {error}")
                continue
            content[label] = {"cpu": cpu, "float32": float32, "bfloat16": bfloat16}
            for what, found, reference, limits in (
                (f"float32 on {device} against the CPU", float32, cpu, FLOAT32),
                ("bfloat16 against float32", bfloat16, float32, BFLOAT16),
            ):
                for steps, limit in limits.items():
                    apart = difference(found[:steps], reference[:steps])
                    report.check(f"{label}: {what}, {steps} steps", apart, limit, least=False)
    finally:
        torch.backends.cudnn.allow_tf32 = tf32


# --- speed ----------------------------------------------------------------------------------------------------------


def speed(report: Report, scale: Scale, content: dict[str, Any], full: bool) -> None:
    """The benchmark at the size of the training, and where the device's time goes."""
    setting = scale.setting
    content |= bench([setting], scale.labels, scale.labels if full else (), lambda line: say(f"  {line}"))
    report.save()
    show_rows(content)
    content["profile"] = profile(setting)
    report.save()
    if torch.device(setting.device).type == "cuda":
        content["compiled"] = bench(
            [replace(setting, compiled=True)], ["simclr"], (), lambda line: say(f"  {line}, compiled")
        )
        show_rows(content["compiled"])
        report.save()
        content["profile_compiled"] = profile(replace(setting, compiled=True))
        content["over_eager"] = {label: over_eager(label, setting) for label in scale.labels}
    if full:
        best = content.get("compiled", content)
        first = best["sizes"][0]["rows"][0]
        report.check("images a second", first["images_per_second"]["median"], 20_000, least=True)
        report.check("times lightly's stock pipeline", best["ratio_to_lightly_stock"], 5, least=True)
        report.check("share of the bare step", best["share_of_bare_step"], 0.90, least=True)


def show_rows(content: dict[str, Any]) -> None:
    """What a benchmark found, a line for each label."""
    for row in content["sizes"][0]["rows"]:
        kept = {
            key: row[key]["median"]
            for key in ("images_per_second", "share_of_bare_step", "over_base", "ratio_to_lightly_stock")
            if key in row
        }
        say(f"  {row['title']}: " + ", ".join(f"{key} {value:,.2f}" for key, value in kept.items()))


def over_eager(label: str, setting: Setting) -> dict[str, Any]:
    """A label with and without ``torch.compile``, in the same rounds; the first round compiles and does not count."""
    started = time.monotonic()
    try:
        eager, fused = (Ours(label, replace(setting, compiled=on)).seconds for on in (False, True))
        fused()
        to_compile = time.monotonic() - started
        rounds = measure_rounds({"eager": eager, "compiled": fused}, setting.repeats)
    except Exception as error:
        say(f"  BAD {label} compiled: {type(error).__name__}: {error}")
        return {"error": traceback.format_exc()}
    over = ratio(rounds["eager"], rounds["compiled"])
    say(f"  {label}, compiled: {over['median']:.2f} times the images a second, after {to_compile:.0f} s")
    return {"over_eager": over, "seconds_to_compile": round(to_compile, 1), "rounds": rounds}


def profile(setting: Setting) -> dict[str, Any]:
    """Where the time of an epoch goes: kernels and operators with most time, and the GPU's idle share (one stream)."""
    from torch.profiler import ProfilerActivity

    ours = Ours("simclr", setting)
    ours.seconds()
    cuda = torch.device(setting.device).type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with torch.profiler.profile(activities=activities, acc_events=True) as profiler:
        started = time.perf_counter()
        ours.trainer._epoch(1)
        wait(setting.device)
        seconds = time.perf_counter() - started
    key = "self_device_time_total" if cuda else "self_cpu_time_total"
    events = sorted(profiler.key_averages(), key=lambda event: getattr(event, key), reverse=True)
    # An operator is charged with its kernels, which are listed apart: only the kernels are added up.
    kernels = [e for e in events if e.device_type == torch.autograd.DeviceType.CUDA and not e.is_user_annotation]
    kernels = kernels if cuda else events
    busy = sum(getattr(event, key) for event in kernels) / 1e6
    top = [{"name": e.key[:120], "seconds": getattr(e, key) / 1e6, "calls": e.count} for e in kernels[:15]]
    if cuda:
        say(f"  the GPU is idle for {max(0.0, 1 - busy / seconds):.1%} of a profiled epoch")
    return {
        "seconds": seconds,
        "gpu_idle_share": max(0.0, 1 - busy / seconds) if cuda else None,
        "most_time": top,
        "about": "with the profiler's own cost, which makes the idle share larger than it is",
    }


# --- training -------------------------------------------------------------------------------------------------------


def recipe() -> Recipe:
    """``config/recipes/cifar10-lightly.yaml``."""
    return Recipe.model_validate(load_yaml(ROOT / "config/recipes/cifar10-lightly.yaml", ROOT))


def run_spec(data: ImageData, scale: Scale) -> RunSpec:
    """The recipe's SimCLR on these images."""
    how = recipe()
    training = how.training
    return RunSpec(
        dataset=data.content,
        backbone=NETWORKS[scale.setting.network],
        method=Methods(simclr=how.methods.simclr),
        strategies=Strategies(),
        augmentation=how.augmentations[training.augmentation],
        optimizer=training.optimizer,
        schedule=training.schedule,
        online=training.online,
        precision=training.precision,
        batch_size=scale.batch,
        epochs=scale.epochs,
        seed=0,
    )


def evaluation(trainer: Trainer, data: ImageData, neighbours: int, content: dict[str, Any]) -> None:
    """Seconds of each part, and top-1 in percent: lightly's kNN (cosine, weights exp(cosine / 0.1)) and the linear protocol."""
    network, how = trainer.method.backbone, recipe().evaluation
    started = time.monotonic()

    def part(name: str) -> None:
        nonlocal started
        wait(str(trainer.device))
        content[name], started = round(time.monotonic() - started, 3), time.monotonic()

    train, test = (features(network, split.images, data.mean, data.std) for split in (data.train, data.test))
    part("features_seconds")
    predicted = knn_predict(train, data.train.labels, test, neighbours, how.knn.temperature, 10)
    content["knn_top1"] = 100 * (predicted == data.test.labels).double().mean().item()
    part("knn_seconds")
    linear = measure_linear(how.linear, Encoded((train, data.train.labels), (test, data.test.labels), 10, 0))
    content["linear_top1"] = linear["top1"]
    part("linear_seconds")


class BudgetSpent(Exception):
    """Ends a training before its last epoch."""


def train(report: Report, data: ImageData, scale: Scale, device: torch.device, full: bool, content: dict) -> None:
    """All epochs as `sslpairs train` does them, states included, or as many as the budget allows, then kNN."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    trainer = Trainer("cifar10 simclr", run_spec(data, scale), data, ROOT, device)
    content |= {"epochs_asked": scale.epochs, "rows": [], "compiled": device.type == "cuda"}
    if content["compiled"]:
        trainer.compile()
    started, every, epoch = time.monotonic(), max(1, scale.epochs // 20), trainer._epoch

    def seen(number: int) -> dict[str, Any]:
        began = time.monotonic()
        content["rows"].append(epoch(number) | {"seconds": round(time.monotonic() - began, 3)})
        content["training_seconds"] = round(time.monotonic() - started, 2)
        return content["rows"][-1]

    def progress(done: int, total: int, facts: str) -> None:
        if done % every == 0 or done <= 2:
            say(f"  epoch {done}/{total}: {content['training_seconds']:.0f} s, {facts}")
            report.save()
        if report.left() < RESERVE + 2 * content["rows"][-1]["seconds"]:
            raise BudgetSpent

    trainer._epoch = seen
    with tempfile.TemporaryDirectory() as folder:
        try:
            trainer.fit(Path(folder) / "last.ckpt", {}, progress=progress)
        except BudgetSpent:
            say(f"  the budget ends here, after {len(content['rows'])} epochs")
    content["training_seconds"] = round(time.monotonic() - started, 2)
    content["epochs"] = len(content["rows"])
    report.save()
    evaluation(trainer, data, scale.neighbours, content)
    if torch.device(device).type == "cuda":
        content["peak_memory_mb"] = torch.cuda.max_memory_allocated() / 1e6
    say(f"  kNN {content['knn_top1']:.2f} % after {content['epochs']} epochs in {content['training_seconds']:.0f} s")
    parts = {name: content[f"{name}_seconds"] for name in ("features", "knn", "linear")}
    say(
        f"  linear {content['linear_top1']:.2f} %; seconds: "
        + ", ".join(f"{name} {value:.1f}" for name, value in parts.items())
    )
    if full:
        report.check("epochs of the CIFAR-10 run", content["epochs"], scale.epochs, least=True)
        report.check("its seconds", content["training_seconds"], 360, least=False)
        report.check("its kNN top-1 in percent (lightly: 84.8)", content["knn_top1"], 84.8, least=True)
        report.check("seconds of its evaluation", sum(parts.values()), 10, least=False)


def main(arguments: list[str] | None = None) -> int:
    """All parts; answers the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog="See the head of this file.")
    parser.add_argument(
        "--data", type=Path, help="folder or archive of CIFAR-10's images; with --small it may be left out"
    )
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="the report (default: gpu.json)")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--budget", type=float, default=600.0, help="seconds for everything (default: 600)")
    parser.add_argument("--epochs", type=int, help="other than the recipe's 200")
    parser.add_argument("--small", action="store_true", help="everything at the size of a toy, to see that it runs")
    parser.add_argument("--only", default="correctness,training,speed", help="parts, with commas between")
    asked = parser.parse_args(arguments)
    if asked.data is None and not asked.small:
        parser.error("--data: name the archive or folder with CIFAR-10's images")
    parts = asked.only.split(",")
    if unknown := sorted(set(parts) - {"correctness", "training", "speed"}):
        parser.error(f"--only: '{unknown[0]}' is none of correctness, speed, training")
    device, full = pick_device(asked.device), not asked.small
    configure_process(torch.get_num_threads())
    scale = scales(str(device))["small" if asked.small else "full"]
    if asked.epochs:
        scale = Scale(**vars(scale) | {"epochs": asked.epochs})
    report = Report(asked.out, asked.budget)
    report.content |= {"small": asked.small, "machine": machine(str(device), None)}
    say(f"{report.content['machine']['device']}; {report.content['machine']['versions']}")
    if "correctness" in parts:
        report.part("correctness", lambda content: correctness(report, scale.compared, str(device), content))
    if "training" in parts:
        found: list[ImageData] = []

        def data(content: dict[str, Any]) -> None:
            images = read_data(asked.data, scale, device, content) if asked.data else None
            found.append(images or random_images(scale.setting.size, 100, device))

        if report.part("data", data):
            report.part("training", lambda content: train(report, found[0], scale, device, full, content))
    if "speed" in parts:
        report.part("speed", lambda content: speed(report, scale, content, full))
    bad = [check["what"] for check in report.content["checks"] if not check["good"]]
    say(
        f"{report.content['seconds']:.0f} s; {len(report.content['checks'])} checks, not met: {', '.join(bad) or 'none'}"
    )
    say(f"report: {asked.out}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
