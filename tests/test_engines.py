"""The same rules on other engines: each profile's requests, and real builds through a submit command and through Kubernetes."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from kube import Kube
from projects import ROOT, TABLE, build, built, edit, say, side_by_side

from sslpairs.workflow.cluster import profile_site

PROFILES = ("slurm", "generic", "kubernetes")
GENERIC = (ROOT / "workflow/profiles/generic/config.yaml").read_text()
ONE_RUN = "simclr+gps-*-weak-*-s1-*"
SOON = ("--seconds-between-status-checks", "1", "--latency-wait", "10")


@pytest.fixture
def project(original, tmp_path) -> Path:
    """A copy that a test may change; times of files are kept."""
    return built(original, tmp_path / "copy")


@pytest.fixture(scope="module")
def plugin(tmp_path_factory) -> Path:
    """The Kubernetes executor, in a folder of its own: in the environment it would cost each of hundreds of starts of Snakemake."""
    folder = tmp_path_factory.mktemp("plugin")
    words = ["--quiet", "--python", sys.executable, "--target", folder, "--no-deps"]
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "pip", "install", *words, "-r", ROOT / "requirements-kubernetes.txt"], check=True)
    return folder


def without(project: Path, pattern: str) -> dict[str, bytes]:
    """Forget the runs that a pattern names and what was made of them; the table as it was."""
    for folder in [*project.glob(f"results/runs/{pattern}"), *project.glob(f"results/evals/{pattern}")]:
        shutil.rmtree(folder)
    tables = {path.name: path.read_bytes() for path in project.glob("results/tables/digits/*")}
    shutil.rmtree(project / "results/tables")
    return tables


def tables_of(project: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in project.glob("results/tables/digits/*")}


@pytest.mark.slow
def test_every_profile_describes_its_cluster_and_works_where_no_scheduler_is_installed(project, tmp_path, plugin):
    assert {*PROFILES, "default"} <= {path.name for path in (ROOT / "workflow/profiles").iterdir()}
    (tmp_path / "bin").mkdir()
    for name in ("bash", "sh", "git", "which"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    found = {"PATH": f"{Path(sys.executable).parent}:{tmp_path / 'bin'}", "PYTHONPATH": f"{project / 'src'}:{plugin}"}

    def look(name: str) -> None:
        site = profile_site(ROOT, name)
        assert site.gpu_request
        done = say(project, "snakemake", "-n", TABLE, "--workflow-profile", name, "--config", "seeds=3", **found)
        text = done.stdout + done.stderr
        assert done.returncode == 0, text
        assert re.search(r"^pretrain +4$", text, re.MULTILINE), text
        done = say(project, "sslpairs", "plan", TABLE, "--profile", name, "--set", "seeds=3", **found)
        assert done.returncode == 0, done.stderr
        assert f"Jobs requested with profile {name}" in done.stdout
        assert re.search(r"4 │ training +│ +1 │ +\d+ │ [\d.]+ GB │", done.stdout), done.stdout

    side_by_side(look, PROFILES)


# --- a submit command -----------------------------------------------------------------------------------------------


def variant(start: str) -> dict[str, str]:
    """The commands of the generic profile for one scheduler, which stand there as comments."""
    block = re.search(rf"^# {start}.*?:\n(# cluster.*?)\n\n", GENERIC, re.DOTALL | re.MULTILINE)[1]
    return yaml.safe_load(re.sub(r"^# ", "", block, flags=re.MULTILINE))


@pytest.mark.parametrize(
    ("start", "command", "prints", "expected"),
    [
        ("PBS", "qsub", "123.server", ["123.server", "walltime=90:00", "select=1:ncpus=8:mem=6500mb:ngpus=1"]),
        ("LSF", "bsub", "Job <123> is submitted to queue <gpu2>.", ["123", "90", "8", "ngpus_physical=1"]),
        ("SGE", "qsub", "123", ["123", "h_rt=0:90:0", "mem_free=6500M", "gpu=1"]),
    ],
)
def test_the_commands_for_other_schedulers_say_what_a_job_asks_for(start, command, prints, expected, tmp_path):
    commands = variant(start)
    assert set(commands) == {f"cluster-generic-{name}-cmd" for name in ("submit", "status", "cancel")}
    fake = tmp_path / command
    fake.write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/given\necho '{prints}'\n")
    fake.chmod(0o755)
    resources = SimpleNamespace(queue="gpu", runtime=90, mem_mb=6500, cpus_per_task=8, gpus=1)
    submit = commands["cluster-generic-submit-cmd"].format(resources=resources, rule="pretrain", jobid=1)
    path = f"{tmp_path}:{os.environ['PATH']}"
    answer = subprocess.run(
        f'{submit} "/some where/job.sh"', shell=True, cwd=tmp_path, capture_output=True, text=True, env={"PATH": path}
    )
    assert answer.stdout.splitlines()[0] == expected[0]
    given = (tmp_path / "given").read_text()
    assert given.strip().endswith("/some where/job.sh")
    assert not [word for word in expected[1:] if word not in given], given


def test_a_killed_job_has_failed_a_minute_after_the_scheduler_lost_it(tmp_path):
    def status(*command: str) -> str:
        words = ["sh", str(ROOT / "workflow/profiles/generic/status.sh"), *command, "17"]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()

    left = tmp_path / ".snakemake/generic/17"
    lost = ("true", "#")
    assert status("echo", "RUNNING") == "running"
    assert status("sh", "-c", "echo Unable to contact the controller; exit 1") == "running"
    for words in (
        "slurm_load_jobs error: Invalid job id specified",
        "qstat: Unknown Job Id 17",
        "Job <17> is not found",
        "EXIT",
    ):
        assert status("sh", "-c", f"echo '{words}' >&2; exit 1") == "running"
        os.utime(f"{left}.gone", (time.time() - 130,) * 2)
        assert status("sh", "-c", f"echo '{words}' >&2; exit 1") == "failed"
    assert status(*lost) == "running"
    assert status("echo", "PENDING") == "running"  # requeued
    assert not Path(f"{left}.gone").exists()
    for code, word in (("0", "success"), ("1", "failed")):
        left.write_text(f"{code}\n")
        assert status(*lost) == word
        assert not left.exists()  # read once: another job may get the number


@pytest.mark.slow
def test_a_build_through_a_submit_command_makes_the_same_table(project):
    tables = without(project, ONE_RUN)
    profile = project / "profiles/generic/config.yaml"
    commands = variant("No scheduler")
    start, end = GENERIC.index("cluster-generic-submit-cmd"), GENERIC.index("# PBS:")
    profile.write_text(GENERIC.replace(GENERIC[start:end], yaml.safe_dump(commands)))
    done = build(project, TABLE, "--workflow-profile", "generic", *SOON, "--config", "device=cpu")
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert len(re.findall(r"Submitted job \d+ with external jobid '\d+'", text)) == 2  # a training and an evaluation
    assert tables_of(project) == tables
    assert "trained simclr" in "".join(path.read_text() for path in (project / "logs/generic").glob("pretrain-*.log"))
    assert not list((project / ".snakemake/generic").iterdir())


@pytest.mark.slow
def test_only_slurm_trains_a_run_on_several_nodes(project):
    without(project, ONE_RUN)
    paper = project / "config/papers/gps.yaml"
    edit(paper, "- {augmentation: weak}", "- {augmentation: weak, set: {training.gpus: 8}}")
    done = build(project, TABLE, "--workflow-profile", "generic")
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert re.search(
        r"error: simclr\S+-s1-\w+: trains on 8 GPUs, but a node has 4 \(gpus_per_node of the profile\)", text
    ), text
    assert "Submitted" not in text


# --- Kubernetes -----------------------------------------------------------------------------------------------------


@pytest.fixture
def kube(tmp_path, plugin):
    kube = Kube(tmp_path / "kube")
    kube.plugin = plugin
    yield kube
    kube.stop()


def through_kubernetes(project: Path, kube: Kube, mount: Path, *words: str) -> subprocess.CompletedProcess:
    profile = project / "profiles/kubernetes/config.yaml"
    edit(profile, "namespace: default", "namespace: research")
    edit(profile, "research:/research", f"research:{mount}")
    words = ("--workflow-profile", "kubernetes", *SOON, "--envvars", "PYTHONPATH", *words)
    path = f"{project / 'src'}:{kube.plugin}"
    return say(project, "snakemake", TABLE, *words, KUBECONFIG=str(kube.config), PYTHONPATH=path)


@pytest.mark.slow
def test_a_build_through_kubernetes_makes_the_same_table_although_a_pod_and_a_node_die(project, kube):
    tables = without(project, ONE_RUN)
    kube.kill = ["pod", "node"]
    done = through_kubernetes(project, kube, project.parent, "--config", "device=cpu")
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert tables_of(project) == tables
    assert text.count("Trying to restart job") == 2
    assert re.search(r"^failed: trained .*/kubernetes-logs/.*\n( .*\n)* +Killed$", text, re.MULTILINE), text
    pods = [body["spec"]["template"]["spec"] for body in kube.taken]
    containers = [container for pod in pods for container in pod["containers"]]
    rules = [re.search(r"--allowed-rules (\w+)", container["args"][1])[1] for container in containers]
    assert rules == ["pretrain", "pretrain", "pretrain", "evaluate"]
    for pod, container in zip(pods, containers, strict=True):
        assert container["image"] == "python:3.12"
        assert container["args"][1].startswith(f"cd {project} && {sys.executable} -m snakemake")
        assert container["volumeMounts"][-1] == {"name": "research", "mountPath": str(project.parent)}
        assert pod["volumes"][-1] == {"name": "research", "persistentVolumeClaim": {"claimName": "research"}}
        assert not pod.get("tolerations")
        assert set(container["resources"]["limits"]) == {"cpu", "memory", "ephemeral-storage"}
    memory = [int(container["resources"]["limits"]["memory"][:-1]) for container in containers]
    assert memory[0] < memory[1] < memory[2]


@pytest.mark.slow
def test_pods_ask_for_gpus_and_a_failed_one_says_why(project, kube):
    without(project, ONE_RUN)
    kube.kill = ["pod"]
    done = through_kubernetes(project, kube, project.parent, "--retries", "0")
    assert done.returncode != 0
    assert "Killed" in done.stdout + done.stderr
    (body,) = kube.taken
    pod = body["spec"]["template"]["spec"]
    resources = pod["containers"][0]["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == "1"
    assert resources["limits"]["cpu"] == "7000m"
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"


@pytest.mark.slow
def test_a_folder_that_pods_do_not_see_is_refused_before_any_job(project, kube):
    without(project, ONE_RUN)
    done = through_kubernetes(project, kube, Path("/elsewhere"))
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert f"kubernetes-persistent-volumes: {project} is on none of them (research:/elsewhere)" in text
    assert "Traceback" not in text
    assert not kube.taken
