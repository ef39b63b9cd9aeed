import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pandas as pd
import pytest
from made_up import claim, column, evaluation, plan, published
from rich.console import Console

from sslpairs.errors import UserError
from sslpairs.files import write_record
from sslpairs.paper.formats.csv import claims_csv, to_csv
from sslpairs.paper.formats.files import write_table
from sslpairs.paper.formats.html import to_html
from sslpairs.paper.formats.latex import to_latex
from sslpairs.paper.formats.markdown import to_markdown
from sslpairs.paper.formats.terminal import to_terminal
from sslpairs.paper.layout import layout
from sslpairs.paper.summary import summary
from sslpairs.paper.tables import build_table

ROWS = ["simclr", "simclr+gps", "byol", "byol+gps"]


def printed(renderable, width=100):
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(renderable)
    return console.file.getvalue()


def unpadded(markdown: str) -> str:
    return re.sub(" +", " ", markdown)


def test_cells_hold_the_last_epoch_and_the_mean_of_the_best(tmp_path):
    made = plan(tmp_path, ["simclr"], seeds=2)
    for one, value, best in zip(made["cells"][0]["replicates"], (96.0, 98.0), (97.0, 99.0), strict=True):
        evaluation(tmp_path, one["run"], value, best)
    cell = build_table(made, tmp_path).cells["simclr", "c0", "linear.top1"]
    assert (cell.last.mean, cell.last.n, cell.best) == (97, 2, 98)
    assert cell.last.sd == pytest.approx(2**0.5)
    assert cell.values == {0: 96, 1: 98}
    assert build_table(made, tmp_path).cells["simclr", "c0", "knn.top1"].best is None


def test_csv_round_trip(tmp_path):
    made = plan(tmp_path, ROWS, [column(0, 64), column(1, 128)], claims=[claim()], published=[published()])
    table = build_table(made, tmp_path)
    frame = pd.read_csv(io.StringIO(to_csv(table)))
    assert len(frame) == 4 * 2 * 3
    line = frame[(frame.row == "byol+gps") & (frame.column == "batch 128") & (frame.metric == "linear.top1")].iloc[0]
    cell = table.cells["byol+gps", "c1", "linear.top1"]
    assert line.last_mean == pytest.approx(cell.last.mean, abs=1e-4)
    assert line.last_sd == pytest.approx(cell.last.sd, abs=1e-4)
    assert (line.n, line.batch_size, line.epochs, line.augmentation, line.dataset) == (3, 128, 30, "weak", "Digits")
    values = {int(seed): float(value) for seed, value in (pair.split(":") for pair in line["values"].split(";"))}
    assert values == pytest.approx(cell.values)
    assert line.runs.split(";") == cell.runs
    claims = pd.read_csv(io.StringIO(claims_csv(table)))
    assert list(claims.metric) == ["linear.top1", "online.top1", "knn.top1"]
    assert list(claims.headline) == [True, False, False]
    assert claims.effect[0] == pytest.approx(table.claims[0].headline.contrast.effect, abs=1e-4)
    assert (claims.verdict[0], claims.n[0]) == (table.claims[0].headline.verdict, 3)


def test_one_seed_leaves_the_deviation_empty(tmp_path):
    table = build_table(plan(tmp_path, ["simclr", "simclr+gps"], seeds=1, claims=[claim()]), tmp_path)
    assert pd.read_csv(io.StringIO(to_csv(table))).last_sd.isna().all()
    assert table.claims[0].headline.verdict == "undecided"
    assert "undecided (one seed)" in to_markdown(table)
    assert "±" not in to_markdown(table)


def test_published_texts(tmp_path):
    record = [published(), published("simclr", value=93.1, comparable=True)]
    table = build_table(plan(tmp_path, ROWS, published=record), tmp_path)
    frame = pd.read_csv(io.StringIO(to_csv(table))).query("metric == 'linear.top1'").set_index("row")
    assert frame.published["simclr"] == "93.1 (CIFAR-10, weak)"
    assert frame.published["simclr+gps"] == "other scale"
    assert frame.published["byol"] == "not on record"
    text = unpadded(to_markdown(table))
    assert "| published |" in text
    assert "SimCLR + GPS, batch 64, linear: 85.58 (other scale: CIFAR-10, weak; p. 7)" in text


def test_a_table_without_records_says_so_once(tmp_path):
    text = to_markdown(build_table(plan(tmp_path, ROWS), tmp_path))
    assert "Published values: not on record for any cell." in text
    assert " published |" not in text


def test_claims_name_their_published_effect(tmp_path):
    effect = {"value": 4.18, "unit": "points", "setting": "ImageNet", "source": "abstract", "comparable": False}
    claims = [claim(published=effect), claim("byol+gps", "byol")]
    table = build_table(plan(tmp_path, ROWS, claims=claims), tmp_path)
    text = unpadded(to_markdown(table))
    assert "| +4.18 (other scale) |" in text
    assert "Published effect +4.18 points: ImageNet; abstract." in text
    assert "not on record | holds" in text
    several = [claim(published=effect), claim("byol+gps", "byol", published=effect)]
    text = unpadded(to_markdown(build_table(plan(tmp_path, ROWS, claims=several), tmp_path)))
    assert text.count("| for no single base method |") == 2
    assert text.count("+4.18") == 1
    assert [one.headline.verdict for one in table.claims] == ["holds", "holds"]


def test_a_claim_may_use_a_metric_that_the_table_does_not_show(tmp_path):
    made = plan(tmp_path, ["simclr", "simclr+gps"], metrics=["linear.top1"], claims=[claim(metric="knn.top1")])
    table = build_table(made, tmp_path)
    assert table.claims[0].headline.contrast.n == 3
    assert set(pd.read_csv(io.StringIO(to_csv(table))).metric) == {"linear.top1"}


def test_what_a_claim_shows_to_be_better_is_bold_and_nothing_else(tmp_path):
    worse = claim("byol", "byol+gps")
    made = plan(tmp_path, ROWS, metrics=["linear.top1"], claims=[claim(), worse])
    table = build_table(made, tmp_path)
    assert [one.headline.verdict for one in table.claims] == ["holds", "contradicted"]
    (block,) = layout(table)
    assert [entry.bold for entry in block.entries[1]] == [False, True, False, True]
    assert block.ends == [False, True, False, False]
    plain = layout(build_table(plan(tmp_path, ROWS, metrics=["linear.top1"]), tmp_path))[0]
    assert not any(entry.bold for entry in plain.entries[1]), "no claim, so that nothing is shown"


def test_claims_are_judged_under_every_metric_and_say_where_these_disagree(tmp_path):
    made = plan(tmp_path, ["simclr", "simclr+gps"], metrics=["linear.top1", "knn.top1"], claims=[claim()])
    for cell in made["cells"]:
        for one in cell["replicates"]:
            path = tmp_path / "results" / "evals" / f"{one['evaluation']}.json"
            value = json.loads(path.read_text())
            value["protocols"]["knn"]["last"] = 190 - value["protocols"]["linear"]["last"]
            write_record(path, value)
    table = build_table(made, tmp_path)
    assert {metric: one.verdict for metric, one in table.claims[0].judged.items()} == {
        "linear.top1": "holds",
        "knn.top1": "contradicted",
    }
    assert table.claims[0].disputed
    assert "protocols disagree; contradicted: kNN" in to_markdown(table)


def test_steps_are_shown_where_rows_differ_in_them(tmp_path):
    made = plan(tmp_path, ["simclr", "simclr+gps"], seeds=1)
    assert build_table(made, tmp_path).steps is None
    for cell, items in zip(made["cells"], (6400, 10240), strict=True):
        path = tmp_path / "results" / "runs" / cell["replicates"][0]["run"] / "run.json"
        write_record(path, json.loads(path.read_text()) | {"items": items})
    text = to_markdown(build_table(made, tmp_path))
    assert "Optimiser steps differ. 3,000 (SimCLR); 4,800 (SimCLR + GPS)." in text


def test_gains_of_several_base_methods_are_pooled(tmp_path):
    made = plan(tmp_path, ROWS, claims=[claim(), claim("byol+gps", "byol")])
    table = build_table(made, tmp_path)
    assert [(group.strategies, group.metric, group.pooled.count) for group in table.groups] == [
        ("GPS", "linear.top1", 2),
        ("GPS", "online.top1", 2),
        ("GPS", "knn.top1", 2),
    ]
    effects = [one.headline.contrast.effect for one in table.claims]
    assert table.groups[0].pooled.tested.contrast.effect == pytest.approx(sum(effects) / 2)
    assert "GPS, 2 gains pooled, linear: +" in to_markdown(table)


def test_wide_tables_become_blocks(tmp_path):
    columns = [column(number, 2**number) for number in range(5)]
    blocks = layout(build_table(plan(tmp_path, ["simclr"], columns, seeds=1), tmp_path))
    assert [len(block.headers) - 1 for block in blocks] == [3, 2] * 3


def test_a_cell_that_was_not_planned(tmp_path):
    made = plan(tmp_path, ROWS)
    made["cells"].pop()
    assert "not run" in to_markdown(build_table(made, tmp_path))


def test_notes(tmp_path):
    table = build_table(plan(tmp_path, ROWS, axes="ours", note="Total loss is 0.1 DimCL."), tmp_path)
    text = to_markdown(table)
    for part in (
        "3 seeds",
        "last epoch",
        "optimistic",
        "Stands for CIFAR-10, batch 256; STL-10",
        "are ours",
        "0.1 DimCL",
    ):
        assert part in text


def test_markdown_escapes_and_has_even_rows(tmp_path):
    made = plan(tmp_path, ROWS, claims=[claim(text="a|b *c* <i>")], published=[published()])
    text = to_markdown(build_table(made, tmp_path))
    assert r"a\|b \*c\* &lt;i>" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.strip().split("\n")}) == 1


def test_latex_structure(tmp_path):
    nasty = r"100 % of a_b & c # $5 {x} \y ~ ^ <z>"
    made = plan(
        tmp_path,
        ROWS,
        [column(0, 64), column(1, 128)],
        title=nasty,
        claims=[claim(text=nasty)],
        published=[published()],
    )
    text = to_latex(build_table(made, tmp_path))
    escaped = r"100 \% of a\_b \& c \# \$5 \{x\} \textbackslash{}y \textasciitilde{} \textasciicircum{} \textless{}z"
    assert text.count(escaped) == 2
    opened = re.findall(r"\\begin\{(\w+)\}", text)
    assert opened == ["table", *["tabular"] * 3, "table", "tabular"]
    assert re.findall(r"\\end\{(\w+)\}", text) == [*["tabular"] * 3, "table", "tabular", "table"]
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert text.replace(r"\$", "").count("$") % 2 == 0
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [4] * 3
    assert [text.count(command) for command in (r"\caption{", r"\label{tab:gps-weak")] == [2] * 2
    assert r"$\pm$" in text
    # Every line of a tabular has as many columns as its specification.
    for spec, body in re.findall(r"\\begin\{tabular\}\{@\{\}([^\n]*)@\{\}\}\n(.*?)\\end\{tabular\}", text, re.DOTALL):
        width = len(re.sub(r"p\{[^}]*\}", "p", spec))
        for line in re.findall(r"^(?!\\).* \\\\$", body, re.MULTILINE):
            assert len(re.findall(r"(?<!\\)&", line)) == width - 1


class Balance(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_html_is_balanced_escaped_and_alone(tmp_path):
    nasty = '<script>alert("x")</script> & more'
    made = plan(
        tmp_path, ROWS, title=nasty, note=nasty, claims=[claim(text=nasty)], published=[published(setting=nasty)]
    )
    text = to_html(build_table(made, tmp_path))
    page = Balance()
    page.feed(text)
    assert page.open == []
    assert page.text.count(nasty) >= 4
    assert "<script" not in text
    assert not re.search(r"(src|href)=", text)


def test_terminal_fits_100_columns(tmp_path):
    made = plan(tmp_path, ROWS, [column(0, 64), column(1, 128)], claims=[claim(text="[bold] is text")])
    text = printed(to_terminal(build_table(made, tmp_path)))
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    assert "[bold] is text" in text
    assert "SimCLR + GPS" in text


def test_a_single_column_needs_no_setting(tmp_path):
    table = build_table(plan(tmp_path, ROWS, claims=[claim(setting="")]), tmp_path)
    assert "| linear |" in unpadded(to_markdown(table))
    assert "()" not in printed(summary([table]))


def test_summary_counts_many_claims_and_names_those_that_fail(tmp_path):
    made = plan(tmp_path, ROWS, claims=[claim()] * 6 + [claim("simclr", "simclr+gps", text="the reverse")])
    few = plan(tmp_path, ROWS, claims=[claim()], title="Few")
    text = printed(summary([build_table(made, tmp_path), build_table(few, tmp_path)]))
    assert "7 claims" in text
    assert "6 holds, 1 contradicted" in text
    assert "the reverse" in text
    assert text.count("GPS improves SimCLR") == 1
    assert max(map(len, text.splitlines())) <= 100


def test_missing_evaluation(tmp_path):
    made = plan(tmp_path, ROWS)
    name = made["cells"][0]["replicates"][0]["evaluation"]
    path = tmp_path / "results" / "evals" / f"{name}.json"
    path.unlink()
    with pytest.raises(UserError, match=rf"results/evals/{re.escape(name)}.json is missing: .*make"):
        build_table(made, tmp_path)


@pytest.mark.parametrize("content", ['{"format": 1', "[]", '{"format": 2}', b"\xff"])
def test_damaged_evaluation(tmp_path, content):
    made = plan(tmp_path, ROWS)
    path = tmp_path / "results" / "evals" / f"{made['cells'][0]['replicates'][0]['evaluation']}.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"\.json: damaged .*git checkout.*else remove it"):
        build_table(made, tmp_path)


def test_evaluation_without_the_protocol(tmp_path):
    made = plan(tmp_path, ["simclr"])
    one = made["cells"][0]["replicates"][0]
    path = tmp_path / "results" / "evals" / f"{one['evaluation']}.json"
    value = json.loads(path.read_text())
    del value["protocols"]["knn"]
    write_record(path, value)
    with pytest.raises(UserError, match=rf"{re.escape(one['evaluation'])}.json has no 'knn.top1'"):
        build_table(made, tmp_path)


def test_claim_on_a_row_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"claim 'gps-weak-simclr\+spps': .*\(simclr\+spps, c0\)"):
        build_table(plan(tmp_path, ROWS, claims=[claim("simclr+spps")]), tmp_path)


def test_write_table(tmp_path):
    table = build_table(plan(tmp_path, ROWS, claims=[claim()]), tmp_path)
    write_table(table, tmp_path / "tables" / "gps-weak.0123")
    names = sorted(path.name for path in (tmp_path / "tables").iterdir())
    assert names == [f"gps-weak.0123.{kind}" for kind in ("claims.csv", "csv", "html", "md", "tex")]


def test_import_is_light():
    modules = ["figures", "provenance", "statistics", "summary", "tables"]
    code = f"import sys; {'; '.join(f'import sslpairs.paper.{name}' for name in modules)}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "pandas", "scipy", "matplotlib", "rich"} & set(loaded)
