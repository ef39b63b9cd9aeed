"""Jobs on a cluster, without one: what is asked for, what a node knows, and builds that share a folder.

A real Slurm is started elsewhere; here its two commands are small scripts, and processes are replaced on paper only.
"""

import copy
import fcntl
import importlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from projects import edit_key as edit
from projects import write_evaluation

from sslpairs import cli, slurm
from sslpairs.config.reading import read_config
from sslpairs.config.site import Site, read_site
from sslpairs.distributed import launch, processes
from sslpairs.distributed.device import memory_used, pick_device
from sslpairs.distributed.launch import relaunch_under_torchrun
from sslpairs.errors import UserError
from sslpairs.files import sha256_text, write_record
from sslpairs.plan import requests as asking
from sslpairs.plan.build import Build
from sslpairs.plan.cost import features_flops, step_cost, training_flops
from sslpairs.plan.frozen import thaw
from sslpairs.plan.paths import run_folder
from sslpairs.plan.plan import Plan
from sslpairs.plan.planner import make_plan
from sslpairs.plan.requests import Requests, functions, given
from sslpairs.slurm import cancel_orphans
from sslpairs.training.provenance import code_and_versions, git_state
from sslpairs.workflow import announce as announcing
from sslpairs.workflow import cluster
from sslpairs.workflow.announce import announce
from sslpairs.workflow.builds import make_build
from sslpairs.workflow.cluster import Cluster, freeze_build, profile_site
from sslpairs.workflow.jobs import possible_jobs
from sslpairs.workflow.snakemake import Engine

PROJECT = Path(__file__).resolve().parents[1]
PROFILES = PROJECT / "workflow/profiles"
CONTENTS = {"digits": "d" * 64}
TABLE = "gps-augmentation"
GPU = {"gpu_request": "gres=gpu", "gpus_per_node": 8}
SHARED = GPU | {"share_request": "gres=shard:1", "gpu_shares": 4}
with_executors = pytest.mark.slow
"""Needs the executors of ``requirements-cluster.txt``, which only `make test-slow` installs."""
SMALL, LARGE = (1297, 500, 16, 1), (1297, 500, 512, 3)
"""Training images, test images, edge and channels: of the digits, and of large photographs."""


@pytest.fixture(autouse=True)
def _no_cores_left_over(monkeypatch):
    monkeypatch.setenv("SSLPAIRS_CORES", "")


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A project with the tables of GPS and MixCo, in which a run of BYOL guides GPS; two seeds."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "config", root / "config")
    for path in (root / "config/papers").glob("*.yaml"):
        if path.stem not in ("gps", "mixco"):
            path.unlink()
    edit(root, "config.yaml", "seeds", 2)
    edit(root, "scales/digits.yaml", "baselines", [])
    guide = {"kind": "run", "method": "byol", "augmentation": "weak", "layer": "backbone"}
    edit(root, "recipes/digits.yaml", "strategies.gps.guide", guide)
    return root


@pytest.fixture
def root(template, tmp_path) -> Path:
    """A copy of that project to be changed."""
    shutil.copytree(template / "config", tmp_path / "config")
    return tmp_path


def plan(root: Path, tables: str = TABLE, **overrides) -> Plan:
    made = make_plan(read_config(root, {"tables": tables} | overrides), CONTENTS)
    keep = set(made.selected)  # a plan holds what could be asked for, too: one table is enough here
    made.tables = {name: table for name, table in made.tables.items() if name in keep}
    made.figures = {name: figure for name, figure in made.figures.items() if figure["table"] in keep}
    cells = [replicate for table in made.tables.values() for cell in table["cells"] for replicate in cell["replicates"]]
    runs = Build(made, root).with_guides(replicate["run"] for replicate in cells)
    made.runs = {run: made.runs[run] for run in runs}
    evaluations = dict.fromkeys(replicate["evaluation"] for replicate in cells)
    made.evaluations = {name: made.evaluations[name] for name in evaluations}
    return made


def images(root: Path, train: int, test: int, size: int, channels: int) -> None:
    """The receipt of a prepared data set, as far as requests look at it."""
    path = root / "data/digits/dataset.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    receipt = {"format": 1, "content": CONTENTS["digits"], "image": [channels, size, size]}
    write_record(path, receipt | {"counts": {"train": train, "test": test}})


def asked(build: Build, **site) -> Requests:
    """Requests of a build as it is now, with what lies in its folder by now."""
    return Requests(Build(build.plan, build.root), read_site(GPU | site))


def finish(build: Build, run: str, device: str = "cuda:0 (NVIDIA H100)", seconds: float = 60.0, **facts) -> None:
    """A made-up receipt with its metrics and checkpoint."""
    folder = build.root / run_folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    made = {"sha256": sha256_text("made up"), "md5": sha256_text(run)[:32], "bytes": len(b"made up")}
    receipt = {"format": 1, "run": run, "spec": build.plan.runs[run]["spec"], "device": device, "checkpoint": made}
    write_record(folder / "run.json", receipt | {"metrics": made, "timing": {"seconds": seconds}} | facts)
    for name in ("checkpoint.pt", "metrics.csv"):
        (folder / name).write_bytes(b"made up")


def finish_evaluation(build: Build, run: str) -> None:
    name = evaluation_of(build, run)
    write_evaluation(build.root, name, build.plan.evaluations[name], sha256_text("made up"))


def run_of(build: Build, label: str, augmentation: str = "weak", seed: int = 0) -> str:
    wanted = (label, augmentation, seed)
    entries = build.plan.runs.items()
    return next(run for run, e in entries if (e["label"], e["augmentation"], e["seed"]) == wanted)


def evaluation_of(build: Build, run: str) -> str:
    return next(name for name, entry in build.plan.evaluations.items() if entry["run"] == run)


@pytest.fixture
def build(root) -> Build:
    """SimCLR with and without GPS under two augmentations, and the runs of BYOL that guide it: nothing is done."""
    return Build(plan(root), root)


def on_gpus(build: Build, count: int) -> None:
    for entry in build.plan.runs.values():
        entry["gpus"] = count


# --- the profile's facts --------------------------------------------------------------------------------------------


def test_the_facts_of_a_cluster_are_read_from_the_default_resources_of_its_profile():
    site = read_site({"longest_job": "36h", "gpu_request": "gres=gpu:a100", "gpus_per_node": "4", "mem_mb": 2000})
    assert (site.longest_job, site.gpu_request, site.gpus_per_node) == (36 * 60, "gres=gpu:a100", 4)


@pytest.mark.parametrize(
    ("text", "minutes"), [("90", 90), (90, 90), ("90m", 90), ("36h", 2160), ("2d", 2880), ("'2d'", 2880)]
)
def test_a_time_is_minutes_hours_or_days(text, minutes):
    assert read_site({"longest_job": text}).longest_job == minutes


@pytest.mark.parametrize("nothing", [None, "", "none", "null"])
def test_a_fact_that_is_left_empty_is_none(nothing):
    assert read_site({"gpu_request": nothing}) == Site()


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("gpus_request", "gpu_request"), ("longest_jobs", "longest_job"), ("gpu_per_node", "gpus_per_node")],
)
def test_a_misspelt_fact_is_an_error_that_names_the_right_one(wrong, right):
    with pytest.raises(UserError, match=f"slurm.yaml: {wrong}: unknown resource; did you mean '{right}'"):
        read_site({wrong: "4"}, "slurm.yaml")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("longest_job", "soon"),
        ("longest_job", "24:00:00"),
        ("longest_job", 0),
        ("gpu_request", "2 gpus"),
        ("share_request", "shard"),
        ("gpu_shares", 0),
        ("gpu_memory_gb", "80GB"),
        ("cpus_per_gpu", -1),
    ],
)
def test_a_wrong_fact_is_an_error_that_names_file_key_and_value(key, value):
    with pytest.raises(UserError, match=f"^slurm.yaml: {key}: {value!r}: ") as found:
        read_site({key: value}, "slurm.yaml")
    assert str(found.value).count("\n") < 2


@with_executors
def test_no_resource_that_slurms_executor_reads_is_taken_for_a_misspelt_fact():
    texts = [
        path.read_text()
        for plugin in ("snakemake_executor_plugin_slurm", "snakemake_executor_plugin_slurm_jobstep")
        for path in Path(importlib.import_module(plugin).__file__).parent.glob("*.py")
    ]
    names = set(re.findall(r"resources\.get\(\s*\"(\w+)\"", "".join(texts)))
    assert {"slurm_partition", "mem_mb_per_cpu", "constraint"} <= names
    read_site(dict.fromkeys(names - set(Site.model_fields), "1"))


# --- profiles -------------------------------------------------------------------------------------------------------


def profile(root: Path, text: str, name: str = "mine") -> Path:
    folder = root / "workflow/profiles" / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(text)
    return folder


def test_a_profile_is_named_by_its_name_its_folder_or_its_file(root):
    folder = profile(root, "default-resources:\n  longest_job: 2h\n")
    for name in ("mine", str(folder), str(folder / "config.yaml"), "workflow/profiles/mine"):
        assert profile_site(root, name).longest_job == 120


def test_default_resources_may_be_a_list_as_snakemake_allows(root):
    profile(root, "default-resources:\n- longest_job=2h\n- gpu_request=gres=gpu\n- odd\n")
    assert profile_site(root, "mine") == Site(longest_job=120, gpu_request="gres=gpu")


def test_a_profile_without_default_resources_describes_no_cluster(root):
    profile(root, "cores: all\n")
    assert profile_site(root, "mine") is None


def test_an_unknown_profile_is_an_error_that_names_the_known_ones(root):
    profile(root, "cores: all\n", "slurm")
    profile(root, "cores: all\n", "default")
    with pytest.raises(UserError, match=r"profile 'slum': .*did you mean 'slurm'\? \(default, slurm\)"):
        profile_site(root, "slum")


def test_a_wrong_fact_of_a_profile_is_an_error_that_names_its_file(root):
    profile(root, "default-resources:\n  gpu_shares: many\n")
    with pytest.raises(UserError, match=r"^workflow/profiles/mine/config.yaml: default-resources: gpu_shares: 'many'"):
        profile_site(root, "mine")


@pytest.fixture(scope="module")
def snakemakes():
    """What Snakemake's own parser makes of a profile."""
    from snakemake.cli import parse_args

    return lambda folder: parse_args(["--dry-run", "--workflow-profile", str(folder)])[1]


# The executor for Kubernetes is not in the environment: tests/test_engines.py has that profile.
@with_executors
@pytest.mark.parametrize("name", sorted({path.name for path in PROFILES.iterdir()} - {"kubernetes"}))
def test_the_keys_of_the_profiles_are_options_of_snakemake(name, snakemakes, monkeypatch):
    monkeypatch.chdir(PROJECT)
    found = snakemakes(PROFILES / name)
    for key in yaml.safe_load((PROFILES / name / "config.yaml").read_text()):
        assert hasattr(found, key.replace("-", "_")), key


@with_executors
def test_a_key_that_is_no_option_of_snakemake_is_refused_by_it(tmp_path, snakemakes, monkeypatch, capsys):
    monkeypatch.chdir(PROJECT)
    (tmp_path / "config.yaml").write_text("executor: slurm\nslurm-arrays: all\n")
    with pytest.raises(SystemExit):
        snakemakes(tmp_path)
    assert "slurm-arrays" in capsys.readouterr().err


@with_executors
def test_snakemake_hands_the_facts_of_the_profile_on_as_they_are_written(build, snakemakes, monkeypatch):
    monkeypatch.chdir(PROJECT)
    parsed = snakemakes(PROFILES / "slurm")
    cluster = Cluster(build, Engine(workflow(parsed.default_resources)))
    assert cluster.requests.site == profile_site(PROJECT, "slurm")
    assert cluster.requests.site.longest_job == 24 * 60
    assert (parsed.executor, parsed.retries, parsed.slurm_requeue) == ("slurm", 3, True)


@with_executors
def test_what_the_profile_keeps_in_comments_is_right_too(root, snakemakes, monkeypatch):
    monkeypatch.chdir(PROJECT)
    text = re.sub(r"^(\s*)# (\s*[a-z_-]+: )", r"\1\2", (PROFILES / "slurm/config.yaml").read_text(), flags=re.MULTILINE)
    folder = profile(root, text)
    found = profile_site(root, "mine")
    assert (found.share_request, found.gpu_shares) == ("gres=shard:1", 4)
    assert snakemakes(folder).executor == "slurm"


# --- what time and memory are expected from -------------------------------------------------------------------------


def test_without_receipts_time_comes_from_the_recipes_operations_and_a_guessed_speed(build):
    run = run_of(build, "simclr")
    spec = build.plan.runs[run]["spec"]
    steps = 1297 // spec["batch_size"] * spec["epochs"]
    seconds, basis = asked(build, gpu_tflops=3).seconds(run)
    assert basis == "recipe"
    assert seconds == pytest.approx(training_flops(spec, 1297, 16, 1) / 3e12 + 0.01 * steps)


def test_a_faster_gpu_halves_the_time_of_large_steps(build):
    images(build.root, 1297, 500, 1024, 3)
    run = run_of(build, "simclr")
    (slow, _), (fast, _) = (asked(build, gpu_tflops=speed).seconds(run) for speed in (1, 2))
    assert fast == pytest.approx(slow / 2, rel=0.05)


def test_a_receipt_of_a_like_run_says_what_an_epoch_takes(build):
    run, other = run_of(build, "simclr"), run_of(build, "simclr", "strong", 1)
    finish(build, other, seconds=60.0)
    epochs, done = (build.plan.runs[name]["spec"]["epochs"] for name in (run, other))
    assert asked(build).seconds(run) == (pytest.approx(60.0 / done * epochs), "similar runs")


def test_of_several_like_runs_the_median_counts(build):
    for seed, augmentation, seconds in ((0, "weak", 10.0), (1, "weak", 20.0), (0, "strong", 9000.0)):
        finish(build, run_of(build, "simclr", augmentation, seed), seconds=seconds)
    assert asked(build).seconds(run_of(build, "simclr", "strong", 1))[0] == pytest.approx(20.0)


def test_a_like_run_says_what_memory_is_needed(build):
    run = run_of(build, "simclr")
    finish(build, run_of(build, "simclr", "strong", 1), memory={"host": 20e9, "gpu": 30e9})
    request = asked(build).training(run)
    assert 20_000 < request.memory_mb < 30_000
    assert 30 < request.gpu_memory_gb < 40


def test_a_receipt_of_an_older_version_without_memory_says_the_time_only(build):
    run = run_of(build, "simclr")
    before = asked(build).training(run)
    finish(build, run_of(build, "simclr", "strong", 1), seconds=3600.0)
    after = asked(build).training(run)
    assert (after.basis, after.memory_mb, after.gpu_memory_gb) == (
        "similar runs",
        before.memory_mb,
        before.gpu_memory_gb,
    )
    assert after.seconds == pytest.approx(3600.0)


def test_where_no_run_is_alike_the_speed_of_steps_of_about_the_same_size_counts(build):
    guide, run = run_of(build, "byol"), run_of(build, "simclr")
    finish(build, guide, seconds=500.0, items=1297)
    one, other = (training_flops(build.plan.runs[name]["spec"], 1297, 16, 1) for name in (guide, run))
    assert asked(build).seconds(run) == (pytest.approx(500.0 * other / one), "other runs")


def test_steps_of_quite_another_size_say_nothing(build):
    guide, run = run_of(build, "byol"), run_of(build, "simclr")
    wide = copy.deepcopy(build.plan.runs[guide]["spec"])
    wide["backbone"]["widths"] = [16 * width for width in wide["backbone"]["widths"]]
    sizes = [step_cost(spec, 16, 1).flops_per_step for spec in (wide, build.plan.runs[run]["spec"])]
    assert sizes[0] > 8 * sizes[1]
    build.plan.runs[guide]["spec"] = wide
    build.__dict__["receipts"] = {guide: {"spec": wide, "device": "cuda:0 (X)", "timing": {"seconds": 1.0}}}
    assert Requests(build, read_site(GPU)).seconds(run)[1] == "recipe"


def test_receipts_from_cpus_do_not_time_jobs_on_gpus_nor_the_other_way_round(build):
    run = run_of(build, "simclr")
    finish(build, run, "cpu (AMD EPYC), 1 thread", seconds=9000.0)
    other = run_of(build, "simclr", "strong")
    assert asked(build).seconds(other)[1] == "recipe"
    assert asked(build, gpu_request=None).seconds(other)[1] == "similar runs"
    finish(build, run, "cuda:0 (NVIDIA H100)", seconds=9.0)
    assert asked(build, gpu_request=None).seconds(other)[1] == "recipe"


@pytest.mark.parametrize(
    ("device", "site"), [("cuda:0 (NVIDIA H100) x 4", {}), ("cpu (AMD x 2), 2 threads x 4", {"gpu_request": None})]
)
def test_what_four_devices_took_together_counts_four_times_for_one(device, site, build):
    finish(build, run_of(build, "simclr"), device, seconds=10.0)
    assert asked(build, **site).seconds(run_of(build, "simclr", "strong"))[0] == pytest.approx(40.0)


def test_in_a_folder_without_data_the_digits_are_known_and_no_others(build):
    run = run_of(build, "simclr")
    before = asked(build).training(run)
    images(build.root, *SMALL)
    assert asked(build).training(run) == before
    (build.root / "data/digits/dataset.json").unlink()
    build.plan.datasets["digits"]["config"]["source"] = {"kind": "image-folder", "path": "x", "size": 32, "channels": 3}
    requests = asked(build, **SHARED)
    unknown = requests.training(run)
    assert (unknown.basis, unknown.gpus, unknown.shares) == ("recipe", 1, False)
    assert unknown.minutes >= 60 * 10
    assert requests.evaluation(evaluation_of(build, run)).minutes > 10
    assert requests.checkpoint_bytes(run) == 0


def test_an_evaluation_on_known_data_of_a_training_on_unknown_data_has_a_time(build):
    run = run_of(build, "simclr")
    name = evaluation_of(build, run)
    images(build.root, *SMALL)
    requests = asked(build)
    requests.images |= {"other": requests._images_of("digits"), "digits": None}
    build.plan.evaluations[name]["dataset"] = "other"
    found = requests.evaluation(name)
    assert found.basis == "recipe"
    assert found.seconds > 0


def test_images_that_do_not_fit_on_a_gpu_are_not_counted_there(build):
    run = run_of(build, "simclr")
    images(build.root, 100_000, 10_000, 16, 1)
    few = asked(build, gpu_memory_gb=40).training(run).gpu_memory_gb
    images(build.root, 1_300_000_000, 50_000, 16, 1)
    assert asked(build, gpu_memory_gb=40).training(run).gpu_memory_gb <= few


def test_an_evaluation_is_timed_from_the_forward_passes_and_the_speed_that_is_known(build):
    run = run_of(build, "simclr")
    name = evaluation_of(build, run)
    images(build.root, 50_000, 10_000, 32, 3)
    guess = asked(build, gpu_tflops=1).evaluation(name)
    forward = features_flops(build.plan.runs[run]["spec"], 60_000, 32, 3) / 1e12
    assert guess.basis == "recipe"
    assert guess.seconds > forward
    finish(build, run_of(build, "byol"), seconds=1e6)
    slow = asked(build).evaluation(name)
    assert slow.basis == "other runs"
    assert slow.seconds > 10 * guess.seconds


# --- what is asked for ----------------------------------------------------------------------------------------------


def sbatch(build: Build, run: str, attempt: int = 1, **site) -> str:
    """What Slurm's executor makes of a training's resources."""
    from snakemake_executor_plugin_slurm.submit_string import get_submit_command
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    class Resources(dict):
        __getattr__ = dict.__getitem__

    rule = functions(asked(build, **site), "training")
    values = {name: value(SimpleNamespace(run=run), attempt) for name, value in rule.items()}
    resources = Resources({name: value for name, value in values.items() if value is not None})
    job = SimpleNamespace(resources=resources, threads=1)
    place = {"run_uuid": "u", "slurm_logfile": "l", "comment_str": "c", "account": "", "partition": "", "workdir": ""}
    return get_submit_command(job, place) + set_gres_string(job)


@with_executors
def test_a_small_run_asks_for_a_share_of_a_gpu_and_waits_for_the_others(build):
    run = run_of(build, "simclr")
    whole, share = asked(build).training(run), asked(build, **SHARED).training(run)
    assert (whole.gpus, whole.shares, share.gpus, share.shares) == (1, False, 1, True)
    assert share.seconds == pytest.approx(4 * whole.seconds)
    assert share.cpus < whole.cpus
    assert "--gres=gpu:1" in sbatch(build, run)
    assert "--gres=shard:1" in sbatch(build, run, **SHARED)


def test_a_large_run_asks_for_a_whole_gpu_although_there_are_shares(build):
    images(build.root, *LARGE)
    request = asked(build, **SHARED).training(run_of(build, "simclr"))
    assert (request.gpus, request.shares) == (1, False)


def test_a_small_run_that_needs_more_than_its_share_of_memory_asks_for_a_whole_gpu(build):
    finish(build, run_of(build, "simclr"), memory={"host": 1e9, "gpu": 5e9})
    run = run_of(build, "simclr", "strong")
    assert not asked(build, **SHARED, gpu_memory_gb=16).training(run).shares
    assert asked(build, **SHARED, gpu_memory_gb=40).training(run).shares


def test_evaluations_share_gpus(build):
    requests = asked(build, **SHARED)
    name = evaluation_of(build, run_of(build, "simclr"))
    assert functions(requests, "evaluation")["gres"](SimpleNamespace(evaluation=name), 1) == "shard:1"


@with_executors
def test_four_gpus_are_asked_for_on_one_node(build):
    on_gpus(build, 4)
    run = run_of(build, "simclr")
    request = asked(build, cpus_per_gpu=6).training(run)
    assert (request.gpus, request.nodes, request.processes, request.cpus) == (4, 1, 4, 24)
    command = sbatch(build, run, cpus_per_gpu=6)
    assert "--gres=gpu:4" in command
    assert "--cpus-per-task=24" in command
    assert "--nodes" not in command


@with_executors
def test_sixteen_gpus_with_eight_a_node_are_two_nodes_with_a_task_on_each(build):
    on_gpus(build, 16)
    run = run_of(build, "simclr")
    found = asked(build).resources(asked(build).training(run), 1)
    assert (found["mpi"], found["nodes"], found["tasks"]) == ("srun", 2, 2)
    options = sbatch(build, run).split()
    assert {"--nodes=2", "--ntasks=2", "--gres=gpu:8"} <= set(options)
    assert not [word for word in options if word.startswith("--ntasks-per-gpu")]


@with_executors
def test_gpus_that_are_asked_for_by_number_are_those_of_all_nodes_together(build):
    on_gpus(build, 16)
    assert "--gpus=16" in sbatch(build, run_of(build, "simclr"), gpu_request="gpu").split()


@pytest.mark.parametrize(("gpus", "nodes"), [(1, 1), (8, 1), (9, 3), (10, 2), (12, 2), (16, 2), (11, 11)])
def test_every_node_has_equally_many_gpus(gpus, nodes, build):
    on_gpus(build, gpus)
    request = asked(build).training(run_of(build, "simclr"))
    assert request.nodes == nodes
    assert request.gpus == gpus == nodes * (gpus // nodes)


@with_executors
def test_a_kind_of_gpu_may_be_named(build):
    assert "--gres=gpu:a100:1" in sbatch(build, run_of(build, "simclr"), gpu_request="gres=gpu:a100")


@with_executors
def test_where_the_profile_asks_for_no_gpus_a_run_is_one_process_on_a_processor(build):
    on_gpus(build, 4)
    run = run_of(build, "simclr")
    request = asked(build, gpu_request=None, gpu_shares=4).training(run)
    assert (request.gpus, request.shares, request.processes, request.nodes) == (0, False, 1, 1)
    assert "--gres" not in sbatch(build, run, gpu_request=None)


def test_a_build_on_cpus_asks_for_none_of_the_clusters_gpus_and_for_as_many_processes(root):
    build = Build(plan(root, device="cpu"), root)
    on_gpus(build, 2)
    request = asked(build).training(run_of(build, "simclr"))
    assert (request.gpus, request.processes, request.cpus) == (0, 2, 2 * build.plan.scale["threads"])


def test_several_gpus_take_a_run_less_time_and_more_memory(build):
    images(build.root, *LARGE)
    run = run_of(build, "simclr")
    one = asked(build).training(run)
    on_gpus(build, 4)
    four = asked(build).training(run)
    assert four.seconds == pytest.approx(one.seconds / 4)
    assert four.gpu_memory_gb == pytest.approx(one.gpu_memory_gb / 4)
    assert four.memory_mb > 3 * one.memory_mb


def test_later_attempts_ask_for_twice_the_time_and_half_as_much_memory_again(build):
    request = asked(build).training(run_of(build, "simclr"))
    second, third = (request.grown(attempt, Site()) for attempt in (2, 3))
    assert (second.minutes, third.minutes) == (2 * request.minutes, 4 * request.minutes)
    assert 1.5 * request.memory_mb <= second.memory_mb < 1.5 * request.memory_mb + 2000
    assert third.memory_mb >= 2.25 * request.memory_mb
    assert request.grown(1, Site()) == request


def test_no_attempt_asks_for_more_than_the_cluster_allows(build):
    requests = asked(build, longest_job=15, node_memory_gb=8)
    request = requests.training(run_of(build, "simclr"))
    for attempt in range(1, 6):
        found = requests.resources(request, attempt)
        assert found["runtime"] <= 15
        assert found["mem_mb"] <= 8000
    assert (found["runtime"], found["mem_mb"]) == (15, 8000)


def test_a_training_of_many_jobs_does_not_ask_for_more_and_more_memory(build):
    request = asked(build).training(run_of(build, "simclr"))
    assert request.grown(30, Site(longest_job=60)).memory_mb < 4 * request.memory_mb


@pytest.mark.parametrize(("longest", "jobs"), [(None, 1), ("2d", 1), ("12h", 1), ("11h", 2), ("1h", 12)])
def test_a_training_longer_than_a_job_may_be_is_several_jobs(longest, jobs, build):
    finish(build, run_of(build, "simclr"), seconds=7.0 * 3600)
    requests = asked(build, longest_job=longest)
    request = requests.training(run_of(build, "simclr", "strong"))
    assert request.minutes == 12 * 60  # one and a half times 7 hours, rounded up
    assert requests.jobs_in_a_row(request) == jobs


def test_runs_that_differ_in_their_seed_ask_for_the_same(build):
    requests = asked(build)
    for label in ("simclr", "simclr+gps", "byol"):
        assert requests.training(run_of(build, label)) is requests.training(run_of(build, label, seed=1))
    names = (evaluation_of(build, run_of(build, "simclr", seed=seed)) for seed in (0, 1))
    assert requests.evaluation(next(names)) is requests.evaluation(next(names))


def test_columns_whose_networks_differ_ask_each_for_its_own(build):
    images(build.root, *LARGE)
    one, other = run_of(build, "simclr"), run_of(build, "simclr", seed=1)
    spec = build.plan.runs[other]["spec"] = copy.deepcopy(build.plan.runs[one]["spec"])
    spec["method"]["simclr"]["projector"]["output"] = 1_000_000
    requests = asked(build)
    assert requests.training(other).seconds > requests.training(one).seconds


def test_fifty_thousand_runs_need_as_many_estimates_as_there_are_kinds_of_runs(build, monkeypatch):
    run = run_of(build, "simclr")
    kinds = {label: run_of(build, label) for label in ("simclr", "simclr+gps", "byol")}
    build.plan.runs = {
        f"{name}-{n}": build.plan.runs[name] | {"seed": n} for name in kinds.values() for n in range(17_000)
    }
    receipt = {"spec": build.plan.runs[f"{run}-0"]["spec"], "device": "cuda:0 (X)", "timing": {"seconds": 9.0}}
    build.__dict__["receipts"] = {f"{run}-{n}": receipt for n in range(2000)}
    estimated = []
    plain = Requests._training
    monkeypatch.setattr(Requests, "_training", lambda self, run: estimated.append(run) or plain(self, run))
    requests = Requests(build, read_site(SHARED))
    assert len({requests.training(name) for name in build.plan.runs}) == 3
    assert len(estimated) == 3


# --- Snakemake's side -----------------------------------------------------------------------------------------------


class Raw(SimpleNamespace):
    """A value of a profile, as Snakemake keeps it."""


def workflow(resources: dict | None, jobs: Iterable[tuple[str, str]] = (), **facts) -> Any:
    """As much of Snakemake's workflow as is looked at; ``jobs`` are rules and wildcards of what it will run."""
    rules: dict[str, Any] = {name: SimpleNamespace(name=name, restart_times=0) for name in ("pretrain", "retrain")}
    rules |= {name: SimpleNamespace(name=name) for name in ("evaluate", "table")}
    made = [SimpleNamespace(rule=rules[rule], wildcards=[value], output=[]) for rule, value in jobs]
    return SimpleNamespace(
        resource_settings=SimpleNamespace(default_resources=resources),
        executor_settings=SimpleNamespace(array_jobs=None),
        execution_settings=SimpleNamespace(retries=3),
        dag=SimpleNamespace(needrun_jobs=lambda: iter(made)),
        get_rule=rules.__getitem__,
        rules=rules,
        **({"remote_exec": False, "local_exec": False} | facts),
    )


def test_a_build_on_one_machine_asks_for_nothing(build):
    cluster = Cluster(build, Engine(workflow(None, local_exec=True)))
    cluster.start()
    wildcards = SimpleNamespace(run=run_of(build, "simclr"))
    assert (cluster.requests, cluster.training, cluster.evaluation) == (None, {}, {})
    assert cluster.device(wildcards) + cluster.launch(wildcards) == ""
    assert thaw(build.root / freeze_build(build, cluster)).git is None


def test_jobs_on_gpus_must_not_compute_without_one_and_several_nodes_are_started_by_srun(build):
    on_gpus(build, 16)
    cluster = Cluster(build, Engine(workflow({name: Raw(raw=value) for name, value in GPU.items()})))
    wildcards = SimpleNamespace(run=run_of(build, "simclr"))
    assert cluster.device(wildcards) == " --device cuda"
    assert cluster.launch(wildcards) == "srun --nodes=2 --ntasks=2 --ntasks-per-node=1 "
    on_gpus(build, 8)
    assert cluster.launch(wildcards) == ""
    assert Cluster(build, Engine(workflow({"mem_mb": 2000}))).device(wildcards) == ""


def test_trainings_longer_than_a_job_get_more_attempts_and_evaluations_do_not(build):
    finish(build, run_of(build, "simclr"), seconds=7.0 * 3600)
    fresh = Build(build.plan, build.root)
    jobs = [
        ("pretrain", run_of(build, "simclr", "strong")),
        ("evaluate", evaluation_of(build, run_of(build, "simclr"))),
    ]
    flow = workflow(GPU | {"longest_job": "4h"}, jobs)
    Cluster(fresh, Engine(flow)).start()
    assert flow.rules["pretrain"].restart_times == flow.rules["retrain"].restart_times == 3 + 2
    assert not hasattr(flow.rules["evaluate"], "restart_times")


def test_only_jobs_of_this_build_decide_on_attempts(build):
    finish(build, run_of(build, "simclr"), seconds=7.0 * 3600)
    finish(build, run_of(build, "byol"), seconds=60.0)
    flow = workflow(GPU | {"longest_job": "4h"}, [("pretrain", run_of(build, "byol", seed=1))])
    Cluster(Build(build.plan, build.root), Engine(flow)).start()
    assert flow.rules["pretrain"].restart_times == 3


def test_a_node_reads_no_receipts_and_has_the_cores_that_slurm_gave(build, monkeypatch):
    monkeypatch.setattr(Build, "_record", lambda self, path: pytest.fail(f"read {path}"))
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "6")
    on_gpus(build, 16)
    cluster = Cluster(build, Engine(workflow(GPU, remote_exec=True)))
    wildcards = SimpleNamespace(run=run_of(build, "simclr"))
    assert {name: value(wildcards) for name, value in cluster.training.items()} == {
        "nodes": 2,
        "tasks": 2,
        "mpi": "srun",
        "cpus_per_task": 6,
    }
    assert cluster.evaluation["cpus_per_task"](wildcards) == 6
    assert cluster.launch(wildcards) + cluster.device(wildcards)
    jobs = possible_jobs(build, on_node=True)
    for name in (wildcards.run, evaluation_of(build, wildcards.run)):
        assert re.fullmatch(jobs.train, name)


def test_a_node_of_one_task_is_told_nothing_of_several(build, monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    wildcards = SimpleNamespace(run=run_of(build, "simclr"))
    assert {value(wildcards) for value in given(asked(build)).values()} == {None}


# --- a recipe's GPUs ------------------------------------------------------------------------------------------------


def test_the_gpus_of_a_recipe_change_no_runs_id(root):
    before = plan(root)
    edit(root, "recipes/digits.yaml", "training.gpus", 4)
    edit(root, "recipes/digits.yaml", "methods.byol.training", {"gpus": 2, "longer": 2})
    after = plan(root)
    assert list(after.runs) == list(before.runs)
    assert {(entry["label"], entry["gpus"]) for entry in after.runs.values()} == {
        ("simclr", 4),
        ("simclr+gps", 4),
        ("byol", 2),
    }
    assert {entry["gpus"] for entry in before.runs.values()} == {1}


def test_the_gpus_of_a_recipe_must_divide_the_batch(root):
    edit(root, "recipes/digits.yaml", "training.gpus", 3)
    with pytest.raises(UserError, match=r"digits.yaml: training.gpus: a batch of 128 .* over 3 GPUs; write a number"):
        plan(root)


def test_a_methods_own_gpus_are_named_as_its_own(root):
    edit(root, "recipes/digits.yaml", "methods.byol.training", {"gpus": 3})
    with pytest.raises(UserError, match=r"digits.yaml: methods.byol.training.gpus: a batch of 128"):
        plan(root)


def test_with_mixco_each_gpu_needs_both_halves_of_its_part(root):
    table = next(iter(yaml.safe_load((root / "config/papers/mixco.yaml").read_text())["tables"]))
    batch = min(e["spec"]["batch_size"] for e in plan(root, table).runs.values() if "mixco" in e["label"])
    edit(root, "recipes/digits.yaml", "training.gpus", batch // 2)
    assert plan(root, table).runs
    edit(root, "recipes/digits.yaml", "training.gpus", batch)
    with pytest.raises(UserError, match="partners for MixCo"):
        plan(root, table)


# --- git, where nodes have none -------------------------------------------------------------------------------------

HEAD = {"commit": "c" * 40, "dirty": True}


def test_the_state_of_the_head_nodes_git_stands_in_receipts_where_the_node_has_none(tmp_path):
    assert code_and_versions(tmp_path, "", HEAD)["git"] == HEAD
    assert code_and_versions(tmp_path, "", None)["git"] == {"commit": None, "dirty": None}


def test_where_the_node_has_git_its_own_state_stands_in_receipts(tmp_path):
    for words in (["init", "-q"], ["-c", "user.name=x", "-c", "user.email=x", "commit", "-qm", "x", "--allow-empty"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    own = code_and_versions(tmp_path, "", HEAD)["git"]
    assert own == git_state(tmp_path)
    assert (len(own["commit"]), own["dirty"]) == (40, False)


def test_the_frozen_plan_of_a_cluster_carries_the_state_of_git(build, monkeypatch):
    monkeypatch.setattr(cluster, "git_state", lambda root: HEAD)
    assert thaw(build.root / freeze_build(build, Cluster(build, Engine(workflow(GPU))))).git == HEAD


# --- builds that share a folder -------------------------------------------------------------------------------------


@pytest.fixture
def announced(monkeypatch) -> Callable[[Path, list[str]], None]:
    """Announcements that end with the test, as they would with their process."""
    monkeypatch.setattr(announcing.atexit, "register", lambda *words, **more: None)
    files: list = []
    monkeypatch.setattr(announcing, "_announced", files)
    yield announce
    for file in files:
        file.close()


def test_two_builds_do_not_make_the_same_files(build, announced):
    announced(build.root, ["results/a.json", "results/b.json"])
    with pytest.raises(UserError, match=f"makes 1 of the same files, such as results/b.json.*(\n.*)kill {os.getpid()}"):
        announced(build.root, ["results/b.json"])


@pytest.fixture
def _no_locks(monkeypatch):
    def refuse(*words):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


def another(root: Path, host: str, process: int, outputs: list[str]) -> Path:
    path = root / f"results/builds/{host}-{process}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"process": process, "host": host, "since": "2026-01-01 00:00:00", "command": "snakemake"}
    path.write_text(json.dumps(facts | {"outputs": outputs}))
    return path


GONE = 2**22 + 1
"""Above any process number of Linux."""


@pytest.mark.usefixtures("_no_locks")
def test_without_locks_a_build_counts_as_alive_while_its_process_lives(tmp_path, announced):
    announced(tmp_path, ["results/a.json"])
    assert len(announcing.building(tmp_path)) == 1
    with pytest.raises(UserError, match="another build is running"):
        announced(tmp_path, ["results/a.json"])


@pytest.mark.usefixtures("_no_locks")
def test_without_locks_a_build_on_this_host_whose_process_is_gone_is_forgotten(tmp_path, announced):
    path = another(tmp_path, socket.gethostname(), GONE, ["results/a.json"])
    announced(tmp_path, ["results/a.json"])
    assert not path.exists()


@pytest.mark.usefixtures("_no_locks")
def test_without_locks_a_build_on_another_host_counts_as_alive_and_the_message_says_how_to_end_that(
    tmp_path, announced
):
    path = another(tmp_path, "login2", GONE, ["results/a.json"])
    with pytest.raises(
        UserError, match=rf"process {GONE} on login2.*\n.*if it no longer runs: rm results/builds/{path.name}"
    ):
        announced(tmp_path, ["results/a.json"])
    announced(tmp_path, ["results/b.json"])
    assert path.exists()


@pytest.mark.parametrize("locks", [True, False])
def test_an_announcement_that_was_cut_off_stops_no_later_build(locks, tmp_path, announced, request):
    if not locks:
        request.getfixturevalue("_no_locks")
    another(tmp_path, "login2", 17, []).write_text("")
    announced(tmp_path, ["results/a.json"])
    assert len(announcing.building(tmp_path)) == 1


# --- Slurm ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def became(monkeypatch) -> list:
    """The commands that this process would have become; each ends it here."""
    found = []

    def become(path, words):
        found.append((path, words))
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", become)
    return found


@pytest.fixture
def queue(tmp_path, monkeypatch) -> Callable[..., Path]:
    """Slurm's squeue and scancel as scripts: jobs are lines of a file, and a cancelled one leaves it. Answers the list of what
    was cancelled."""
    folder, jobs, cancelled = tmp_path / "bin", tmp_path / "jobs", tmp_path / "cancelled"
    folder.mkdir()
    (folder / "squeue").write_text(f"#!/bin/sh\ncat {jobs}\n")
    (folder / "scancel").write_text(
        f'#!/bin/sh\necho "$@" >> {cancelled}\nfor job; do sed -i "/^$job[_|]/d" {jobs}; done\n'
    )
    for path in folder.iterdir():
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def fill(*lines: str) -> Path:
        jobs.write_text("".join(f"{line}\n" for line in lines))
        return cancelled

    return fill


def test_jobs_of_a_build_that_is_gone_are_cancelled(queue, root, build, capsys):
    run = run_of(build, "simclr")
    name = evaluation_of(build, run)
    cancelled = queue(
        f"11|{root}|rule_pretrain_wildcards_{run}",
        f"12_[3-5%2]|{root}|rule_evaluate_wildcards_{name.replace('/', '_')}",
        f"12_1|{root}|rule_evaluate_wildcards_{name.replace('/', '_')}",
        f"13|/somewhere/else|rule_pretrain_wildcards_{run}",
        f"14|{root}|(null)",
        f"15|{root}|my own | job",
    )
    assert cancel_orphans(root, list) == 2
    assert cancelled.read_text().split() == ["11", "12"]
    assert "2 Slurm jobs of an earlier build in this folder" in capsys.readouterr().err


def test_jobs_that_a_living_build_waits_for_are_left_alone(queue, root, build):
    run = run_of(build, "simclr")
    name = evaluation_of(build, run)
    cancelled = queue(
        f"11|{root}|rule_pretrain_wildcards_{run}",
        f"12_7|{root}|rule_evaluate_wildcards_{name.replace('/', '_')}",
    )
    assert (
        cancel_orphans(root, lambda: [{"outputs": [f"results/runs/{run}/checkpoint.pt", f"results/evals/{name}.json"]}])
        == 0
    )
    assert not cancelled.exists()


def test_builds_at_work_are_looked_for_after_their_jobs(queue, root, build):
    """A build announces itself before it submits: one that starts between the two looks is not taken for gone."""
    run = run_of(build, "simclr")
    queue()

    def starts_now():
        queue(f"11|{root}|rule_pretrain_wildcards_{run}")
        return []

    assert cancel_orphans(root, starts_now) == 0


def test_where_there_is_no_slurm_nothing_is_cancelled(root, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert cancel_orphans(root, list) == 0


def test_a_folder_is_the_same_by_whichever_path_it_was_entered(queue, tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "project")
    queue(f"11|{tmp_path}/link|rule_pretrain_wildcards_x")
    assert slurm._queued(tmp_path / "project") == [("11", "rule_pretrain_wildcards_x")]


@with_executors
@pytest.mark.parametrize("rule", ["pretrain", "retrain"])
def test_what_a_job_makes_is_read_from_the_comment_that_the_executor_gives_it(rule, build):
    from snakemake_executor_plugin_slurm.utils import get_job_wildcards

    for run in build.plan.runs:
        words = get_job_wildcards(SimpleNamespace(wildcards=[run]))
        assert slurm._output_of(f"rule_{rule}_wildcards_{words}") == {f"results/runs/{run}/checkpoint.pt"}
    for name in build.plan.evaluations:
        words = get_job_wildcards(SimpleNamespace(wildcards=[name]))
        for evaluating in ("evaluate", "baseline"):
            assert slurm._output_of(f"rule_{evaluating}_wildcards_{words}") == {f"results/evals/{name}.json"}


# --- several processes ----------------------------------------------------------------------------------------------


@pytest.fixture
def _plain(monkeypatch):
    """Neither Slurm nor torchrun has started this process."""
    for name in list(os.environ):
        if name.startswith(("SLURM", "TORCHELASTIC")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def gpus(monkeypatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def torchrun(words: list[str]) -> Any:
    """What torchrun itself understands of the words after ``python -m torch.distributed.run``."""
    from torch.distributed.run import parse_args

    assert words[:3] == [sys.executable, "-m", "torch.distributed.run"]
    return parse_args(words[3:])


@pytest.mark.usefixtures("_plain")
def test_four_processes_of_one_machine_are_one_torchrun(became, monkeypatch):
    gpus(monkeypatch, 4)
    with pytest.raises(SystemExit):
        relaunch_under_torchrun(4, "cuda", ["train", "a-run", "--log", "x.log"], "a-run")
    [(path, words)] = became
    found = torchrun(words)
    assert path == sys.executable
    assert (found.standalone, found.nnodes, found.nproc_per_node) == (True, "1", "4")
    assert (found.module, found.training_script) == (True, "sslpairs")
    assert found.training_script_args == ["train", "a-run", "--log", "x.log"]


@pytest.mark.usefixtures("_plain")
@pytest.mark.parametrize("node", ["0", "1"])
def test_sixteen_processes_on_two_nodes_meet_at_the_first(node, became, monkeypatch):
    gpus(monkeypatch, 8)
    facts = {"STEP_NUM_NODES": "2", "NODEID": node, "LAUNCH_NODE_IPADDR": "10.0.0.7", "JOB_ID": "654321"}
    for name, value in facts.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    with pytest.raises(SystemExit):
        relaunch_under_torchrun(16, "cuda", ["train", "a-run"], "a-run")
    found = torchrun(became[0][1])
    assert (found.nnodes, found.nproc_per_node, found.rdzv_backend, found.rdzv_id) == ("2", "8", "c10d", "654321")
    host, _, port = found.rdzv_endpoint.partition(":")
    assert host == "10.0.0.7"
    assert 20_000 <= int(port) < 40_000
    assert found.rdzv_conf == f"is_host={int(node == '0')}"


@pytest.mark.usefixtures("_plain")
@pytest.mark.parametrize(
    ("wanted", "device", "here"),
    [(1, "cuda", 4), (1, "cpu", 0), (4, "cuda:1", 4), (4, "auto", 0), (4, "auto", 1)],
)
def test_one_process_trains_by_itself(wanted, device, here, became, monkeypatch):
    gpus(monkeypatch, here)
    relaunch_under_torchrun(wanted, device, ["train", "a-run"], "a-run")
    assert became == []


@pytest.mark.usefixtures("_plain")
@pytest.mark.parametrize(("here", "processes"), [(2, 2), (3, 2), (4, 4), (8, 4)])
def test_on_auto_as_many_take_part_as_there_are_gpus_and_share_the_batch_equally(
    here, processes, became, monkeypatch, caplog
):
    gpus(monkeypatch, here)
    monkeypatch.setattr(launch.log, "propagate", True)
    with pytest.raises(SystemExit), caplog.at_level("WARNING", logger="sslpairs.distributed.launch"):
        relaunch_under_torchrun(4, "auto", ["train", "a-run"], "a-run")
    assert torchrun(became[0][1]).nproc_per_node == str(processes)
    assert ("a-run asks for 4 GPUs" in caplog.text) == (processes < 4)


@pytest.mark.usefixtures("_plain")
def test_on_cpus_as_many_processes_as_gpus_were_wanted(became, monkeypatch):
    gpus(monkeypatch, 0)
    with pytest.raises(SystemExit):
        relaunch_under_torchrun(2, "cpu", ["train", "a-run"], "a-run")
    assert torchrun(became[0][1]).nproc_per_node == "2"


@pytest.mark.usefixtures("_plain")
def test_on_cuda_all_gpus_must_be_there(became, monkeypatch):
    gpus(monkeypatch, 2)
    with pytest.raises(UserError, match="this machine has 2 GPUs; use cpu or auto"):
        relaunch_under_torchrun(4, "cuda", ["train", "a-run"], "a-run")
    assert became == []


@pytest.mark.usefixtures("_plain")
def test_a_process_knows_whether_torchrun_started_it(monkeypatch):
    assert not processes.under_torchrun()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert processes.under_torchrun()


# --- the GPU that a job was given -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("_plain")
def test_a_node_without_the_gpu_that_a_job_was_given_is_named_with_the_jobs_number(monkeypatch):
    gpus(monkeypatch, 0)
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURMD_NODENAME", "gpu-17")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(
        UserError, match=r"'cuda' was requested, but node gpu-17 \(Slurm job 4711\) has 0 GPUs"
    ) as found:
        pick_device("cuda")
    said = str(found.value)
    assert "CUDA_VISIBLE_DEVICES is ''" in said
    assert "gpu_request" in said
    assert said.count("\n") == 1


@pytest.mark.usefixtures("_plain")
def test_without_a_cluster_the_remedy_is_another_device(monkeypatch):
    gpus(monkeypatch, 0)
    with pytest.raises(UserError, match=r"this machine has 0 GPUs; use cpu or auto$"):
        pick_device("cuda")
    assert pick_device("auto").type == "cpu"


def test_a_process_knows_what_memory_it_has_taken():
    found = memory_used(torch.device("cpu"))
    assert found["gpu"] is None
    assert 10e6 < found["host"] < 1e12


# --- the command line -----------------------------------------------------------------------------------------------


@pytest.fixture
def say(root, monkeypatch, capsys) -> Callable[..., str]:
    """What ``sslpairs`` prints in the project; the profile is the released one."""
    shutil.copy(PROJECT / "data.dvc", root)
    shutil.copytree(PROFILES, root / "workflow/profiles")
    monkeypatch.chdir(root)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            cli.main(list(words))
        said = capsys.readouterr()
        assert ended.value.code == 0, said.err
        return said.out

    return run


def test_plan_with_a_profile_says_what_the_jobs_ask_for(say):
    said = say("plan", TABLE, "--profile", "slurm")
    assert "Jobs requested with profile slurm" in said
    assert re.search(r"10 .* training .* 1 .* 8 .* GB .* 10 min .* recipe", said)
    assert re.search(r"8 .* evaluation .* recipe", said)
    assert re.search(
        r"Expected: about \S+ (s|min|h) .*a GPU for trainings and evaluations, [\d.]+ GB of checkpoints", said
    )
    assert "the speed of 20 x 10^12 operations/s per GPU is a guess" in said


def test_plan_without_a_profile_says_nothing_of_jobs(say):
    assert "profile" not in say("plan", TABLE)


def test_plan_with_a_profile_without_a_cluster_says_so(say):
    assert "Profile default: everything runs on this machine." in say("plan", TABLE, "--profile", "default")


@pytest.mark.usefixtures("say")
def test_runs_that_share_a_gpu_count_together_as_its_hours(root, capsys):
    images(root, 10_000_000, 500, 16, 1)
    build = Build(plan(root), root)
    facts = "default-resources:\n  gpu_request: gres=gpu\n  gpu_memory_gb: 40\n"
    profile(root, facts, "whole")
    profile(root, facts + "  share_request: gres=shard:1\n  gpu_shares: 4\n", "shared")
    said = []
    for name in ("whole", "shared"):
        cli.plan._say_requests(build, name, list(build.to_train), build.to_evaluate)
        said.append(capsys.readouterr().out)
    assert "a share" in said[1]
    hours = [float(re.search(r"about ([\d.]+) GPU hours", text)[1]) for text in said]
    assert hours[0] == hours[1] > 1


def test_plan_names_a_training_of_several_jobs(say, root):
    profile(root, "default-resources:\n  longest_job: 5m\n")
    assert re.search(r"training .* 5 min x \d+", say("plan", TABLE, "--profile", "mine"))


def test_an_unknown_profile_names_the_known_ones_on_the_command_line(say, capsys):
    with pytest.raises(SystemExit):
        cli.main(["plan", TABLE, "--profile", "slum"])
    assert "did you mean 'slurm'? (default, generic, kubernetes, slurm" in capsys.readouterr().err


@pytest.mark.usefixtures("say")
def test_plan_says_nothing_about_the_memory_of_images_whose_number_is_not_known(root, capsys):
    edit(root, "datasets.yaml", "datasets.digits.source", {"kind": "image-folder", "path": "x", "size": 32})
    build = Build(plan(root), root)
    cli.plan._say_requests(build, "slurm", list(build.to_train), build.to_evaluate)
    said = capsys.readouterr().out
    assert "GPU hours" in said
    assert "more memory" not in said


@pytest.mark.usefixtures("say")
def test_plan_names_runs_that_need_more_memory_than_a_gpu_has(root, capsys):
    images(root, *LARGE)
    build = Build(plan(root), root)
    profile(root, "default-resources:\n  gpu_request: gres=gpu\n  gpu_memory_gb: 1\n")
    cli.plan._say_requests(build, "mine", list(build.to_train), [])
    assert re.search(r"more memory than a GPU has \([\d,]+ of 1 GB\): set training.gpus", capsys.readouterr().out)


@pytest.mark.usefixtures("say")
def test_plan_of_nothing_asks_for_nothing(build, capsys):
    cli.plan._say_requests(build, "slurm", [], [])
    assert capsys.readouterr().out == "Profile slurm: no jobs to request.\n"


def test_a_build_is_planned_for_a_cluster_as_for_one_machine(root):
    shutil.copy(PROJECT / "data.dvc", root)
    assert all(entry["gpus"] == 1 for entry in make_build(root, {"tables": TABLE}).plan.runs.values())


def test_requests_are_rounded_up_to_few_different_ones():
    found = [asking._minutes(value) for value in range(1, 6000)]
    assert all(value <= rounded <= 2 * value + 10 for value, rounded in enumerate(found, 1))
    assert found == sorted(found)
    assert set(found) == {
        10,
        15,
        20,
        30,
        45,
        60,
        90,
        *(60 * h for h in (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)),
    }


def through_slurm(build, arrays: str | None = None):
    flow = workflow(GPU, [("pretrain", run_of(build, "simclr"))])
    facts = {"__module__": "snakemake_executor_plugin_slurm", "array_jobs": arrays}
    flow.executor_settings = type("ExecutorSettings", (), facts)()
    return flow


@pytest.mark.parametrize("arrays", ["all", "evaluate,pretrain"])
def test_arrays_are_refused_in_words(build, monkeypatch, arrays):
    monkeypatch.setattr("sslpairs.workflow.cluster.shutil.which", lambda name: name)
    with pytest.raises(UserError, match=r"slurm-array-jobs: .*; remove this option"):
        Cluster(build, Engine(through_slurm(build, arrays))).start()


def test_where_there_is_no_slurm_a_build_for_it_says_so_before_any_job(build, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    flow = through_slurm(build)
    with pytest.raises(UserError, match="executor: slurm: no sbatch on this machine"):
        Cluster(build, Engine(flow)).start()


# --- what an executor is given, without one -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "site", "expected"),
    [
        (1, {}, {"gres": "gpu:1", "nodes": None, "tasks": None, "mpi": None, "tasks_per_gpu": None}),
        (1, SHARED, {"gres": "shard:1", "nodes": None}),
        (4, {"cpus_per_gpu": 6}, {"gres": "gpu:4", "nodes": None, "cpus_per_task": 24}),
        (16, {}, {"gres": "gpu:8", "nodes": 2, "tasks": 2, "mpi": "srun", "tasks_per_gpu": 0}),
        (16, {"gpu_request": "gpu"}, {"gpu": 16, "nodes": 2}),
        (1, {"gpu_request": "gres=gpu:a100"}, {"gres": "gpu:a100:1"}),
        (4, {"gpu_request": None}, {"nodes": None, "mpi": None}),
    ],
)
def test_a_rule_is_given_a_function_for_each_resource(count, site, expected, build):
    on_gpus(build, count)
    wildcards = SimpleNamespace(run=run_of(build, "simclr"))
    found = {
        name: value(wildcards, 1) for name, value in functions(asked(build, **site), "training", {"gres": None}).items()
    }
    assert {name: found[name] for name in expected} == expected
    assert ("gres" in found) == ("gres" in expected)
    assert {"runtime", "mem_mb", "cpus_per_task"} <= found.keys()
