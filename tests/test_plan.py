"""The plan: what a run's name depends on, what tables are made of, and what a folder still lacks."""

import builtins
import copy
import json
import re
import shutil
from pathlib import Path
from typing import get_type_hints

import pytest
import yaml
from projects import ROOT, write_evaluation
from projects import edit_key as edit
from pydantic import TypeAdapter

from sslpairs.config.changes import with_change
from sslpairs.config.labels import parse_label
from sslpairs.config.methods import METHODS
from sslpairs.config.reading import Config, read_config
from sslpairs.config.recipes import CLAESettings, SimCLRSettings, SPPSSettings
from sslpairs.config.strategies import STRATEGIES
from sslpairs.errors import UserError
from sslpairs.files import sha256_text, write_record
from sslpairs.plan import estimate as estimating
from sslpairs.plan import fingerprint as fingerprinting
from sslpairs.plan import machines
from sslpairs.plan.build import Build, is_whole
from sslpairs.plan.frozen import freeze, thaw
from sslpairs.plan.paths import evaluation_file, pointer_file, run_folder
from sslpairs.plan.plan import Plan
from sslpairs.plan.planner import make_plan
from sslpairs.plan.pointers import Pointer, pointer_of
from sslpairs.plan.spec import RunSpec
from sslpairs.workflow.builds import check
from sslpairs.workflow.constraints import any_of

PROJECT = Path(__file__).resolve().parents[1]
RECIPE, SCALE = "recipes/digits.yaml", "scales/digits.yaml"
CONTENTS = {"digits": "d" * 64, "other": "e" * 64}


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A project whose seeds are two, and in which both SPPS and GPS are guided by a run."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "config", root / "config")
    edit(root, "config.yaml", "scale", "digits")
    edit(root, "config.yaml", "seeds", 2)
    edit(
        root,
        RECIPE,
        "strategies.gps.guide",
        {"kind": "run", "method": "byol", "augmentation": "weak", "layer": "backbone"},
    )
    other = {"title": "Other", "source": {"kind": "digits", "size": 32, "test_per_class": 50}}
    edit(root, "datasets.yaml", "datasets.other", other)
    edit(root, SCALE, "datasets.TinyImageNet", "other")
    edit(root, SCALE, "baselines", [])
    return root


@pytest.fixture
def root(template, tmp_path) -> Path:
    """A copy of that project to be changed."""
    shutil.copytree(template / "config", tmp_path / "config")
    return tmp_path


def plan(root: Path, contents: dict[str, str] = CONTENTS, **overrides) -> Plan:
    return make_plan(read_config(root, overrides), contents)


def spec_of(plan: Plan, run: str) -> dict:
    return plan.runs[run]["spec"]


def position(entry: dict) -> tuple:
    """What a run is for, in words that do not hold its hyper-parameters."""
    facts = [entry[key] for key in ("label", "dataset", "backbone", "augmentation", "seed")]
    return (*facts, entry["spec"]["batch_size"], entry["spec"]["epochs"])


def changed(before: Plan, after: Plan) -> list[dict]:
    """Runs of ``before`` that ``after`` no longer has."""
    return [entry for run, entry in before.runs.items() if run not in after.runs]


def which(plan: Plan, test) -> list[dict]:
    """Runs that fit a test, or whose guide does."""
    guides = {run: plan.runs.get(entry["guide"]) for run, entry in plan.runs.items()}
    return [entry for run, entry in plan.runs.items() if test(entry) or (guides[run] and test(guides[run]))]


# --- run ids ------------------------------------------------------------------------------------------------------


def leaves(value, path=()):
    """Dotted key and value of every value of a recipe's YAML, a list of numbers as one."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    else:
        yield ".".join(path), value


HYPER_PARAMETERS = {
    key: value
    for key, value in leaves(yaml.safe_load((PROJECT / "config" / RECIPE).read_text()))
    if key.split(".")[0] in ("augmentations", "training", "methods", "strategies")
}
WORDS = {
    "strategies.spps.mode": "interval",
    "strategies.spps.max_partners": 3,
    "strategies.spps.guide.kind": None,
    "strategies.spps.guide.method": "byol",
    "strategies.spps.guide.augmentation": "weak",
    "strategies.spps.guide.layer": "projection",
    "strategies.gps.choice": None,
    "strategies.gps.radius": None,
    "strategies.gps.candidates": None,
    "strategies.gps.rebuild": {"every": 5, "layer": "backbone"},
    "strategies.gps.guide.kind": None,
    "strategies.mixco.alpha": 0.5,
    "strategies.mixco.hard_codes": None,
    "methods.simsiam.projector.last_batch_norm": True,
    "methods.swav.queue": 64,
    "methods.swav.small": {"count": 2, "size": 8, "scale": [0.2, 0.6]},
    "methods.dino.small": {"count": 2, "size": 8, "scale": [0.2, 0.6]},
    "methods.dino.clip": 3.0,
    "methods.uel.projector.hidden": [32],
    "methods.plain.projector.hidden": [32],
    "training.augmentation": "weak",
    "training.precision": "bfloat16",
    "training.optimizer.name": None,
    "training.optimizer.reference_batch": 256,
    "training.schedule.name": None,
    "strategies.spps.steps": "all",
    "augmentations.weak.crop": {"scale": [0.5, 1.0], "ratio": [0.8, 1.25]},
    "augmentations.weak.jitter": dict.fromkeys(("probability", "brightness", "contrast", "saturation", "hue"), 0.25),
    "augmentations.weak.blur": {"probability": 0.5, "sigma": [0.1, 1.0]},
    "augmentations.strong.blur": {"probability": 0.5, "sigma": [0.1, 1.0]},
}
"""Other values where arithmetic gives none; None stands for 'changes the shape of its parent, see the other tests'."""


OVERRIDDEN = {"strategies.mixco.temperature": ("swav", "dino", "byol", "simsiam", "barlowtwins", "vicreg")}
"""Base methods with a value of their own for a strategy, or without any."""


def another(key: str, value):
    """Another valid value of a hyper-parameter."""
    if key in WORDS:
        return WORDS[key]
    if isinstance(value, list):
        return [another(key, item) for item in value]
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else value * 0.9995 or 0.125


def depends(key: str):
    """Whether a run, apart from its guide, depends on a hyper-parameter: said by its place in the recipe alone."""
    room, name, *rest = key.split(".")
    if room == "methods" and rest[:1] == ["strategies"]:
        return lambda run: parse_label(run["label"]) == parse_label(f"{name}+{rest[1]}")
    if key in OVERRIDDEN:
        return lambda run: (
            name in parse_label(run["label"]).strategies and parse_label(run["label"]).base not in OVERRIDDEN[key]
        )
    if room == "methods":
        return lambda run: parse_label(run["label"]).base == name
    if room == "strategies":
        return lambda run: name in parse_label(run["label"]).strategies
    if room == "augmentations":
        return lambda run: run["augmentation"] == name
    return lambda run: True


@pytest.fixture(scope="module")
def read(template) -> tuple[Config, Plan]:
    """The configuration with one seed, read and planned once; ``test_explain.py`` sees that a change is what an edit does."""
    config = read_config(template, {"seeds": "1"})
    return config, make_plan(config, CONTENTS)


@pytest.mark.parametrize("key", [key for key in HYPER_PARAMETERS if WORDS.get(key, 0) is not None])
def test_a_changed_hyper_parameter_renames_exactly_the_runs_that_depend_on_it(read, key):
    config, before = read
    value = yaml.safe_dump(another(key, HYPER_PARAMETERS[key]), default_flow_style=True)
    after = make_plan(with_change(config, f"{key}={value}"), CONTENTS)
    if key == "training.augmentation":
        expected = which(before, lambda run: run["augmentation"] == "strong")
        assert changed(before, after)
        assert all(run in expected for run in changed(before, after))
    else:
        assert changed(before, after) == which(before, depends(key))
        assert changed(before, after), "some run depends on it"


@pytest.mark.parametrize("scale", ["digits", "paper"])
def test_a_plan_holds_the_keys_that_are_declared_and_no_others(scale):
    config = read_config(ROOT, {"scale": scale, "papers": "every", "tables": "every", "seeds": "1"})
    made = make_plan(config, {name: name[0] * 64 for name in config.datasets})
    for name, kind in get_type_hints(Plan).items():
        value = json.loads(json.dumps(getattr(made, name)))
        assert TypeAdapter(kind).validate_python(value, strict=True) == value


def test_a_value_changed_back_finds_the_old_runs(root):
    before = plan(root)
    edit(root, RECIPE, "methods.simclr.temperature", 0.3)
    assert plan(root) != before
    edit(root, RECIPE, "methods.simclr.temperature", HYPER_PARAMETERS["methods.simclr.temperature"])
    assert plan(root) == before


def test_a_whole_number_written_for_a_fraction_is_the_same_run(root):
    edit(root, RECIPE, "strategies.clae.weight", 1.0)
    before = plan(root)
    edit(root, RECIPE, "strategies.clae.weight", 1)
    assert plan(root) == before


def test_words_about_a_recipe_are_no_part_of_a_run(root):
    before = plan(root)
    edit(root, RECIPE, "title", "Another title")
    edit(root, RECIPE, "about", "Another text")
    assert plan(root).runs == before.runs


@pytest.mark.parametrize(
    ("key", "value", "test"),
    [
        ("batch_sizes.256", 32, lambda run: run["spec"]["batch_size"] == 64),
        ("backbones.resnet18", {"kind": "convnet", "widths": [8]}, lambda run: run["backbone"] == "conv 4-8-16"),
        ("epochs.default", 31, lambda run: run["spec"]["epochs"] in (10, 20)),
        ("datasets.TinyImageNet", "digits", lambda run: run["dataset"] == "other"),
    ],
)
def test_a_changed_scale_renames_exactly_the_runs_at_that_place(root, key, value, test):
    edit(root, SCALE, "batch_sizes", {"default": 128, 256: 64, 512: 128, 1024: 256})
    before = plan(root)
    path = root / "config" / SCALE
    whole = yaml.safe_load(path.read_text())
    room, name = key.split(".")
    whole[room] = {str(k): v for k, v in whole[room].items()} | {name: value}
    path.write_text(yaml.safe_dump(whole))
    assert changed(before, plan(root)) == which(before, test)


def test_a_recipe_of_its_own_for_one_paper_changes_its_runs_and_no_others(root):
    before = plan(root)
    recipe = yaml.safe_load((root / "config" / RECIPE).read_text())
    recipe["methods"]["simclr"]["temperature"] = 0.3
    recipe["evaluation"]["knn"]["neighbours"] = 7
    (root / "config/recipes/mine.yaml").write_text(yaml.safe_dump(recipe))
    edit(root, SCALE, "recipes", {"default": "digits", "clae": "mine"})
    after = plan(root)
    for name, table in before.tables.items():
        assert (after.tables[name]["key"] == table["key"]) is (name != "clae-main")
    (moved,) = {
        spec_of(after, r["run"])["method"]["simclr"]["temperature"]
        for cell in after.tables["clae-main"]["cells"]
        for r in cell["replicates"]
        if cell["row"] == "simclr"
    }
    assert moved == 0.3


def ablation(root, rows, *changes):
    columns = [{"dataset": "CIFAR-10", "set": change} for change in changes]
    table = {"title": "Ablation", "axes": "ours", "rows": rows, "columns": columns, "metrics": ["knn.top1"]}
    edit(root, "papers/clae.yaml", "tables.ablation", table)
    return plan(root, seeds="1")


def test_a_column_changes_a_strategys_value_for_methods_with_a_value_of_their_own_too(root):
    made = ablation(root, ["simclr+mixco", "swav+mixco"], {"mixco.temperature": 0.3}, {"mixco.temperature": 0.7})
    found = {
        (cell["row"], spec_of(made, cell["replicates"][0]["run"])["strategies"]["mixco"]["temperature"])
        for cell in made.tables["ablation"]["cells"]
    }
    assert found == {(row, value) for row in ("simclr+mixco", "swav+mixco") for value in (0.3, 0.7)}


def test_a_form_of_a_strategy_has_a_run_of_its_own_without_the_values_that_only_the_other_form_has(root):
    rows = ["simclr", "simclr+dimcl", "simclr+clae"]
    forms = {"dimcl.loss": "simple"}, {"dimcl.loss": "simple", "dimcl.off_diagonal": 1}, {"clae.separate_norms": False}
    as_it_was = {"dimcl.loss": "contrast", "dimcl.off_diagonal": None, "clae.separate_norms": True}
    made = ablation(root, rows, {}, as_it_was, *forms)
    runs = {(cell["row"], cell["column"]): cell["replicates"][0]["run"] for cell in made.tables["ablation"]["cells"]}
    names = dict.fromkeys(column for _, column in runs)
    usual, same, simple, named, one_set = ({row: runs[row, name] for row in rows} for name in names)
    assert usual == same
    assert {row for row in rows if simple[row] != usual[row]} == {"simclr+dimcl"}
    assert simple == named, "1 is what null stands for"
    assert {row for row in rows if one_set[row] != usual[row]} == {"simclr+clae"}
    dimcl, clae = (spec_of(made, run)["strategies"] for run in (simple["simclr+dimcl"], one_set["simclr+clae"]))
    assert dimcl["dimcl"] == {"version": 1, "weight": 0.1, "temperature": None, "loss": "simple", "off_diagonal": 1.0}
    assert clae["clae"]["separate_norms"] is False
    assert clae["clae"]["batch_norm_momentum"] is None


def test_a_column_cannot_change_what_a_method_has_of_its_own_in_training(root):
    sgd = {"name": "sgd", "lr": 0.1, "reference_batch": None, "momentum": 0.9, "weight_decay": 0.0}
    edit(root, RECIPE, "methods.byol.training", {"optimizer": sgd})
    with pytest.raises(UserError, match=r"'optimizer\.lr': 'byol' has its own optimizer"):
        ablation(root, ["simclr", "byol"], {"optimizer.lr": 0.01})


def test_two_strategies_of_one_run_share_their_guide(root):
    with pytest.raises(UserError, match="'simclr\\+spps\\+gps' would need two guides"):
        ablation(root, ["simclr+spps+gps"], {})
    edit(
        root,
        RECIPE,
        "strategies.gps.guide",
        yaml.safe_load((root / "config" / RECIPE).read_text())["strategies"]["spps"]["guide"],
    )
    assert ablation(root, ["simclr+spps+gps"], {}).tables["ablation"]


def test_another_content_of_a_data_set_renames_exactly_its_runs(root):
    before = plan(root)
    after = plan(root, CONTENTS | {"other": "f" * 64})
    assert changed(before, after) == [run for run in before.runs.values() if run["dataset"] == "other"] != []


def test_another_seed_adds_runs_and_changes_none(root):
    before, after = plan(root, seeds="2"), plan(root, seeds="3")
    assert changed(before, after) == []
    assert {entry["seed"] for run, entry in after.runs.items() if run not in before.runs} == {2}
    assert len(after.runs) * 2 == len(before.runs) * 3


def test_device_and_jobs_are_no_part_of_a_run(root):
    assert plan(root, device="cpu", jobs="1").runs == plan(root).runs


def test_another_k_of_the_knn_changes_no_run_and_every_evaluation(root):
    before = plan(root)
    edit(root, RECIPE, "evaluation.knn.neighbours", 21)
    after = plan(root)
    assert after.runs == before.runs
    assert [entry["run"] for entry in after.evaluations.values()] == [e["run"] for e in before.evaluations.values()]
    assert not after.evaluations.keys() & before.evaluations.keys()
    assert all(after.tables[name]["key"] != before.tables[name]["key"] for name in before.tables)


def test_a_run_id_is_a_readable_name_and_twelve_digits_of_its_spec(root):
    for run, entry in plan(root).runs.items():
        facts = (entry["label"], entry["dataset"], entry["augmentation"], entry["spec"]["batch_size"], entry["seed"])
        assert re.fullmatch(re.escape("{}-{}-{}-b{}-s{}".format(*facts)) + "-[0-9a-f]{12}", run)


def test_equal_specs_have_equal_ids_and_no_two_runs_share_one(root):
    runs = plan(root).runs
    assert len({json.dumps(entry["spec"], sort_keys=True) for entry in runs.values()}) == len(runs)
    assert len({position(entry) for entry in runs.values()}) == len(runs)


def test_two_thousand_runs_can_be_planned_and_are_all_different(root):
    big = plan(root, seeds="100")
    assert len(big.runs) > 2000
    assert len({run[-12:] for run in big.runs}) == len(big.runs)


# --- a run's specification ----------------------------------------------------------------------------------------


def test_a_spec_holds_every_value_of_what_it_uses_and_no_trace_of_what_it_does_not(root):
    runs = plan(root).runs
    recipe = read_config(root).recipes["digits"].model_dump(mode="json")
    for entry in runs.values():
        label, spec = parse_label(entry["label"]), entry["spec"]
        assert spec.keys() == RunSpec.model_fields.keys()
        assert list(spec["method"]) == [label.base]
        assert list(spec["strategies"]) == list(label.strategies)
        method = dict(recipe["methods"][label.base])
        change = method.pop("training") or {"longer": None}
        assert {name for name, value in change.items() if value is not None} <= {"longer"}
        assert spec["epochs"] // (change["longer"] or 1) in (10, 30)
        own = method.pop("strategies")
        assert spec["method"][label.base] == method
        assert spec["augmentation"] == recipe["augmentations"][entry["augmentation"]]
        for name in label.strategies:
            guide = {"kind": "checkpoint", "run": entry["guide"], "layer": "backbone"}
            wanted = (
                recipe["strategies"][name] | own.get(name, {}) | ({"guide": guide} if name in ("spps", "gps") else {})
            )
            if name == "mixco" and not METHODS[label.base].softmax:
                wanted["temperature"] = None
            later = STRATEGIES[name].as_before
            assert spec["strategies"][name] == {k: v for k, v in wanted.items() if (k, v) not in later.items()}
        for name in ("optimizer", "schedule", "online", "precision"):
            assert spec[name] == recipe["training"][name]


@pytest.mark.parametrize(("label", "model"), [("simclr+clae", CLAESettings), ("simclr+spps", SPPSSettings)])
def test_defaults_of_the_models_stand_in_the_spec_as_well(root, label, model):
    spec = next(entry["spec"] for entry in plan(root).runs.values() if entry["label"] == label)
    later = {"separate_norms"} if model is CLAESettings else set()
    assert spec["strategies"][label.split("+")[1]].keys() == model.model_fields.keys() - later
    assert spec["method"]["simclr"].keys() == SimCLRSettings.model_fields.keys() - {"training", "strategies"}
    assert spec["method"]["simclr"]["version"] == 1


def test_a_spec_reads_back_as_itself(root):
    for entry in plan(root).runs.values():
        spec = RunSpec.model_validate(entry["spec"])
        assert spec.plain() == entry["spec"]
        assert [spec.base, *spec.active] == entry["label"].split("+")


def test_what_a_method_does_otherwise_is_in_the_spec_and_only_where_it_applies(root):
    before = plan(root)
    sgd = {"name": "sgd", "lr": 0.1, "reference_batch": 256, "momentum": 0.9, "weight_decay": 1e-4}
    edit(root, RECIPE, "methods.byol.training", {"optimizer": sgd})
    after = plan(root)
    byol = [entry for entry in after.runs.values() if parse_label(entry["label"]).base == "byol"]
    assert all(
        entry["spec"]["optimizer"] == sgd and "training" not in entry["spec"]["method"]["byol"] for entry in byol
    )
    assert changed(before, after) == which(before, depends("methods.byol"))


def test_a_training_change_that_says_what_holds_anyway_is_the_same_run(root):
    before = plan(root)
    edit(root, RECIPE, "methods.byol.training", {"augmentation": "strong", "longer": 2})
    assert plan(root).runs == before.runs


# --- guides -------------------------------------------------------------------------------------------------------


def test_a_guide_is_a_run_of_the_plan_on_the_same_data_with_the_same_network_and_seed(root):
    runs = plan(root).runs
    guided = [entry for entry in runs.values() if entry["guide"]]
    assert {parse_label(entry["label"]).strategies for entry in guided} == {("spps",), ("gps",)}
    for entry in guided:
        guide = runs[entry["guide"]]
        assert (guide["dataset"], guide["backbone"], guide["seed"]) == (
            entry["dataset"],
            entry["backbone"],
            entry["seed"],
        )
        assert guide["spec"]["batch_size"] == 128, "the scale's default"
        assert guide["guide"] is None
        wanted = ("simclr", "strong") if "spps" in entry["label"] else ("byol", "weak")
        assert (guide["label"], guide["augmentation"]) == wanted


def transferred(root, **settings) -> Plan:
    """MixCo's table, its encoders evaluated on the other data set (of which there is one at this scale) in a second column."""
    edit(root, SCALE, "datasets", {"default": "digits", "Elsewhere": "other"})
    columns = [{"dataset": "CIFAR-10"}, {"dataset": "CIFAR-10", "evaluate_on": "Elsewhere"}]
    edit(root, "papers/mixco.yaml", "tables.mixco-tinyimagenet.columns", columns)
    edit(root, "papers/mixco.yaml", "tables.mixco-tinyimagenet.claims", [])
    return plan(root, papers="mixco", **settings)


def test_encoders_that_are_evaluated_elsewhere_are_the_same_runs_with_another_evaluation(root):
    made = transferred(root)
    cells = {(cell["row"], cell["column"]): cell["replicates"] for cell in made.tables["mixco-tinyimagenet"]["cells"]}
    for (row, column), here in cells.items():
        if column == "c0":
            there = cells[row, "c1"]
            assert [one["run"] for one in here] == [one["run"] for one in there]
            assert not {one["evaluation"] for one in here} & {one["evaluation"] for one in there}
            own, other = (made.evaluations[one[0]["evaluation"]] for one in (here, there))
            assert ("dataset" in own, other["dataset"], other["content"]) == (False, "other", CONTENTS["other"])
            assert own["protocols"] == other["protocols"] | {"online": None}
            build = Build(made, root)
            assert build.evaluation_inputs(here[0]["evaluation"])[0] == "data/digits/dataset.json"
            assert build.evaluation_inputs(there[0]["evaluation"])[0] == "data/other/dataset.json"
    assert made.datasets.keys() == {"digits", "other"}, "both are fetched"
    labels = [(column["label"], column["stands_for"]) for column in made.tables["mixco-tinyimagenet"]["columns"]]
    assert labels == [("Digits", ["CIFAR-10"]), ("Other", ["CIFAR-10, evaluated on Elsewhere"])]


def test_other_content_of_the_data_of_an_evaluation_renames_that_evaluation_and_no_run(root):
    before = transferred(root)
    after = make_plan(read_config(root, {"papers": "mixco"}), CONTENTS | {"other": "f" * 64})
    assert before.runs.keys() == after.runs.keys()
    gone = before.evaluations.keys() - after.evaluations.keys()
    assert gone == {name for name, entry in before.evaluations.items() if "dataset" in entry}


def test_what_is_evaluated_on_its_own_data_is_an_ordinary_evaluation(root):
    made = transferred(root)
    edit(root, SCALE, "datasets.Elsewhere", "digits")
    merged = plan(root, papers="mixco")
    assert [column["stands_for"] for column in merged.tables["mixco-tinyimagenet"]["columns"]] == [
        ["CIFAR-10", "CIFAR-10, evaluated on Elsewhere"]
    ]
    assert merged.evaluations.keys() < made.evaluations.keys()


def test_online_is_refused_where_encoders_are_evaluated_elsewhere(root):
    edit(root, "papers/mixco.yaml", "tables.mixco-tinyimagenet.metrics", ["linear.top1", "knn.top1", "online.top1"])
    with pytest.raises(UserError, match=r"config/papers/mixco.yaml: tables.mixco-tinyimagenet.metrics: 'online.top1'"):
        transferred(root)


def test_a_guide_that_is_a_row_of_a_table_too_is_one_run(root):
    made = plan(root)
    shown = {entry["run"] for entry in made.evaluations.values()}
    assert {entry["guide"] for entry in made.runs.values() if "spps" in entry["label"]} <= shown


def test_a_guide_that_no_table_shows_is_trained_and_not_evaluated(root):
    edit(root, RECIPE, "strategies.spps.guide.augmentation", "weak")
    for path in (root / "config/papers").glob("*.yaml"):
        if path.stem != "spps":
            path.unlink()
    made = plan(root)
    guides = {entry["guide"] for entry in made.runs.values() if entry["guide"]}
    assert guides
    assert guides <= made.runs.keys()
    assert not guides & {entry["run"] for entry in made.evaluations.values()}


def test_the_checkpoint_of_its_guide_is_an_input_of_a_training_and_no_other_checkpoint_is(root):
    build = Build(plan(root), root)
    for run, entry in build.plan.runs.items():
        expected = [f"results/runs/{entry['guide']}/checkpoint.pt"] if entry["guide"] else []
        assert [file for file in build.training_inputs(run) if file.endswith(".pt")] == expected


# --- tables -------------------------------------------------------------------------------------------------------


def test_runs_that_several_tables_use_occur_once(root):
    made = plan(root)
    weak, both = Build(made, root).runs_of("gps-weak"), Build(made, root).runs_of("gps-augmentation")
    assert set(both) & set(weak)
    assert set(both) <= {*weak, *Build(made, root).runs_of("gps-strong")}
    assert plan(root, tables="gps-weak").runs.keys() == made.runs.keys()


def test_columns_that_the_scale_maps_to_one_place_are_one_column(root):
    for path in (root / "config/papers").glob("*.yaml"):
        if path.stem != "spps":
            path.unlink()
    columns = plan(root).tables["spps-batch"]["columns"]
    assert [column["label"] for column in columns] == ["batch 64", "batch 128", "batch 256"]
    assert columns[0]["stands_for"] == [f"{name}, batch 256" for name in ("CIFAR-10", "STL-10", "ImageNet")]
    edit(root, SCALE, "batch_sizes", {"default": 64})
    (column,) = plan(root).tables["spps-batch"]["columns"]
    assert len(column["stands_for"]) == 9


@pytest.mark.parametrize("columns", [[{}, {"mixco.temperature": 0.05}], [{"mixco.temperature": 0.05}, {}]])
def test_the_columns_of_an_ablation_can_be_told_apart_in_whichever_order_they_stand(root, columns):
    edit(root, "papers/mixco.yaml", "tables.mixco-tinyimagenet.columns", [{"set": changes} for changes in columns])
    edit(root, "papers/mixco.yaml", "tables.mixco-tinyimagenet.claims", [])
    labels = [column["label"] for column in plan(root, papers="mixco").tables["mixco-tinyimagenet"]["columns"]]
    assert len(set(labels)) == 2
    assert "mixco.temperature 0.05" in labels[columns.index({"mixco.temperature": 0.05})]


def test_every_cell_has_a_replicate_for_each_seed(root):
    for table in plan(root, seeds="0,5").tables.values():
        assert len(table["cells"]) == len(table["rows"]) * len(table["columns"])
        assert all([r["seed"] for r in cell["replicates"]] == [0, 5] for cell in table["cells"])


@pytest.mark.parametrize("key", ["title", "note"])
def test_the_text_of_a_table_changes_that_tables_key_only(root, key):
    before = plan(root)
    edit(root, "papers/gps.yaml", f"tables.gps-weak.{key}", "Another text")
    after = plan(root)
    assert [name for name in before.tables if before.tables[name]["key"] != after.tables[name]["key"]] == ["gps-weak"]
    assert (after.runs, after.evaluations) == (before.runs, before.evaluations)
    drawn_from_it = [name for name, figure in before.figures.items() if figure["table"] == "gps-weak"]
    keys = [name for name in before.figures if before.figures[name]["key"] != after.figures[name]["key"]]
    assert keys == drawn_from_it


def test_a_changed_run_changes_the_keys_of_exactly_the_tables_that_show_it(root):
    before = plan(root)
    edit(root, RECIPE, "strategies.clae.epsilon", 0.05)
    after = plan(root)
    assert [name for name in before.tables if before.tables[name]["key"] != after.tables[name]["key"]] == [
        "strategies",
        "clae-main",
    ]


def test_the_text_of_a_figure_changes_that_figures_key_only(root):
    before = plan(root)
    edit(root, "papers/gps.yaml", "figures.gps-curves.title", "Another title")
    after = plan(root)
    assert [n for n in before.figures if before.figures[n]["key"] != after.figures[n]["key"]] == ["gps-curves"]
    assert before.tables == after.tables


# --- claims and published values ----------------------------------------------------------------------------------


def test_a_claim_is_tested_in_every_column_that_it_is_about(root):
    table = plan(root).tables["spps-batch"]
    assert [claim["id"] for claim in table["claims"]] == [f"spps-batch-0-{c['id']}" for c in table["columns"]]
    for claim, column in zip(table["claims"], table["columns"], strict=True):
        assert claim["setting"] == column["label"]
        assert claim["terms"] == [
            {"row": "simclr+spps", "column": column["id"], "weight": 1},
            {"row": "simclr", "column": column["id"], "weight": -1},
        ]


def test_a_claim_with_a_setting_is_tested_there_only(root):
    edit(root, "papers/spps.yaml", "tables.spps-batch.claims.0.where", {"batch_size": 512})
    (claim,) = plan(root).tables["spps-batch"]["claims"]
    assert claim["setting"] == "batch 128"


def test_a_larger_gain_is_a_difference_of_differences(root):
    (claim,) = plan(root).tables["gps-augmentation"]["claims"]
    weights = {(term["row"], term["column"]): term["weight"] for term in claim["terms"]}
    assert weights == {("simclr+gps", "c0"): 1, ("simclr", "c0"): -1, ("simclr+gps", "c1"): -1, ("simclr", "c1"): 1}
    assert claim["setting"] == "weak augmentation against strong augmentation"


def test_a_larger_gain_cannot_be_tested_where_the_scale_merges_the_two_columns(root):
    edit(root, SCALE, "backbones", {"default": {"kind": "convnet", "widths": [8]}})
    edit(root, SCALE, "epochs", {"default": 30})
    texts = [claim["text"] for claim in plan(root).tables["mixco-tinyimagenet"]["claims"]]
    assert len(texts) == 3
    assert not any("larger" in text for text in texts)


def test_a_larger_gain_is_tested_in_every_pair_of_columns_that_it_is_about(root):
    edit(root, SCALE, "datasets.STL-10", "other")
    columns = [{"dataset": d, "augmentation": a} for d in ("CIFAR-10", "STL-10") for a in ("weak", "strong")]
    edit(root, "papers/gps.yaml", "tables.gps-augmentation.setting", {})
    edit(root, "papers/gps.yaml", "tables.gps-augmentation.columns", columns)
    table = plan(root).tables["gps-augmentation"]
    pairs = [{term["column"] for term in claim["terms"]} for claim in table["claims"]]
    assert pairs == [{"c0", "c1"}, {"c2", "c3"}]


PUBLISHED = {"row": "simclr+spps", "metric": "linear.top1", "value": 90.0, "source": "made up for a test"}


def published(root: Path, setting: dict) -> dict:
    edit(root, "papers/spps.yaml", "tables.spps-batch.published", [PUBLISHED | {"setting": setting}])
    (entry,) = plan(root).tables["spps-batch"]["published"]
    return entry


def test_a_published_value_stands_in_its_column_with_its_setting_and_source(root):
    entry = published(root, {"dataset": "CIFAR-10", "batch_size": 1024})
    assert (entry["row"], entry["column"], entry["value"]) == ("simclr+spps", "c2", 90.0)
    assert (entry["setting"], entry["source"]) == ("CIFAR-10, batch 1024", "made up for a test")


def test_a_published_value_is_not_comparable_at_a_scale_that_is_not_the_papers(root):
    edit(root, SCALE, "datasets.CIFAR-10", "digits")
    assert published(root, {"dataset": "CIFAR-10", "batch_size": 1024})["comparable"] is False


def test_a_published_value_is_comparable_only_on_the_named_data_set_itself(root):
    edit(root, SCALE, "comparable", True)
    edit(root, SCALE, "batch_sizes", {"default": 256, "512": 512, "1024": 1024})
    assert published(root, {"dataset": "CIFAR-10", "batch_size": 1024})["comparable"] is False
    edit(root, SCALE, "datasets.CIFAR-10", "digits")
    assert published(root, {"dataset": "CIFAR-10", "batch_size": 1024})["comparable"] is True


def test_a_published_value_is_not_comparable_where_the_scale_trains_another_batch_size(root):
    edit(root, SCALE, "comparable", True)
    edit(root, SCALE, "datasets.CIFAR-10", "digits")
    assert published(root, {"dataset": "CIFAR-10", "batch_size": 1024})["comparable"] is False


def test_a_published_value_of_a_metric_that_the_table_lacks_is_refused(root):
    edit(
        root, "papers/spps.yaml", "tables.spps-batch.published", [PUBLISHED | {"metric": "online.top1", "setting": {}}]
    )
    with pytest.raises(UserError, match=r"spps-batch\.published\[0\].*'online.top1'"):
        plan(root)


# --- what was asked for -------------------------------------------------------------------------------------------


def test_all_tables_are_planned_but_only_those_of_the_chosen_papers_are_selected(root):
    made = plan(root, papers="mixco,clae")
    assert made.selected == ["clae-main", "mixco-tinyimagenet"]
    assert made.tables.keys() == plan(root).tables.keys()


def test_a_table_that_the_scale_cannot_plan_is_left_out_when_nobody_asked_for_it(root):
    edit(root, "papers/mixco.yaml", "tables.mixco-tinyimagenet.setting.augmentation", "nowhere")
    made = plan(root, papers="gps")
    assert "mixco-tinyimagenet" not in made.tables
    assert not any(figure["paper"] == "mixco" for figure in made.figures.values())
    assert not any(entry["backbone"] == "conv 4-8-16" for entry in made.runs.values()), "nor are its runs"
    with pytest.raises(UserError, match="'nowhere'"):
        plan(root, papers="mixco")


def test_targets_are_papers_and_tables(root):
    targets = Build(plan(root), root).targets()
    assert targets["gps"] == ["gps-weak", "gps-strong", "gps-augmentation"]
    assert targets["gps-strong"] == ["gps-strong"]


# --- frozen plans -------------------------------------------------------------------------------------------------


def test_a_frozen_plan_thaws_to_itself_under_a_name_made_from_its_content(root):
    made = plan(root)
    path = freeze(made, root)
    assert thaw(root / path) == made
    assert freeze(plan(root), root) == path
    assert freeze(plan(root, seeds="1"), root) != path


@pytest.mark.parametrize("content", [b"{}", b"", b"\xff\xfe\x00"])
def test_an_altered_plan_is_refused(root, content):
    path = root / freeze(plan(root), root)
    path.write_bytes(content)
    with pytest.raises(UserError, match="altered"):
        thaw(path)


def test_a_plan_that_is_not_there_is_answered(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        thaw(tmp_path / "nothing.json")


# --- what exists --------------------------------------------------------------------------------------------------


def finish(root: Path, made: Plan, run: str, seconds: float = 30.0, device: str = "cpu (made up), 1 thread") -> None:
    """A made-up receipt and checkpoint."""
    folder = root / run_folder(run)
    folder.mkdir(parents=True)
    checkpoint = {"sha256": run, "md5": sha256_text(run)[:32], "bytes": len(b"made up")}
    metrics = {"sha256": sha256_text("made up"), "bytes": len(b"made up")}
    receipt = {"format": 1, "run": run, "spec": spec_of(made, run), "timing": {"seconds": seconds}, "device": device}
    write_record(folder / "run.json", receipt | {"checkpoint": checkpoint, "metrics": metrics})
    for name in ("checkpoint.pt", "metrics.csv"):
        (folder / name).write_bytes(b"made up")


def finish_evaluation(root: Path, made: Plan, evaluation: str) -> None:
    entry = made.evaluations[evaluation]
    write_evaluation(root, evaluation, entry, entry["run"])


@pytest.fixture
def done(root) -> Build:
    """The SPPS table with one seed, everything finished."""
    for path in (root / "config/papers").glob("*.yaml"):
        if path.stem != "spps":
            path.unlink()
    made = plan(root, seeds="1")
    for run in made.runs:
        finish(root, made, run)
    for evaluation in made.evaluations:
        finish_evaluation(root, made, evaluation)
    return Build(made, root)


def again(build: Build) -> Build:
    return Build(build.plan, build.root)


def guided(build: Build) -> str:
    return next(run for run, entry in build.plan.runs.items() if entry["guide"])


def test_in_an_empty_folder_everything_is_to_be_done(root):
    build = Build(plan(root), root)
    assert build.to_train == dict.fromkeys(build.plan.runs, "new")
    assert build.to_evaluate == list(build.plan.evaluations)
    assert build.to_prepare == list(build.plan.datasets)
    assert sorted(build.needs(["clae-main"])[0]) == sorted(build.runs_of("clae-main"))


def test_when_all_is_done_nothing_is_to_be_done(done):
    assert (done.to_train, done.to_evaluate, done.needs(["spps-batch"])) == ({}, [], ([], [], []))


def test_a_gone_checkpoint_that_nothing_needs_is_not_trained_again(done):
    for run in done.plan.runs:
        (done.root / run_folder(run) / "checkpoint.pt").unlink()
    assert again(done).to_train == {}


def test_a_gone_checkpoint_is_trained_again_when_its_evaluation_is_missing(done):
    evaluation, entry = next(iter(done.plan.evaluations.items()))
    (done.root / evaluation_file(evaluation)).unlink()
    assert again(done).to_train == {}
    (done.root / run_folder(entry["run"]) / "checkpoint.pt").unlink()
    assert again(done).to_train == {entry["run"]: "its checkpoint is needed, but is missing and was never published"}
    assert again(done).needs(["spps-batch"]) == ([entry["run"]], [evaluation], [])


def test_a_gone_checkpoint_of_a_guide_is_trained_again_when_a_guided_run_is_to_be_trained(done):
    run = guided(done)
    guide = done.plan.runs[run]["guide"]
    (done.root / run_folder(guide) / "checkpoint.pt").unlink()
    assert again(done).to_train == {}
    (done.root / run_folder(run) / "run.json").unlink()
    assert again(done).to_train.keys() == {run, guide}


def test_a_guide_whose_own_evaluation_is_done_is_still_among_what_a_table_needs(done):
    run = guided(done)
    guide = done.plan.runs[run]["guide"]
    (done.root / run_folder(guide) / "checkpoint.pt").unlink()
    shutil.rmtree(done.root / run_folder(run))
    evaluation = next(name for name, entry in done.plan.evaluations.items() if entry["run"] == run)
    (done.root / evaluation_file(evaluation)).unlink()
    assert again(done).needs(["spps-batch"]) == ([run, guide], [evaluation], [])


DAMAGE = [b"", b'{"run": ', b"\xff", b"null", b"[]", b"[1]", b'"text"', b'{"format": 1, "run": "another"}']


@pytest.mark.parametrize("content", DAMAGE)
def test_a_damaged_receipt_stops_a_build_with_its_name_and_the_remedy(done, content):
    run = guided(done)
    (done.root / run_folder(run) / "run.json").write_bytes(content)
    (line,) = again(done).damaged
    assert line.startswith(f"results/runs/{run}/run.json: damaged (")
    assert "git checkout" in line
    with pytest.raises(UserError, match=r"run\.json: damaged"):
        check(again(done))


@pytest.mark.parametrize("key", ["run", "checkpoint", "timing", "seal"])
def test_a_receipt_that_was_altered_by_hand_is_noticed_whatever_was_altered(done, key):
    path = done.root / run_folder(guided(done)) / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: "other"}))
    (line,) = again(done).damaged
    assert "its seal does not match" in line


def test_a_receipt_of_another_run_is_not_taken_for_this_one(done):
    runs = list(done.plan.runs)
    receipt = (done.root / run_folder(runs[0]) / "run.json").read_bytes()
    (done.root / run_folder(runs[1]) / "run.json").write_bytes(receipt)
    (line,) = again(done).damaged
    assert f"the receipt of a different run ({runs[0]})" in line


@pytest.mark.parametrize("content", DAMAGE)
def test_a_damaged_evaluation_stops_a_build_with_its_name_and_the_remedy(done, content):
    evaluation = next(iter(done.plan.evaluations))
    (done.root / evaluation_file(evaluation)).write_bytes(content)
    (line,) = again(done).damaged
    assert line.startswith(f"results/evals/{evaluation}.json: damaged (")


def test_an_evaluation_counts_for_the_checkpoint_that_the_receipt_names_only(done):
    evaluation, entry = next(iter(done.plan.evaluations.items()))
    write_evaluation(done.root, evaluation, entry, "another")
    assert again(done).to_evaluate == [evaluation]
    (line,) = again(done).damaged
    assert line.startswith(
        f"results/evals/{evaluation}.json: evaluates different weights or a different protocol than run.json"
    )
    finish_evaluation(done.root, done.plan, evaluation)
    (done.root / run_folder(entry["run"]) / "run.json").unlink()
    assert (again(done).to_evaluate, again(done).to_train) == ([evaluation], {entry["run"]: "new"})


def with_recipe(done: Build, key: str, value) -> Build:
    edit(done.root, RECIPE, key, value)
    return Build(plan(done.root, seeds="1"), done.root)


def test_a_changed_protocol_is_measured_alone_and_the_others_stay_where_they_are(done):
    before = list(done.plan.evaluations)
    after = with_recipe(done, "evaluation.knn.neighbours", 7)
    assert len(after.to_evaluate) == len(before)
    assert after.to_train == {}
    for name in after.to_evaluate:
        entry = after.plan.evaluations[name]
        assert list(entry["protocols"]) == ["knn"]
        assert entry["protocols"]["knn"]["neighbours"] == 7
        finish_evaluation(done.root, after.plan, name)
    made = after.to_evaluate
    later = again(Build(plan(done.root, seeds="1"), done.root))
    assert later.to_evaluate == []
    assert later.evaluated == {*before, *made}
    cell = later.plan.tables["spps-batch"]["cells"][0]["replicates"][0]["evaluation"]
    assert later.source(cell, "linear") in before
    assert later.source(cell, "online") in before
    assert later.source(cell, "knn") in made
    back = with_recipe(done, "evaluation.knn.neighbours", 20)
    assert (back.to_evaluate, back.evaluated) == ([], set(before))


def test_where_all_protocols_changed_the_whole_evaluation_is_a_job_of_its_own_name(done):
    edit(done.root, RECIPE, "evaluation.few_labels.draws", 3)
    edit(done.root, RECIPE, "evaluation.linear.epochs", 9)
    after = with_recipe(done, "evaluation.knn.neighbours", 7)
    assert after.to_evaluate == [name for name in after.plan.evaluations if name not in done.plan.evaluations]
    assert set(after.to_evaluate) >= set(after.evaluations_of("spps-batch"))
    for name in after.to_evaluate:
        assert list(after.plan.evaluations[name]["protocols"]) == ["few_labels", "knn", "linear", "online"]
        finish_evaluation(done.root, after.plan, name)
    assert Build(plan(done.root, seeds="1"), done.root).to_evaluate == []


def test_a_metric_that_finished_evaluations_lack_is_measured_and_they_stay(done):
    before = {path: path.read_bytes() for path in done.root.glob("results/evals/*/*.json")}
    edit(done.root, "papers/spps.yaml", "tables.spps-batch.metrics.1", "linear.top5")
    after = Build(plan(done.root, seeds="1"), done.root)
    assert len(after.to_evaluate) == len(done.evaluations_of("spps-batch"))
    for name in after.to_evaluate:
        entry = after.plan.evaluations[name]
        assert (list(entry["protocols"]), entry["asked"]["linear"]) == (["linear"], ["top1", "top5"])
        assert not (done.root / evaluation_file(name)).exists()
        finish_evaluation(done.root, after.plan, name)
    assert Build(plan(done.root, seeds="1"), done.root).to_evaluate == []
    assert all(path.read_bytes() == content for path, content in before.items())


def test_an_evaluation_of_before_protocols_had_metrics_counts(done):
    for name, entry in done.plan.evaluations.items():
        protocols = {"linear": {"last": 50.0, "best": 51.0, "best_epoch": 3}, "knn": {"last": 50.0}}
        protocols["online"] = {"last": 50.0, "best": 50.0, "best_epoch": 1}
        settings = {name: found for name, found in entry["protocols"].items() if found}
        facts = {"format": 1, "run": entry["run"], "key": entry["key"], "checkpoint": entry["run"], "code": "older"}
        write_record(done.root / evaluation_file(name), facts | {"protocols": protocols, "settings": settings})
    missing = [again(done).plan.evaluations[one]["protocols"] for one in again(done).to_evaluate]
    assert all(list(protocols) == ["few_labels"] for protocols in missing), "they did not measure that one"
    assert again(done).evaluation(name).protocols["linear"] == {"top1": 50.0, "best_top1": 51.0, "best_epoch": 3}


def test_a_cut_off_checkpoint_is_named_when_something_needs_it(done):
    evaluation, entry = next(iter(done.plan.evaluations.items()))
    (done.root / run_folder(entry["run"]) / "checkpoint.pt").write_bytes(b"made")
    assert again(done).damaged == []
    (done.root / evaluation_file(evaluation)).unlink()
    (line,) = again(done).damaged
    assert line == (
        f"results/runs/{entry['run']}/checkpoint.pt: damaged (4 bytes instead of 7); `sslpairs train {entry['run']}` recreates it"
    )
    (done.root / pointer_file(entry["run"])).write_text("outs")
    assert f"`sslpairs restore {entry['run']}` fetches it" in again(done).damaged[0]


def test_a_published_checkpoint_that_is_gone_is_restored_and_not_trained(done):
    evaluation, entry = next(iter(done.plan.evaluations.items()))
    (done.root / pointer_file(entry["run"])).write_text("outs")
    (done.root / run_folder(entry["run"]) / "checkpoint.pt").unlink()
    assert again(done).to_restore == []
    (done.root / evaluation_file(evaluation)).unlink()
    assert (again(done).to_restore, again(done).to_train) == ([entry["run"]], {})
    assert again(done).needs(["spps-batch"]) == ([], [evaluation], [entry["run"]])


def test_a_pointer_of_other_weights_does_not_count_as_published(done):
    evaluation, entry = next(iter(done.plan.evaluations.items()))
    run = entry["run"]
    for path in (done.root / evaluation_file(evaluation), done.root / run_folder(run) / "checkpoint.pt"):
        path.unlink()
    pointer = done.root / pointer_file(run)
    pointer.write_text(pointer_of(done.receipts[run]).text())
    assert (again(done).to_restore, list(again(done).to_train)) == ([run], [])
    pointer.write_text(Pointer("0" * 32, 7).text())
    assert (again(done).to_restore, list(again(done).to_train)) == ([], [run])


@pytest.mark.parametrize("content", [None, b"", b"altered"])
def test_metrics_that_are_not_those_of_the_receipt_stop_a_build(done, content):
    run = guided(done)
    path = done.root / run_folder(run) / "metrics.csv"
    path.unlink() if content is None else path.write_bytes(content)
    (line,) = again(done).damaged
    assert line.startswith(f"results/runs/{run}/metrics.csv: the metrics ")
    assert "`git checkout" in line
    assert f"`sslpairs train {run}`" in line


def test_a_receipt_without_anything_beside_it_is_what_a_killed_build_left(done):
    run = guided(done)
    (evaluation,) = [name for name, entry in done.plan.evaluations.items() if entry["run"] == run]
    for name in ("checkpoint.pt", "metrics.csv"):
        (done.root / run_folder(run) / name).unlink()
    assert "the metrics named in run.json are missing" in again(done).damaged[0], (
        "it was evaluated: somebody removed them"
    )
    (done.root / evaluation_file(evaluation)).unlink()
    assert again(done).damaged == []
    assert again(done).to_train == {run: "new"}


def test_whether_a_run_is_whole_cannot_be_told_where_a_file_cannot_be_read(done, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    run = guided(done)
    monkeypatch.setattr("sslpairs.plan.build.sha256_file", denied)
    with pytest.raises(UserError, match=r"checkpoint\.pt: cannot be read \(Permission denied\)"):
        is_whole(run, done.root)


def test_a_receipt_that_cannot_be_read_is_not_called_damaged(done, monkeypatch):
    run, opened = guided(done), builtins.open

    def denied(path, *how, **more):
        if str(path).endswith(f"{run}/run.json"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *how, **more)

    monkeypatch.setattr(builtins, "open", denied)
    (line,) = again(done).damaged
    assert line == (
        f"results/runs/{run}/run.json: cannot be read (Permission denied); check the permissions, and that the disk is whole and "
        "not mounted read-only, then run the same command again"
    )


def test_of_a_published_guide_nothing_before_it_is_restored(done):
    run = guided(done)
    guide = done.plan.runs[run]["guide"]
    for one in (run, guide):
        (done.root / run_folder(one) / "checkpoint.pt").unlink()
        (done.root / pointer_file(one)).write_text("outs")
    evaluation = next(name for name, entry in done.plan.evaluations.items() if entry["run"] == run)
    (done.root / evaluation_file(evaluation)).unlink()
    assert again(done).to_restore == [run], "a finished run needs its guide no more"
    (done.root / run_folder(run) / "run.json").unlink()
    assert (again(done).to_restore, again(done).to_train) == ([guide], {run: "new"})


def test_a_data_set_of_another_content_than_recorded_is_an_error_and_not_trained_on(done):
    folder = done.root / "data/digits"
    folder.mkdir(parents=True)
    receipt = write_record(folder / "dataset.json", {"format": 1, "content": CONTENTS["digits"], "mean": 0.5})
    assert again(done).to_prepare == []
    (folder / "dataset.json").write_text(json.dumps(receipt | {"mean": 0.9}))
    with pytest.raises(UserError, match=r"dataset\.json: damaged; `sslpairs fetch digits --force`"):
        again(done).to_prepare  # noqa: B018
    write_record(folder / "dataset.json", {"format": 1, "content": "0" * 64})
    with pytest.raises(UserError, match="sslpairs fetch digits"):
        again(done).to_prepare  # noqa: B018


# --- cost ---------------------------------------------------------------------------------------------------------


def test_without_receipts_no_cost_is_known(root):
    build = Build(plan(root), root)
    assert estimating.estimate(build, build.plan.runs) == (0.0, len(build.plan.runs))


def test_a_run_costs_what_the_most_alike_runs_cost_and_more_epochs_cost_in_proportion(root):
    made = plan(root, seeds="2")
    runs = {(e["label"], e["dataset"], e["spec"]["batch_size"], e["seed"]): run for run, e in made.runs.items()}
    finish(root, made, runs["simclr+spps", "digits", 64, 0], seconds=60.0)
    finish(root, made, runs["simclr+spps", "digits", 128, 0], seconds=20.0)

    def estimate(*which: tuple, epochs: int = 1) -> tuple[float, int]:
        longer = copy.deepcopy(made)
        for key in which:
            longer.runs[runs[key]]["spec"]["epochs"] *= epochs
        return estimating.estimate(Build(longer, root), (runs[key] for key in which))

    alike, other_batch = ("simclr+spps", "digits", 64, 1), ("simclr+spps", "digits", 256, 1)
    other_method, other_data = ("byol", "digits", 128, 1), ("simclr", "other", 128, 1)
    assert estimate(alike) == (pytest.approx(60.0), 0)
    assert estimate(alike, epochs=3) == (pytest.approx(180.0), 0)
    assert estimate(other_batch) == (pytest.approx(40.0), 0)
    assert estimate(other_method) == (pytest.approx(80.0), 0), "of twice the epochs"
    assert estimate(other_data, alike) == (pytest.approx(60.0), 1), "other data say nothing"


def test_the_kind_of_device_is_seen_without_torch(tmp_path, monkeypatch):
    monkeypatch.setattr(machines, "DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "nvidiactl").touch()
    assert [machines.kind_here(choice) for choice in ("auto", "cpu", "cuda", "cuda:1")] == [
        "cpu",
        "cpu",
        "cuda",
        "cuda",
    ]
    (tmp_path / "nvidia0").touch()
    assert machines.kind_here("auto") == "cuda"
    for nothing in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", nothing)
        assert machines.kind_here("auto") == "cpu"


def test_what_a_gpu_took_says_nothing_of_a_processor(root):
    made = plan(root, seeds="2", device="cpu")
    runs = {(e["label"], e["dataset"], e["spec"]["batch_size"], e["seed"]): run for run, e in made.runs.items()}
    first, second = (runs["byol", "digits", 128, seed] for seed in (0, 1))
    finish(root, made, first, seconds=1.0, device="cuda:0 (NVIDIA H200)")
    assert estimating.estimate(Build(made, root), [second]) == (0.0, 1)
    on_gpu = plan(root, seeds="2", device="cuda:1")
    assert estimating.estimate(Build(on_gpu, root), [second]) == (pytest.approx(1.0), 0)


def test_which_file_has_a_protocol_is_looked_up_not_searched_for(root, monkeypatch):
    """With thousands of runs, a list of all evaluations at each of them takes minutes."""
    build = Build(plan(root), root)
    _ = build.parts
    monkeypatch.setattr(Build, "evaluations", property(lambda self: pytest.fail("listed")))
    assert all(build.sources(name) == [name] for name in build.plan.evaluations)


# --- wildcard constraints -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("everything", [None, ["a+b-1.0", "a", "b", "c"]])
def test_a_constraint_fits_just_the_names(everything):
    pattern = re.compile(f"(?:{any_of(['a+b-1.0', 'a'], everything)})")
    fitting = [n for n in ["a", "a+b-1.0", "aab-1.0", "a+b-1x0", "b", "ab", "", "a/b"] if pattern.fullmatch(n)]
    assert fitting == ["a", "a+b-1.0"]


def test_when_there_is_nothing_to_do_nothing_fits():
    for everything in (None, [], ["a"]):
        assert not any(re.fullmatch(any_of([], everything), text) for text in ("", "a", "(?!)"))


@pytest.mark.parametrize("names", [["a", "b+c"], ["a/x", "b+c/y"]])
def test_when_everything_is_to_be_done_the_form_is_enough(names):
    pattern = any_of(names, names)
    assert all(re.fullmatch(pattern, name) for name in names)
    assert not re.fullmatch(pattern, "a/b/c")
    assert names[0] not in pattern


@pytest.mark.parametrize("folder", ["", "/0123"])
def test_where_nearly_everything_is_to_be_done_the_pattern_names_the_rest(folder):
    everything = [f"run{number:02}-0a{folder}" for number in range(40)]
    pattern = any_of(everything[3:], everything)
    assert [name for name in everything if not re.fullmatch(pattern, name)] == everything[:3]
    found = re.compile(f"results/(?P<run>{pattern})\\.json")
    assert [name for name in everything if not found.fullmatch(f"results/{name}.json")] == everything[:3]
    assert everything[5] not in pattern


# --- fingerprints of code -----------------------------------------------------------------------------------------

CODE = '"""A module."""\n\n\ndef f(x, k=5):\n    """Add."""\n    return x + k  # a sum\n'


@pytest.fixture
def printed(tmp_path, monkeypatch):
    """The fingerprint of a package, from one of its modules, and of what that imports."""

    def of(code: str, name: str = "some", **others: str) -> str:
        package = tmp_path / str(len(list(tmp_path.iterdir())))
        package.mkdir()
        for module, text in {name: code, **others}.items():
            (package / f"{module}.py").write_text(text)
        monkeypatch.setattr(fingerprinting, "PACKAGE", package)
        return fingerprinting.fingerprint(name)

    return of


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a sum", "# the sum of both"),
        ("  # a sum", ""),
        ('"""Add."""', '"""Add both numbers."""'),
        ('"""A module."""\n', '"""Another\n\ntext."""\n'),
        ("x, k=5", "x,  k = 5"),
        ("return x + k", "return (x\n            + k)"),
    ],
)
def test_comments_docstrings_and_format_leave_no_print(printed, old, new):
    assert old in CODE
    assert printed(CODE.replace(old, new)) == printed(CODE)


@pytest.mark.parametrize(("old", "new"), [("x + k", "x - k"), ("k=5", "k=6"), ("def f", "def g"), ("+ k", '+ "k"')])
def test_logic_defaults_and_names_leave_a_print(printed, old, new):
    assert printed(CODE.replace(old, new)) != printed(CODE)


def test_the_text_under_a_field_of_a_class_is_a_docstring_too(printed):
    code = 'class A:\n    """A."""\n\n    x: int = 1\n    """The x."""\n'
    assert printed(code.replace("The x.", "The first value.")) == printed(code)


def test_the_name_of_a_module_leaves_a_print(printed):
    assert printed(CODE, "other") != printed(CODE)


@pytest.mark.parametrize(
    "words", ["from sslpairs.other import g", "import sslpairs.other", "def h():\n    from sslpairs import other"]
)
def test_what_is_imported_leaves_a_print_wherever_the_import_stands(printed, words):
    code = f"{words.replace('from sslpairs import other', 'from sslpairs.other import g')}\n"
    assert printed(code, other="g = 1") != printed(code, other="g = 2")
    assert printed(code, other="g = 1") == printed(code, other="g = 1  # one")
    assert printed(code, other="g = 1", third="x = 1") == printed(code, other="g = 1", third="x = 2")


def test_all_that_can_change_a_training_is_in_its_fingerprint_and_other_methods_are_not():
    modules = fingerprinting.reached(["training.trainer", "methods.byol", "config.methods.byol", "pairs.mixco"])
    for name in ("random_streams", "distributed.processes",
                 "methods.momentum", "methods.whole", "views.draws", "training.lars", "data.arrays", "config.views",
                 "config.strategies.mixco", "guides.embed", "plan.spec"):  # fmt: skip
        assert name in modules
    assert not {
        "methods.swav",
        "pairs.dimcl",
        "evaluation.knn",
        "cli",
        "errors",
        "workflow.builds",
        "plan.planner",
    } & set(modules)
    measured = fingerprinting.reached(["evaluation.evaluate", "evaluation.linear"])
    assert {"training.optimization", "training.lars", "random_streams", "backbones.checkpoint"} <= set(measured)
    assert not {"evaluation.knn", "config.protocols.knn"} & set(measured)


def test_a_changed_strategy_leaves_trainings_without_it_alone(monkeypatch, tmp_path):
    package = shutil.copytree(
        fingerprinting.PACKAGE, tmp_path / "sslpairs", ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(fingerprinting, "PACKAGE", package)
    names = [(), ("mixco",), ("dimcl",)]
    before = [fingerprinting.training_code.__wrapped__("simclr", name, "convnet") for name in names]
    for file in ("pairs/mixco.py", "config/strategies/mixco.py"):
        with (package / file).open("a") as text:
            text.write("\nX = 1\n")
        fingerprinting._read.cache_clear()
        after = [fingerprinting.training_code.__wrapped__("simclr", name, "convnet") for name in names]
        assert [one == two for one, two in zip(before, after, strict=True)] == [True, False, True]
        before = after
