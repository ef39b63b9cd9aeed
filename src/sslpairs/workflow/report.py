"""What Snakemake's report opens with: the sum of the verdicts and the forest plot."""

from pathlib import Path

from sslpairs.plan.build import Build
from sslpairs.plan.paths import product_stem


class Opening:
    """reStructuredText that is made when the report asks for it, since only then the tables are built."""

    def __init__(self, build: Build):
        self.build = build

    def __str__(self) -> str:
        from sslpairs.paper.overview import overview_of

        build = Build(self.build.plan, self.build.root)
        text = overview_of(build).text()
        plot = Path(f"{build.root / product_stem('figures', build.plan.scale['name'], 'claims')}.svg")
        if not (text and plot.exists()):
            return text
        return f"**{text}** (each under its paper's metric)\n\n.. raw:: html\n   :file: {plot}\n"
