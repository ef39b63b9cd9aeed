"""A project with a tiny network, whose one table is built and published, copies of it, and what a user does there."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import yaml

from sslpairs.files import write_record
from sslpairs.plan.paths import evaluation_file
from sslpairs.plan.written import outdated
from sslpairs.workflow.builds import make_build
from sslpairs.workflow.jobs import evaluated_with_training

ROOT = Path(__file__).parents[1]
TABLE = "gps-augmentation"
PARTS = (
    "Snakefile",
    "workflow",
    "profiles",
    "config",
    "src",
    "data.dvc",
    ".dvc",
    ".dvcignore",
    ".gitignore",
    "environment.yml",
)
RULES = ("prepare_data", "pretrain", "pretrain_and_evaluate", "retrain", "restore_run", "evaluate", "table", "figure")


# --- what a user does -----------------------------------------------------------------------------------------------


def say(project: Path, *words: str, **environment: str) -> subprocess.CompletedProcess:
    """Run a Python module in a project, with the project's own sslpairs."""
    own = {
        "PYTHONPATH": str(project / "src"),
        "COLUMNS": "200",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(project.parent / "site"),
    }
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=project, capture_output=True, text=True, env=os.environ | own | environment
    )


def build(project: Path, *words: str) -> subprocess.CompletedProcess:
    return say(project, "snakemake", *words)


def jobs(project: Path, *words: str) -> dict[str, int]:
    """What Snakemake would do: rule -> jobs, as a dry run counts them."""
    done = build(project, "-n", *words)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    if "Nothing to be done" in text:
        return {}
    found = dict(re.findall(r"^(\w+) +(\d+)$", text.split("Job stats:")[1].split("Reasons:")[0], re.MULTILINE))
    return {name: int(found[name]) for name in RULES if name in found}


def planned(project: Path, table: str) -> dict[str, int]:
    """What a build of a table would do, without Snakemake: rule -> jobs. ``test_matrix`` shows that both agree."""
    found = make_build(project)
    trained, evaluated, restored = found.needs([table])
    again = set(trained) & found.to_retrain.keys()
    written = {
        "table": [("tables", table)],
        "figure": [("figures", figure) for figure in found.figures_of(table)],
    }
    together = set(evaluated_with_training(found)[1]) & set(trained)
    counts = {
        "prepare_data": len(found.to_prepare) if trained or evaluated else 0,
        "pretrain": len(trained) - len(again) - len(together),
        "pretrain_and_evaluate": len(together),
        "retrain": len(again),
        "restore_run": len(restored),
        "evaluate": sum(found.plan.evaluations[name]["run"] not in together for name in evaluated),
    }
    for rule, products in written.items():
        counts[rule] = sum(bool(evaluated or outdated(found, *product)) for product in products)
    return {rule: count for rule, count in counts.items() if count}


def planned_by_own_code(project: Path, table: str) -> dict[str, int]:
    """``planned``, by the code in the project instead of this one's."""
    words = "import json, pathlib, sys, projects; print(json.dumps(projects.planned(pathlib.Path.cwd(), sys.argv[1])))"
    own = {"PYTHONPATH": os.pathsep.join([str(project / "src"), str(Path(__file__).parent)])}
    done = subprocess.run(
        [sys.executable, "-c", words, table],
        cwd=project,
        capture_output=True,
        text=True,
        env=os.environ | own,
        check=True,
    )
    return json.loads(done.stdout)


def git(project: Path, *words: str) -> str:
    who = ("-c", "user.name=sslpairs", "-c", "user.email=sslpairs@localhost")
    return subprocess.run(["git", *who, *words], cwd=project, capture_output=True, text=True, check=True).stdout


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def edit_key(root: Path, file: str, key: str, value: Any) -> None:
    """Set a dotted key of a file under ``config/``."""
    path = root / "config" / file
    whole = place = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
    *parents, last = [int(word) if word.isdecimal() else word for word in key.split(".")]
    for word in parents:
        place = place[word]
    place[last] = value
    path.write_text(yaml.dump(whole, Dumper=yaml.CSafeDumper, sort_keys=False))


def make_tiny(project: Path, epochs: int, seeds: int) -> None:
    """The project's parts, with a network that trains in seconds."""
    copy_parts(PARTS, project)
    edit(project / "config/scales/digits.yaml", "widths: [8, 16, 32]", "widths: [8, 16]")
    edit(project / "config/scales/digits.yaml", "epochs: {default: 10, 800: 30}", f"epochs: {{default: {epochs}}}")
    edit(project / "config/scales/digits.yaml", "seeds: 5", f"seeds: {seeds}\nbaselines: []")
    edit(project / "config/recipes/digits.yaml", "epochs: 100", "epochs: 5")


def write_evaluation(root: Path, name: str, entry: dict[str, Any], checkpoint: str, top1: float = 50.0) -> None:
    """A finished evaluation as a plan has it, with made-up numbers."""
    protocols = {protocol: {"top1": top1} | dict.fromkeys(asked, top1) for protocol, asked in entry["asked"].items()}
    settings = {protocol: found for protocol, found in entry["protocols"].items() if found is not None}
    facts = {key: entry[key] for key in ("run", "key", "content") if key in entry}
    path = root / evaluation_file(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = {"format": 2, "protocols": protocols, "settings": settings, "checkpoint": checkpoint, "code": "made up"}
    write_record(path, facts | made)


def wait_for(condition: Callable[[], Any], seconds: float = 300.0, what: str = "a condition") -> Any:
    """Wait until something is true, and return it; AssertionError where it never is."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"in vain for {seconds:.0f} s: {what}"
        time.sleep(0.05)
    return found


def side_by_side(work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """``work`` for each item, a few at once."""
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(work, items))


# --- the project and its copies -------------------------------------------------------------------------------------


def copy_parts(names: Iterable[str], to: Path) -> None:
    """Copy files and folders of this project, without what builds left there and without the remotes of whoever tests it."""
    ignore = shutil.ignore_patterns("cache", "tmp", "config.local", "__pycache__", "*.egg-info")
    for name in names:
        if (ROOT / name).is_symlink():
            (to / name).symlink_to((ROOT / name).readlink())
        elif (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, to / name)
    settings = ConfigParser()
    settings.read(to / ".dvc/config")
    for section in settings.sections():
        if section.strip("'").startswith("remote "):
            settings.remove_section(section)
    settings.remove_option("core", "remote")
    with (to / ".dvc/config").open("w") as file:
        settings.write(file)


def make_project(project: Path) -> Path:
    """Two methods, two augmentations, two seeds: built, published to a folder beside the project, and committed."""
    project.mkdir(parents=True)
    make_tiny(project, epochs=2, seeds=2)
    git(project, "init", "--quiet")
    for words in (
        ("dvc", "remote", "add", "--quiet", "--default", "store", str(project.parent / "store")),
        ("snakemake", TABLE),
        ("sslpairs", "publish", TABLE),
    ):
        done = say(project, *words)
        assert done.returncode == 0, done.stdout + done.stderr
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message=Publish results")
    git(project, "gc", "--quiet")  # a copy is of half as many files
    return project


def bare(original: Path, to: Path) -> Path:
    """A fresh clone: receipts, evaluations and pointers; neither data nor checkpoints nor tables."""
    git(original, "clone", "--quiet", str(original), str(to))
    return to


def pulled(original: Path, to: Path) -> Path:
    """A fresh clone with data and checkpoints, as ``sslpairs fetch digits`` and ``sslpairs restore`` bring them."""
    bare(original, to)
    shutil.copytree(original / "data", to / "data", copy_function=shutil.copyfile)
    for path in original.glob("results/runs/*/checkpoint.pt"):
        shutil.copyfile(path, to / path.relative_to(original))
    return to


def built(original: Path, to: Path) -> Path:
    """The folder of the build itself, with tables, figures and Snakemake's records; times of files are kept."""
    return Path(shutil.copytree(original, to, symlinks=True))
