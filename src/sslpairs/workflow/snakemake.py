"""Uses of Snakemake 9.27's internal API: attributes of its ``workflow`` that are not guaranteed between releases.

The only other uses are in ``build_log.py`` (events) and ``kubernetes.py`` (executor).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any


class Engine:
    """Snakemake's ``workflow`` in the process that parses the Snakefile."""

    def __init__(self, workflow: Any):
        self._workflow = workflow

    @property
    def on_node(self) -> bool:
        """Whether this process is one job on a cluster; the build on the head node has checked everything."""
        return self._workflow.remote_exec

    @property
    def dry_run(self) -> bool:
        """Whether jobs are only listed; known from the start, unlike `workflow.dryrun`."""
        return self._workflow.output_settings.dryrun

    @property
    def on_one_machine(self) -> bool:
        """Whether jobs are processes of this machine."""
        return self._workflow.local_exec

    @property
    def snakefile(self) -> str:
        """Path of the Snakefile."""
        return self._workflow.main_snakefile

    @property
    def typed(self) -> list[str]:
        """Arguments of ``--config``, as typed."""
        return list(self._workflow.config_settings.config_args or [])

    def tell_jobs(self, word: str) -> None:
        """Add ``KEY=VALUE`` to the ``--config`` of all jobs."""
        self._workflow.config_settings.config_args = [*self.typed, word]

    def limit(self, resource: str, most: int) -> None:
        """Limit the total of a resource used by jobs that run at the same time."""
        self._workflow.global_resources[resource] = most

    def default_resources(self) -> dict[str, Any] | None:
        """Return ``default-resources`` of the profile as written; None without any."""
        found = self._workflow.resource_settings.default_resources
        return None if found is None else {name: getattr(value, "raw", value) for name, value in found.items()}

    @property
    def executor(self) -> tuple[str, Any]:
        """Name and settings of the executor; available once the build starts."""
        settings = self._workflow.executor_settings
        return type(settings).__module__.removeprefix("snakemake_executor_plugin_"), settings

    def to_run(self) -> list[Any]:
        """Return the jobs that the build will run; available once it starts."""
        return list(self._workflow.dag.needrun_jobs())

    def run_anyway(self, files: Iterable[str]) -> None:
        """Force the jobs that make these files, whatever times and checksums say."""
        self._workflow.dag.forcefiles.update(files)

    def keep_outputs_of_failed_jobs(self) -> None:
        """A training's job may fail in its evaluation; its weights are complete then. Incomplete files never get their names."""
        self._workflow.execution_settings.keep_incomplete = True

    def attempts(self, rules: Iterable[str], more: int) -> None:
        """Give the jobs of some rules more attempts than the profile does."""
        for rule in rules:
            self._workflow.get_rule(rule).restart_times = self._workflow.execution_settings.retries + more


def outputs(jobs: Iterable[Any]) -> list[str]:
    """Return the output files of jobs."""
    return [str(Path(file)) for job in jobs for file in job.output]
