"""Cluster resources of the jobs of a build."""

import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from sslpairs.config.loading import load_yaml
from sslpairs.config.site import Site, read_site
from sslpairs.errors import UserError, nearest
from sslpairs.git import git_state
from sslpairs.plan.build import Build
from sslpairs.plan.frozen import freeze
from sslpairs.plan.requests import Requests, functions, given
from sslpairs.slurm import cancel_orphans
from sslpairs.workflow.announce import at_work
from sslpairs.workflow.snakemake import Engine


def freeze_build(build: Build, cluster: "Cluster") -> Path:
    """Write the plan for the jobs. A cluster's nodes may have no git, so the commit is determined here."""
    if cluster.requests:
        build.plan.git = git_state(build.root)
    _ = build.evaluations  # determines which of them are parts of others
    return freeze(build.plan, build.root)


class Cluster:
    """Cluster resources of the jobs of a build; empty for builds on one machine, whose profile describes no cluster."""

    def __init__(self, build: Build, engine: Engine):
        self.build, self.engine = build, engine
        self.requests: Requests | None = None
        self.training: dict[str, Callable] = {}
        self.evaluation: dict[str, Callable] = {}
        defaults = engine.default_resources()
        if defaults is None:
            return
        site = read_site(defaults)
        self.requests = Requests(build, site)
        if engine.on_node:  # its resources are already granted, and receipts of other jobs are not read
            if cores := os.environ.get("SLURM_CPUS_PER_TASK"):
                os.environ["SSLPAIRS_CORES"] = cores
            self.training = given(self.requests)
            self.evaluation = {"cpus_per_task": self.training["cpus_per_task"]}
        else:
            self.training = functions(self.requests, "training", defaults)
            self.evaluation = functions(self.requests, "evaluation", defaults)
            if find_spec("snakemake_executor_plugin_kubernetes"):
                from sslpairs.kubernetes import share_folder

                share_folder()

    def device(self, wildcards) -> str:
        """Return the device option: a job with a GPU must not silently fall back to the CPU."""
        return " --device cuda" if self.requests and self.requests.on_gpu else ""

    def launch(self, wildcards) -> str:
        """Return the launcher of a training's command: srun on several nodes, one task per node."""
        nodes = self.requests.nodes(wildcards.run) if self.requests else 1
        if nodes == 1:
            return ""
        cores = os.environ.get("SSLPAIRS_CORES")
        return f"srun --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1 " + (
            f"--cpus-per-task={cores} " if cores else ""
        )

    def start(self) -> None:
        """Called once Snakemake knows its executor. Allow more attempts for trainings longer than the job limit, refuse runs on several
        nodes without Slurm, refuse job arrays, and cancel jobs left by a killed build."""
        if self.requests is None or self.engine.on_one_machine:
            return
        executor, settings = self.engine.executor
        slurm = executor == "slurm"
        trained = [job.wildcards[0] for job in self.engine.to_run() if job.rule.name in TRAINING]
        if slurm and not shutil.which("sbatch"):
            raise UserError(
                "profile: executor: slurm: no sbatch on this machine; build on a head node of the cluster, or without PROFILE"
            )
        if slurm and settings.array_jobs:
            raise UserError(
                "profile: slurm-array-jobs: Snakemake's Slurm executor 2.8 runs the first member's command for every member of an array, "
                "which removes the first one's outputs; remove this option (docs/cluster.md)"
            )
        if not slurm and (wide := [run for run in trained if self.requests.nodes(run) > 1]):
            raise UserError(
                f"{wide[0]}: trains on {self.requests.processes(wide[0])} GPUs, but a node has {self.requests.site.gpus_per_node} "
                "(gpus_per_node of the profile): runs on several nodes need Slurm; else use fewer GPUs (training.gpus)"
            )
        requests = map(self.requests.training, trained)
        more = max(map(self.requests.jobs_in_a_row, requests), default=1) - 1
        self.engine.attempts(TRAINING, more)
        if slurm:
            cancel_orphans(self.build.root, lambda: at_work(self.build.root))


TRAINING = ("pretrain", "retrain")
"""Rules that train."""


def profile_site(root: Path, profile: str) -> Site | None:
    """Return the cluster described by a profile (a name under ``workflow/profiles``, a folder or a file); None if it describes none."""
    folders = [Path(profile), root / profile, root / "workflow/profiles" / profile]
    files = [folder if folder.is_file() else folder / "config.yaml" for folder in folders]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        known = sorted(path.parent.name for path in (root / "workflow/profiles").glob("*/config.yaml"))
        raise UserError(
            f"profile '{profile}': no config.yaml there or under workflow/profiles{nearest(profile, known)} ({', '.join(known)})"
        )
    content = load_yaml(file, root)
    resources = content.get("default-resources") if isinstance(content, dict) else None
    if resources is None:
        return None
    pairs = resources.items() if isinstance(resources, dict) else (str(item).partition("=")[::2] for item in resources)
    return read_site(dict(pairs), f"{os.path.relpath(file, root)}: default-resources")
