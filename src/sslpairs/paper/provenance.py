"""The source of every number: one page generated from the receipts."""

import html
import json
from pathlib import Path

from sslpairs.config.protocols import named
from sslpairs.errors import UserError
from sslpairs.git import commit_words
from sslpairs.paper.formats.html import html_page, html_table
from sslpairs.paper.tables import Source, itself, read_evaluation, receipt_of
from sslpairs.paper.wording import measure
from sslpairs.plan.machines import mixture
from sslpairs.plan.paths import receipt_file
from sslpairs.plan.records import PlannedTable, Receipt, replicates

FIELDS = (
    *("run", "spec", "label", "dataset", "seed", "checkpoint"),
    *("git", "code", "versions", "device", "timing", "finished"),
)


def provenance_page(plans: list[PlannedTable], root: Path, source: Source = itself) -> str:
    """A self-contained HTML page: each table's runs and evaluations, then each run's recipe, code, machine and time.

    Reads the receipts and evaluations below ``root/results``; raises ``UserError`` for a missing or damaged one.
    """
    receipts: dict[str, Receipt] = {}
    for run in dict.fromkeys(one["run"] for plan in plans for one in replicates(plan)):
        receipts[run] = _receipt(run, root)
    parts = ["<h1>Provenance</h1>", _overview(receipts)]
    parts.append("<h2>Tables</h2>")
    parts += [_table(plan, root, source) for plan in plans]
    parts.append("<h2>Runs</h2>")
    parts += [_run(receipt) for _, receipt in sorted(receipts.items())]
    return html_page("Provenance", "\n".join(parts))


def _receipt(run: str, root: Path) -> Receipt:
    receipt = receipt_of(run, root)
    missing = [key for key in FIELDS if key not in receipt]
    if missing:
        raise UserError(f"{receipt_file(run)} lacks {', '.join(missing)}: restore it from git, or delete the run")
    return receipt


def _overview(receipts: dict[str, Receipt]) -> str:
    """What all runs share, and what needs attention."""
    runs = list(receipts.values())
    if not runs:
        return "<p>No runs.</p>"
    hours = sum(run["timing"]["seconds"] for run in runs) / 3600
    commits = sorted({run["git"]["commit"] or "no commit" for run in runs})
    facts = {
        "runs": f"{len(runs)}, {hours:.2f} hours of training",
        "devices": ", ".join(sorted({run["device"] for run in runs})),
        "PyTorch": ", ".join(sorted({run["versions"].get("torch") or "unknown" for run in runs})),
        "commits": ", ".join(commit[:12] for commit in commits),
        "data (sha256)": ", ".join(sorted({f"{run['dataset']} {run['spec']['dataset'][:12]}" for run in runs})),
    }
    body = _facts(facts)
    dirty = sum(bool(run["git"]["dirty"]) for run in runs)
    if dirty:
        body += f'<p class="notshown">{dirty} of {len(runs)} runs were trained with uncommitted changes.</p>'
    if mixed := mixture(runs):
        body += f'<p class="notshown">{html.escape(f"{mixed[0].upper()}{mixed[1:]}.")}</p>'
    codes = {(run["label"], run["code"]) for run in runs}  # a fingerprint covers the code that its method runs
    if len(codes) > len({label for label, _ in codes}):
        body += '<p class="notshown">Runs of one method were trained by different versions of the training code.</p>'
    return body


def _table(plan: PlannedTable, root: Path, source: Source) -> str:
    import pandas as pd

    labels = {one["id"]: one["label"] for one in (*plan["rows"], *plan["baselines"]["rows"], *plan["columns"])}
    rows = []
    trained = {cell["row"] for cell in plan["cells"]}
    for cell in (*plan["cells"], *plan["baselines"]["cells"]):
        for one in cell["replicates"]:
            sources = {metric: source(one["evaluation"], named(metric).protocol) for metric in plan["metrics"]}
            read = {name: read_evaluation(name, root).protocols for name in dict.fromkeys(sources.values())}
            run = html.escape(one["run"])
            texts = [html.escape(labels[cell["row"]]), html.escape(labels[cell["column"]]), str(one["seed"])]
            keys = " ".join(f"<code>{html.escape(name.rpartition('/')[2])}</code>" for name in read)
            linked = f'<a href="#{run}"><code>{run}</code></a>'
            texts += [linked if cell["row"] in trained else f"<code>{run}</code>", keys]
            values = [read[sources[metric]].get(p, {}).get(m) for metric in plan["metrics"] for p, m in [named(metric)]]
            texts += ["" if value is None else f"{value:.2f}" for value in values]
            rows.append(texts)
    shown = [measure(metric, plan) for metric in plan["metrics"]]
    headers = [
        "method",
        "setting",
        "seed",
        "run",
        "evaluation",
        *(f"{one['protocol']} {one['title']}" for one in shown),
    ]
    title = f"{html.escape(plan['title'])} <code>{html.escape(plan['id'])}</code>"
    about = f"{len(rows)} evaluations, table key {html.escape(plan['key'])}"
    return f'<details><summary>{title} <span class="dim">{about}</span></summary>\n{html_table(pd.DataFrame(rows), headers)}</details>'


def _run(receipt: Receipt) -> str:
    spec, timing = receipt["spec"], receipt["timing"]
    name = html.escape(receipt["run"])
    checkpoint = receipt["checkpoint"]
    facts = {
        "method": receipt["label"],
        "data": f"{receipt['dataset']}, sha256 {spec['dataset'][:12]}",
        "seed, batch, epochs": f"{receipt['seed']}, {spec['batch_size']}, {spec['epochs']}",
        "commit": commit_words(receipt["git"]),
        "training code (fingerprint)": receipt["code"],
        "versions": ", ".join(f"{library} {version}" for library, version in receipt["versions"].items() if version),
        "device": receipt["device"],
        "time": f"{timing['seconds']:.1f} s, {timing['images_per_second']:.0f} images a second",
        "finished": receipt["finished"],
        "checkpoint": f"{checkpoint['bytes'] / 1e6:.2f} MB, sha256 {checkpoint['sha256']}",
    }
    if receipt.get("guide"):
        facts["guide (another run)"] = receipt["guide"]
    recipe = html.escape(json.dumps(spec, indent=1, ensure_ascii=False))
    return (
        f'<details id="{name}"><summary><code>{name}</code> <span class="dim">{timing["seconds"]:.0f} s, '
        f"{html.escape(receipt['device'])}</span></summary>\n{_facts(facts)}\n"
        f"<details><summary>recipe in full</summary><pre>{recipe}</pre></details></details>"
    )


def _facts(facts: dict[str, str]) -> str:
    """Two columns: name and value."""
    import pandas as pd

    return html_table(pd.DataFrame(facts.items()).map(html.escape))
