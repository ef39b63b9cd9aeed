"""``sslpairs new``: files to start from, for a scale, a paper or a pair strategy."""

import contextlib
import json
import keyword
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslpairs.cli import templates
from sslpairs.cli.common import BUILD, app, find_root
from sslpairs.errors import UserError, nearest, shown
from sslpairs.files import write_atomic
from sslpairs.terminal.screen import out

if TYPE_CHECKING:
    from sslpairs.config.datasets import DatasetSettings
    from sslpairs.config.scales import Scale

PHOTOGRAPHS = "cifar10-mini"
"""The recipe and the scale for small photographs."""

new = typer.Typer(no_args_is_help=True, help="Write a scale, a paper or a pair strategy to start from.")
app.add_typer(new, name="new", rich_help_panel=BUILD)


@new.command()
def scale(
    name: Annotated[str, typer.Argument(help="Name of the scale: config/scales/NAME.yaml.")],
    data: Annotated[str, typer.Option("--data", metavar="NAME", help="An entry of config/datasets.yaml.")],
    recipe: Annotated[
        str, typer.Option("--recipe", metavar="NAME", help=f"A file in config/recipes; {PHOTOGRAPHS} for photographs.")
    ],
    like: Annotated[
        str, typer.Option("--like", metavar="NAME", help="The scale whose batch sizes, epochs and seeds are taken.")
    ] = PHOTOGRAPHS,
) -> None:
    """Write a scale that trains the papers' tables on one data set."""
    from sslpairs.config.datasets import Datasets
    from sslpairs.config.reading import choose_file, read_file, scale_contents, titled
    from sslpairs.config.scales import Scale
    from sslpairs.data.record import recorded
    from sslpairs.workflow.fetch import PREPARED, state

    root = find_root()
    path = _free(root, f"config/scales/{_checked(name)}.yaml")
    datasets = read_file(Datasets, root / "config/datasets.yaml", root).datasets
    if data not in datasets:
        hint = nearest(data, datasets)
        raise UserError(f"--data: '{shown(data)}' is not in config/datasets.yaml{hint or '; add an entry there'}")
    choose_file(root / "config/recipes", "--recipe", recipe)
    model = read_file(Scale, choose_file(root / "config/scales", "--like", like), root)
    dataset = datasets[data]
    title = dataset.heading
    if titled(title, scale_contents(root)):
        title += f", {name}"
    values = {"name": name, "title": _flow(title), "recipe": _flow(recipe), "data": _flow(data), "like": like}
    write_atomic(path, templates.SCALE.substitute(values | _fitting(dataset, data, model, like, root)))
    channels, size = dataset.source.image()
    kind = "grey" if channels == 1 else "colour"
    fetch = "" if state(data, dataset, root, recorded(root)) == PREPARED else f"`sslpairs fetch {data}`, then "
    papers, problem = _papers_at(name, root)
    only = ",".join(papers)
    choice, variable = (f" --set papers={only}", f" PAPERS={only}") if only else ("", "")
    out.say(
        f"Wrote config/scales/{name}.yaml: data set {data} ({kind}, {size} pixels), recipe {recipe}; batch sizes, epochs and seeds "
        f"as in {like}."
    )
    out.say(f"Next: {fetch}`sslpairs plan --set scale={name}{choice}`, then `make tables SCALE={name}{variable}`.")
    if problem:
        out.say(f"note: {'other papers' if only else 'the papers'} cannot be planned at this scale yet: {problem}")


@new.command()
def paper(
    name: Annotated[str, typer.Argument(help="Name of the paper: config/papers/NAME.yaml.")],
    strategy: Annotated[
        str, typer.Option("--strategy", metavar="NAME", help="The pair strategy with and without which it trains.")
    ] = "dimcl",
) -> None:
    """Write a paper with a table, a claim and a figure: SimCLR and BYOL with and without a pair strategy."""
    from sslpairs.config.labels import parse_label
    from sslpairs.config.papers import Paper
    from sslpairs.config.reading import RULES, files_in, read_file
    from sslpairs.config.strategies import STRATEGIES

    root = find_root()
    path = _free(root, f"config/papers/{_checked(name)}.yaml")
    try:
        label, _ = [parse_label(f"{base}+{strategy}") for base in ("simclr", "byol")]
    except UserError as error:
        raise UserError(f"--strategy: {error}") from None
    table, figure = _checked(f"{name}-main"), _checked(f"{name}-with-without")
    owners = dict.fromkeys(RULES, "the name of a rule of the workflow")
    for other, file in files_in(root / "config/papers").items():
        content = read_file(Paper, file, root)
        owners |= dict.fromkeys((other, *content.tables, *content.figures), f"already in config/papers/{other}.yaml")
    for word in (name, table, figure):
        if word in owners:
            raise UserError(f"'{word}' is {owners[word]}; choose another name")
    titles = " + ".join(STRATEGIES[word].title for word in label.strategies)
    values = {
        "name": name,
        "table": table,
        "figure": figure,
        "strategies": "+".join(label.strategies),
        "title": _flow(f"SimCLR and BYOL with and without {titles}"),
        "claim": _flow(f"{titles} improves SimCLR"),
    }
    write_atomic(path, templates.PAPER.substitute(values))
    out.say(f"Wrote config/papers/{name}.yaml: the table {table}, with a claim and a figure.")
    out.say(f"Next: edit it, then `sslpairs plan --set papers={name}` and `make tables PAPERS={name}`.")


@new.command()
def strategy(
    name: Annotated[str, typer.Argument(help="Name of the strategy, as in labels: simclr+NAME.")],
    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="NAME", help="Also add its values to this file in config/recipes.")
    ] = None,
) -> None:
    """Write a pair strategy that works: a term added to the loss, with a weight."""
    from sslpairs.config.reading import choose_file

    root = find_root()
    if not (root / "src/sslpairs").is_dir():
        raise UserError(f"{root}: has no src/sslpairs, where strategies are; work in a clone of the project")
    _check_word(name)
    settings = _free(root, f"src/sslpairs/config/strategies/{name}.py")
    pairs = _free(root, f"src/sslpairs/pairs/{name}.py")
    entry = templates.ENTRY.substitute(name=name)
    file = choose_file(root / "config/recipes", "--recipe", recipe) if recipe else None
    changed = with_entry(file, name, entry, root) if file else ""
    title = name[0].upper() + name[1:].replace("_", " ")
    values = {"name": name, "title": title, "kind": name.title().replace("_", "")}
    write_atomic(settings, templates.SETTINGS.substitute(values))
    write_atomic(pairs, templates.PAIRS.substitute(values))
    added, first = "", f"add `{entry}` under `strategies:` of a recipe, then "
    if file:
        write_atomic(file, changed)
        added, first = f", and added it to config/recipes/{recipe}.yaml", ""
    out.say(
        f"Wrote src/sslpairs/config/strategies/{name}.py (settings) and src/sslpairs/pairs/{name}.py (loss){added}."
    )
    out.say(
        f"Next: {first}`sslpairs new paper NAME --strategy {name}` for a table with it, and `sslpairs schema`, which lists it in "
        "docs/combinations.md."
    )


# --- names and files -------------------------------------------------------------------------------------------------


def _checked(name: str) -> str:
    """Return a name that a file, a table or a figure may have. Raise ``UserError`` for any other."""
    from pydantic import ValidationError

    from sslpairs.config.base import Model, Name
    from sslpairs.config.remedies import explain

    class Given(Model):
        NAME: Name

    try:
        return Given(NAME=name).NAME
    except ValidationError as error:
        raise UserError(explain(error, Given, "command line", None, {})) from None


def _check_word(name: str) -> None:
    """Raise ``UserError`` for a name that a strategy cannot have, which is a Python module and a key of recipes."""
    from sslpairs.config.base import Model
    from sslpairs.config.methods import METHODS
    from sslpairs.config.optimization import Training
    from sslpairs.config.recipes import Recipe

    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        proper = re.sub("[^a-z0-9]+", "_", name.lower()).strip("_0123456789")
        hint = f"; did you mean '{shown(proper)}'?" if proper else ""
        raise UserError(
            f"'{shown(name)}' cannot be a strategy's name: write a to z, digits and '_', beginning with a letter{hint}"
        )
    _checked(name)
    keys = {**Recipe.model_fields, **Training.model_fields}
    if name in METHODS or name in keys or keyword.iskeyword(name) or hasattr(Model, name):
        what = "a base method" if name in METHODS else "a key of recipes" if name in keys else "a word of Python"
        raise UserError(f"'{name}' is {what} and cannot be a strategy's name; choose another")


def _free(root: Path, name: str) -> Path:
    """Return the path of a file that does not exist. Raise ``UserError`` if it does."""
    path = root / name
    if path.exists() or path.is_symlink():
        raise UserError(f"{name}: exists already, so nothing was written; choose another name, or edit that file")
    return path


# --- scales ----------------------------------------------------------------------------------------------------------


def _fitting(dataset: "DatasetSettings", data: str, like: "Scale", name: str, root: Path) -> dict[str, str]:
    """Return the remaining values of a new scale as YAML: as in the scale ``like``, called ``name``, with networks and batches that
    fit the data set."""
    from sslpairs.plan.limits import known_images

    _, size = dataset.source.image()
    value = like.model_dump(mode="json")
    images, batches, why = known_images(root, data, dataset.model_dump(mode="json")), value["batch_sizes"], ""
    if images and max(batches.values()) > images.train:
        most = 1 << images.train.bit_length() - 1
        batches = {key: min(count, most) for key, count in batches.items()}
        why = f", but at most {most}, since there are {images.train:,} training images"
    unnamed: dict[str, dict[str, Any]] = {}
    for paper, settings in value["unnamed"].items():
        for key, item in settings.items():
            if kept := {word: entry for word, entry in item.items() if word != "backbone" and entry is not None}:
                unnamed.setdefault(paper, {})[key] = kept
    seeds = value["seeds"]
    small = size <= 32
    return {
        "network": "Small plain ones, as in cifar10-mini." if small else "A ResNet-18, for more than 32 pixels.",
        "backbones": templates.SMALL_NETWORKS if small else templates.LARGE_NETWORK,
        "batches": f"As in {name}{why}.",
        "batch_sizes": _flow(batches),
        "epochs": _flow(value["epochs"]),
        "unnamed": "".join(f"\n  {_flow(paper)}: {_flow(item)}" for paper, item in unnamed.items()) or " {}",
        "metrics": _flow(value["metrics"]),
        "baselines": _flow(value["baselines"]),
        "seeds": _flow(len(seeds) if seeds == list(range(len(seeds))) else seeds),
        "threads": _flow(value["threads"]),
        "compile": _flow(value["compile"]),
    }


def _papers_at(scale: str, root: Path) -> tuple[list[str], str]:
    """Return the papers that can be planned at a scale, and the problem with the others; nothing if ``papers: all`` works."""
    from sslpairs.config.reading import files_in, read_config
    from sslpairs.plan.planner import make_plan

    def problem(papers: str | list[str]) -> str:
        try:
            make_plan(read_config(root, {"scale": scale, "papers": papers, "tables": "all", "seeds": 1}), {})
        except UserError as error:
            return str(error)
        return ""

    if not (found := problem("all")):
        return [], ""
    return [paper for paper in files_in(root / "config/papers") if not problem([paper])], found


def _flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _key(key: str) -> str:
    """Return a key as YAML; keys are read as text even if they are numbers."""
    return key if key.isdigit() else _text(key)


def _text(text: str) -> str:
    """Return a text as YAML, with quotes if it would be read as anything else without them."""
    from sslpairs.config.loading import read_value

    with contextlib.suppress(UserError):
        if read_value(f"{{a: {text}}}  # b", "") == {"a": text}:
            return text
    return json.dumps(text, ensure_ascii=False)


# --- recipes ---------------------------------------------------------------------------------------------------------


def with_entry(file: Path, name: str, entry: str, root: Path) -> str:
    """Return the text of a recipe with one more line below ``strategies:``; everything else, comments included, is as before.

    Raise ``UserError`` if it has values for this name, or is written in a way that takes more than a line.
    """
    from sslpairs.config.loading import line_of, load_yaml, read_value

    where = f"{file.relative_to(root)}{line_of(file, ['strategies'])}"
    before = load_yaml(file, root)
    known = before.get("strategies") if isinstance(before, dict) else None
    if isinstance(known, dict):
        if name in known:
            raise UserError(f"{where}: strategies: has values for '{name}' already; choose another name")
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        heading = re.compile(r"strategies:( *\{\})?\s*(#.*)?$")
        first = next((number for number, line in enumerate(lines) if heading.match(line)), 0)
        below = next((line for line in lines[first + 1 :] if re.match(r"\s*[^\s#]", line)), "")
        indent = below[: len(below) - len(below.lstrip())] if known else "  "
        if not known:
            lines[first] = lines[first].replace(" {}", "", 1)
        lines.insert(first + 1, f"{indent}{entry}  # an example, not tuned\n")
        with contextlib.suppress(UserError):
            after = read_value("".join(lines), where)
            if after == before | {"strategies": read_value(entry, where) | known}:
                return "".join(lines)
    raise UserError(
        f"{where}: `{entry}` cannot be added as one line below `strategies:`; leave out --recipe and add it by hand"
    )
