"""Publishing to a folder, to an ssh server and to an S3 server, all of them real: what is sent, staged, restored and removed."""

import contextlib
import functools
import getpass
import json
import logging
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from kill_points import every_moment
from PIL import Image
from projects import copy_parts, edit, git, say, write_evaluation

from sslpairs import cli
from sslpairs.config.reading import read_config
from sslpairs.data.prepare import prepare
from sslpairs.data.record import record, tracked
from sslpairs.errors import UserError
from sslpairs.files import both_digests, sha256_file, write_atomic, write_record
from sslpairs.locks import exclusive
from sslpairs.plan.paths import evaluation_file, pointer_file, run_folder
from sslpairs.plan.pointers import read_pointer
from sslpairs.store import staging
from sslpairs.store.publish import publish
from sslpairs.store.restore import Restored, restore
from sslpairs.store.staging import Published
from sslpairs.words import counted, redact
from sslpairs.workflow.builds import make_build

TABLE = "gps-augmentation"
SSHD = Path("/usr/sbin/sshd")
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}

slow = pytest.mark.slow
everywhere = pytest.mark.parametrize(
    "kind", ["folder", pytest.param("ssh", marks=slow), pytest.param("s3", marks=slow)]
)


# --- a project whose runs are made up ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """One table of four finished runs, on a few images; its configuration is committed, its results are not."""
    root = tmp_path_factory.mktemp("template") / "project"
    root.mkdir()
    copy_parts(("config", ".dvc", ".gitignore", ".dvcignore"), root)
    for path in (*(root / "config/papers").iterdir(), *(root / "config/scales").iterdir()):
        if path.stem not in ("gps", "digits"):
            path.unlink()
    paper = root / "config/papers/gps.yaml"
    content = yaml.safe_load(paper.read_text())
    content["tables"] = {TABLE: content["tables"][TABLE]}
    paper.write_text(yaml.safe_dump({key: content[key] for key in content if key != "figures"}))
    edit(root / "config/scales/digits.yaml", "seeds: 5", "seeds: 1\nbaselines: []")
    edit(root / "config/scales/digits.yaml", "datasets: {default: digits}", "datasets: {default: pictures}")
    edit(
        root / "config/scales/digits.yaml",
        "batch_sizes: {default: 128, 32: 8, 64: 16, 128: 32, 256: 64, 512: 128, 1024: 256}",
        "batch_sizes: {default: 4}",
    )
    edit(root / "config/recipes/digits.yaml", "knn: {neighbours: 20", "knn: {neighbours: 2")
    source = {"kind": "image-folder", "path": "sources/pictures", "size": 8}
    datasets = {"pictures": {"title": "Pictures", "source": source}}
    (root / "config/datasets.yaml").write_text(yaml.safe_dump({"datasets": datasets}))
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=Configuration")
    git(root, "gc", "--quiet")
    draw(root / "sources/pictures")
    record("pictures", prepare("pictures", read_config(root, {}).datasets["pictures"], root)["content"], root)
    plan = make_build(root).plan
    for run, entry in plan.runs.items():
        finish(root, run, entry)
    for name, entry in plan.evaluations.items():
        checkpoint = sha256_file(root / run_folder(entry["run"]) / "checkpoint.pt")
        write_evaluation(root, name, entry, checkpoint)
    return root


def draw(folder: Path) -> None:
    for split, count in (("train", 6), ("test", 3)):
        for animal in ("cat", "dog"):
            for number in range(count):
                path = folder / split / animal / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.frombytes("L", (8, 8), random.Random(str(path.relative_to(folder))).randbytes(64)).save(path)


def finish(root: Path, run: str, entry: dict, weights: str = "") -> None:
    """Checkpoint, metrics and receipt as a training leaves them; the weights are random bytes."""
    folder = root / run_folder(run)
    content, metrics = random.Random(run + weights).randbytes(20_000), b"epoch,loss\n1,0.5\n"
    write_atomic(folder / "checkpoint.pt", content)
    write_atomic(folder / "metrics.csv", metrics)
    sha256, md5 = both_digests(folder / "checkpoint.pt")
    facts = {key: entry[key] for key in ("label", "dataset", "seed", "guide", "spec")}
    facts |= {
        "checkpoint": {"sha256": sha256, "md5": md5, "bytes": len(content)},
        "timing": {"seconds": 1.0},
        "device": "cpu",
    }
    facts |= {"metrics": {"sha256": sha256_file(folder / "metrics.csv"), "bytes": len(metrics)}}
    write_record(folder / "run.json", {"format": 1, "run": run} | facts)


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """Nobody's ssh configuration or AWS credentials, and a memory of DVC's that is empty."""
    for name, value in {"HOME": tmp_path, "DVC_SITE_CACHE_DIR": tmp_path / "site", "DVC_NO_ANALYTICS": "1"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(cli.look.out, "width", 200)


@pytest.fixture
def project(template, tmp_path, monkeypatch) -> Path:
    """A copy of the template, which is also the working folder."""
    root = Path(shutil.copytree(template, tmp_path / "project"))
    monkeypatch.chdir(root)
    return root


# --- remotes, and what they hold without asking DVC -------------------------------------------------------------------


class Folder:
    """A remote whose objects are files of this machine: a folder, or what the ssh server serves."""

    def __init__(self, path: Path):
        self.path = path

    def held(self) -> dict[str, bytes]:
        """Its objects. Names that end in .tmp are none: a killed upload may leave one, and nothing reads it."""
        found = [path for path in self.path.glob("files/md5/??/*") if path.suffix != ".tmp"]
        return {path.parent.name + path.name: path.read_bytes() for path in found}

    def put(self, oid: str, content: bytes) -> None:
        if oid in self.held():  # DVC makes its objects read-only
            self.drop(oid)
        (self.path / "files/md5" / oid[:2] / oid[2:]).write_bytes(content)

    def drop(self, oid: str) -> None:
        (self.path / "files/md5" / oid[:2] / oid[2:]).unlink()


class Bucket:
    """A remote whose objects lie in an S3 bucket of its own."""

    def __init__(self, url: str, name: str):
        import boto3

        self.client, self.name = boto3.client("s3", endpoint_url=url, **KEYS), name
        self.client.create_bucket(Bucket=name)

    def _key(self, oid: str) -> str:
        return f"files/md5/{oid[:2]}/{oid[2:]}"

    def held(self) -> dict[str, bytes]:
        found = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        keys = [entry["Key"] for entry in found]
        return {
            key.removeprefix("files/md5/").replace("/", ""): self.client.get_object(Bucket=self.name, Key=key)[
                "Body"
            ].read()
            for key in keys
        }

    def put(self, oid: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=self._key(oid), Body=content)

    def drop(self, oid: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=self._key(oid))


@contextlib.contextmanager
def ssh_server(folder: Path) -> Iterator[tuple[int, Path]]:
    """OpenSSH's server on this machine, for this user: its port, and the key that it lets in."""
    _install_sshd()
    for name in ("host", "user"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": folder / "pid",
        "StrictModes": "no",
        "UsePAM": "no",
        "PermitRootLogin": "yes",
        "Subsystem": "sftp internal-sftp",
    }
    (folder / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    log = folder / "log"
    server = subprocess.Popen([SSHD, "-D", "-f", folder / "sshd_config", "-E", log], start_new_session=True)
    try:
        until = time.monotonic() + 20
        while not _answers(port):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        yield port, folder / "user"
    finally:
        server.kill()
        server.wait()


def _install_sshd() -> None:
    if SSHD.exists():
        return
    if os.getuid() == 0 and shutil.which("apt-get"):
        install = ["apt-get", "install", "-y", "--no-install-recommends", "openssh-server"]
        for words in (["apt-get", "update"], install):
            subprocess.run(words, capture_output=True, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    if not SSHD.exists():
        pytest.fail(f"these tests publish to a real ssh server: install openssh-server ({SSHD} is missing)")


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        return connection.recv(4) == b"SSH-"
    return False


@pytest.fixture(scope="module")
def sshd(tmp_path_factory) -> Iterator[tuple[int, Path]]:
    with ssh_server(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """An S3 server in this process: its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def kind() -> str:
    """The kind of a test's remote, where it does not say."""
    return "folder"


@pytest.fixture
def remote(kind, project, tmp_path, request) -> Folder | Bucket:
    """The default remote of the project, empty, made by ``dvc remote`` as a user makes it."""
    if kind == "folder":
        dvc("remote", "add", "--default", "store", "../store")
        return Folder(tmp_path / "store")
    if kind == "ssh":
        connect_ssh(*request.getfixturevalue("sshd"), tmp_path / "store")
        return Folder(tmp_path / "store")
    connect_s3(url := request.getfixturevalue("s3"), tmp_path.name.replace("_", "-"))
    return Bucket(url, tmp_path.name.replace("_", "-"))


def connect_ssh(port: int, key: Path, folder: Path) -> None:
    dvc("remote", "add", "--default", "store", f"ssh://127.0.0.1:{port}{folder}")
    dvc("remote", "modify", "store", "user", getpass.getuser())
    dvc("remote", "modify", "store", "allow_agent", "false")
    dvc("remote", "modify", "--local", "store", "keyfile", str(key))


def connect_s3(url: str, bucket: str) -> None:
    dvc("remote", "add", "--default", "store", f"s3://{bucket}")
    dvc("remote", "modify", "store", "endpointurl", url)
    dvc("remote", "modify", "store", "region", KEYS["region_name"])
    dvc("remote", "modify", "--local", "store", "access_key_id", KEYS["aws_access_key_id"])
    dvc("remote", "modify", "--local", "store", "secret_access_key", KEYS["aws_secret_access_key"])


def dvc(*words: str) -> None:
    """DVC's command line, in the working folder; in this process, since it takes a second to import."""
    from dvc.cli import main

    assert main([words[0], *words[1:], "--quiet"]) == 0


# --- what a user does -------------------------------------------------------------------------------------------------


def runs_of(root: Path) -> list[str]:
    return list(make_build(root).plan.runs)


def publish_all(root: Path, **how) -> Published:
    build = make_build(root)
    return publish(build, list(build.plan.runs), **how)


def restore_all(root: Path) -> Restored:
    return restore(root, runs_of(root))


def command(capsys, *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of ``sslpairs``, run in this process and in the working folder."""
    capsys.readouterr()
    logging.getLogger("sslpairs").handlers.clear()  # those of an earlier command write to its terminal
    with pytest.raises(SystemExit) as end:
        cli.main(list(words))
    return end.value.code, *capsys.readouterr()


def checkpoint(root: Path, run: str) -> Path:
    return root / run_folder(run) / "checkpoint.pt"


def checkpoints(root: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in root.glob("results/runs/*/checkpoint.pt")}


def pointers(root: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in root.glob("results/runs/*/checkpoint.pt.dvc")}


def oid_of(root: Path, run: str) -> str:
    return make_build(root).receipts[run]["checkpoint"]["md5"]


def url_of(root: Path) -> str:
    """The address of the remote; DVC writes that of a folder relative to its own."""
    url = re.search(r"^ *url = (.+)$", (root / ".dvc/config").read_text(), re.MULTILINE)[1]
    return url if "://" in url else os.path.normpath(root / ".dvc" / url)


def refusals(err: str) -> list[str]:
    """The lines that name an error; none may be anything else."""
    assert "Traceback" not in err
    return [line for line in err.splitlines() if line.startswith("error: ")]


def files_below(folder: Path) -> dict[Path, bytes]:
    """All files but those of git and of DVC."""
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {path: (folder / path).read_bytes() for path in files if path.parts[0] not in (".git", ".dvc")}


def clone(root: Path) -> Path:
    """Commit what is staged, as publish says, and clone that. Credentials, which are not in git, are set there too."""
    git(root, "commit", "--quiet", "--message=Publish results")
    copy = root.parent / "clone"
    git(root, "clone", "--quiet", str(root), str(copy))
    if (root / ".dvc/config.local").exists():
        shutil.copy(root / ".dvc/config.local", copy / ".dvc")
    return copy


def temporary_files(root: Path) -> list[Path]:
    return [path for path in (root / "results").rglob("*") if path.name.endswith((".tmp", ".lock"))]


def flip(content: bytes) -> bytes:
    """The same size, another byte in the middle."""
    half = len(content) // 2
    return content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]


# --- there and back ---------------------------------------------------------------------------------------------------


@everywhere
def test_what_is_published_is_restored_byte_for_byte_on_a_fresh_clone(project, remote):
    done = say(project, "sslpairs", "publish")
    assert done.returncode == 0, done.stderr
    assert "4 checkpoints are published: 10 objects sent" in done.stdout
    assert not [line for line in done.stderr.splitlines() if not line.startswith("object ")]
    copy = clone(project)
    assert checkpoints(copy) == {}
    done = restore_all(copy)
    assert (len(done.fetched), done.in_place, done.problems) == (4, [], {})
    assert checkpoints(copy) == checkpoints(project)
    assert temporary_files(copy) == []
    assert git(copy, "status", "--short") == ""


def test_dvc_pull_brings_the_checkpoint_of_a_pointer_and_the_data(project, remote):
    publish_all(project)
    copy, run = clone(project), runs_of(project)[0]
    done = say(copy, "dvc", "pull", str(pointer_file(run)), "data.dvc")
    assert done.returncode == 0, done.stderr
    assert checkpoint(copy, run).read_bytes() == checkpoint(project, run).read_bytes()
    assert files_below(copy / "data/pictures") == files_below(project / "data/pictures")


def test_a_pointer_is_byte_for_byte_the_one_that_dvc_add_writes(project, remote):
    publish_all(project)
    before = pointers(project)
    for run in runs_of(project):
        (project / pointer_file(run)).unlink()
        dvc("add", str(checkpoint(project, run)))
    assert pointers(project) == before
    assert len(before) == 4


@everywhere
def test_publishing_again_sends_nothing_stages_nothing_and_leaves_the_pointers_alone(project, remote, capsys):
    first = publish_all(project)
    assert (first.sent, first.held, first.staged, first.problems) == (10, 0, 18, [])
    held, index = remote.held(), git(project, "ls-files", "--stage")
    times = {path: path.stat().st_mtime_ns for path in project.glob("results/runs/*/checkpoint.pt.dvc")}
    code, out, _ = command(capsys, "publish")
    assert code == 0
    assert (
        out
        == "4 checkpoints are published: 0 objects sent (0.0 MB), 10 already there; each was checked on the remote.\n"
    )
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert remote.held() == held
    assert git(project, "ls-files", "--stage") == index


def test_after_half_of_the_runs_only_the_rest_is_sent(project, remote, capsys):
    runs = runs_of(project)
    assert command(capsys, "publish", *runs[:2])[0] == 0
    assert set(pointers(project)) == set(runs[:2])
    done = publish_all(project)
    assert (done.sent, done.held, sorted(done.runs)) == (2, 8, sorted(runs))
    assert set(pointers(project)) == set(runs)


def test_runs_that_are_not_finished_are_left_out(project, remote, capsys):
    run = runs_of(project)[0]
    shutil.rmtree(project / run_folder(run))
    code, out, _ = command(capsys, "publish")
    assert code == 0
    assert "1 run is not trained yet and skipped." in out
    assert len(pointers(project)) == 3


# --- git --------------------------------------------------------------------------------------------------------------


def staged(root: Path) -> dict[str, str]:
    """Every entry of git's index: file -> mode and content."""
    lines = git(root, "ls-files", "--stage").splitlines()
    return {file: entry for entry, file in (line.split("\t") for line in lines)}


def test_receipts_metrics_pointers_evaluations_and_the_record_of_the_data_are_staged_and_nothing_else(project, remote):
    for name, content in {"staged": "staged", "changed": "staged"}.items():
        (project / name).write_text(content)
        git(project, "add", name)
    (project / "changed").write_text("changed after it was staged")
    (project / "untracked").write_text("untracked")
    git(project, "rm", "--quiet", "--cached", "config/README.md")
    edit(project / "config/config.yaml", "device: auto", "device: cpu")
    before = staged(project)
    theirs = [name for name in git(project, "status", "--short").splitlines() if "results/" not in name]
    publish_all(project)
    after = staged(project)
    build = make_build(project)
    names = [
        run_folder(run) / name for run in build.plan.runs for name in ("run.json", "metrics.csv", "checkpoint.pt.dvc")
    ]
    names += [evaluation_file(name) for name in build.plan.evaluations]
    assert set(after) - set(before) == {"data.dvc", *map(str, names)}
    assert {file for file in before if after[file] != before[file]} == {".dvc/config"}
    assert set(theirs) - {"?? data.dvc", " M .dvc/config"} <= set(git(project, "status", "--short").splitlines())


@pytest.mark.parametrize("key", ["password", "secret_access_key", "access_key_id", "sas_token"])
def test_a_secret_in_the_settings_of_a_remote_is_never_staged(project, remote, key, capsys):
    kind = {"password": "ssh://host/path", "sas_token": "azure://box"}.get(key, "s3://bucket")
    dvc("remote", "add", "other", kind)
    dvc("remote", "modify", "other", key, "hunter2")
    code, out, _ = command(capsys, "publish")
    assert code == 0
    assert f"note: .dvc/config is not staged: it holds {key} of remote 'other'. `dvc remote modify --local`" in out
    assert "hunter2" not in git(project, "diff", "--cached")
    dvc("remote", "modify", "other", key, "--unset")
    dvc("remote", "modify", "--local", "other", key, "hunter2")
    assert command(capsys, "publish")[0] == 0
    assert git(project, "diff", "--cached", "--name-only", ".dvc/config").strip() == ".dvc/config"
    assert "hunter2" not in git(project, "diff", "--cached")


def test_where_there_is_no_commit_yet_publishing_again_stages_nothing(project, remote):
    shutil.rmtree(project / ".git")
    git(project, "init", "--quiet")
    assert publish_all(project).staged == 18
    assert len(staged(project)) == 18
    assert publish_all(project).staged == 0


def test_without_git_everything_is_sent_and_a_note_says_that_nothing_is_staged(project, remote):
    shutil.rmtree(project / ".git")
    dvc("config", "core.no_scm", "true")
    done = publish_all(project)
    assert (done.sent, done.staged, done.notes) == (
        10,
        0,
        ["no git repository here: nothing is staged; to share results by git, clone the repository or `git init`"],
    )


def test_the_git_lock_that_a_killed_publish_left_is_taken_over(project, remote):
    lock = project / ".git/index.lock"
    lock.write_text(staging.MARK)
    (project / ".git/index.sslpairs").write_text("half an ind")
    (project / ".git/index.sslpairs.lock").write_text("")
    assert publish_all(project).staged == 18
    assert [path.name for path in (project / ".git").glob("index*")] == ["index"]


def test_the_git_lock_of_somebody_else_is_respected(project, remote, monkeypatch, capsys):
    lock, index = project / ".git/index.lock", (project / ".git/index").read_bytes()
    lock.write_bytes(b"")
    monkeypatch.setattr(staging, "git_locked", functools.partial(staging.git_locked, patience=0.3))
    code, _, err = command(capsys, "publish")
    assert code == 2
    assert refusals(err) == [
        f"error: {lock}: git is running here, or was killed; if no git is running, remove that file, then run the same command again"
    ]
    assert (lock.read_bytes(), (project / ".git/index").read_bytes()) == (b"", index)
    assert len(pointers(project)) == 4
    lock.unlink()
    done = publish_all(project)
    assert (done.sent, done.staged) == (0, 18)


# --- a remote that lost or altered what it held -----------------------------------------------------------------------


@everywhere
def test_an_emptied_remote_is_filled_again_whatever_dvc_remembers(project, remote):
    publish_all(project)
    dvc("push", "data.dvc")
    held = remote.held()
    for oid in held:
        remote.drop(oid)
    assert remote.held() == {}
    done = publish_all(project)
    assert (done.sent, done.held, done.staged) == (10, 0, 0)
    assert remote.held() == held


@everywhere
def test_restoring_from_an_emptied_remote_names_it_and_changes_nothing(project, remote, monkeypatch, capsys):
    publish_all(project)
    copy = clone(project)
    for oid in remote.held():
        remote.drop(oid)
    before = files_below(copy)
    monkeypatch.chdir(copy)
    run = runs_of(copy)[0]
    code, _, err = command(capsys, "restore", run)
    assert code == 2
    url = url_of(copy)
    assert refusals(err) == [
        f"error: {run}: remote 'store' ({url}) does not hold its checkpoint ({oid_of(copy, run)}): run `sslpairs publish` where the "
        f"checkpoint is, or train it again: `sslpairs train {run}`",
        "error: 1 checkpoint could not be restored, see above",
    ]
    assert files_below(copy) == before


@everywhere
def test_objects_that_were_cut_off_are_sent_again(project, remote):
    publish_all(project)
    held = remote.held()
    for oid, content in held.items():
        remote.put(oid, content[:20])
    done = publish_all(project)
    assert (done.sent, done.held, done.problems) == (10, 0, [])
    assert remote.held() == held


@everywhere
def test_objects_that_were_altered_are_noticed_by_deep_and_sent_again(project, remote):
    publish_all(project)
    held = remote.held()
    for oid, content in held.items():
        remote.put(oid, flip(content))
    assert publish_all(project).sent == 0
    assert publish_all(project, deep=True).sent == 10
    assert remote.held() == held
    assert publish_all(project, deep=True).sent == 0


@everywhere
@pytest.mark.parametrize(
    "damage", [flip, lambda content: content[:100], lambda content: b""], ids=["altered", "cut", "empty"]
)
def test_a_damaged_object_is_never_restored_and_leaves_no_file(project, remote, damage, monkeypatch, capsys):
    publish_all(project)
    copy, runs = clone(project), runs_of(project)
    oid = oid_of(project, runs[0])
    remote.put(oid, damage(remote.held()[oid]))
    monkeypatch.chdir(copy)
    code, out, err = command(capsys, "restore")
    assert code == 2
    assert out.startswith("3 checkpoints restored")
    assert refusals(err) == [
        f"error: {runs[0]}: what remote 'store' ({url_of(copy)}) holds is damaged, or not the checkpoint that run.json names; "
        f"it is not used. Run `sslpairs publish --deep` where the checkpoint is, or `sslpairs train {runs[0]}`",
        "error: 1 checkpoint could not be restored, see above",
    ]
    assert set(checkpoints(copy)) == set(runs[1:])
    assert temporary_files(copy) == []


def test_a_damaged_copy_in_the_cache_of_dvc_is_passed_over(project, remote):
    publish_all(project)
    copy, run = clone(project), runs_of(project)[0]
    oid = oid_of(project, run)
    cached = copy / ".dvc/cache/files/md5" / oid[:2] / oid[2:]
    cached.parent.mkdir(parents=True)
    cached.write_bytes(flip(remote.held()[oid]))
    assert restore_all(copy).problems == {}
    assert checkpoints(copy) == checkpoints(project)


# --- damage here ------------------------------------------------------------------------------------------------------


@everywhere
def test_an_altered_checkpoint_is_not_published_and_the_others_are(project, remote, capsys):
    runs = runs_of(project)
    path = checkpoint(project, runs[0])
    path.write_bytes(flip(path.read_bytes()))
    code, out, err = command(capsys, "publish")
    assert code == 2
    assert refusals(err) == [
        f"error: {runs[0]}: checkpoint.pt is damaged, or not the one that run.json names; not published. `sslpairs restore {runs[0]}` "
        f"or `sslpairs train {runs[0]}` fixes it",
        "error: 1 object was not published, see above",
    ]
    assert out.startswith("3 checkpoints are published: 9 objects sent")
    assert ", 0 already there" in out
    assert set(pointers(project)) == set(runs[1:])
    assert oid_of(project, runs[0]) not in remote.held()


def test_restore_replaces_an_altered_checkpoint_and_leaves_whole_ones_alone(project, remote):
    publish_all(project)
    runs, before = runs_of(project), checkpoints(project)
    checkpoint(project, runs[0]).write_bytes(flip(before[runs[0]]))
    times = [checkpoint(project, run).stat().st_mtime_ns for run in runs[1:]]
    done = restore_all(project)
    assert (done.fetched, done.in_place, done.problems) == (runs[:1], runs[1:], {})
    assert checkpoints(project) == before
    assert [checkpoint(project, run).stat().st_mtime_ns for run in runs[1:]] == times


def test_a_checkpoint_that_was_never_published_cannot_be_restored_and_stays(project, remote):
    gone, damaged, *_ = runs_of(project)
    checkpoint(project, gone).unlink()
    checkpoint(project, damaged).write_bytes(b"damaged")
    done = restore_all(project)
    for run, what in ((gone, "gone"), (damaged, "damaged")):
        assert (
            done.problems[run]
            == f"{run}: its checkpoint is {what} and was never published; `sslpairs train {run}` recreates it"
        )
    assert checkpoint(project, damaged).read_bytes() == b"damaged"


@pytest.mark.parametrize(
    "content",
    [b"", b"outs:\n- md5: 1", b"\xff\xfe\x00", b"[]", "other weights"],
    ids=["empty", "half", "no text", "a list", "of other weights"],
)
def test_a_damaged_pointer_hinders_no_restore_and_publish_writes_it_anew(project, remote, content):
    publish_all(project)
    copy, run = clone(project), runs_of(project)[0]
    right = pointers(project)
    if content == "other weights":
        content = right[runs_of(project)[1]]
    for root in (project, copy):
        (root / pointer_file(run)).write_bytes(content)
    assert restore_all(copy).problems == {}
    assert checkpoints(copy) == checkpoints(project)
    done = publish_all(project)
    assert (done.sent, done.problems) == (0, [])
    assert pointers(project) == right


def test_a_run_that_was_trained_again_is_published_again_and_the_clone_gets_the_new_weights(project, remote):
    publish_all(project)
    run, build = runs_of(project)[0], make_build(project)
    old = (project / pointer_file(run)).read_bytes()
    finish(project, run, build.plan.runs[run], weights="another training")
    assert publish_all(project).sent == 1
    assert (project / pointer_file(run)).read_bytes() != old
    copy = clone(project)
    assert restore_all(copy).problems == {}
    assert checkpoints(copy) == checkpoints(project)


def test_restore_looks_again_when_it_has_waited_for_a_training(project, remote):
    publish_all(project)
    run, build = runs_of(project)[0], make_build(project)
    checkpoint(project, run).unlink()
    words = f"from pathlib import Path; from sslpairs.store.restore import restore; print(restore(Path({str(project)!r}), [{run!r}]))"
    with exclusive(project / run_folder(run) / ".lock", ""):
        restoring = subprocess.Popen([sys.executable, "-c", words], stdout=-1, stderr=-1, text=True)
        assert restoring.stderr.readline() == f"{run}: another process is training or restoring it; waiting for it\n"
        finish(project, run, build.plan.runs[run], weights="another training")
        new = checkpoint(project, run).read_bytes()
    assert restoring.wait() == 0
    assert checkpoint(project, run).read_bytes() == new


def test_altered_metrics_are_not_published_and_are_named(project, remote, capsys):
    run = runs_of(project)[0]
    name = run_folder(run) / "metrics.csv"
    (project / name).write_text("epoch,loss\n1,0.1\n")
    code, _, err = command(capsys, "publish")
    assert code == 2
    assert refusals(err)[0].startswith(f"error: {name}: the metrics differ from those named in run.json; ")
    assert str(name) not in staged(project)


@pytest.mark.parametrize("cached", [True, False])
def test_altered_images_are_not_published(project, remote, cached, capsys):
    path = project / "data/pictures/train_images.npy"
    path.write_bytes(flip(path.read_bytes()))
    if not cached:
        shutil.rmtree(project / ".dvc/cache")
    record_before = (project / "data.dvc").read_bytes()
    code, _, err = command(capsys, "publish")
    assert code == 2
    assert (
        "train_images.npy differs from its receipt; prepare it again: sslpairs fetch pictures --force"
        in refusals(err)[0]
    )
    assert both_digests(path)[1] not in remote.held()
    assert (project / "data.dvc").read_bytes() == record_before
    assert len(pointers(project)) == 4


def test_where_data_are_neither_here_nor_there_their_record_is_not_staged(project, remote, capsys):
    (project / "data/pictures/test_images.npy").unlink()
    shutil.rmtree(project / ".dvc/cache")
    code, out, err = command(capsys, "publish")
    assert code == 2
    assert "test_images.npy is missing; prepare it again: sslpairs fetch pictures --force" in err
    assert "note: data.dvc is not staged, since not all of the data are in the remote" in out
    assert "data.dvc" not in staged(project)
    assert len(pointers(project)) == 4


def test_a_cut_off_file_in_the_cache_of_dvc_hinders_no_publish(project, remote):
    publish_all(project)
    shutil.rmtree(project / "data/pictures")
    for path in (project / ".dvc/cache/files/md5").glob("??/*"):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:20])
    done = publish_all(project)
    assert (done.sent, done.held, done.problems) == (0, 10, [])


def test_damaged_receipts_are_named_by_publish_and_restore(project, remote, monkeypatch, capsys):
    publish_all(project)
    copy, run = clone(project), runs_of(project)[0]
    words = f"error: results/runs/{run}/run.json: damaged (its seal does not match: it was altered); "
    for root, command_ in ((project, "publish"), (copy, "restore")):
        path = root / run_folder(run) / "run.json"
        path.write_text(path.read_text().replace('"format": 1', '"format": 1, "loss": 0'))
        monkeypatch.chdir(root)
        code, out, err = command(capsys, command_)
        assert code == 2
        assert refusals(err)[0].startswith(words)
        assert out.startswith("3 checkpoints ")
        assert "not trained yet" not in out


def test_a_cut_off_checkpoint_that_the_remote_holds_is_told(project, remote, capsys):
    publish_all(project)
    run = runs_of(project)[0]
    checkpoint(project, run).write_bytes(b"cut")
    code, out, _ = command(capsys, "publish")
    assert code == 0
    assert f"note: results/runs/{run}/checkpoint.pt: damaged here; `sslpairs restore {run}`" in out


def test_another_source_that_is_not_here_is_not_taken_from_the_remote(project, remote, monkeypatch, capsys):
    publish_all(project)
    copy = clone(project)
    path = copy / "config/datasets.yaml"
    path.write_text(path.read_text().replace("size: 8", "size: 16"))
    monkeypatch.chdir(copy)
    code, _, err = command(capsys, "fetch", "pictures")
    assert code == 2
    assert "sources/pictures" in err
    assert not (copy / "data/pictures").exists()


# --- a remote that cannot be reached ----------------------------------------------------------------------------------


@contextlib.contextmanager
def gone(kind: str, root: Path, folder: Path) -> Iterator[str]:
    """Publish to a remote that is gone afterwards; the reason that errors give."""
    place = folder / "store"
    if kind == "folder":
        dvc("remote", "add", "--default", "store", "../store")
        publish_all(root)
        shutil.rmtree(place)
        place.write_text("a file")
        yield "Not a directory"
    elif kind == "ssh":
        with ssh_server(folder) as (port, key):
            connect_ssh(port, key, place)
            publish_all(root)
        yield f"Connect call failed ('127.0.0.1', {port})"
    else:
        with s3_server() as url:
            connect_s3(url, "gone")
            Bucket(url, "gone")
            publish_all(root)
        yield f'Could not connect to the endpoint URL: "{url}/'


@everywhere
def test_a_remote_that_is_gone_is_said_in_one_line_and_nothing_is_lost(project, kind, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with gone(kind, project, tmp_path) as reason:
        copy = clone(project)
        for root, word in ((project, "publish"), (copy, "restore")):
            before = files_below(root)
            done = say(root, "sslpairs", word)
            assert (done.returncode, done.stdout) == (2, "")
            (line,) = done.stderr.splitlines()
            assert line.startswith(f"error: remote 'store' ({url_of(root)}) failed: ")
            assert reason in line
            assert line.endswith(
                "; check the address, the network and the permissions (`dvc remote list`), then run the same command again"
            )
            assert files_below(root) == before
            assert git(root, "status", "--short") == ""


@pytest.mark.parametrize("words", [["publish"], ["restore"]])
def test_without_a_remote_the_command_that_makes_one_is_named(project, words, capsys):
    (project / pointer_file(runs_of(project)[0])).write_text("")
    checkpoint(project, runs_of(project)[0]).unlink()
    code, _, err = command(capsys, *words)
    assert code == 2
    assert err == (
        "error: no remote is set: run `dvc remote add --default store ../sslpairs-store` for a folder; see docs/publishing.md for "
        "ssh and s3\n"
    )


def test_a_remote_of_another_name_is_used_when_it_is_asked_for_and_an_unknown_one_is_refused(project, remote, capsys):
    dvc("remote", "add", "second", "../second")
    assert command(capsys, "publish", "--remote", "second")[0] == 0
    assert remote.held() == {}
    assert len(Folder(project.parent / "second").held()) == 10
    code, _, err = command(capsys, "publish", "--remote", "third")
    assert code == 2
    assert err == "error: there is no remote 'third' in .dvc/config (known: store, second)\n"


def test_a_kind_of_remote_whose_library_is_missing_is_said_with_its_name(project, capsys):
    dvc("remote", "add", "--default", "cloud", "gs://bucket/path")
    code, _, err = command(capsys, "publish")
    assert code == 2
    assert err == (
        "error: remote 'cloud' (gs://bucket/path): a library is missing; run `.venv/bin/uv pip install --python .venv/bin/python "
        "'dvc[gs]'`\n"
    )


def test_without_dvc_the_remedy_is_to_set_it_up(project, capsys):
    shutil.rmtree(project / ".dvc")
    code, _, err = command(capsys, "publish")
    assert code == 2
    assert err == f"error: {project}: no .dvc/ here; run `git init && dvc init`\n"


@slow
def test_an_ssh_key_that_the_server_does_not_know_is_said_in_one_line(project, sshd, tmp_path, capsys):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "stranger"], check=True)
    connect_ssh(sshd[0], tmp_path / "stranger", tmp_path / "store")
    code, _, err = command(capsys, "publish")
    assert code == 2
    assert err.startswith(f"error: remote 'store' ({url_of(project)}) failed: Permission denied")
    assert len(err.splitlines()) == 1
    assert pointers(project) == {}


@slow
def test_a_bucket_that_does_not_exist_is_said_and_no_pointer_is_written(project, s3, capsys):
    connect_s3(s3, "nowhere")
    code, _, err = command(capsys, "publish")
    assert code == 2
    first, *_ = refusals(err)
    assert first.startswith("error: remote 'store' (s3://nowhere) failed: ")
    assert "The specified bucket does not exist" in first
    assert pointers(project) == {}


def test_a_remote_that_takes_no_files_is_said_and_no_pointer_is_written(project, remote, capsys):
    (project.parent / "store/files").mkdir(parents=True)
    (project.parent / "store/files/md5").write_text("a file where a folder should be")
    code, _, err = command(capsys, "publish")
    assert code == 2
    assert "failed: [Errno 20] Not a directory" in err
    assert pointers(project) == {}


# --- kills ------------------------------------------------------------------------------------------------------------

PUBLISHER = """
import os, signal, sys, time
from pathlib import Path
from sslpairs.workflow.builds import make_build
from sslpairs.store.publish import publish
from sslpairs.store.remote import Remote

for line in sys.stdin:
    folder, delay = line.split()
    os.chdir(folder)
    build = make_build(Path(folder))
    Remote(build.root)
    started, child = time.monotonic(), os.fork()
    if not child:
        publish(build, list(build.plan.runs))
        os._exit(0)
    if delay != "never":
        time.sleep(float(delay))
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(code, time.monotonic() - started, flush=True)
"""


@pytest.fixture
def publisher():
    """A process that has imported everything: it publishes a folder, kills that after a delay, and answers code and seconds."""
    process = subprocess.Popen([sys.executable, "-c", PUBLISHER], stdin=-1, stdout=-1, text=True)

    def ask(folder: Path, delay: float | str) -> tuple[int, float]:
        process.stdin.write(f"{folder} {delay}\n")
        process.stdin.flush()
        code, seconds = process.stdout.readline().split()
        return int(code), float(seconds)

    yield ask
    process.stdin.close()
    process.wait()


@slow
@pytest.mark.parametrize("kind", ["ssh", "s3"])
def test_a_publish_that_is_killed_at_any_moment_leaves_nothing_half_and_the_next_one_ends_it(
    project, remote, publisher, tmp_path
):
    def fresh(name: str) -> Path:
        for oid in remote.held():
            remote.drop(oid)
        return Path(shutil.copytree(project, tmp_path / name / "project"))

    config = project / ".dvc/config"
    config.write_text(config.read_text().replace("../../store", str(tmp_path / "store")))
    rng, known = random.Random(0), staged(project)
    _, duration = publisher(fresh("first"), "never")
    code, duration = publisher(fresh("undisturbed"), "never")
    assert code == 0
    whole, found = remote.held(), []
    for number in range(10):
        root = fresh(str(number))
        code, _ = publisher(root, duration * (number + rng.random()) / 10)
        held = remote.held()
        for run in pointers(root):
            assert held[read_pointer(run, root).md5] == checkpoint(root, run).read_bytes()
        assert len(staged(root)) - len(known) in (0, 17)
        found.append((code, len(held), len(pointers(root))))
        done = publish_all(root)
        assert done.problems == []
        assert remote.held() == whole
        assert len(staged(root)) - len(known) == 17
        assert [path.name for path in (root / ".git").glob("index*")] == ["index"]
    assert -signal.SIGKILL in [code for code, *_ in found], found


@slow
def test_a_publish_that_is_killed_at_any_touch_of_a_file_is_ended_by_the_next_one(project, remote, tmp_path, template):
    """Every moment, on a folder; the random ones above are for servers."""
    whole, known = None, staged(project)
    config = (project / ".dvc/config").read_bytes()

    def before() -> None:
        shutil.rmtree(tmp_path / "store", ignore_errors=True)
        shutil.rmtree(project)
        shutil.copytree(template, project)
        (project / ".dvc/config").write_bytes(config)

    publish_all(project)
    whole, index = remote.held(), staged(project)
    moments = 0
    for moment in every_moment(lambda: publish_all(project), before):
        moments += 1
        held = remote.held()
        for run in pointers(project):
            assert held[read_pointer(run, project).md5] == checkpoint(project, run).read_bytes(), moment
        assert staged(project) in (known, index), moment
        assert publish_all(project).problems == [], moment
        assert (remote.held(), staged(project)) == (whole, index), moment
        assert [path.name for path in (project / ".git").glob("index*")] == ["index"], moment
    assert moments > 30


@slow
def test_a_restore_that_is_killed_at_any_touch_of_a_file_leaves_whole_checkpoints_only(project, remote):
    publish_all(project)
    copy, runs, whole = clone(project), runs_of(project), checkpoints(project)

    def before() -> None:
        for run in checkpoints(copy):
            checkpoint(copy, run).unlink()

    moments = 0
    for moment in every_moment(lambda: restore(copy, runs), before):
        moments += 1
        assert checkpoints(copy).items() <= whole.items(), moment
        assert restore_all(copy).problems == {}, moment
        assert checkpoints(copy) == whole, moment
        assert not [path for path in temporary_files(copy) if path.suffix == ".tmp"], moment
    assert moments > 10


# --- data sets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["arrays", "files"])
def test_a_clone_without_the_images_gets_the_published_data_set(storage, project, remote, monkeypatch, capsys):
    path = project / "config/datasets.yaml"
    content = yaml.safe_load(path.read_text())
    content["datasets"]["pictures"]["source"]["storage"] = storage
    path.write_text(yaml.safe_dump(content))
    command(capsys, "fetch", "pictures")
    assert (project / "data/pictures/train.pack").exists() == (storage == "files")
    git(project, "add", "config")
    git(project, "commit", "--quiet", "--message=Another storage")
    publish_all(project)
    copy = clone(project)
    monkeypatch.chdir(copy)
    code, _, err = command(capsys, "fetch")
    assert (code, err) == (0, "pictures: prepared 12 training and 6 test images\n")
    assert files_below(copy / "data/pictures") == files_below(project / "data/pictures")
    assert command(capsys, "fetch")[2] == "pictures: in place (12 training and 6 test images)\n"
    assert git(copy, "status", "--short") == ""


@pytest.mark.parametrize(
    ("which", "damage", "words"),
    [
        ("a file", None, "does not hold data/pictures/"),
        ("a file", flip, "holds a damaged data/pictures/train_images.npy"),
        (
            "its receipt",
            lambda content: content.replace(b'"mean"', b'"MEAN"'),
            "holds a damaged data/pictures/dataset.json",
        ),
        ("the listing", None, "does not hold an intact copy of DVC's listing of data/"),
        ("the listing", flip, "does not hold an intact copy of DVC's listing of data/"),
    ],
)
def test_a_data_set_that_the_remote_lost_or_holds_damaged_is_not_used(
    project, remote, which, damage, words, monkeypatch, capsys
):
    publish_all(project)
    copy = clone(project)
    oid = tracked(project)
    if which != "the listing":
        name = "train_images.npy" if which == "a file" else "dataset.json"
        oid = both_digests(project / "data/pictures" / name)[1]
    content = remote.held()[oid]
    remote.drop(oid)
    if damage:
        remote.put(oid, damage(content))
    monkeypatch.chdir(copy)
    code, _, err = command(capsys, "fetch")
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith("error: data set 'pictures': ")
    assert words in line
    assert "run `sslpairs publish --deep` where the data are" in line
    assert not (copy / "data/pictures").exists()
    assert not list((copy / "data").glob(".preparing*"))
    monkeypatch.chdir(project)
    assert command(capsys, "publish", "--deep")[0] == 0
    monkeypatch.chdir(copy)
    assert command(capsys, "fetch")[0] == 0


# --- garbage ----------------------------------------------------------------------------------------------------------


def without_gps(root: Path) -> list[str]:
    """Change what GPS trains with; the runs that no table needs from then on."""
    before = runs_of(root)
    edit(root / "config/recipes/digits.yaml", "    neighbours: 5 ", "    neighbours: 6 ")
    old = [run for run in before if run not in runs_of(root)]
    assert len(old) == 2
    return old


def test_gc_lists_what_no_table_needs_and_why_and_removes_nothing(project, remote, capsys):
    publish_all(project)
    assert command(capsys, "gc")[1] == "Nothing to remove: every checkpoint belongs to a run that a table needs.\n"
    old, before = without_gps(project), files_below(project)
    code, out, _ = command(capsys, "gc")
    assert code == 0
    for run in old:
        assert run.rpartition("-")[2] in out
    assert out.count("neighbours 5, now 6") == 2
    assert "2 runs, 0.0 MB; 0 not published (no other copy known); 0 leftovers of interrupted work." in out
    assert "Nothing was removed" in out
    assert files_below(project) == before


def test_gc_removes_published_checkpoints_keeps_receipts_and_restore_brings_them_back(project, remote, capsys):
    publish_all(project)
    old, before = without_gps(project), files_below(project)
    code, out, _ = command(capsys, "gc", "--yes")
    assert code == 0
    assert out.endswith("0.0 MB freed.\n")
    gone = {run_folder(run) / "checkpoint.pt" for run in old}
    assert files_below(project) == {path: content for path, content in before.items() if path not in gone}
    assert command(capsys, "restore", *old)[0] == 0
    assert files_below(project) == before


def test_gc_never_removes_what_only_this_machine_has_without_being_told(project, remote, capsys):
    old = without_gps(project)
    before = checkpoints(project)
    code, out, _ = command(capsys, "gc", "--yes")
    assert code == 0
    for run in old:
        assert f"kept: {run}: not published: --unpublished removes it for good" in out
    assert checkpoints(project) == before
    assert command(capsys, "gc", "--yes", "--unpublished")[0] == 0
    assert set(before) - set(checkpoints(project)) == set(old)
    assert all((project / run_folder(run) / "run.json").exists() for run in old)


@everywhere
def test_gc_asks_the_remote_and_keeps_what_it_lost(project, remote, capsys):
    publish_all(project)
    lost, cut = without_gps(project)
    receipts = {run: json.loads((project / run_folder(run) / "run.json").read_text()) for run in (lost, cut)}
    held = remote.held()
    remote.drop(receipts[lost]["checkpoint"]["md5"])
    remote.put(receipts[cut]["checkpoint"]["md5"], held[receipts[cut]["checkpoint"]["md5"]][:50])
    before = files_below(project)
    code, out, _ = command(capsys, "gc", "--yes")
    assert code == 0
    for run in (lost, cut):
        assert f"kept: {run}: the remote does not hold a complete copy: --unpublished removes it for good" in out
    assert files_below(project) == before


@everywhere
def test_gc_reads_back_what_it_would_keep_only_there(project, remote, capsys):
    publish_all(project)
    old = without_gps(project)
    oid = json.loads((project / run_folder(old[0]) / "run.json").read_text())["checkpoint"]["md5"]
    remote.put(oid, flip(remote.held()[oid]))
    code, out, _ = command(capsys, "gc", "--yes")
    assert code == 0
    assert f"kept: {old[0]}: the remote does not hold a complete copy" in out
    assert (checkpoint(project, old[0]).exists(), checkpoint(project, old[1]).exists()) == (True, False)


def test_gc_leaves_the_state_of_a_run_that_is_trained_again(project, remote, capsys):
    publish_all(project)
    run = runs_of(project)[0]
    checkpoint(project, run).unlink()
    state = project / run_folder(run) / "last.ckpt"
    state.write_bytes(b"state")
    assert command(capsys, "gc", "--yes", "--unpublished")[0] == 0
    assert state.exists()


def test_gc_calls_weights_unpublished_whose_pointer_is_of_others(project, remote, capsys):
    publish_all(project)
    run = without_gps(project)[0]
    receipt = json.loads((project / run_folder(run) / "run.json").read_text())
    finish(project, run, {key: receipt[key] for key in ("label", "dataset", "seed", "guide", "spec")}, weights="others")
    code, out, _ = command(capsys, "gc", "--yes")
    assert code == 0
    assert "1 not published (no other copy known)" in out
    assert f"kept: {run}: not published: --unpublished removes it for good" in out
    assert checkpoint(project, run).exists()


def test_gc_leaves_the_state_of_a_training_that_is_at_work(project, remote, capsys):
    run = runs_of(project)[0]
    state = project / run_folder(run) / "last.ckpt"
    state.write_bytes(b"state")
    with exclusive(project / run_folder(run) / ".lock", ""):
        _, out, _ = command(capsys, "gc", "--yes")
    assert f"kept: {run}: another process is training or restoring it" in out
    assert state.exists()
    assert command(capsys, "gc", "--yes")[0] == 0
    assert not state.exists()


def test_gc_is_not_hindered_by_a_scale_that_is_made_for_some_tables_only(project, remote, capsys):
    text = (project / "config/scales/digits.yaml").read_text()
    assert "datasets: {default: pictures}" in text
    text = text.replace("{default: pictures}", "{other: pictures}").replace("title: ", "title: Mine, ", 1)
    (project / "config/scales/mine.yaml").write_text(text)
    assert command(capsys, "gc", "--yes")[0] == 0


def test_gc_leaves_a_run_alone_that_another_process_holds(project, remote, capsys):
    publish_all(project)
    old = without_gps(project)
    with exclusive(project / run_folder(old[0]) / ".lock", ""):
        _, out, _ = command(capsys, "gc", "--yes")
    assert f"kept: {old[0]}: another process is training or restoring it" in out
    assert checkpoint(project, old[0]).exists()


@pytest.mark.parametrize("file", ["recipes/digits.yaml", "papers/gps.yaml"])
def test_gc_removes_nothing_while_the_configuration_has_a_mistake(project, remote, file, capsys):
    publish_all(project)
    before = checkpoints(project)
    path = project / "config" / file
    path.write_text(
        path.read_text().replace("temperature: 0.5", "temprature: 0.5", 1).replace("simclr+gps", "simclr+gpss")
    )
    code, out, err = command(capsys, "gc", "--yes")
    assert code == 2
    assert "note: scale digits cannot be planned, so its runs would count as garbage: " in out
    assert err == "error: nothing was removed: fix the configuration first, see the notes above\n"
    assert checkpoints(project) == before


def test_gc_keeps_everything_when_the_remote_cannot_be_asked(project, remote, tmp_path, capsys):
    publish_all(project)
    old, before = without_gps(project), checkpoints(project)
    shutil.rmtree(tmp_path / "store")
    (tmp_path / "store").write_text("a file")
    code, out, _ = command(capsys, "gc", "--yes")
    assert code == 0
    assert "kept: the remote cannot be reached, so published runs count as unpublished" in out
    assert all(f"kept: {run}: " in out for run in old)
    assert checkpoints(project) == before


def test_gc_removes_what_killed_processes_left(project, remote, capsys):
    publish_all(project)
    done, *_ = runs_of(project)
    half, state = (project / run_folder(done) / name for name in (".run.json.1.tmp", "last.ckpt"))
    going_on = project / "results/runs" / "another-000000000000" / "last.ckpt"
    going_on.parent.mkdir()
    for path in (half, state, going_on):
        path.write_bytes(b"half")
    assert "leftover: " + str(half.relative_to(project)) not in command(capsys, "gc")[1], "somebody may be writing it"
    os.utime(half, (time.time() - 3600,) * 2)
    code, out, _ = command(capsys, "gc")
    assert code == 0
    for path in (half, state):
        assert f"leftover: {path.relative_to(project)}\n" in out
    assert "1 run, 0.0 MB; 1 not published (no other copy known); 2 leftovers of interrupted work." in out
    assert half.exists()
    assert "unfinished" in out
    assert command(capsys, "gc", "--yes")[0] == 0
    assert (half.exists(), state.exists(), going_on.exists()) == (False, False, True)
    assert command(capsys, "gc", "--yes", "--unpublished")[0] == 0
    assert not going_on.exists()


def test_gc_waits_for_no_build_but_refuses_beside_one(project, remote, capsys):
    publish_all(project)
    without_gps(project)
    before = checkpoints(project)
    words = (
        "from pathlib import Path; from sslpairs.workflow.announce import announce; announce(Path(), ['x']); "
        "print('.', flush=True); input()"
    )
    build = subprocess.Popen([sys.executable, "-c", words], stdin=-1, stdout=-1, cwd=project)
    build.stdout.readline()
    code, _, err = command(capsys, "gc", "--yes")
    assert code == 2
    assert err.startswith(f"error: a build is running here (process {build.pid} on ")
    assert err.endswith("; wait for it, then run `sslpairs gc` again\n")
    assert checkpoints(project) == before
    build.communicate(b"\n")
    assert command(capsys, "gc", "--yes")[0] == 0
    assert len(checkpoints(project)) == 2


# --- what a clone would lack ------------------------------------------------------------------------------------------


def add_scale(project):
    text = (project / "config/scales/digits.yaml").read_text()
    (project / "config/scales/mine.yaml").write_text(text.replace("title: ", "title: Mine, ", 1))


def test_changes_that_a_clone_would_not_have_are_named_with_the_command_that_adds_them(project, remote, capsys):
    assert publish_all(project).uncommitted == []
    edit(project / "config/config.yaml", "device: auto", "device: cpu")
    add_scale(project)
    (project / "requirements-more.txt").write_text("x")
    (project / "notes.txt").write_text("nobody needs them")
    edit(project / "config/recipes/digits.yaml", "neighbours: 5 ", "neighbours: 5  ")
    git(project, "add", "config/recipes")  # what is staged is committed
    code, out, _ = command(capsys, "publish", "--set", "seeds=1")
    assert code == 0
    assert (
        "note: a clone would not have the uncommitted changes of config/config.yaml, config/scales/mine.yaml, requirements-more.txt: it "
        "would plan different runs or show different tables. "
        "`git add config/config.yaml config/scales/mine.yaml requirements-more.txt` before you commit\n"
    ) in out
    (project / "src").mkdir()
    (project / "src/a b.py").write_text("")
    (project / "Snakefile").write_text("")
    checkpoint(project, run := runs_of(project)[0]).unlink()
    finish(project, run, make_build(project).plan.runs[run], weights="others")
    code, out, _ = command(capsys, "publish")
    add = "git add config requirements-more.txt Snakefile src"
    assert sorted(re.search(r"`(git add .*) && git commit -m 'Publish results'`", out)[1].split()) == sorted(
        add.split()
    )
    subprocess.run(add, shell=True, cwd=project, check=True)
    assert publish_all(project).uncommitted == []


def test_files_that_git_is_told_not_to_see_are_named_too(project, remote):
    (project / ".git/info/exclude").write_text("mine.yaml\nconfig/more/\n")
    add_scale(project)
    for name in ("config.yaml", "datasets.yaml"):
        git(project, "update-index", "--assume-unchanged", f"config/{name}")
    edit(project / "config/config.yaml", "device: auto", "device: cpu")
    assert publish_all(project).uncommitted == ["config/scales/mine.yaml", "config/config.yaml"]


def test_a_project_below_the_top_of_its_repository_names_its_own_files(project, remote):
    shutil.rmtree(project / ".git")
    git(project.parent, "init", "--quiet")
    git(project.parent, "add", "project/.gitignore", "project/config", "project/.dvcignore", "project/.dvc")
    git(project.parent, "commit", "--quiet", "--message=All")
    edit(project / "config/config.yaml", "device: auto", "device: cpu")
    assert publish_all(project).uncommitted == ["config/config.yaml"]


def test_commits_of_receipts_that_a_clone_would_not_have_are_named(project, remote):
    runs, head = runs_of(project), git(project, "rev-parse", "HEAD").strip()
    (project / "file").write_text("")
    git(project, "add", "file")
    git(project, "commit", "--quiet", "--message=Amended afterwards")
    amended, unknown = git(project, "rev-parse", "HEAD").strip(), "c" * 40
    git(project, "reset", "--quiet", "--soft", head)
    for run, commit in zip(runs, (head, amended, unknown, unknown), strict=True):
        path = project / run_folder(run) / "run.json"
        write_record(path, json.loads(path.read_text()) | {"git": {"commit": commit, "dirty": False}})
    found = [note for note in publish_all(project).notes if "commit" in note]
    assert found == [
        f"1 receipt names commit {amended[:12]}, which no branch or tag reaches, so a clone does not have it; "
        f"`git tag trained-{amended[:12]} {amended[:12]}` keeps it",
        "2 receipts name commit cccccccccccc, which is not in this repository: push it from where the runs were trained, "
        "then `git fetch --tags`",
    ]
    git(project, "tag", f"trained-{amended[:12]}", amended)
    assert [note for note in publish_all(project).notes if amended[:12] in note] == []


def test_a_remote_that_only_this_machine_knows_is_named(project, tmp_path):
    dvc("remote", "add", "--local", "--default", "mine", "../store")
    (note,) = publish_all(project).notes
    assert note.startswith(
        "remote 'mine' is not in .dvc/config, only in this machine's settings, so a clone would not know it"
    )


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("webdavs://alice:hunter2@host/x", "webdavs://alice:***@host/x"),
        ("webdavs://alice:hun/ter2@7@host/x", "webdavs://alice:***@host/x"),
        ("https://hunter2@host/x", "https://***@host/x"),
        ("ssh://alice@127.0.0.1:22/srv/a@b", "ssh://alice@127.0.0.1:22/srv/a@b"),
        ("http://[::1]:9000/a@b", "http://[::1]:9000/a@b"),
        ("https://host/x?a=1&sig=hunter2&X-Amz-Signature=hunter2;b", "https://host/x?a=1&sig=***&X-Amz-Signature=***;b"),
        ("AccountName=a;AccountKey=hunter2==;x", "AccountName=a;AccountKey=***;x"),
        ("{'user': 'a', 'password': 'hunter2'}", "{'user': 'a', 'password': '***'}"),
        ("Authorization: Basic aHVudGVyMg==", "Authorization: Basic ***"),
        ("config/recipes/digits.yaml: method.key: 5 is too large", "config/recipes/digits.yaml: method.key: 5 is too large"),
    ],
)  # fmt: skip
def test_passwords_and_keys_are_hidden_in_whatever_is_said(url, shown, monkeypatch):
    assert redact(url) == shown
    assert str(UserError(f"remote ({url}) fails")) == f"remote ({shown}) fails"
    assert redact("asked with hunter2", ["hunter2"]) == "asked with ***"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    assert redact("denied: wJalrXUtnFEMI") == "denied: ***"


def test_redacting_a_long_text_takes_no_time():
    for text in (
        "a" * 100_000,
        "a." * 50_000,
        "token" * 20_000,
        "a://" * 25_000,
        "a:b@" * 25_000,
        "a://b:c" * 15_000,
        "a=" * 50_000,
    ):
        started = time.monotonic()
        redact(text)
        assert time.monotonic() - started < 2


@pytest.mark.parametrize("address", ["http://alice:hunter2@127.0.0.1:1/x", "http://127.0.0.1:1/x?token=hunter2"])
def test_a_password_in_the_address_of_a_remote_is_neither_staged_nor_said(project, address, caplog, capsys):
    dvc("remote", "add", "--default", "cloud", address)
    dvc("remote", "modify", "--local", "cloud", "password", "correct horse")
    dvc("remote", "add", "store", "../store")
    code, out, err = command(capsys, "publish", "--remote", "store")
    assert code == 0
    assert "note: .dvc/config is not staged: it holds the password in the url of remote 'cloud'." in out
    said = [out, err]
    for words in (("publish",), ("publish", "--remote", address), ("restore", "--remote", address)):
        checkpoint(project, runs_of(project)[0]).unlink(missing_ok=True)
        code, out, err = command(capsys, *words)
        assert code == 2, words
        said += [out, err]
    said += [record.getMessage() for record in caplog.records]
    assert "hunter2" not in git(project, "diff", "--cached") + "".join(said)
    assert "correct horse" not in "".join(said)


# --- folders, archives, words -----------------------------------------------------------------------------------------


def test_a_remote_whose_folder_does_not_exist_is_named_with_the_remedy(project, remote, tmp_path, monkeypatch, capsys):
    publish_all(project)
    copy = clone(project)
    shutil.rmtree(tmp_path / "store")
    words = "does not exist; mount its disk, create that folder, or set another address: `dvc remote modify store url ADDRESS`"
    monkeypatch.chdir(copy)
    for command_ in ("restore", "fetch"):
        code, _, err = command(capsys, command_)
        assert code == 2
        assert f"remote 'store' ({tmp_path / 'store'}): {tmp_path / 'store'} {words}" in err.replace("../", "")
    dvc("remote", "modify", "store", "url", "../nowhere/store")
    monkeypatch.chdir(project)
    dvc("remote", "modify", "store", "url", "../nowhere/store")
    code, _, err = command(capsys, "publish")
    assert code == 2
    assert f"{tmp_path / 'nowhere'} {words}" in err
    without_gps(project)
    assert (
        "kept: the remote cannot be reached, so published runs count as unpublished"
        in command(capsys, "gc", "--yes")[1]
    )


def test_a_published_project_that_came_as_an_archive_restores_and_says_what_publish_needs(
    project, remote, monkeypatch, capsys
):
    publish_all(project)
    copy = clone(project)
    shutil.rmtree(copy / ".git")
    monkeypatch.chdir(copy)
    assert command(capsys, "restore")[0] == 0
    assert command(capsys, "fetch")[0] == 0
    assert checkpoints(copy) == checkpoints(project)
    code, out, _ = command(capsys, "publish")
    assert code == 0
    assert (
        "note: no git repository here: nothing is staged; to share results by git, clone the repository or `git init`"
        in out
    )


def test_publish_in_a_folder_that_git_refuses_says_how_to_trust_it(project, remote, monkeypatch, capsys):
    for name, value in {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1", "GIT_CONFIG_COUNT": "0"}.items():
        monkeypatch.setenv(name, value)
    code, _, err = command(capsys, "publish")
    assert code == 2
    assert f"git config --global --add safe.directory {project}" in err


def test_one_is_not_said_in_the_plural(project, remote, capsys):
    run = runs_of(project)[0]
    assert command(capsys, "publish", run)[1].startswith("1 checkpoint is published: 7 objects sent")
    checkpoint(project, run).unlink()
    assert command(capsys, "restore", run)[1] == "1 checkpoint restored (0.0 MB), 0 in place.\n"
    assert [counted(number, "run is") for number in (0, 1, 1000)] == ["0 runs are", "1 run is", "1,000 runs are"]


def test_a_bar_that_never_began_leaves_nothing_in_the_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with pytest.raises(UserError), cli.progress.Progress("publishing", quiet=False, unit="object"):
        raise UserError("no remote is set")
    assert capsys.readouterr() == ("", "")
