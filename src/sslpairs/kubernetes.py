"""Snakemake's Kubernetes executor (0.5) is made for data in an object store; here it works in a folder mounted by all pods."""

import shlex
from pathlib import Path

from snakemake_executor_plugin_kubernetes import Executor
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry


class InSharedFolder(Executor):
    """The published executor, with pods that start in the project's folder."""

    def __post_init__(self):
        volumes = self.workflow.executor_settings.persistent_volumes
        if not any(Path.cwd().is_relative_to(volume.path) for volume in volumes):
            paths = ", ".join(volume.unparse() for volume in volumes) or "none"
            raise WorkflowError(f"kubernetes-persistent-volumes: {Path.cwd()} is on none of them ({paths})")
        super().__post_init__()
        # It asks for the log of the container before a failed one; there is none, and the error would end the whole build.
        log = self.kubeapi.read_namespaced_pod_log
        self.kubeapi.read_namespaced_pod_log = lambda previous=False, **pod: log(**pod)

    def get_job_exec_prefix(self, job) -> str:
        """Prefix of a job's command."""
        return f"cd {shlex.quote(str(Path.cwd()))}"


def share_folder() -> None:
    """Call while the Snakefile is parsed: afterwards Snakemake asks whether files are shared, and for the executor."""
    plugin = ExecutorPluginRegistry().get_plugin("kubernetes")
    plugin.executor = InSharedFolder
    plugin.common_settings.implies_no_shared_fs = plugin.common_settings.job_deploy_sources = False
