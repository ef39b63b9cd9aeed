"""What each job asks a cluster for: GPUs, time and memory, from receipts of like runs, else from the recipe."""

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import median
from types import MappingProxyType
from typing import Any

from sslpairs.config.protocols import Protocols
from sslpairs.config.site import Site
from sslpairs.plan.build import Build
from sslpairs.plan.cost import features_flops, step_cost, training_flops
from sslpairs.plan.estimate import likeness
from sslpairs.plan.limits import Images, known_images
from sslpairs.plan.records import Receipt

START = 5
"""Minutes for the start of a job on a busy file system: environment, libraries, data."""
MARGIN = {"like runs": 1.5, "other runs": 3.0, "recipe": 3.0}
"""Times the expected seconds, by what the expectation comes from."""
SMALL_STEP = 0.5e12
"""Operations in a step below which a GPU mostly waits for the next kernel, so that several runs may share it: a few
milliseconds of a present GPU, and a small network's step starts some hundred kernels. An estimate of ours, not measured."""
CPU_FLOPS = 2e10
"""Operations a second of one processor core, for as long as no receipt is there to go by: ``make tables`` reaches about twice that."""
STEP_SECONDS = 0.01
"""What a step takes however small it is: some hundred starts of kernels. A guess of ours too."""
LIBRARIES_MB = {"cpu": 1900, "gpu": 6000}
"""Main memory of a job's processes without data: Snakemake twice, Python with torch, on a GPU CUDA's libraries too."""
GROWTHS = 3
"""Times that memory grows at most: most attempts of a training that takes many jobs fail for their time only."""


@dataclass(frozen=True)
class Request:
    """What one job needs. Later attempts ask for more (``grown``)."""

    gpus: int
    """0: the job computes on the CPU."""
    shares: bool
    """Whether it asks for a share of a GPU."""
    nodes: int
    processes: int
    """That train together."""
    cpus: int
    """On each node."""
    minutes: int
    memory_mb: int
    """On each node."""
    seconds: float
    """Expected, without any margin."""
    basis: str
    """What time comes from: 'like runs', 'other runs' (their speed) or 'recipe' (a guessed speed)."""
    gpu_memory_gb: float = 0.0
    """On each GPU, estimated; infinite where the data set's size is not known."""

    def grown(self, attempt: int, site: Site) -> "Request":
        """The request of a later attempt: twice the time and half as much memory again each time, memory ``GROWTHS`` times at
        most, within the site's limits."""
        minutes = self.minutes * 2 ** (attempt - 1)
        memory = _megabytes(self.memory_mb * 1.5 ** min(attempt - 1, GROWTHS))
        longest, most = site.longest_job or minutes, 1000 * (site.node_memory_gb or math.inf)
        return replace(self, minutes=min(minutes, longest), memory_mb=min(memory, most))


class Requests:
    """The requests of a build's jobs at a site."""

    def __init__(self, build: Build, site: Site):
        self.build, self.site = build, site
        self.plan = build.plan
        self.on_gpu = site.gpu_request is not None and self.plan.settings["device"] != "cpu"
        self.trainings: dict[tuple, Request] = {}
        self.evaluations: dict[tuple, Request] = {}

    # --- what is asked for ---------------------------------------------------------------------------------------

    def training(self, run: str) -> Request:
        """Of the first job that trains a run. Runs that differ in their seed only ask for the same."""
        like = self._alike(run)
        if like not in self.trainings:
            self.trainings[like] = self._training(run)
        return self.trainings[like]

    def _alike(self, run: str) -> tuple:
        entry = self.plan.runs[run]
        return (likeness(self.build, run)[0], entry["gpus"], entry["spec"]["epochs"], self._cost(run))

    def _training(self, run: str) -> Request:
        site = self.site
        seconds, basis = self.seconds(run)
        processes, nodes = self.processes(run), self.nodes(run)
        here = processes // nodes
        gpu_memory = self._gpu_memory(run) / processes if self.on_gpu else 0.0
        cost = self._cost(run)
        small = cost is not None and cost.flops_per_step < SMALL_STEP
        fits = gpu_memory * 1e-9 < site.gpu_memory_gb / site.gpu_shares
        shares = self.on_gpu and processes == 1 and bool(site.share_request) and site.gpu_shares > 1 and small and fits
        if shares:
            seconds *= site.gpu_shares
        cpus = max(self.plan.scale["threads"] * here, site.cpus_per_gpu * here if self.on_gpu and not shares else 0)
        minutes = START + MARGIN[basis] * seconds / processes / 60
        return Request(
            gpus=processes if self.on_gpu else 0,
            shares=shares,
            nodes=nodes,
            processes=processes,
            cpus=cpus,
            minutes=_minutes(minutes),
            memory_mb=_megabytes(self._memory(run) * here),
            seconds=seconds / processes,
            basis=basis,
            gpu_memory_gb=gpu_memory * 1e-9,
        )

    def processes(self, run: str) -> int:
        """That train a run together: on GPUs as many as its recipe has GPUs, and where the CPU was asked for as many there."""
        return self.plan.runs[run]["gpus"] if self.on_gpu or self.plan.settings["device"] == "cpu" else 1

    def nodes(self, run: str) -> int:
        """On which they run: as few as can have equally many processes each."""
        processes = self.processes(run)
        fewest = math.ceil(processes / self.site.gpus_per_node)
        return next(nodes for nodes in range(fewest, processes + 1) if processes % nodes == 0)

    def evaluation(self, name: str) -> Request:
        """Of the job that evaluates a run: passes over the data without gradients, then a linear layer; seconds to minutes."""
        run = self.plan.evaluations[name]["run"]
        like = (*self._alike(run), self.plan.evaluations[name]["key"])
        if like not in self.evaluations:
            self.evaluations[like] = self._evaluation(name, run)
        return self.evaluations[like]

    def _evaluation(self, name: str, run: str) -> Request:
        site, entry = self.site, self.plan.evaluations[name]
        images = self._images_of(entry.get("dataset", self.plan.runs[run]["dataset"]))
        seconds, basis = 600.0, "recipe"
        if images:
            spec = self.plan.runs[run]["spec"]
            both = images.train + images.test
            speed = self._speed(run)
            basis = "other runs" if speed else "recipe"
            seconds = features_flops(spec, both, images.size, images.channels) / (speed or self._guess())
            chosen = Protocols.model_validate({name: how for name, how in entry["protocols"].items() if how}).chosen()
            seconds += sum(how.seconds(images.train, images.test) for how in chosen.values())
        shares = self.on_gpu and bool(site.share_request) and site.gpu_shares > 1
        if shares:
            seconds *= site.gpu_shares
        return Request(
            gpus=1 if self.on_gpu else 0,
            shares=shares,
            nodes=1,
            processes=1,
            cpus=max(self.plan.scale["threads"], site.cpus_per_gpu if self.on_gpu and not shares else 0),
            minutes=_minutes(START + MARGIN[basis] * seconds / 60),
            memory_mb=_megabytes(self._memory(run) + (images.train * 2048 * 4e-6 * 3 if images else 2000)),
            seconds=seconds,
            basis=basis,
        )

    def jobs_in_a_row(self, request: Request) -> int:
        """Jobs that it takes where the partition's limit is shorter than what is asked for."""
        longest = self.site.longest_job
        return math.ceil(request.minutes / longest) if longest else 1

    def checkpoint_bytes(self, run: str) -> float:
        """Size of a run's checkpoint: weights and momentum copies."""
        cost = self._cost(run)
        return 4.0 * (cost.parameters + cost.copies) if cost else 0.0

    def resources(self, request: Request, attempt: int) -> dict[str, Any]:
        """A request in the names of Snakemake and its executors."""
        site, asked = self.site, request.grown(attempt, self.site)
        found: dict[str, Any] = {
            "runtime": asked.minutes,
            "mem_mb": asked.memory_mb,
            "cpus_per_task": asked.cpus,
        }
        if asked.shares:
            name, _, value = site.share_request.partition("=")
            found[name] = value
        elif asked.gpus:
            name, _, value = site.gpu_request.partition("=")
            # gres is meant for each node, --gpus for all of them
            found[name] = f"{value}:{asked.gpus // asked.nodes}" if value else asked.gpus
        if asked.nodes > 1:
            # Without the last one the Slurm executor would ask for as many tasks on each GPU as there are in all.
            found |= {"nodes": asked.nodes, "tasks": asked.nodes, "mpi": "srun", "tasks_per_gpu": 0}
        return found

    # --- what is known -------------------------------------------------------------------------------------------

    def seconds(self, run: str) -> tuple[float, str]:
        """Seconds that a training takes on one device, and what that comes from ('like runs', 'other runs', 'recipe')."""
        spec = self.plan.runs[run]["spec"]
        if like := self._like.get(likeness(self.build, run)[0]):
            return spec["epochs"] * median(like.seconds), "like runs"
        images = self._images(run)
        if images is None:
            return 3600.0 * (10 if self.on_gpu else 1), "recipe"
        flops = training_flops(spec, images.train, images.size, images.channels)
        if speed := self._speed(run):
            return flops / speed, "other runs"
        steps = images.train // spec["batch_size"] * spec["epochs"]
        return flops / self._guess() + steps * STEP_SECONDS, "recipe"

    def _speed(self, run: str) -> float | None:
        """Operations a second on one device of done runs whose steps are of about the same size: small steps are much slower."""
        size = self._cost(run).flops_per_step
        like = [speed for other, speed in self._speeds if size / 8 < other < 8 * size]
        return median(like) if like else None

    def _guess(self) -> float:
        """Operations a second on one device, for as long as there is nothing to go by."""
        return self.site.gpu_tflops * 1e12 if self.on_gpu else CPU_FLOPS * self.plan.scale["threads"]

    @cached_property
    def _receipts(self) -> dict[str, tuple[Receipt, int]]:
        """Receipts of runs on a device of this kind, and how many devices trained each."""
        kind = "cuda" if self.on_gpu else "cpu"
        found = {}
        for run, receipt in self.build.receipts.items():
            device = str(receipt["device"])
            if device.startswith(kind):
                several = re.search(r" x (\d+)$", device)
                found[run] = (receipt, int(several[1]) if several else 1)
        return found

    @cached_property
    def _like(self) -> dict[tuple, "Measured"]:
        """What runs of the same method, network, data and batch size took."""
        found: dict[tuple, Measured] = {}
        for run, (receipt, count) in self._receipts.items():
            measured = found.setdefault(likeness(self.build, run)[0], Measured([], 0, 0))
            measured.seconds.append(receipt["timing"]["seconds"] * count / receipt["spec"]["epochs"])
            memory = receipt.get("memory") or {}
            measured.host = max(measured.host, memory.get("host") or 0)
            measured.gpu = max(measured.gpu, count * (memory.get("gpu") or 0))
        return found

    @cached_property
    def _speeds(self) -> list[tuple[float, float]]:
        """Operations in a step, and operations a second on one device, of the runs that are done."""
        found = []
        for run, (receipt, count) in self._receipts.items():
            if images := self._images(run):
                items = receipt.get("items", images.train)
                flops = training_flops(receipt["spec"], items, images.size, images.channels)
                found.append((self._cost(run).flops_per_step, flops / receipt["timing"]["seconds"] / count))
        return found

    def _memory(self, run: str) -> float:
        """Megabytes of main memory of one process that trains a run."""
        like = self._like.get(likeness(self.build, run)[0])
        if like and like.host:
            return 1000 + 1.25e-6 * like.host  # Snakemake takes part of the first gigabyte
        images, cost = self._images(run), self._cost(run)
        data = 1.5 * min(images.bytes, 32 << 30) if images else 8e9
        tensors = cost.activations * 1.5 if cost and not self.on_gpu else 0.0
        return LIBRARIES_MB["gpu" if self.on_gpu else "cpu"] + (data + tensors) * 1e-6

    def _gpu_memory(self, run: str) -> float:
        """Bytes on all GPUs together that train a run."""
        like = self._like.get(likeness(self.build, run)[0])
        if like and like.gpu:
            return 1.2 * like.gpu
        images, cost = self._images(run), self._cost(run)
        if not (images and cost):
            return math.inf
        resident = images.bytes if images.bytes < 0.5e9 * self.site.gpu_memory_gb else 0  # as `data.arrays` decides
        return 1.3 * cost.activations + cost.state + resident + 1e9

    def _cost(self, run: str):
        images = self._images(run)
        return step_cost(self.plan.runs[run]["spec"], images.size, images.channels) if images else None

    def _images(self, run: str) -> Images | None:
        return self._images_of(self.plan.runs[run]["dataset"])

    def _images_of(self, dataset: str) -> Images | None:
        if dataset not in self._datasets:
            self._datasets[dataset] = self._look_at(dataset)
        return self._datasets[dataset]

    @cached_property
    def _datasets(self) -> dict[str, Images | None]:
        return {}

    def _look_at(self, dataset: str) -> Images | None:
        return known_images(self.build.root, dataset, self.plan.datasets[dataset]["config"])


@dataclass
class Measured:
    """What runs took that are alike."""

    seconds: list[float]
    """Of an epoch, on one device."""
    host: int
    """Most bytes of main memory of one process."""
    gpu: int
    """Most bytes on all GPUs together."""


def _minutes(value: float) -> int:
    """Up to a round time, so that there are few different requests: 10, 15, 20, 30, 45, 60, 90 minutes, 2, 3, 4, 6, 8, 12, ... hours."""
    steps = (10, 15, 20, 30, 45, 60, 90)
    step = next((step for step in steps if value <= step), None)
    while step is None:
        steps = (*steps, steps[-2] * 2)
        step = steps[-1] if value <= steps[-1] else None
    return step


def _megabytes(value: float) -> int:
    """Up to half a gigabyte, beyond 8 to 2 of them."""
    to = 500 if value <= 8000 else 2000
    return math.ceil(value / to) * to


def functions(requests: Requests, kind: str, defaults: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Callable]:
    """Functions for the ``resources`` of Snakemake's rules: name -> wildcards and attempt to value.

    None where a job asks for none; of GPUs what the profile's ``defaults`` say (``gpus: 0`` for a submit command that names them).
    """
    wildcard = {"training": "run", "evaluation": "evaluation"}[kind]
    names = ["runtime", "mem_mb", "cpus_per_task", "nodes", "tasks", "mpi", "tasks_per_gpu"]
    otherwise = {}
    for how in (requests.site.gpu_request, requests.site.share_request):
        if how and (name := how.partition("=")[0]) not in names:
            names.append(name)
            otherwise[name] = defaults.get(name)

    def asked(name: str) -> Callable:
        def value(wildcards, attempt):
            request = getattr(requests, kind)(getattr(wildcards, wildcard))
            return requests.resources(request, attempt).get(name, otherwise.get(name))

        return value

    return {name: asked(name) for name in names}


def given(requests: Requests) -> dict[str, Callable]:
    """The same on a cluster's node, as far as the executor there starts the command by it."""

    def on_several(name: str) -> Callable:
        def value(wildcards):
            nodes = requests.nodes(wildcards.run)
            return {"nodes": nodes, "tasks": nodes, "mpi": "srun"}[name] if nodes > 1 else None

        return value

    # The executor's inner process is not told by Slurm any more.
    cores = int(os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SSLPAIRS_CORES") or 0) or None
    return {name: on_several(name) for name in ("nodes", "tasks", "mpi")} | {"cpus_per_task": lambda wildcards: cores}
