import json

import pytest
from made_up import digest, plan

from sslpairs.errors import UserError
from sslpairs.files import write_record
from sslpairs.paper.provenance import provenance_page

ROWS = ["simclr", "simclr+gps"]


def test_page_names_every_run_with_its_sources(tmp_path):
    made = plan(tmp_path, ROWS)
    other = {**made, "id": "gps-strong", "title": "Again <the same> runs"}
    text = provenance_page([made, other], tmp_path)
    runs = {one["run"] for cell in made["cells"] for one in cell["replicates"]}
    assert len(runs) == 6
    for run in runs:
        assert text.count(f'<details id="{run}">') == 1  # told once, linked from both tables
        assert text.count(f'href="#{run}"') == 2
        assert digest(run) in text
    for part in ("9fceb02d0ae5", "2.11.0", "cpu &lt;made up&gt;", "31.5 s", "2026-01-02T03:04:05", digest("data")[:12]):
        assert part in text
    assert "Again &lt;the same&gt; runs" in text
    assert "2 of 6 runs were trained with uncommitted changes" in text
    assert "different versions of the training code" not in text


def test_page_warns_of_runs_of_one_method_that_were_trained_by_different_code(tmp_path):
    made = plan(tmp_path, ROWS)
    runs = [one["run"] for one in made["cells"][0]["replicates"]]
    for number, run in enumerate(runs):
        path = tmp_path / "results" / "runs" / run / "run.json"
        write_record(path, {**json.loads(path.read_text()), "code": digest("other code")})
        # Each method runs code of its own: where all runs of one have changed, they are alike again.
        expected = number + 1 < len(runs)
        assert ("different versions of the training code" in provenance_page([made], tmp_path)) == expected


def test_missing_and_incomplete_receipts(tmp_path):
    made = plan(tmp_path, ROWS)
    run = made["cells"][0]["replicates"][0]["run"]
    path = tmp_path / "results" / "runs" / run / "run.json"
    write_record(path, {"format": 1})
    with pytest.raises(UserError, match=rf"{run}/run\.json lacks run, spec"):
        provenance_page([made], tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=rf"{run}/run\.json is missing"):
        provenance_page([made], tmp_path)
