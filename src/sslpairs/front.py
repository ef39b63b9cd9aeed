"""From a folder and the words of a command line to a build: what the Snakefile and the command line share."""

import atexit
import contextlib
import fcntl
import gc
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from sslpairs.config.loading import load_yaml
from sslpairs.config.reading import Config, read_config
from sslpairs.config.site import Site, read_site
from sslpairs.data.record import changed_sources, record, recorded
from sslpairs.errors import UserError, nearest
from sslpairs.files import date_now, dated_ahead, exclusive
from sslpairs.git import git_state
from sslpairs.own import check_own_code
from sslpairs.plan.build import ENDINGS, Build, any_of, freeze, thaw
from sslpairs.plan.planner import make_plan
from sslpairs.plan.requests import Requests, functions, given
from sslpairs.plan.written import outdated
from sslpairs.slurm import cancel_orphans


def as_typed(config: dict[str, Any], words: Iterable[str] | None) -> dict[str, Any]:
    """Snakemake's ``config`` with the words of ``--config`` as they were typed: it reads numbers in ways of its own (010, 1_000)."""
    return config | {key: value for key, _, value in (word.partition("=") for word in words or ()) if key in config}


def make_build(root: Path, overrides: dict[str, Any] | None = None) -> Build:
    """Read the configuration, plan it, and look at what exists."""
    # Thousands of runs are hundreds of thousands of objects that stay: looking for cycles among them again and again takes a
    # fifth of the time of a plan, and of Snakemake's graph after it.
    gc.set_threshold(100_000, 20, 20)
    check_own_code(root)
    config = read_config(root, overrides)
    plan = make_plan(config, recorded(root))
    if changed := changed_sources(root, {name: config.datasets[name] for name in plan.datasets}):
        raise UserError(
            f"config/datasets.yaml: {changed[0]}: its source is not the one that data.dvc's content came from; `sslpairs fetch "
            f"{changed[0]}` prepares it (its runs are then new ones), or change it back"
        )
    return Build(plan, root)


def check_folder(root: Path, snakefile: str) -> None:
    """``UserError`` where Snakemake could not work in this folder, or would in another one than the project's."""
    project = Path(snakefile).parent
    if root != project and not (root / "config/config.yaml").exists():
        raise UserError(
            f"{root} is not the project's folder: run `snakemake` in {project}, or add --directory {project}"
        )
    if "{" in str(root) or "}" in str(root):
        raise UserError(f"{root}: Snakemake takes braces in the path of a project for its wildcards; rename the folder")
    for folder in (root, root / ".snakemake", root / ".snakemake/locks", root / "results"):
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            user = folder.stat().st_uid  # a number: containers know no names of other users
            owner = f" (it belongs to user {user})" if user != os.getuid() else ""
            raise UserError(
                f"{folder}: cannot be written{owner}; build in a clone of your own, or change the permissions"
            )


def check(build: Build) -> None:
    """``UserError`` for damaged records and needed checkpoints; files that are dated in the future are dated as of now, and
    receipts that could not name their commit are told."""
    if lines := build.damaged:
        more = f"\n(and {len(lines) - 3} more: `sslpairs doctor`)" if len(lines) > 3 else ""
        raise UserError("\n".join(lines[:3]) + more)
    if note := no_commit(build):
        print(note, file=sys.stderr)
    plan = build.plan
    files = [f"data/{name}/dataset.json" for name in plan.datasets]
    for run in build.receipts:
        files += [f"results/runs/{run}/{name}" for name in ("run.json", "metrics.csv", "checkpoint.pt")]
    files += [f"results/evals/{name}.json" for name in build.evaluated]
    files += [f for kind in ENDINGS for name in getattr(plan, kind) for f in build.files_of(kind, name)]
    if ahead := dated_ahead(f"{build.root}/{file}" for file in files):
        date_now(ahead)
        print(
            f"clock: {len(ahead)} files were dated in the future, such as {os.path.relpath(ahead[0], build.root)}; they are dated as of "
            "now. Their content is what it was: see that the clock is right",
            file=sys.stderr,
        )


def no_commit(build: Build) -> str | None:
    """What to say before trainings whose receipts cannot name the commit, since git refuses this folder."""
    refused = build.to_train and git_state(build.root).get("refused")
    return f"note: the receipts of what is trained will name no commit: {refused}" if refused else None


def stop(error: UserError | str) -> NoReturn:
    """End a build with one or two lines."""
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


@dataclass(frozen=True)
class Jobs:
    """Wildcard constraints: what may be a job of each rule."""

    prepare: str
    train: str
    retrain: str
    restore: str
    evaluate: str


def possible_jobs(build: Build, on_node: bool) -> Jobs:
    """Only what is missing may be a job.

    On a cluster's node nothing is looked at: the job is given, and thousands of jobs would read thousands of receipts each.
    """
    if on_node:
        return Jobs(*["[^/]+(/[^/]+)?"] * 5)
    return Jobs(
        any_of(build.to_prepare),
        any_of(set(build.to_train) - set(build.to_retrain), build.plan.runs),
        any_of(build.to_retrain),
        any_of(build.to_restore),
        any_of(build.to_evaluate, build.plan.evaluations),
    )


def freeze_build(build: Build, cluster: "Cluster") -> Path:
    """Write the plan for the jobs. A cluster's nodes may have no git, so that the commit is looked up here."""
    if cluster.requests:
        build.plan.git = git_state(build.root)
    return freeze(build.plan, build.root)


class Cluster:
    """What the jobs of a build ask a cluster for; nothing in a build on one machine, whose profile describes none."""

    def __init__(self, build: Build, workflow: Any):
        self.build, self.workflow = build, workflow
        self.requests: Requests | None = None
        self.training: dict[str, Callable] = {}
        self.evaluation: dict[str, Callable] = {}
        profile = workflow.resource_settings.default_resources
        if profile is None:
            return
        defaults = {name: getattr(value, "raw", value) for name, value in profile.items()}
        site = read_site(defaults)
        self.requests = Requests(build, site)
        if workflow.remote_exec:  # it has what it was given, and no other job's receipts are read
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
        settings = self.workflow.executor_settings
        if self.requests is None or self.workflow.local_exec:
            return
        trained = [job.wildcards[0] for job in self.workflow.dag.needrun_jobs() if job.rule.name in TRAINING]
        slurm = type(settings).__module__ == "snakemake_executor_plugin_slurm"
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
        for rule in TRAINING:
            self.workflow.get_rule(rule).restart_times = self.workflow.execution_settings.retries + more
        if slurm:
            cancel_orphans(self.build.root, lambda: _at_work(self.build.root))


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


def trained_from(build: Build, run: str) -> list[str]:
    """What a training reads. Where training is forbidden, the build ends here, before its first job."""
    if run not in build.plan.runs:
        stop(f"'{run}' is no run of this plan{nearest(run, list(build.plan.runs))}; `sslpairs plan --runs` lists them")
    if build.plan.settings["train"] == "never":
        stop(
            f"training is forbidden (train: never), and {run} would have to be trained: {build.to_train.get(run, 'new')}.\n`sslpairs "
            "plan --no-train` lists all such runs; pull receipts (`git pull`) or pointers, or build without train=never"
        )
    return build.training_inputs(run)


def unknown_target(build: Build, name: str, what: str = "neither a paper nor a table") -> str | None:
    """What to say of a target that there is not; None for a paper or a table of this plan."""
    known = build.targets()
    if name in known:
        return None
    if name in build.plan.left_out:
        return f"'{name}' is an optional table: choose it with --set tables={name} (make: TABLES={name})"
    files = [file for table in build.plan.tables for file in build.outputs(table)] if "/" in name else []
    return f"'{name}' is {what}{nearest(name, files or list(known))} ({', '.join(known)})"


def table_inputs(build: Build, table: str, workflow: Any) -> list[str]:
    """What a table is made from; asked while Snakemake makes its graph, of the tables in it. Where the files on disk do not show the
    numbers of now, Snakemake is told to run the job whatever it makes of dates and checksums."""
    workflow.dag.forcefiles.update(outdated(build, "tables", table))
    return build.evaluation_files(table)


def figure_inputs(build: Build, figure: str, workflow: Any) -> list[str]:
    """The same of a figure."""
    workflow.dag.forcefiles.update(outdated(build, "figures", figure))
    return build.figure_inputs(figure)


def announce(root: Path, outputs: list[str]) -> None:
    """Let other builds in this folder know what this one makes; ``UserError`` when one of them makes the same files, or has
    made some since this one was planned.

    The announcement is a locked file, so that it ends with this process, however that ends.
    """
    folder = root / "results" / "builds"
    mine = folder / f"{socket.gethostname()}-{os.getpid()}.json"
    with exclusive(folder / ".lock", "waiting for another build that starts here"):
        for path in folder.glob("*.json"):
            # A file that cannot be parsed was cut off when its build was killed on a file system without locks.
            with contextlib.suppress(FileNotFoundError, ValueError), open(path) as file:
                if not _held(file):
                    path.unlink()  # its build has ended
                else:
                    other = json.load(file)
                    if both := sorted(set(outputs) & set(other["outputs"])):
                        raise UserError(
                            f"another build is at work in this folder and makes {len(both)} of the same files, such as {both[0]}: "
                            f"{_words(other)}.\nWait for it, or stop it: kill {other['process']}{_if_gone(other)}"
                        ) from None
        if made := _made_meanwhile(root, set(outputs)):
            raise UserError(
                f"another build has just made {made}, which this one was about to make; run the same command again: it makes what is "
                "left"
            )
        file = open(mine, "w")  # noqa: SIM115 - stays open and locked as long as this process lives
        with contextlib.suppress(OSError):  # some cluster file systems are mounted without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        facts = {"process": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        json.dump(facts | {"command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]), "outputs": outputs}, file)
        file.flush()
        _announced.append(file)
        _keep_dated(mine)
        atexit.register(mine.unlink, missing_ok=True)


_announced: list = []


def _held(file) -> bool:
    """Whether a build holds its announcement. Looking shares the lock, so that two who look do not deceive each other.

    Some cluster file systems have no locks, or keep them to one host: a build on another host counts as alive too while it dates
    its announcement as of now, as it does every minute.
    """
    locked = True
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    except OSError:
        locked = False
    other = json.load(file)
    file.seek(0)
    if other["host"] != socket.gethostname():
        return time.time() - os.fstat(file.fileno()).st_mtime < SILENCE
    return not locked and Path(f"/proc/{other['process']}").exists()


SILENCE = 600
"""Seconds after which a build on another host that has not dated its announcement anew is gone."""


def _keep_dated(path: Path) -> None:
    """Date an announcement as of now every minute."""

    def work() -> None:
        while path.exists():
            date_now([path])
            time.sleep(60)

    threading.Thread(target=work, daemon=True).start()


def _made_meanwhile(root: Path, outputs: set[str]) -> str | None:
    """A record or restored checkpoint that was missing when this build was planned, and is there now: Snakemake would remove
    it and make it again."""
    for file in sorted(outputs):
        folder, name = file.rpartition("/")[::2]
        receipt = f"{folder}/run.json"
        if name == "checkpoint.pt" and receipt in outputs:
            continue  # left by a training that was killed before its receipt
        if name == "run.json" and not (root / folder / "metrics.csv").exists():
            continue  # left by a build that was killed while it removed what a failed training made
        if file.startswith("results/evals/") and f"results/runs/{folder.rpartition('/')[2]}/run.json" in outputs:
            continue  # of weights that are trained anew
        if (name in ("checkpoint.pt", "run.json") or file.startswith("results/evals/")) and (root / file).exists():
            return file
    return None


def _at_work(root: Path) -> list[dict[str, Any]]:
    """The announcements of builds that are at work in a folder."""
    found = []
    for path in (root / "results" / "builds").glob("*.json"):
        with contextlib.suppress(OSError, ValueError), open(path) as file:
            if _held(file):
                found.append(json.load(file))
    return found


def _words(other: dict[str, Any]) -> str:
    return f"process {other['process']} on {other['host']}, since {other['since']} ({other['command']})"


def _if_gone(other: dict[str, Any]) -> str:
    """Another host cannot be asked whether the process still lives, where the file system has no locks."""
    if other["host"] == socket.gethostname():
        return ""
    return f" (if it is gone: rm results/builds/{other['host']}-{other['process']}.json)"


def building(root: Path) -> list[str]:
    """The builds that are at work in a folder, in words."""
    return [_words(other) for other in _at_work(root)]


def equip_jobs(frozen: Path) -> None:
    """Let the jobs of this process run the sslpairs that belongs to its Python, and read the frozen plan."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ["SSLPAIRS_PLAN"] = str(frozen)


def share_warm_processes() -> None:
    """Let the jobs of this process, on this machine, share processes that have imported torch (``sslpairs.warm``)."""
    with contextlib.suppress(OSError):  # no room for temporary files: everything works without
        folder = tempfile.mkdtemp(prefix="sslpairs-", suffix=f"-{os.getpid()}")
        os.environ["SSLPAIRS_WARM"] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


def fetch_datasets(
    root: Path, names: list[str], overrides: dict[str, Any], frozen: Path | None, force: bool, unknown: bool
) -> Iterator[str]:
    """Prepare data sets and record their content; yields a line for each.

    Without names: those that the chosen tables need. ``unknown`` skips those whose content is on record, ``force`` prepares
    anew what is there. Under a ``frozen`` plan the content must be the planned one.
    """
    from sslpairs.config.datasets import Dataset
    from sslpairs.data.prepare import check_expected, read_receipt, source_record

    known = recorded(root)
    if frozen:
        planned = thaw(frozen).datasets
        datasets = {name: Dataset.model_validate(entry["config"]) for name, entry in planned.items()}
    else:
        config = read_config(root, overrides)
        planned, datasets = {}, config.datasets
        names = names or _needed(config)
    for name in names:
        if name not in datasets:
            hint = nearest(name, list(datasets))
            raise UserError(f"config/datasets.yaml: there is no data set '{name}'{hint} ({', '.join(datasets)})")
        if unknown and name in known:
            continue
        receipt = None if force else read_receipt(name, root)
        source = json.loads(json.dumps(source_record(datasets[name].source)))
        in_place = (
            receipt is not None
            and receipt.get("content") == known.get(name)
            and receipt.get("source") == source
            and _stored_as_wanted(receipt, datasets[name], name, root)
        )
        if not in_place:
            receipt = _obtain(name, datasets[name], root, known)
        check_expected(name, datasets[name], receipt["counts"], f"data/{name}")
        content = receipt["content"]
        if name in planned and content != planned[name]["content"]:
            raise UserError(
                f"data/{name}: the source gives other images than data.dvc records ({content[:12]}, not "
                f"{planned[name]['content'][:12]}); if that is meant, run `sslpairs fetch {name}` and build again"
            )
        record(name, content, root, datasets)
        counts = receipt["counts"]
        if in_place:
            yield f"{name}: in place ({counts['train']:,} training and {counts['test']:,} test images)"
        else:
            changed = (
                " (another content than before: its runs will be trained anew)"
                if known.get(name, content) != content
                else ""
            )
            yield f"{name}: prepared {counts['train']:,} training and {counts['test']:,} test images{changed}"


def _stored_as_wanted(receipt: dict, dataset: Any, name: str, root: Path) -> bool:
    """Whether arrays or files lie there, as ``storage`` says; what came from a remote stays as it is."""
    from sslpairs.data.prepare import stored_as
    from sslpairs.data.sources import is_here

    wanted = getattr(dataset.source, "storage", "auto")
    return wanted in ("auto", stored_as(receipt)) or not is_here(name, dataset, root)


def _obtain(name: str, dataset: Any, root: Path, known: dict[str, str]) -> dict:
    """Prepare a data set from its source; where the source is not here, is the recorded one, and was published, from the
    remote."""
    from sslpairs.data.prepare import prepare
    from sslpairs.data.sources import is_here, source_path

    if is_here(name, dataset, root) or name not in known or changed_sources(root, {name: dataset}):
        return prepare(name, dataset, root)
    from sslpairs.store import restore_dataset

    try:
        receipt = restore_dataset(name, root)
    except UserError as error:
        raise UserError(
            f"data set '{name}': {source_path(name, dataset.source, root)} is not here, and it cannot be restored: {error}"
        ) from None
    return receipt or prepare(name, dataset, root)


def _needed(config: Config) -> list[str]:
    """Data sets of the chosen tables; planning needs no real content for that."""
    plan = make_plan(config, dict.fromkeys(config.datasets, "not prepared"))
    return list(
        dict.fromkeys(
            name
            for table in plan.selected
            for cell in plan.tables[table]["cells"]
            for replicate in cell["replicates"]
            for name in (
                plan.runs[replicate["run"]]["dataset"],
                plan.evaluations[replicate["evaluation"]].get("dataset"),
            )
            if name
        )
    )
