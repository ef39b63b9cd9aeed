"""Builds through a real Slurm: two nodes with pretend GPUs and one without, all on this machine (``.ci/slurm``).

The nodes see the project's folder and nothing else: no git, no network, no DVC remote. Every table is compared, byte for byte,
with that of a build on this machine.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from projects import ROOT, TABLE, build, built, edit, git, make_tiny, say, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]
SLURM = ROOT / ".ci" / "slurm"
ENDINGS = ("csv", "claims.csv", "md", "tex", "html")
EPOCHS = 90
SLOW = "slow"
"""A file in a project's folder: while it is there, each epoch of a job takes at least two seconds, and no processor."""


@pytest.fixture(scope="module", autouse=True)
def _slurm():
    if os.getuid() or not shutil.which("apt-get"):
        pytest.fail("these tests start a Slurm of their own: that takes root and Debian's packages")
    up = subprocess.run([SLURM, "up"], capture_output=True, text=True)
    if up.returncode:
        pytest.fail(f"these tests run through a real Slurm, which does not start: {up.stdout}{up.stderr}")
    yield
    if "already up" not in up.stdout:
        subprocess.run([SLURM, "down"], check=True)


# --- a user at a cluster --------------------------------------------------------------------------------------------


def use_cluster(project: Path, **changes) -> None:
    """A copy of the Slurm profile for the cluster of the tests, as a user makes one."""
    profile = yaml.safe_load((project / "workflow/profiles/slurm/config.yaml").read_text())
    profile["default-resources"] |= {
        "gpus_per_node": 2,
        "cpus_per_gpu": 1,
        "node_memory_gb": 8,
        "share_request": "gres=shard:1",
        "gpu_shares": 2,
    }
    profile |= {"slurm-status-command": "squeue", "latency-wait": 10}
    profile |= {"slurm-init-seconds-before-status-checks": 2, "seconds-between-status-checks": 3}
    profile |= changes
    folder = project / "workflow/profiles/toy"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(profile))


def cut_off(folder: Path) -> dict[str, str]:
    """An environment in which the nodes have neither git nor a network: a git that only the head node has, and Python whose
    sockets reach no further than this machine."""
    (folder / "bin").mkdir(parents=True)
    shim = folder / "bin/git"
    real = shutil.which("git")
    shim.write_text(f'#!/bin/sh\n[ -n "$SLURM_JOB_ID" ] && {{ echo "no git here" >&2; exit 127; }}\nexec {real} "$@"\n')
    shim.chmod(0o755)
    (folder / "sitecustomize.py").write_text(
        "import os, socket\n"
        "if 'SLURM_JOB_ID' in os.environ:\n"
        "    connect = socket.socket.connect\n"
        "    def near(self, address, *more):\n"
        "        if self.family != socket.AF_UNIX and not str(address[0]).startswith(('127.', '::1')):\n"
        "            raise OSError(101, f'Network is unreachable: {address}')\n"
        "        return connect(self, address, *more)\n"
        "    socket.socket.connect = near\n"
    )
    return {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "SITE": str(folder)}


def slowed(folder: Path) -> dict[str, str]:
    """An environment in which the states of trainings are written slowly while a project's ``SLOW`` says so."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import os, time\n"
        "if 'SLURM_JOB_ID' in os.environ:\n"
        "    replace = os.replace\n"
        "    def slowly(source, target, **more):\n"
        "        replace(source, target, **more)\n"
        f"        if str(target).endswith('last.ckpt') and os.path.exists({SLOW!r}):\n"
        "            time.sleep(2)\n"
        "    os.replace = slowly\n"
    )
    return {"SITE": str(folder)}


def environment(project: Path, changed: dict[str, str]) -> dict[str, str]:
    own = {"PYTHONPATH": f"{project / 'src'}:{changed.get('SITE', '')}", "DVC_NO_ANALYTICS": "1", "COLUMNS": "200"}
    return os.environ | changed | own


class Head:
    """A build that runs on the head node."""

    def __init__(self, project: Path, *words: str, changed: dict[str, str] | None = None):
        self.project, self.log = project, project / f"head-{time.monotonic_ns()}.log"
        with self.log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", "--workflow-profile", "toy", *words],
                cwd=project, stdout=file, stderr=subprocess.STDOUT, env=environment(project, changed or {}), start_new_session=True,
            )  # fmt: skip

    def said(self) -> str:
        return self.log.read_text()

    def ends(self, code: int = 0, seconds: int = 900) -> str:
        try:
            found = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise AssertionError(f"still at work after {seconds} s:\n{self.said()}\n{jobs_of(self.project)}") from None
        assert found == code, self.said()
        return self.said()


def jobs_of(project: Path, states: str = "PENDING,RUNNING,COMPLETING") -> dict[str, dict[str, str]]:
    """Jobs of a project in the queue: comment -> id, state, node, and what was asked for."""
    keys = ("id", "state", "node", "gres", "comment", "folder")
    words = ["squeue", "--noheader", f"--states={states}", "--format=%i|%T|%N|%b|%k|%Z"]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    found = [dict(zip(keys, line.strip().split("|"), strict=True)) for line in lines]
    return {job["comment"]: job for job in found if os.path.realpath(job["folder"]) == os.path.realpath(project)}


def control(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True)


def same_results(project: Path, local: Path) -> None:
    for ending in ENDINGS:
        name = f"results/tables/digits/{TABLE}.{ending}"
        assert (project / name).read_bytes() == (local / name).read_bytes(), name
    runs = [{path.parent.name for path in folder.glob("results/runs/*/run.json")} for folder in (project, local)]
    shared = runs[0] & runs[1]
    assert len(shared) == 4
    for run in shared:
        for name in ("checkpoint.pt", "metrics.csv"):
            file = f"results/runs/{run}/{name}"
            assert (project / file).read_bytes() == (local / file).read_bytes(), file


# --- faults ---------------------------------------------------------------------------------------------------------


class Faults:
    """A build of four trainings to which everything happens that happens on clusters; it is left when all that is to come is
    the end of a job that hangs."""

    def __init__(self, folder: Path):
        local = folder / "local"
        local.mkdir(parents=True)
        make_tiny(local, epochs=EPOCHS, seeds=1)
        for words in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message=Start")):
            git(local, *words)
        assert say(local, "sslpairs", "fetch", "digits").returncode == 0
        self.local, self.project = local, built(local, folder / "project")
        listed = say(local, "sslpairs", "plan", TABLE, "--runs").stdout
        self.runs = re.findall(r"^(\S+)  new$", listed, re.MULTILINE)
        starts = ("simclr+gps-digits-weak", "simclr-digits-weak", "simclr-digits-strong")
        self.hung, self.cancelled, self.requeued = (next(r for r in self.runs if r.startswith(s)) for s in starts)
        limits = f"1 if attempt == 1 and wildcards.run == '{self.hung}' else 10"
        use_cluster(self.project, **{"set-resources": {"pretrain": {"runtime": limits}}})
        self.words, self.slowed = (TABLE, "--config", "device=cpu"), slowed(folder / "slowed")

    def job(self, run: str) -> dict[str, str]:
        return jobs_of(self.project).get(f"rule_pretrain_wildcards_{run}", {"state": "gone"})

    def all_go_on(self, what: str, runs: list[str]) -> None:
        """Snakemake starts a job's log anew whenever it starts the job."""
        since = time.strftime("%Y-%m-%d %H:%M:%S")

        def goes_on(run: str) -> bool:
            path = self.project / f"logs/runs/{run}.log"
            text = path.read_text() if path.exists() else ""
            return text[:19] > since and "resuming after epoch" in text

        wait_for(lambda: all(map(goes_on, runs)), what=f"all go on after {what}")

    def on(self, node: str) -> list[str]:
        return [run for run in self.runs if self.job(run).get("node") == node]

    def happen(self) -> None:
        (self.project / SLOW).touch()
        head = Head(self.project, *self.words, changed=self.slowed)
        states = [self.project / f"results/runs/{run}/last.ckpt" for run in self.runs]
        wait_for(lambda: all(state.exists() for state in states), what="all train")

        node = self.job(self.cancelled)["node"]
        there = self.on(node)
        assert self.cancelled in there
        control(str(SLURM), "break", node)
        control(str(SLURM), "mend", node)
        self.all_go_on(f"{node} broke", there)

        node = self.job(self.cancelled)["node"]
        there = self.on(node)
        assert self.cancelled in there
        control(
            "sbatch", "--partition=urgent", f"--nodelist={node}", "--mem=8000", "--output=/dev/null", "--wrap=sleep 1"
        )
        self.all_go_on("others took the node", there)

        os.killpg(head.process.pid, signal.SIGKILL)
        self.head = Head(self.project, *self.words, changed=self.slowed)
        self.all_go_on("the head node was switched off", self.runs)
        assert "note: 4 Slurm jobs of an earlier build in this folder" in self.head.said()

        # What the configuration says from now on is another build's.
        edit(self.project / "config/scales/digits.yaml", f"epochs: {{default: {EPOCHS}}}", "epochs: {default: 2}")
        listed = say(self.project, "sslpairs", "plan", TABLE, "--runs", "--set", "device=cpu").stdout
        self.other = re.search(rf"^({re.escape(self.cancelled[:-13])}-\w+)  new", listed, re.MULTILINE)[1]
        self.second = Head(self.project, f"results/runs/{self.other}/run.json", "--config", "device=cpu")

        for process in processes_of(f"train\0{self.hung}"):
            os.kill(process, signal.SIGSTOP)
        control("scancel", self.job(self.cancelled)["id"])
        control("scontrol", "requeue", self.job(self.requeued)["id"])
        (self.project / SLOW).unlink()
        self.reference = subprocess.Popen(
            [sys.executable, "-m", "snakemake", TABLE], cwd=self.local, env=environment(self.local, {}), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def processes_of(words: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if words in path.read_text(errors="ignore"):
                found.append(int(path.parts[2]))
    assert found
    return found


@pytest.fixture(scope="module")
def faults(tmp_path_factory) -> Faults:
    found = Faults(tmp_path_factory.mktemp("faults"))
    found.happen()
    return found


# --- what is asked of a cluster -------------------------------------------------------------------------------------


def test_a_build_on_nodes_without_git_network_or_remote_gives_the_table_of_a_local_build(original, tmp_path, faults):
    local, project = (built(original, tmp_path / name) for name in ("local", "project"))
    commit = git(project, "rev-parse", "HEAD").strip()
    shutil.rmtree(project / "results")
    (project / ".dvc/config").write_text(
        f"[core]\n    remote = gone\n['remote \"gone\"']\n    url = {tmp_path / 'gone'}\n"
    )
    use_cluster(project)
    words = (TABLE, "--config", "device=cpu", "seeds=1")
    head = Head(project, *words, changed=cut_off(tmp_path / "cut"))
    assert build(local, *words).returncode == 0  # from the evaluations that are there
    head.ends()
    same_results(project, local)
    receipts = [json.loads(path.read_text()) for path in project.glob("results/runs/*/run.json")]
    assert len(receipts) == 4
    assert {receipt["git"]["commit"] for receipt in receipts} == {commit}
    assert all(receipt["memory"]["host"] > 50e6 for receipt in receipts)
    again = say(project, "snakemake", "--workflow-profile", "toy", *words)
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_job_on_a_node_without_the_gpu_it_was_given_says_so(original, tmp_path):
    project = built(original, tmp_path / "project")
    use_cluster(project, retries=0)
    run = next(project.glob("results/runs/simclr-digits-weak*")).name
    shutil.rmtree(project / "results")
    text = Head(project, f"results/runs/{run}/run.json").ends(code=1)
    said = (project / f"logs/runs/{run}.log").read_text()
    assert re.search(r"ERROR error: device: 'cuda' was requested, but node n[12] \(Slurm job \d+\) has 0 GPUs", said)
    assert "gpu_request" in said
    assert f"(see logs/runs/{run}.log" in text  # and below it what it holds
    assert said.strip().splitlines()[-1] in text
    assert not list(project.glob("results/runs/*/run.json"))
    job = jobs_of(project, states="all")[f"rule_pretrain_wildcards_{run}"]
    assert job["gres"] == "gres:shard:1"  # a small run


def test_runs_train_in_several_processes_on_one_node_and_on_two(original, tmp_path):
    project = built(original, tmp_path / "project")
    use_cluster(project)
    edit(
        project / "config/papers/gps.yaml", "- {augmentation: weak}", "- {augmentation: weak, set: {training.gpus: 2}}"
    )
    edit(
        project / "config/papers/gps.yaml",
        "- {augmentation: strong}",
        "- {augmentation: strong, set: {training.gpus: 4}}",
    )
    names = {how: next(project.glob(f"results/runs/simclr-digits-{how}-*-s0-*")).name for how in ("weak", "strong")}
    shutil.rmtree(project / "results")
    Head(project, *(f"results/runs/{run}/run.json" for run in names.values()), "--config", "device=cpu").ends()
    for how, processes in (("weak", 2), ("strong", 4)):
        run = names[how]  # the same id as with one process
        receipt = json.loads((project / f"results/runs/{run}/run.json").read_text())
        assert receipt["device"].endswith(f" x {processes}")
        alone = json.loads((original / f"results/runs/{run}/run.json").read_text())
        assert receipt["loss"] == pytest.approx(alone["loss"], rel=1e-3)
    nodes = {how: jobs_of(project, "all")[f"rule_pretrain_wildcards_{run}"]["node"] for how, run in names.items()}
    assert nodes["weak"] in ("n1", "n2")
    assert nodes["strong"] == "n[1-2]"


def test_whatever_stops_a_job_the_table_is_that_of_a_build_that_nothing_stopped(faults):
    text = faults.head.ends()
    assert "SLURM status is: 'TIMEOUT'" in text
    assert "SLURM status is: 'CANCELLED'" in text
    assert faults.reference.wait(900) == 0
    same_results(faults.project, faults.local)
    assert not list(faults.project.glob("results/runs/*/last.ckpt"))
    for run in faults.runs:
        receipt = json.loads((faults.project / f"results/runs/{run}/run.json").read_text())
        after = receipt["resumed_after"]
        assert len(after) >= 2, run
        assert after == sorted(after)


def test_a_second_build_from_another_configuration_runs_beside_the_first(faults):
    faults.second.ends()
    receipt = json.loads((faults.project / f"results/runs/{faults.other}/run.json").read_text())
    assert receipt["spec"]["epochs"] == 2
    for run in faults.runs:  # queued and trained after the edit
        assert json.loads((faults.project / f"results/runs/{run}/run.json").read_text())["spec"]["epochs"] == EPOCHS
