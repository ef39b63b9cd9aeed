"""How long a plan of thousands of runs takes, a dry run of it, and a build that has nothing to do; and how much memory.

    python benchmarks/planning.py [--scale digits] [--seeds 41] [--repeats 5] [--json FILE] [--keep FOLDER]

Makes two projects in a temporary folder with made-up records of the sizes that real ones have: in one every run, evaluation,
table and figure is finished, in the other there is nothing but data. ``--scale paper`` takes every table and paper, optional ones
too, with made-up data sets. Measures, alternating: Snakemake with an empty Snakefile, ``sslpairs plan``, ``snakemake -n`` where
nothing is done, and ``snakemake`` where everything is. Times are seconds of whole processes: of the clock, and of the processor
(which a busy machine distorts less). Memory is the largest resident size of the process.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "workflow", "profiles", "config", "src", "data.dvc", "environment.yml")


class Use(NamedTuple):
    """What one process took."""

    clock: float
    processor: float
    megabytes: float


def say(project: Path, *words: str) -> tuple[Use, str]:
    """Run a Python module in a project; what it took, with the processes that it started, and its output."""
    environment = os.environ | {"PYTHONPATH": str(project / "src"), "COLUMNS": "200"}
    with tempfile.TemporaryFile("w+") as file:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=project, stdout=file, stderr=subprocess.STDOUT, env=environment
        )
        _, status, used = os.wait4(process.pid, 0)
        clock = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        file.seek(0)
        output = file.read()
    if process.returncode:
        sys.exit(f"{' '.join(words)}: {output[-3000:]}")
    return Use(clock, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024), output


def copy_project(project: Path, scale: str, seeds: int) -> None:
    """The parts of this project that a build reads, with these choices; data sets as if they were prepared."""
    project.mkdir(parents=True)
    for name in PARTS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, project / name)
    settings = project / "config/config.yaml"
    text = settings.read_text()
    wanted = {"scale": scale, "seeds": seeds} | ({} if scale == "digits" else {"papers": "every", "tables": "every"})
    for key, value in wanted.items():
        text, count = re.subn(rf"(?m)^{key}: \S+", f"{key}: {value}", text)
        assert count == 1, key
    settings.write_text(text)
    if scale == "digits":
        say(project, "sslpairs", "fetch", "digits")
        return
    from sslpairs.config.reading import read_config
    from sslpairs.files import sha256_text, write_record

    contents = {name: sha256_text(name) for name in read_config(project).datasets}
    lines = [f"    {name}: {content}\n" for name, content in contents.items()]
    (project / "data.dvc").write_text("meta:\n  datasets:\n" + "".join(lines))
    for name, content in contents.items():
        (project / "data" / name).mkdir(parents=True)
        write_record(project / "data" / name / "dataset.json", {"format": 1, "name": name, "content": content})


def finish(project: Path) -> dict[str, int]:
    """Everything finished, with older files behind newer ones; counts of what there is."""
    from sslpairs.config.protocols import PROTOCOLS
    from sslpairs.files import sha256_text, write_record
    from sslpairs.plan.baselines import identity
    from sslpairs.plan.build import Build
    from sslpairs.plan.paths import ENDINGS, evaluation_file, run_folder
    from sslpairs.plan.written import made_from, seal
    from sslpairs.workflow.builds import make_build

    build = make_build(project)
    plan, now = build.plan, time.time()

    def dated(path: Path, age: int) -> None:
        os.utime(path, (now - age, now - age))

    for path in project.glob("data/*/*"):
        dated(path, 500)
    curve = "epoch,steps,loss,learning_rate,online_top1\n" + "".join(
        f"{epoch},5,3.25,0.001,90.5\n" for epoch in range(1, 31)
    )
    for run, entry in plan.runs.items():
        folder = project / run_folder(run)
        folder.mkdir(parents=True)
        checkpoint = {"sha256": sha256_text(run), "md5": sha256_text(run)[:32], "bytes": len(b"made up")}
        receipt = {key: entry[key] for key in ("label", "dataset", "seed", "spec")} | {
            "format": 1,
            "run": run,
            "checkpoint": checkpoint,
            "metrics": {"sha256": sha256_text(curve), "bytes": len(curve)},
            "timing": {"seconds": 30.0, "images_per_second": 1500.0},
            "online": {"last": 90.5, "best": 91.0, "best_epoch": 9},
            "versions": dict.fromkeys(("torch", "torchvision", "lightly", "numpy", "sslpairs", "python"), "1.2.3"),
            "device": "cpu (made up), 1 thread",
            "git": {"commit": "0" * 40, "dirty": False},
            "finished": "2026-01-02T03:04:05+00:00",
        }
        (folder / "checkpoint.pt").write_text("made up")
        (folder / "metrics.csv").write_text(curve)
        write_record(folder / "run.json", receipt)
        for path in folder.iterdir():
            dated(path, 400)
    weights = {name: sha256_text(entry["run"]) for name, entry in plan.evaluations.items()}
    weights |= {name: identity(entry) for name, entry in plan.baselines.items()}
    for name, checkpoint in weights.items():
        entry = plan.evaluations.get(name) or plan.baselines[name]
        path = project / evaluation_file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        protocols = {protocol: dict.fromkeys(PROTOCOLS[protocol].metrics, 94.0) for protocol in entry["protocols"]}
        settings = {protocol: found for protocol, found in entry["protocols"].items() if found}
        run, _, key = name.partition("/")
        facts = {"format": 2, "run": run, "key": key, "protocols": protocols, "settings": settings}
        write_record(path, facts | {"checkpoint": checkpoint, "code": "made up"})
        dated(path, 300)
    outputs = [file for table in plan.tables for file in build.outputs(table)]
    for file in (*outputs, build.provenance_file()):
        path = project / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("made up")
        dated(path, 100)
    build = Build(plan, project)  # sees the records
    for kind in ENDINGS:
        for name in getattr(plan, kind):
            seal(build, kind, name, project / build.stem(kind, name), made_from(build, kind, name))
    counts = {name: len(getattr(plan, name)) for name in ("runs", "evaluations", "tables", "figures")}
    return counts | {"selected tables": len(plan.selected)}


def measure(empty: Path, fresh: Path, project: Path, repeats: int) -> dict[str, list[Use]]:
    """What each command takes, one after the other in every repetition; the first one warms the files up."""
    empty.mkdir()
    (empty / "Snakefile").write_text("rule all:\n")
    found: dict[str, list[Use]] = {}
    for number in range(repeats + 1):
        uses = {"empty snakemake": say(empty, "snakemake", "--cores", "1", "--quiet")[0]}
        uses["sslpairs plan"], said = say(project, "sslpairs", "plan")
        uses["snakemake -n, nothing done"], jobs = say(fresh, "snakemake", "--cores", "1", "-n")
        uses["snakemake, nothing to do"], answer = say(project, "snakemake", "--cores", "1")
        if "Nothing to be done" not in answer or "pretrain" not in jobs or "prepare_data" in jobs:
            sys.exit(
                f"a build has other things to do than what this would measure:\n{said}\n{jobs[-3000:]}\n{answer[:3000]}"
            )
        if number or not repeats:
            for name, use in uses.items():
                found.setdefault(name, []).append(use)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--scale", default="digits", help="digits, or paper for every table of the papers at their own scale"
    )
    parser.add_argument(
        "--seeds", type=int, default=41, help="41 give about 5,000 runs at digits; paper has 392 runs a seed"
    )
    parser.add_argument("--repeats", type=int, default=5, help="0 measures once, without warming up")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    parser.add_argument("--keep", type=Path, help="make the projects in this new folder, and leave them there")
    asked = parser.parse_args()
    sys.path.insert(0, str(ROOT / "src"))
    with tempfile.TemporaryDirectory(prefix="sslpairs-planning-") as temporary:
        folder = asked.keep or Path(temporary)
        for name in ("fresh", "project"):
            copy_project(folder / name, asked.scale, asked.seeds)
        counts = finish(folder / "project")
        print(", ".join(f"{count:,} {name}" for name, count in counts.items()), flush=True)
        found = measure(folder / "empty", folder / "fresh", folder / "project", asked.repeats)
    print(f"{'':38} {'median':>9} {'lowest':>8} {'highest':>8} {'x empty':>8}")
    for place, kind in enumerate(("clock s", "processor s", "peak MB")):
        bare = statistics.median(uses[place] for uses in found["empty snakemake"])
        for name, uses in found.items():
            values = [use[place] for use in uses]
            median = statistics.median(values)
            print(f"{kind:11} {name:26} {median:9.2f} {min(values):8.2f} {max(values):8.2f} {median / bare:8.2f}")
    if asked.json:
        numbers = {name: [use._asdict() for use in uses] for name, uses in found.items()}
        asked.json.write_text(json.dumps({"counts": counts, "uses": numbers}, indent=2) + "\n")


if __name__ == "__main__":
    main()
