"""Limits of a cluster and how to request GPUs there: our keys in the ``default-resources`` of a profile (``docs/cluster.md``)."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sslpairs.config.base import Count
from sslpairs.errors import UserError, nearest

UNITS = {"m": 1, "h": 60, "d": 24 * 60}


def _minutes(value: Any) -> Any:
    """Convert '90', '36h' or '2d' to minutes."""
    match = re.fullmatch(r"(\d+)([mhd]?)", str(value))
    if not match:
        raise ValueError(f"'{value}' is not a time: write minutes, or for example 36h or 2d")
    return int(match[1]) * UNITS[match[2] or "m"]


class Site(BaseModel):
    """Properties of a cluster on which requests for time, memory and GPUs depend. Other resources of the profile are Snakemake's."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)

    longest_job: Annotated[Count, BeforeValidator(_minutes)] | None = None
    """Time limit of a job in the partition, in minutes (also '36h', '2d'). A longer training is split into several consecutive jobs."""
    gpu_request: Annotated[str, Field(pattern=r"^[a-z_]+(=\S+)?$")] | None = None
    """Resource with which a job requests n GPUs: 'gres=gpu' gives gres=gpu:n, 'gpu' gives gpu=n. Without it, no GPUs are requested."""
    share_request: Annotated[str, Field(pattern=r"^[a-z_]+=\S+$")] | None = None
    """Resource that a small run requests instead, so that several runs share a GPU: 'gres=shard:1'."""
    gpu_shares: Count = 1
    """Number of runs that share a GPU (shards per GPU)."""
    gpus_per_node: Count = 8
    """A run that needs more GPUs spans several nodes."""
    gpu_memory_gb: Count = 16
    """Memory of one GPU, in GB."""
    node_memory_gb: Count | None = None
    """Maximum main memory that a job may request, in GB."""
    cpus_per_gpu: Count = 4
    """CPU cores that a job requests with each GPU, for decoding images that do not fit into memory."""
    gpu_tflops: Count = 10
    """10^12 floating-point operations per second that a training reaches on one GPU. A guess that is used until there is a receipt of
    a run on a GPU."""


def read_site(resources: Mapping[str, Any], where: str = "profile: default-resources") -> Site:
    """Return the cluster described by a profile's ``default-resources``. Raise ``UserError`` for an invalid value."""
    known = list(Site.model_fields)
    plain = {key: value.strip("'\" ") if isinstance(value, str) else value for key, value in resources.items()}
    values = {key: value for key, value in plain.items() if value not in (None, "", "null", "none")}
    for key in sorted(values.keys() - set(known)):
        if key not in FOREIGN and (hint := nearest(key, known)):
            raise UserError(f"{where}: {key}: unknown resource{hint}")
    try:
        site = Site.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        key = first["loc"][0]
        raise UserError(f"{where}: {key}: {values[key]!r}: {message} (see docs/cluster.md)") from None
    if site.share_request and not site.gpu_request:
        raise UserError(f"{where}: share_request: also set gpu_request, for runs that do not share a GPU")
    return site


FOREIGN = {
    *("tmpdir", "mem", "mem_mb", "mem_mib", "mem_mb_per_cpu", "disk", "disk_mb", "disk_mib", "runtime"),
    *("gpu", "gpus", "gres", "gpu_model", "gpu_manufacturer", "nvidia_gpu", "tasks", "tasks_per_gpu", "tasks_per_node"),
    *("node", "nodes", "mpi", "constraint", "qos", "cluster", "clusters", "cpus_per_task", "requeue"),
    *("slurm_partition", "slurm_account", "slurm_extra", "slurm_cluster", "machine_type", "scale", "reservation"),
}
"""Resources of Snakemake and its executors, which are not misspelt keys of ours."""
