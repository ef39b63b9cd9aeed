"""Snakemake's jobs as Kubernetes jobs in the project's own folder, which lies on a volume that all pods mount.

Snakemake finds this package by its name (``executor: kubernetes-shared``). The published plugin ``kubernetes`` is for data in an
object store; ``docs/engines.md`` says what keeps it from working with a volume.
"""

import os
import shlex
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

TIMEOUT = 60
"""Seconds that an answer of Kubernetes may take."""
KEPT = 24 * 3600
"""Seconds after which Kubernetes removes an ended job, for builds that died before they could."""


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """What a profile says as ``kubernetes-shared-NAME``."""

    namespace: str = field(default="default", metadata={"help": "Namespace of the jobs"})
    volumes: list[str] = field(
        default_factory=list,
        metadata={"help": "Persistent volume claims and where pods mount them: CLAIM:PATH ...", "nargs": "+"},
    )
    gpu_resource: str = field(
        default="nvidia.com/gpu", metadata={"help": "What a node calls its GPUs: amd.com/gpu, nvidia.com/mig-1g.10gb"}
    )
    node_selector: list[str] = field(
        default_factory=list, metadata={"help": "Labels of the nodes that jobs may use: KEY=VALUE ...", "nargs": "+"}
    )
    service_account: str = field(default="", metadata={"help": "Service account of the pods"})


common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    auto_deploy_default_storage_provider=False,
)


def manifest(
    name: str, command: str, image: str, settings: ExecutorSettings, resources: dict[str, Any], labels: dict[str, str]
) -> dict[str, Any]:
    """A job's body: one container, which runs ``command`` with what the job asked for, and all volumes."""
    memory = f"{resources['mem_mb']}M"
    limits, requests = {"memory": memory}, {"memory": memory, "cpu": str(resources.get("cpus_per_task") or 1)}
    tolerations = []
    if gpus := int(resources.get("gpu") or 0):
        limits[settings.gpu_resource] = str(
            gpus
        )  # a limit is the request too, and without one Kubernetes refuses the job
        tolerations.append({"key": settings.gpu_resource, "operator": "Exists", "effect": "NoSchedule"})
    volumes = [{"name": "memory", "emptyDir": {"medium": "Memory"}}]
    mounts = [{"name": "memory", "mountPath": "/dev/shm"}]  # noqa: S108 - of 64 MB by default, too little for NCCL and for workers
    for number, (claim, path) in enumerate(_pairs(settings.volumes, ":", "volumes")):
        volumes.append({"name": f"volume{number}", "persistentVolumeClaim": {"claimName": claim}})
        mounts.append({"name": f"volume{number}", "mountPath": path})
    environment = {"HOME": "/tmp", "USER": "sslpairs"}  # noqa: S108 - the image may not know this user
    container = {
        "name": "job",
        "image": image,
        "command": ["/bin/sh", "-c", command],
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "resources": {"requests": requests, "limits": limits},
        "volumeMounts": mounts,
    }
    pod = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": volumes,
        "tolerations": tolerations,
        "nodeSelector": dict(_pairs(settings.node_selector, "=", "node-selector")),
        "securityContext": {"runAsUser": os.getuid(), "runAsGroup": os.getgid()},  # files belong to who builds
    }
    if "runtime" in resources:
        pod["activeDeadlineSeconds"] = 60 * int(
            resources["runtime"]
        )  # of the pod, whose time begins when it has a node
    if settings.service_account:
        pod["serviceAccountName"] = settings.service_account
    disruption = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "backoffLimit": 0,  # Snakemake tries again, and then asks for more
            "podFailurePolicy": {
                "rules": [disruption]
            },  # a preempted or evicted pod is started again by Kubernetes itself
            "ttlSecondsAfterFinished": KEPT,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _pairs(items: list[str], sign: str, key: str) -> list[tuple[str, str]]:
    for item in items:
        if not all(item.partition(sign)):
            raise WorkflowError(
                f"kubernetes-shared-{key}: '{item}': write {'CLAIM:PATH' if sign == ':' else 'KEY=VALUE'}"
            )
    return [tuple(item.split(sign, 1)) for item in items]


class Executor(RemoteExecutor):
    """Submits jobs, looks after them and removes them."""

    def __post_init__(self):
        try:
            import kubernetes
        except ImportError:
            raise WorkflowError("Kubernetes needs a package more: pip install 'sslpairs[kubernetes]'") from None
        try:
            kubernetes.config.load_config()
        except kubernetes.config.ConfigException as error:
            raise WorkflowError(
                f"Kubernetes: neither a kubeconfig nor a pod's service account was found: {error}"
            ) from None
        self.failures = (kubernetes.client.ApiException, OSError, kubernetes.client.rest.urllib3.exceptions.HTTPError)
        self.jobs, self.pods = kubernetes.client.BatchV1Api(), kubernetes.client.CoreV1Api()
        self.settings: ExecutorSettings = self.workflow.executor_settings
        self.folder = Path(self.workflow.workdir_init)
        self.build = f"sslpairs-{uuid.uuid4().hex[:8]}"
        self.logs = Path("logs/kubernetes")
        self.told: set[str] = set()
        mounted = [path for _, path in _pairs(self.settings.volumes, ":", "volumes")]
        if not any(self.folder.is_relative_to(path) for path in mounted):
            raise WorkflowError(
                f"kubernetes-shared-volumes: {' '.join(self.settings.volumes)}: {self.folder} is on none of them"
            )

    def get_job_exec_prefix(self, job: JobExecutorInterface) -> str:
        """Into the project's folder."""
        return f"cd {shlex.quote(str(self.folder))}"

    def run_job(self, job: JobExecutorInterface) -> None:
        """Submit a job."""
        resources = dict(job.resources.items())
        if int(resources.get("nodes") or 1) > 1:
            raise WorkflowError(
                f"{job}: asks for {resources['nodes']} nodes, and a pod is on one: fewer training.gpus, or Slurm"
            )
        name = f"{self.build}-{job.jobid}-{job.attempt}"
        labels = {"app": "sslpairs", "build": self.build, "rule": "group" if job.is_group() else job.rule.name}
        image = self.workflow.remote_execution_settings.container_image
        body = manifest(name, self.format_job_exec(job), image, self.settings, resources, labels)
        info = SubmittedJobInfo(job, external_jobid=name)
        try:
            self.jobs.create_namespaced_job(self.settings.namespace, body, _request_timeout=TIMEOUT)
        except self.failures as error:
            self.report_job_error(info, msg=f"Kubernetes did not take the job: {error}\n")
            return
        self.logger.info(f"Submitted job {job.jobid} as {name} (kubectl describe job {name})")
        self.report_job_submission(info)

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Report what has ended and what keeps jobs from starting; yields the others, all of them while Kubernetes does not answer."""
        if not active_jobs:
            return
        try:
            async with self.status_rate_limiter:
                found = self.jobs.list_namespaced_job(
                    self.settings.namespace, label_selector=f"build={self.build}", _request_timeout=TIMEOUT
                )
                self._say_what_keeps_pods()
        except self.failures as error:
            self.logger.warning(f"Kubernetes does not say how the jobs are, asking again: {error}")
            for info in active_jobs:
                yield info
            return
        statuses = {item.metadata.name: item.status for item in found.items}
        for info in active_jobs:
            name = info.external_jobid
            conditions = getattr(statuses.get(name), "conditions", None) or []
            ended = {
                item.type: item for item in conditions if item.status == "True" and item.type in ("Complete", "Failed")
            }
            if name not in statuses:
                self.report_job_error(info, msg=f"Kubernetes has no job {name} any more: somebody deleted it.\n")
            elif "Failed" in ended:
                why, log = self._last_words(name)
                self.report_job_error(
                    info, msg=f"{why or ended['Failed'].message}\n", aux_logs=[str(log)] if log else []
                )
                self._remove(name)
            elif "Complete" in ended:
                self.report_job_success(info)
                self._remove(name)
            else:
                yield info

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Remove jobs and their pods."""
        for info in active_jobs:
            self._remove(info.external_jobid)

    def _say_what_keeps_pods(self) -> None:
        """One line for each kind of obstacle: no node with room, no image, no volume. Kubernetes itself waits forever."""
        pods = self.pods.list_namespaced_pod(
            self.settings.namespace, label_selector=f"build={self.build}", _request_timeout=TIMEOUT
        )
        for pod in pods.items:
            found = [(item.reason, item.message) for item in pod.status.conditions or [] if item.type == "PodScheduled"]
            waiting = [item.state.waiting for item in pod.status.container_statuses or [] if item.state]
            found += [(item.reason, item.message) for item in waiting if item and item.reason != "ContainerCreating"]
            for reason, message in found:
                if reason and reason not in self.told:
                    self.told.add(reason)
                    self.logger.warning(f"Pod {pod.metadata.name} waits: {reason}: {message}")

    def _last_words(self, name: str) -> tuple[str, Path | None]:
        """Why the pod of a failed job ended, and the file with what it printed; as far as the pod is still there."""
        try:
            pods = self.pods.list_namespaced_pod(
                self.settings.namespace, label_selector=f"job-name={name}", _request_timeout=TIMEOUT
            ).items
            if not pods:
                return "", None
            status, why = pods[-1].status, []
            for container in status.container_statuses or []:
                if ended := container.state and container.state.terminated:
                    why.append(f"{ended.reason} (exit code {ended.exit_code})")
            why += [word for word in (status.reason, status.message) if word]
            text = self.pods.read_namespaced_pod_log(
                pods[-1].metadata.name, self.settings.namespace, container="job", _request_timeout=TIMEOUT
            )
        except self.failures as error:
            return f"Kubernetes has no log of {name}: {getattr(error, 'reason', None) or error}", None
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{name}.log"
        log.write_text(text)
        return f"Pod {pods[-1].metadata.name}: {'; '.join(why)}", log

    def _remove(self, name: str) -> None:
        try:
            self.jobs.delete_namespaced_job(
                name, self.settings.namespace, propagation_policy="Background", _request_timeout=TIMEOUT
            )
        except self.failures as error:
            if getattr(error, "status", None) != 404:
                self.logger.warning(f"Kubernetes did not remove job {name}: {error}")
