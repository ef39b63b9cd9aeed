"""How long a plan of thousands of runs takes, and a build that has nothing to do.

    python benchmarks/planning.py [--seeds 41] [--repeats 5] [--json FILE] [--keep FOLDER]

Makes a project in a temporary folder in which every run, evaluation, table and figure of all papers is finished (made-up
records of the sizes that real ones have), and measures, alternating: Snakemake with an empty Snakefile, ``sslpairs plan``
and ``snakemake``. Times are seconds of whole processes: of the clock, and of the processor (which a busy machine distorts less).
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "workflow", "profiles", "config", "src", "data.dvc", "environment.yml")


def say(project: Path, *words: str) -> tuple[tuple[float, float], str]:
    """Run a Python module in a project; its seconds of the clock and of the processor, and its output."""
    environment = os.environ | {"PYTHONPATH": str(project / "src"), "COLUMNS": "200"}
    start, used = time.perf_counter(), processor()
    done = subprocess.run([sys.executable, "-m", *words], cwd=project, capture_output=True, text=True, env=environment)
    seconds = time.perf_counter() - start, processor() - used
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stdout}{done.stderr}")
    return seconds, done.stdout + done.stderr


def processor() -> float:
    """Processor seconds of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def make_project(project: Path, seeds: int) -> dict[str, int]:
    """Everything finished, with older files behind newer ones; counts of what there is."""
    for name in PARTS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, project / name)
    settings = project / "config/config.yaml"
    text = settings.read_text()
    assert "seeds: 3 " in text
    settings.write_text(text.replace("seeds: 3 ", f"seeds: {seeds} "))
    say(project, "sslpairs", "fetch", "digits")

    sys.path.insert(0, str(ROOT / "src"))
    from sslpairs.files import sha256_text, write_record
    from sslpairs.front import make_build
    from sslpairs.plan.build import evaluation_file, run_folder

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
            "device": {"name": "made up", "threads": 1},
            "git": {"commit": "0" * 40, "dirty": False},
            "finished": "2026-01-02T03:04:05+00:00",
        }
        (folder / "checkpoint.pt").write_text("made up")
        (folder / "metrics.csv").write_text(curve)
        write_record(folder / "run.json", receipt)
        for path in folder.iterdir():
            dated(path, 400)
    for name, entry in plan.evaluations.items():
        path = project / evaluation_file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        protocols = {
            "linear": {"last": 94.0, "best": 94.5, "best_epoch": 9},
            "online": {"last": 93.0, "best": 93.5, "best_epoch": 8},
            "knn": {"last": 92.0},
        }
        facts = {"format": 1, "run": entry["run"], "key": entry["key"], "protocols": protocols}
        write_record(path, facts | {"checkpoint": sha256_text(entry["run"])})
        dated(path, 300)
    keyed = [file for table in plan.tables for file in build.keyed_table_files(table)]
    keyed += [file for figure in plan.figures for file in build.keyed_figure_files(figure)]
    stable = [file for table in plan.tables for file in build.outputs(table)]
    for age, files in ((200, keyed), (100, [*stable, build.provenance_file()])):
        for file in files:
            path = project / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("made up")
            dated(path, age)
    return {"runs": len(plan.runs), "evaluations": len(plan.evaluations), "tables": len(plan.tables)}


def measure(project: Path, repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of each command, one after the other in every repetition; the first one warms the files up."""
    empty = project / "empty"
    empty.mkdir()
    (empty / "Snakefile").write_text("rule all:\n")
    found: dict[str, list[tuple[float, float]]] = {
        "empty snakemake": [],
        "sslpairs plan": [],
        "snakemake, nothing to do": [],
    }
    for number in range(repeats + 1):
        bare, _ = say(empty, "snakemake", "--cores", "1", "--quiet")
        planned, said = say(project, "sslpairs", "plan")
        idle, answer = say(project, "snakemake", "--cores", "1")
        if "Nothing to be done" not in answer:
            sys.exit(
                f"the build has something to do, so this would not measure what it should:\n{said}\n{answer[:3000]}"
            )
        if number:
            for name, seconds in zip(found, (bare, planned, idle), strict=True):
                found[name].append(seconds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=41, help="41 give about 5,000 runs")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    parser.add_argument("--keep", type=Path, help="make the project in this new folder, and leave it there")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sslpairs-planning-") as temporary:
        project = asked.keep or Path(temporary) / "project"
        project.mkdir(parents=True)
        counts = make_project(project, asked.seeds)
        print(", ".join(f"{count:,} {name}" for name, count in counts.items()))
        found = measure(project, asked.repeats)
    print(f"{'':38} {'median s':>9} {'lowest':>7} {'highest':>8} {'x empty':>8}")
    for place, kind in enumerate(("clock", "processor")):
        bare = statistics.median(times[place] for times in found["empty snakemake"])
        for name, times in found.items():
            seconds = [pair[place] for pair in times]
            median = statistics.median(seconds)
            print(f"{kind:10} {name:27} {median:9.2f} {min(seconds):7.2f} {max(seconds):8.2f} {median / bare:8.2f}")
    if asked.json:
        asked.json.write_text(json.dumps({"counts": counts, "clock and processor seconds": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
