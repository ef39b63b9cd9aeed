"""Cluster resources of each job: GPUs, time and memory, estimated from receipts of similar runs, else from the recipe."""

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
from sslpairs.plan.records import Receipt, steps_of

START = 5
"""Minutes for starting a job on a busy file system: environment, libraries, data."""
MARGIN = {"similar runs": 1.5, "other runs": 3.0, "recipe": 3.0}
"""Factor on the expected seconds, by the basis of the estimate."""
SMALL_STEP = 0.5e12
"""Operations per step below which a GPU mostly waits for kernel launches, so that several runs may share it: a few milliseconds on
a current GPU, while a small network's step launches some hundred kernels. Our estimate, not measured."""
CPU_FLOPS = 2e10
"""Operations per second of one CPU core, used until there is a receipt. ``make tables`` reaches about twice that."""
STEP_SECONDS = 0.01
"""Minimum time of a step, however small: some hundred kernel launches. Also a guess."""
LIBRARIES_MB = {"cpu": 1900, "gpu": 6000}
"""Main memory of a job's processes without data: Snakemake twice, Python with torch, and on a GPU also CUDA's libraries."""
GROWTHS = 3
"""Maximum number of times that memory grows: most attempts of a training split over many jobs fail only because of their time limit."""


@dataclass(frozen=True)
class Request:
    """Resources of one job. Later attempts request more (``grown``)."""

    gpus: int
    """0 for jobs on the CPU."""
    shares: bool
    """Whether it requests a share of a GPU."""
    nodes: int
    processes: int
    """Number of processes that train together."""
    cpus: int
    """CPU cores per node."""
    minutes: int
    memory_mb: int
    """Main memory per node."""
    seconds: float
    """Expected time, without margin."""
    basis: str
    """Basis of the estimate: 'similar runs', 'other runs' (their speed) or 'recipe' (a guessed speed)."""
    gpu_memory_gb: float = 0.0
    """Estimated memory per GPU; infinite if the size of the data set is unknown."""

    def grown(self, attempt: int, site: Site) -> "Request":
        """Return the request of a later attempt: each attempt doubles the time and increases memory by half (at most ``GROWTHS`` times),
        within the site's limits."""
        minutes = self.minutes * 2 ** (attempt - 1)
        memory = _megabytes(self.memory_mb * 1.5 ** min(attempt - 1, GROWTHS))
        longest, most = site.longest_job or minutes, 1000 * (site.node_memory_gb or math.inf)
        return replace(self, minutes=min(minutes, longest), memory_mb=min(memory, most))


class Requests:
    """Resource requests of a build's jobs at a site."""

    def __init__(self, build: Build, site: Site):
        self.build, self.site = build, site
        self.plan = build.plan
        self.on_gpu = site.gpu_request is not None and self.plan.settings["device"] != "cpu"
        self.trainings: dict[tuple, Request] = {}
        self.evaluations: dict[tuple, Request] = {}
        self.images: dict[str, Images | None] = {}

    # --- what is requested ---------------------------------------------------------------------------------------

    def training(self, run: str) -> Request:
        """Return the request of the first job that trains a run. Runs that differ only in their seed request the same."""
        key = self._key(run)
        if key not in self.trainings:
            self.trainings[key] = self._training(run)
        return self.trainings[key]

    def _key(self, run: str) -> tuple:
        entry = self.plan.runs[run]
        return (likeness(self.build, run)[0], entry["gpus"], entry["spec"]["epochs"], self._cost(run))

    def _training(self, run: str) -> Request:
        site = self.site
        seconds, basis = self.seconds(run)
        processes, nodes = self.processes(run), self.nodes(run)
        per_node = processes // nodes
        gpu_memory = self._gpu_memory(run) / processes if self.on_gpu else 0.0
        cost = self._cost(run)
        small = cost is not None and cost.flops_per_step < SMALL_STEP
        fits = gpu_memory * 1e-9 < site.gpu_memory_gb / site.gpu_shares
        shares = self.on_gpu and processes == 1 and bool(site.share_request) and site.gpu_shares > 1 and small and fits
        if shares:
            seconds *= site.gpu_shares
        cpus = max(
            self.plan.scale["threads"] * per_node, site.cpus_per_gpu * per_node if self.on_gpu and not shares else 0
        )
        minutes = START + MARGIN[basis] * seconds / processes / 60
        return Request(
            gpus=processes if self.on_gpu else 0,
            shares=shares,
            nodes=nodes,
            processes=processes,
            cpus=cpus,
            minutes=_minutes(minutes),
            memory_mb=_megabytes(self._memory(run) * per_node),
            seconds=seconds / processes,
            basis=basis,
            gpu_memory_gb=gpu_memory * 1e-9,
        )

    def processes(self, run: str) -> int:
        """Return the number of processes that train a run: the recipe's number of GPUs, on GPUs or if the CPU was requested; else 1."""
        return self.plan.runs[run]["gpus"] if self.on_gpu or self.plan.settings["device"] == "cpu" else 1

    def nodes(self, run: str) -> int:
        """Return the smallest number of nodes over which the processes can be split equally."""
        processes = self.processes(run)
        fewest = math.ceil(processes / self.site.gpus_per_node)
        return next(nodes for nodes in range(fewest, processes + 1) if processes % nodes == 0)

    def evaluation(self, name: str) -> Request:
        """Return the request of an evaluation: forward passes over the data, then a linear layer; takes seconds to minutes. A
        baseline's is that of an evaluation of the same size."""
        if name in self.plan.baselines:
            name = self.plan.baselines[name]["like"]
        run = self.plan.evaluations[name]["run"]
        key = (*self._key(run), self.plan.evaluations[name]["key"])
        if key not in self.evaluations:
            self.evaluations[key] = self._evaluation(name, run)
        return self.evaluations[key]

    def _evaluation(self, name: str, run: str) -> Request:
        site, entry = self.site, self.plan.evaluations[name]
        images = self._images_of(entry.get("dataset", self.plan.runs[run]["dataset"]))
        seconds, basis = 600.0, "recipe"
        if images:
            spec = self.plan.runs[run]["spec"]
            both = images.labelled + images.test
            speed = self._speed(run)
            basis = "other runs" if speed else "recipe"
            seconds = features_flops(spec, both, images.size, images.channels) / (speed or self._guess())
            chosen = Protocols.model_validate(
                {name: settings for name, settings in entry["protocols"].items() if settings}
            ).chosen()
            seconds += sum(settings.seconds(images.labelled, images.test) for settings in chosen.values())
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
        """Return the number of consecutive jobs needed if the requested time exceeds the partition's limit."""
        longest = self.site.longest_job
        return math.ceil(request.minutes / longest) if longest else 1

    def checkpoint_bytes(self, run: str) -> float:
        """Return the size of a run's checkpoint: weights and momentum copies."""
        cost = self._cost(run)
        return 4.0 * (cost.parameters + cost.copies) if cost else 0.0

    def resources(self, request: Request, attempt: int) -> dict[str, Any]:
        """Return a request with the resource names of Snakemake and its executors."""
        site, grown = self.site, request.grown(attempt, self.site)
        resources: dict[str, Any] = {
            "runtime": grown.minutes,
            "mem_mb": grown.memory_mb,
            "cpus_per_task": grown.cpus,
        }
        if grown.shares:
            name, _, value = site.share_request.partition("=")
            resources[name] = value
        elif grown.gpus:
            name, _, value = site.gpu_request.partition("=")
            # gres counts per node, --gpus in total
            resources[name] = f"{value}:{grown.gpus // grown.nodes}" if value else grown.gpus
        if grown.nodes > 1:
            # Without tasks_per_gpu the Slurm executor would request the total number of tasks on each GPU.
            resources |= {"nodes": grown.nodes, "tasks": grown.nodes, "mpi": "srun", "tasks_per_gpu": 0}
        return resources

    # --- what is known -------------------------------------------------------------------------------------------

    def seconds(self, run: str) -> tuple[float, str]:
        """Return the seconds that a training takes on one device, and the basis ('similar runs', 'other runs', 'recipe')."""
        spec = self.plan.runs[run]["spec"]
        if similar := self._similar.get(likeness(self.build, run)[0]):
            return spec["epochs"] * median(similar.seconds), "similar runs"
        images = self._images(run)
        if images is None:
            return 3600.0 * (10 if self.on_gpu else 1), "recipe"
        flops = training_flops(spec, images.train, images.size, images.channels)
        if speed := self._speed(run):
            return flops / speed, "other runs"
        steps = images.train // spec["batch_size"] * spec["epochs"]
        return flops / self._guess() + steps * STEP_SECONDS, "recipe"

    def _speed(self, run: str) -> float | None:
        """Return the operations per second on one device, from finished runs with steps of similar size: small steps are much slower.
        None without any, or if the run's data are not known."""
        if (cost := self._cost(run)) is None:
            return None
        size = cost.flops_per_step
        speeds = [speed for other, speed in self._speeds if size / 8 < other < 8 * size]
        return median(speeds) if speeds else None

    def _guess(self) -> float:
        """Return the operations per second on one device that are assumed without receipts."""
        return self.site.gpu_tflops * 1e12 if self.on_gpu else CPU_FLOPS * self.plan.scale["threads"]

    @cached_property
    def _receipts(self) -> dict[str, tuple[Receipt, int]]:
        """Receipts of runs on a device of this kind, and the number of devices that trained each."""
        kind = "cuda" if self.on_gpu else "cpu"
        receipts = {}
        for run, receipt in self.build.receipts.items():
            device = str(receipt["device"])
            if device.startswith(kind):
                several = re.search(r" x (\d+)$", device)
                receipts[run] = (receipt, int(several[1]) if several else 1)
        return receipts

    @cached_property
    def _similar(self) -> dict[tuple, "Measured"]:
        """Time and memory of runs with the same method, network, data and batch size."""
        similar: dict[tuple, Measured] = {}
        for run, (receipt, count) in self._receipts.items():
            measured = similar.setdefault(likeness(self.build, run)[0], Measured([], 0, 0))
            measured.seconds.append(receipt["timing"]["seconds"] * count / receipt["spec"]["epochs"])
            memory = receipt.get("memory") or {}
            measured.host = max(measured.host, memory.get("host") or 0)
            measured.gpu = max(measured.gpu, count * (memory.get("gpu") or 0))
        return similar

    @cached_property
    def _speeds(self) -> list[tuple[float, float]]:
        """Operations per step, and operations per second on one device, of the finished runs."""
        speeds = []
        for run, (receipt, count) in self._receipts.items():
            if images := self._images(run):
                spec, steps = receipt["spec"], steps_of(receipt)
                items = steps * spec["batch_size"] // spec["epochs"] if steps else images.train
                flops = training_flops(spec, items, images.size, images.channels)
                speeds.append((self._cost(run).flops_per_step, flops / receipt["timing"]["seconds"] / count))
        return speeds

    def _memory(self, run: str) -> float:
        """Return the main memory in megabytes of one process that trains a run."""
        similar = self._similar.get(likeness(self.build, run)[0])
        if similar and similar.host:
            return 1000 + 1.25e-6 * similar.host  # Snakemake takes part of the first gigabyte
        images, cost = self._images(run), self._cost(run)
        data = 1.5 * min(images.bytes, 32 << 30) if images else 8e9
        tensors = cost.activations * 1.5 if cost and not self.on_gpu else 0.0
        return LIBRARIES_MB["gpu" if self.on_gpu else "cpu"] + (data + tensors) * 1e-6

    def _gpu_memory(self, run: str) -> float:
        """Return the memory in bytes of a training, summed over its GPUs."""
        similar = self._similar.get(likeness(self.build, run)[0])
        if similar and similar.gpu:
            return 1.2 * similar.gpu
        images, cost = self._images(run), self._cost(run)
        if not (images and cost):
            return math.inf
        resident = images.bytes if images.bytes < 0.5e9 * self.site.gpu_memory_gb else 0  # as in `data.arrays`
        return 1.3 * cost.activations + cost.state + resident + 1e9

    def _cost(self, run: str):
        images = self._images(run)
        return step_cost(self.plan.runs[run]["spec"], images.size, images.channels) if images else None

    def _images(self, run: str) -> Images | None:
        return self._images_of(self.plan.runs[run]["dataset"])

    def _images_of(self, dataset: str) -> Images | None:
        if dataset not in self.images:
            config = self.plan.datasets[dataset]["config"]
            self.images[dataset] = known_images(self.build.root, dataset, config)
        return self.images[dataset]


@dataclass
class Measured:
    """Measurements of similar runs."""

    seconds: list[float]
    """Seconds per epoch, on one device."""
    host: int
    """Peak main memory of one process in bytes."""
    gpu: int
    """Peak memory in bytes, summed over GPUs."""


def _minutes(value: float) -> int:
    """Round up, so that there are few different requests: 10, 15, 20, 30, 45, 60, 90 minutes, 2, 3, 4, 6, 8, 12, ... hours."""
    steps = [10, 15, 20, 30, 45, 60, 90]
    while steps[-1] < value:
        steps.append(steps[-2] * 2)
    return next(step for step in steps if value <= step)


def _megabytes(value: float) -> int:
    """Round up to multiples of 0.5 GB, above 8 GB to multiples of 2 GB."""
    to = 500 if value <= 8000 else 2000
    return math.ceil(value / to) * to


def functions(requests: Requests, kind: str, defaults: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Callable]:
    """Return functions for the ``resources`` of Snakemake's rules: name -> function of wildcards and attempt.

    Resources that a job does not request are None; GPUs have the value in the profile's ``defaults`` (``gpus: 0`` for a submit command
    that uses them).
    """
    wildcard = {"training": "run", "evaluation": "evaluation"}[kind]
    names = ["runtime", "mem_mb", "cpus_per_task", "nodes", "tasks", "mpi", "tasks_per_gpu"]
    otherwise = {}
    for option in (requests.site.gpu_request, requests.site.share_request):
        if option and (name := option.partition("=")[0]) not in names:
            names.append(name)
            otherwise[name] = defaults.get(name)

    def asked(name: str) -> Callable:
        def value(wildcards, attempt):
            request = getattr(requests, kind)(getattr(wildcards, wildcard))
            return requests.resources(request, attempt).get(name, otherwise.get(name))

        return value

    return {name: asked(name) for name in names}


def given(requests: Requests) -> dict[str, Callable]:
    """Return the same functions on a cluster's node, for the resources with which the executor there starts the command."""

    def on_several(name: str) -> Callable:
        def value(wildcards):
            nodes = requests.nodes(wildcards.run)
            return {"nodes": nodes, "tasks": nodes, "mpi": "srun"}[name] if nodes > 1 else None

        return value

    # Slurm does not pass this on to the executor's inner process.
    cores = int(os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SSLPAIRS_CORES") or 0) or None
    return {name: on_several(name) for name in ("nodes", "tasks", "mpi")} | {"cpus_per_task": lambda wildcards: cores}
