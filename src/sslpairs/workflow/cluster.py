"""What the jobs of a build ask a cluster for."""

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
    """Write the plan for the jobs. A cluster's nodes may have no git, so that the commit is looked up here."""
    if cluster.requests:
        build.plan.git = git_state(build.root)
    _ = build.evaluations  # looks which of them are parts of others
    return freeze(build.plan, build.root)


class Cluster:
    """What the jobs of a build ask a cluster for; nothing in a build on one machine, whose profile describes none."""

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
        if engine.on_node:  # it has what it was given, and no other job's receipts are read
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
        """Who was given a GPU must not compute without one unnoticed."""
        return " --device cuda" if self.requests and self.requests.on_gpu else ""

    def launch(self, wildcards) -> str:
        """What starts a training's command: on several nodes srun, once on each."""
        nodes = self.requests.nodes(wildcards.run) if self.requests else 1
        if nodes == 1:
            return ""
        cores = os.environ.get("SSLPAIRS_CORES")
        return f"srun --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1 " + (
            f"--cpus-per-task={cores} " if cores else ""
        )

    def start(self) -> None:
        """Once Snakemake knows its executor: more attempts for trainings longer than a job may be, no run on several nodes but
        through Slurm, no arrays, and no job left over from a build that was killed."""
        if self.requests is None or self.engine.on_one_machine:
            return
        executor, settings = self.engine.executor
        slurm = executor == "slurm"
        trained = [job.wildcards[0] for job in self.engine.to_run() if job.rule.name in TRAINING]
        if slurm and not shutil.which("sbatch"):
            raise UserError(
                "profile: executor: slurm: there is no sbatch on this machine; build on a head node of the cluster, or without PROFILE"
            )
        if slurm and settings.array_jobs:
            raise UserError(
                "profile: slurm-array-jobs: Snakemake's Slurm executor 2.8 starts every member of an array with the command of the first "
                "one, which removes what that one has made; leave it out (docs/cluster.md)"
            )
        if not slurm and (wide := [run for run in trained if self.requests.nodes(run) > 1]):
            raise UserError(
                f"{wide[0]}: trains on {self.requests.processes(wide[0])} GPUs, and a node has {self.requests.site.gpus_per_node} "
                "(gpus_per_node of the profile): several nodes train one run only through Slurm; else ask for fewer (training.gpus)"
            )
        requests = map(self.requests.training, trained)
        more = max(map(self.requests.jobs_in_a_row, requests), default=1) - 1
        self.engine.attempts(TRAINING, more)
        if slurm:
            cancel_orphans(self.build.root, lambda: at_work(self.build.root))


TRAINING = ("pretrain", "retrain")
"""Rules that train."""


def profile_site(root: Path, profile: str) -> Site | None:
    """The cluster that a profile describes (a name under ``workflow/profiles``, a folder or a file); None where it describes none."""
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
