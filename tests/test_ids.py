"""Names of runs and evaluations stay: finished work on people's disks is found by them.

``ids.json`` holds, for each scale and table, a digest of the runs and one of the evaluations that the table is made of. It changes
only with a training or an evaluation that gives other numbers; then, and after a look at which tables differ:
``python tests/test_ids.py``.
"""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from projects import ROOT
from pydantic import TypeAdapter

from sslpairs.config.reading import read_config
from sslpairs.data.record import contents, recorded
from sslpairs.plan.build import Build
from sslpairs.plan.planner import make_plan
from sslpairs.plan.records import Receipt, read_receipt

KNOWN = Path(__file__).with_name("ids.json")
SCALES = ("digits", "cifar10-mini", "cifar10-jpeg-mini", "paper")


def digest(names: set[str]) -> str:
    return sha256("\n".join(sorted(names)).encode()).hexdigest()[:12]


def found(scale: str) -> dict[str, list]:
    """Table -> how many runs, their digest, how many evaluations, theirs."""
    config = read_config(ROOT, {"scale": scale, "papers": "every", "tables": "every"})
    made_up = {name: sha256(name.encode()).hexdigest() for name in config.datasets} | recorded(ROOT)
    plan = make_plan(config, made_up)
    tables = {}
    for name in sorted(plan.tables):
        replicates = [one for cell in plan.tables[name]["cells"] for one in cell["replicates"]]
        runs, evaluations = ({one[key] for one in replicates} for key in ("run", "evaluation"))
        tables[name] = [len(runs), digest(runs), len(evaluations), digest(evaluations)]
    return tables


@pytest.mark.parametrize("scale", SCALES)
def test_no_run_and_no_evaluation_has_another_name(scale):
    known, now = json.loads(KNOWN.read_text())[scale], found(scale)
    assert {name: now.get(name) for name in known} == known
    assert now.keys() == known.keys()


if __name__ == "__main__":
    lines = {scale: ",\n".join(f'    "{k}": {json.dumps(v)}' for k, v in found(scale).items()) for scale in SCALES}
    KNOWN.write_text("{\n" + ",\n".join(f'  "{scale}": {{\n{text}\n  }}' for scale, text in lines.items()) + "\n}\n")


def test_the_tables_whose_results_come_with_the_repository_need_no_training_and_no_evaluation():
    choices = {
        "scale": "cifar10-jpeg-mini",
        "seeds": 3,
        "tables": ["clae-main", "dimcl-frameworks", "mixco-tinyimagenet"],
    }
    config = read_config(ROOT, choices)
    build = Build(make_plan(config, contents(ROOT, config.datasets)), ROOT)
    runs = {run for table in build.plan.selected for run in build.runs_of(table)}
    keys = {
        replicate["evaluation"]
        for table in build.plan.selected
        for cell in build.plan.tables[table]["cells"]
        for replicate in cell["replicates"]
    }
    assert len(runs) == len(keys) == 84
    assert build.to_measure == [], "nor a baseline"
    declared = TypeAdapter(Receipt)
    for run in runs:
        receipt = read_receipt(run, ROOT)
        assert receipt["spec"] == build.plan.runs[run]["spec"]
        assert declared.validate_python(receipt, strict=True) == receipt, "and no other keys"
    assert build.needs(build.plan.selected) == ([], [], [])
