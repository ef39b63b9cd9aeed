"""The first minute: what `make setup` says where Python, pip, the network or the disk are not as they should be. Python, pip and uv
are stand-ins of a few lines, so that nothing is installed."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from projects import ROOT

STAND_IN = """#!/bin/sh
# A Python {version}; below a virtual environment also its pip, and uv.
bin=$(dirname "$0")
echo "$*" >> "$CALLS"
case "$*" in
  *version_info*) echo {version} ;;
  *ensurepip,*) {pip} ;;
  "-m ensurepip"*) touch "$bin/pip" ;;
  "-m venv "*)
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && touch "$3/pyvenv.cfg" "$3/bin/pip"
    {venv} ;;
  "-m pip --version") test -e "$bin/pip" ;;
  "-m pip install "*) cp "$0" "$bin/uv"; sh -c "$INSTALL" ;;
  "pip install "*) sh -c "$DOWNLOAD" ;;
esac
"""


class Machine:
    """A clone with nothing set up, on a machine whose programs are those in ``bin`` and the system's."""

    def __init__(self, root: Path):
        self.root, self.project, self.bin, self.calls = root, root / "project", root / "bin", root / "calls"
        self.project.mkdir(parents=True)
        self.bin.mkdir()
        self.copy(self.project)
        self.has_python("python3")

    def copy(self, to: Path) -> Path:
        to.mkdir(exist_ok=True)
        for name in ("Makefile", "pyproject.toml", "requirements.txt", "requirements-cluster.txt"):
            shutil.copy(ROOT / name, to)
        (to / "workflow").mkdir()
        shutil.copy(ROOT / "workflow/setup.sh", to / "workflow")
        return to

    def has_python(self, name: str, version: str = "3.12", pip: str = "true", venv: str = "true") -> None:
        path = self.bin / name
        path.write_text(STAND_IN.format(version=version, pip=pip, venv=venv))
        path.chmod(0o755)

    def start(self, *words: str, folder: Path | None = None, install: str = "", download: str = "") -> subprocess.Popen:
        """``make setup``; ``install`` and ``download`` are what pip and uv do."""
        path = os.pathsep.join([str(self.bin), "/usr/bin", "/bin"])
        own = {"PATH": path, "CALLS": str(self.calls), "INSTALL": install, "DOWNLOAD": download}
        command = ["make", "--no-print-directory", "setup", *words]
        how = {"stdout": -1, "stderr": -1, "text": True, "start_new_session": True}
        how["preexec_fn"] = lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        )  # tests in a shell's background ignore it
        return subprocess.Popen(command, cwd=folder or self.project, env=own, **how)

    def make(self, *words: str, **how) -> tuple[int, list[str], list[str]]:
        """Its exit code, the errors, and what it called."""
        self.calls.write_text("")
        process = self.start(*words, **how)
        said = process.communicate(timeout=300)
        lines = [
            line for line in "".join(said).splitlines() if not line.startswith(("make: ***", "Setting up ", "note: "))
        ]
        return process.returncode, lines, self.calls.read_text().splitlines()

    def installs(self, **how) -> bool:
        code, lines, calls = self.make(**how)
        assert code == 0, lines
        return any(call.startswith("pip install") for call in calls)


@pytest.fixture
def machine(tmp_path) -> Machine:
    return Machine(tmp_path)


def test_content_decides_and_not_times(machine):
    assert machine.installs()
    assert not machine.installs()
    for name in ("requirements.txt", "pyproject.toml", "Makefile"):
        os.utime(machine.project / name, (2e9, 2e9))
    assert not machine.installs()
    with (machine.project / "requirements.txt").open("a") as file:
        file.write("# another\n")
    assert machine.installs()
    assert not machine.installs()


def test_executors_are_installed_once_for_those_who_use_them(machine):
    assert machine.installs()
    (machine.project / "workflow/profiles/mine").mkdir(parents=True)
    (machine.project / "workflow/profiles/mine/config.yaml").write_text("executor: slurm\n")
    for found in (True, False):
        calls = machine.make("PROFILE=mine")[2]
        assert ("--requirement requirements-cluster.txt" in "".join(calls)) == found


def test_a_python_that_is_too_old_is_one_line_and_a_newer_one_beside_it_is_taken(machine):
    machine.has_python("python3", "3.9")
    for name in ("python3.11", "python3.12", "python3.13", "python3.14"):
        machine.has_python(name, "", pip="false")
        (machine.bin / name).write_text("#!/bin/sh\nexit 127\n")
    words = "install one and name it: make PYTHON=python3.12 setup"
    expected = f"error: set-up: Python 3.11 or newer is needed (python3 is 3.9); {words}"
    assert machine.make()[:2] == (2, [expected])
    assert not (machine.project / ".venv").exists()
    machine.has_python("python3.8", "3.8")
    expected = f"error: set-up: Python 3.11 or newer is needed (python3.8 is 3.8); {words}"
    assert machine.make("PYTHON=python3.8")[:2] == (2, [expected])
    expected = f"error: set-up: Python 3.11 or newer is needed (python4 is not there); {words}"
    assert machine.make("PYTHON=python4")[:2] == (2, [expected])
    machine.has_python("python3.12", "3.12")
    assert machine.installs()


def test_without_python3_venv_the_package_is_named_and_nothing_is_left(machine):
    machine.has_python("python3", pip="false")
    code, lines, _ = machine.make()
    assert (code, lines) == (
        2,
        [
            "error: set-up: python3 cannot create virtual environments; Debian and Ubuntu: apt install python3-venv (or "
            "python3.12-venv), then make again"
        ],
    )
    assert not (machine.project / ".venv").exists()
    machine.has_python("python3")
    assert machine.installs()


def test_an_environment_that_was_left_without_pip_gets_one(machine):
    bin = machine.project / ".venv/bin"
    bin.mkdir(parents=True)
    (bin.parent / "pyvenv.cfg").touch()
    machine.has_python("python3")
    shutil.copy(machine.bin / "python3", bin / "python")
    assert machine.installs()
    assert "-m ensurepip --upgrade" in machine.calls.read_text()


def test_an_environment_of_an_old_python_is_refused_and_left_alone(machine):
    bin = machine.project / ".venv/bin"
    bin.mkdir(parents=True)
    machine.has_python("old", "3.9")
    shutil.copy(machine.bin / "old", bin / "python")
    words = "error: set-up: .venv has Python 3.9, but 3.11 or newer is needed: rm -r .venv, then make PYTHON=python3.12 setup"
    assert machine.make()[:2] == (2, [words])
    assert (bin / "python").exists()


def test_a_folder_that_is_no_environment_is_never_touched(machine):
    folder = machine.root / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("")
    code, lines, _ = machine.make(f"VENV={folder}")
    assert (code, lines) == (
        2,
        [f"error: set-up: {folder} is a folder, but not a virtual environment; name a different one: make VENV=.venv"],
    )
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("where", "says", "words"),
    [
        ("venv", "echo broken; exit 1", "python3 ended with code 1 (broken); fix that, then make again"),
        ("install", "echo ERROR: No matching distribution found for uv; echo from versions: none; exit 1", "network"),
        (
            "install",
            "echo 503 Service Unavailable; exit 1",
            "the package index does not answer (503 Service Unavailable)",
        ),
        (
            "download",
            "echo error: dns error: failed to lookup; exit 2",
            "does not answer (error: dns error: failed to lookup)",
        ),
        (
            "download",
            "echo No space left on device; exit 2",
            "the disk is full (No space left on device): .venv takes a few",
        ),
        ("download", "echo no solution; exit 1", "uv ended with code 1 (no solution); fix that, then make again"),
    ],
)
def test_what_fails_is_one_line_nothing_half_is_left_and_the_next_make_starts_over(machine, where, says, words):
    if where == "venv":
        machine.has_python("python3", venv=says)
    code, (line,), _ = machine.make(**({} if where == "venv" else {where: says}))
    assert code == 2
    assert line.startswith("error: set-up: ")
    assert words in line
    assert not (machine.project / ".venv").exists()
    machine.has_python("python3")
    assert machine.installs()
    assert not machine.installs()


def begin(machine: Machine) -> subprocess.Popen:
    """A set-up in the middle of its downloads."""
    machine.calls.write_text("")
    process = machine.start(download="exec sleep 60")
    while "--requirement requirements.txt" not in machine.calls.read_text():
        assert process.poll() is None
        time.sleep(0.02)
    return process


def test_ctrl_c_leaves_nothing_half_and_is_one_line(machine):
    process = begin(machine)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert "error: set-up: interrupted; make again" in err
    assert not (machine.project / ".venv").exists()
    assert machine.installs()


def test_after_a_kill_the_next_make_starts_over_and_a_second_one_beside_it_is_refused(machine):
    process = begin(machine)
    code, (line,), _ = machine.make()
    assert code == 2
    assert line.startswith("error: set-up: process ")
    assert "is creating .venv; wait for it, then make again" in line
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    code, lines, _ = machine.make()
    assert (code, lines) == (0, ["set-up: .venv is incomplete because its set-up was interrupted; recreating it"])
    assert not machine.installs()


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_an_environment_that_was_moved_or_copied_is_made_again(machine, how):
    assert machine.installs()
    other = machine.root / "other"
    if how == "moved":
        machine.project.rename(other)
    else:
        shutil.copytree(machine.project, other)
    code, lines, calls = machine.make(folder=other)
    was = f"set-up: .venv was moved or copied from {machine.project}/.venv, and its scripts still point there; recreating it"
    assert (code, lines) == (0, [was])
    assert "-m venv .venv" in calls
    assert machine.make(folder=other)[:2] == (0, [])


def test_an_environment_whose_python_is_gone_is_made_again(machine):
    assert machine.installs()
    (machine.project / ".venv/bin/python").unlink()
    (machine.project / ".venv/bin/python").symlink_to("/nowhere/python3")
    code, lines, _ = machine.make()
    assert (code, lines) == (0, ["set-up: .venv/bin/python does not run; recreating it"])


def test_a_second_clone_uses_an_environment_of_the_same_pins_as_it_is_and_never_one_of_others(machine):
    assert machine.installs()
    other = machine.copy(machine.root / "other")
    venv = f"VENV={machine.project}/.venv"
    code, lines, calls = machine.make(venv, folder=other)
    assert (code, lines) == (0, [])
    assert not any("--editable" in call for call in calls), "it stays the first clone's"
    with (other / "requirements.txt").open("a") as file:
        file.write("# another\n")
    code, (line,), _ = machine.make(venv, folder=other)
    assert code == 2
    assert line == (
        f"error: set-up: {machine.project}/.venv belongs to {machine.project}, which needs different versions from requirements.txt and "
        "pyproject.toml here; make VENV=.venv"
    )
    shutil.rmtree(machine.project / "workflow")
    (machine.project / "pyproject.toml").unlink()
    assert any("--editable" in call for call in machine.make(venv, folder=other)[2]), "its owner is gone"


def test_make_runs_the_code_of_its_own_clone(machine):
    done = subprocess.run(
        ["make", "--no-print-directory", "-f", "-", "show"],
        input=f"include {ROOT}/Makefile\nshow: ; @echo $$PYTHONPATH\n",
        cwd=machine.project,
        env=os.environ | {"PYTHONPATH": "/more"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"{machine.project}/src:/more\n"
