"""The overview is owed from the start of a build until it is written.

Snakemake calls ``onsuccess`` only after a build that had something to do. Where a build is killed between its last job and the overview,
the next one has nothing to do, and would leave the overview of before.
"""

import contextlib
from pathlib import Path

from sslpairs.errors import UserError
from sslpairs.plan.build import Build
from sslpairs.plan.paths import OWED


def owe(root: Path) -> None:
    """Note that a build has started."""
    path = root / OWED
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def write_owed(build: Build) -> None:
    """Write the overview if the last build was stopped before it did. A fault in what it is made from is left to the build that
    follows, which names or mends it."""
    if (build.root / OWED).exists():
        from sslpairs.paper.overview import write_results_and_overview

        with contextlib.suppress(UserError):
            write_results_and_overview(build)
