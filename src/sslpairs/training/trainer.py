"""The training loop of one run: batches, views, steps, and a state from which it resumes."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslpairs.backbones import checkpoint
from sslpairs.config.labels import partners
from sslpairs.config.views import Crop
from sslpairs.data.arrays import ImageData
from sslpairs.distributed.batch_norm import whole_norms
from sslpairs.distributed.gather import share
from sslpairs.distributed.processes import current_world
from sslpairs.errors import UserError
from sslpairs.guides.embed import embed, embed_with
from sslpairs.methods.base import TrainProgress
from sslpairs.methods.build import build_method
from sslpairs.pairs.base import Step
from sslpairs.pairs.build import build_pairs
from sslpairs.plan.answers import encode
from sslpairs.plan.spec import RunSpec
from sslpairs.random_streams import generator, to_device
from sslpairs.training.compiled import compile_networks, nothing
from sslpairs.training.metrics import LiveMetrics
from sslpairs.training.online import OnlineClassifier
from sslpairs.training.optimization import base_rate, build_optimizer, rate_factor, set_rate
from sslpairs.training.parallel import shared_loss
from sslpairs.training.step import step_loss, train_step
from sslpairs.views.augment import apply, normalize
from sslpairs.views.draws import AugmentationParams, draw, sample_params

log = logging.getLogger(__name__)

STATE = {"run", "made_by", "rows", "seconds", "resumed", "method", "pairs", "optimizer", "online"}
"""Keys of a resumable state."""
STEPS_SAMPLED = 16
"""Minimum number of steps whose augmentation parameters are sampled at once."""
MADE_AT_ONCE, MADE_AT_ONCE_ON_CPU = 1 << 25, 1 << 20
"""Values in the views that are computed at once, for as many steps as that allows: small images are not worth a call per step. 134 MB
in float32 on a GPU, where launching a step's views takes the host longer than the GPU; 4 MB on the CPU, to stay in the cache."""
CHEAP = 0.1
"""Seconds for writing the resumable state up to which it is written after every epoch."""
Progress = Callable[[int, int, str], None]
"""Called with the number of epochs done, the number of all epochs, and a status text."""


class Trainer:
    """The state of one training, and its loop."""

    def __init__(self, run: str, spec: RunSpec, data: ImageData, root: Path, device: torch.device):
        self.run, self.spec, self.data, self.device = run, spec, data, device
        self.seconds = 0.0
        """Time spent before an interruption."""
        self.resumed: list[int] = []
        """Number of epochs done at each interruption."""
        self.notes: list[str] = []
        channels, size = data.train.images.shape[1], data.train.images.shape[-1]
        self.world = current_world()
        self.method = build_method(spec, channels, size).to(device)
        self.pairs = build_pairs(spec)
        self._check_shares()
        self._prepare_pairs(root)
        if self.world.size > 1:
            whole_norms(self.method, device)
        count = len(data.train.labels) if self._steps_as_base() else len(self.items)
        self.steps_per_epoch = count // spec.batch_size
        if not self.steps_per_epoch:
            raise UserError(
                f"{run}: batch_size {spec.batch_size} exceeds the {count} training items; choose a smaller one"
            )
        self.optimizer = build_optimizer(
            spec.optimizer, self.method.online_modules(), spec.batch_size, self.method.constant_rate_modules()
        )
        large = [spec.augmentation.for_view(view) for view in (0, 1)]
        small = self.method.small
        self.augmentations = [(augmentation, None) for augmentation in large]
        if small:
            crop = Crop(scale=small.scale, ratio=large[0].crop.ratio if large[0].crop else [0.75, 4 / 3])
            self.augmentations += [(large[0].model_copy(update={"crop": crop}), small.size)] * small.count
        numbers = spec.batch_size // self.world.size * data.train.images.shape[1:].numel()
        most = MADE_AT_ONCE_ON_CPU if device.type == "cpu" else MADE_AT_ONCE
        self.steps_at_once = max(1, min(STEPS_SAMPLED, most // numbers))
        extremes = torch.tensor([0.0, 1.0], device=device).view(2, 1, 1, 1).expand(2, channels, 1, 1)
        self.bounds = tuple(normalize(extremes, data.mean, data.std).flatten(1))
        width = self._width(channels)
        self.online = OnlineClassifier(
            spec.online, width, len(data.classes), spec.seed, device, data.train.has_unlabelled
        )
        self._begin_step: Callable[[], None] = nothing

    def compile(self, backend: str = "inductor") -> None:
        """Compile every network with torch (``compile_networks``)."""
        self._begin_step = compile_networks(self.method.children(), self.device, self.world.size == 1, backend)

    def _check_shares(self) -> None:
        size, count = self.spec.batch_size, self.world.size
        together, words = partners(self.spec.active)
        if count > 1 and size % (count * together):
            raise UserError(
                f"{self.run}: a batch of {size} cannot be shared equally by {count} processes{words}; start a number of processes that "
                f"divides {size // together if size % together == 0 else size}"
            )

    def _steps_as_base(self) -> bool:
        """Whether a strategy with a longer list of items trains for as many steps as its base method."""
        strategies = [getattr(self.spec.strategies, name) for name in self.spec.active]
        return any(getattr(settings, "steps", "all") == "as-base" for settings in strategies)

    def _prepare_pairs(self, root: Path) -> None:
        self.items = torch.arange(len(self.data.train.labels))[:, None].repeat(1, 2)
        for strategy in self.pairs:
            strategy.wrap(self.method)
            settings = getattr(self.spec.strategies, strategy.name)

            def guided(settings=settings) -> Tensor:
                return embed(settings.guide, self.spec, self.data, root).cpu()

            if line := strategy.prepare(guided, generator(self.spec.seed, strategy.name, "prepare")):
                log.info(line)
                self.notes.append(line)
            self.items = strategy.pair_indices(self.items, generator(self.spec.seed, strategy.name, "items"))
        # Equal on all ranks, unless different hardware puts a similarity on different sides of a threshold.
        self.items = self.world.broadcast(lambda: self.items)

    def _width(self, channels: int) -> int:
        """Number of backbone features, determined with one image."""
        size = self.data.train.images.shape[-1]
        was_training = self.method.backbone.training
        with torch.no_grad():
            width = self.method.backbone.eval()(torch.zeros(1, channels, size, size, device=self.device)).shape[1]
        self.method.backbone.train(was_training)
        return width

    # --- the loop ------------------------------------------------------------------------------------------------

    def fit(
        self, resume: Path, made_by: dict[str, Any], afresh: bool = False, progress: Progress | None = None
    ) -> list[dict[str, Any]]:
        """Train all epochs, resuming from ``resume`` if that file exists; returns one row per epoch, each of which is also appended
        to the metrics file next to it immediately.

        ``made_by`` is what the weights depend on besides the recipe: code, libraries, the guide's weights. A state with a different
        one is not used; nor, if the run is to be trained ``afresh``, is that of a finished training.
        """
        rows = self._restore(resume, made_by, afresh)
        live = LiveMetrics(resume.parent, rows, self.seconds) if self.world.is_rank_zero else None
        started, before = time.perf_counter(), self.seconds
        saved, cost = started, 0.0
        for epoch in range(len(rows), self.spec.epochs):
            rows.append(self._epoch(epoch))
            if live:
                live.add(rows[-1])
            now = time.perf_counter()
            self.seconds = before + now - started
            # Large states of short epochs are not all written, so that this takes at most a twentieth of the time.
            due = cost < CHEAP or now - saved > 20 * cost or epoch + 1 == self.spec.epochs
            if due and self.world.is_rank_zero:
                self._save(resume, made_by, rows)
                saved = time.perf_counter()
                cost = saved - now
            if progress:
                progress(epoch + 1, self.spec.epochs, _facts(rows[-1]))
        self.seconds = before
        return rows

    def _epoch(self, epoch: int) -> dict[str, Any]:
        spec = self.spec
        draws = {p.name: generator(spec.seed, p.name, "step", epoch) for p in self.pairs}
        for strategy in self.pairs:
            if epoch and strategy.rebuild_every and epoch % strategy.rebuild_every == 0:
                strategy.rebuild(lambda layer: embed_with(self.method, layer, self.data).cpu())
        self.method.train()
        # Recreated for each epoch, so that a resumed run sums gradients in the same order as an uninterrupted one.
        loss_of = shared_loss(self.method) if self.world.size > 1 else step_loss
        losses = torch.zeros(self.steps_per_epoch, device=self.device)
        started = time.perf_counter()
        for number, (views, labels) in enumerate(self._batches(epoch)):
            losses[number] = self._step(views, labels, epoch * self.steps_per_epoch + number, draws, loss_of)
        loss = losses.mean().item()
        seconds = time.perf_counter() - started
        if not math.isfinite(loss):
            raise UserError(self._diverged(epoch, losses))
        last = epoch + 1 == spec.epochs
        tested = (epoch + 1) % spec.online.every == 0 or last
        right = self.online.right(self.method.backbone, self.data) if tested else None
        return {
            "epoch": epoch + 1,
            "steps": (epoch + 1) * self.steps_per_epoch,
            "loss": loss,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "images_per_second": self.steps_per_epoch * spec.batch_size / seconds,
            "online_top1": 100 * right.double().mean().item() if tested else None,
            **({"online_answers": encode(right.cpu().numpy())} if last else {}),
        }

    def _batches(self, epoch: int) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
        """The views of each step of an epoch, and the labels of the two sources' images, on the device.

        Views are those of this process's share of the batch, labels those of the whole batch.
        """
        items, labels = self.world.broadcast(lambda: torch.stack(self._items_of(epoch))), self.data.train.labels
        # This process's share of a few steps' items; if both views come from the same images, these are fetched once.
        shares = [group[:, share()].flatten(0, 1) for group in items.split(self.steps_at_once)]
        rows = (own[:, 0] if torch.equal(*own.T) else own.T.flatten() for own in shares)
        batches = self.data.train.images.batches(rows)
        groups = zip(items.split(self.steps_at_once), shares, batches, self._params(epoch), strict=True)
        for group, own, images, params in groups:
            both = images.chunk(2) if len(images) > len(own) else (images, images)
            views = [view.chunk(len(group)) for view in self._views(both, params)]
            for batch, *seen in zip(group, *views, strict=True):
                yield seen, [labels[sources] for sources in to_device(batch.T.contiguous(), self.device)]

    def _views(self, images: Sequence[Tensor], params: Sequence[AugmentationParams]) -> list[Tensor]:
        """All views of a step from the images of both sources, which the small views use alternately."""
        return [
            apply(images[view % 2], own, self.data.mean, self.data.std, size).contiguous(
                memory_format=torch.channels_last
            )
            for view, (own, (_, size)) in enumerate(zip(params, self.augmentations, strict=True))
        ]

    def _items_of(self, epoch: int) -> list[Tensor]:
        """Sources of view 1 and view 2 of each batch of an epoch, ``[B, 2]`` on the CPU."""
        spec = self.spec
        order = torch.randperm(len(self.items), generator=generator(spec.seed, "order", epoch))
        draws = {p.name: generator(spec.seed, p.name, "partners", epoch) for p in self.pairs}
        batches = list(self.items[order[: self.steps_per_epoch * spec.batch_size]].split(spec.batch_size))
        for strategy in self.pairs:
            batches = [strategy.sample_positives(batch, draws[strategy.name]) for batch in batches]
        return batches

    def _params(self, epoch: int) -> Iterator[list[AugmentationParams]]:
        """Parameters of the transforms of the next ``steps_at_once`` steps, for each view.

        Drawn for the whole batch, so an image's views are the same for any number of processes.
        """
        size, shape = self.spec.batch_size, self.data.train.images.shape[1:]
        streams = [generator(self.spec.seed, f"view {view}", epoch) for view in range(1, 1 + len(self.augmentations))]
        group, total = self.steps_at_once * size, self.steps_per_epoch * size
        sampled = group * -(-STEPS_SAMPLED // self.steps_at_once)
        for start in range(0, total, sampled):
            count = min(sampled, total - start)
            params = [
                sample_params(augmentation, draw(count, stream), shape)
                for (augmentation, _), stream in zip(self.augmentations, streams, strict=True)
            ]
            for first in range(0, count, group):
                yield [whole[share(first, min(first + group, count))] for whole in params]

    def _step(
        self,
        views: list[Tensor],
        labels: list[Tensor],
        step: int,
        draws: dict[str, torch.Generator],
        loss_of: Callable[..., tuple[Tensor, Step]],
    ) -> Tensor:
        """One step; returns the loss, detached."""
        spec = self.spec
        self._begin_step()
        set_rate(
            self.optimizer,
            base_rate(spec.optimizer, spec.batch_size)
            * rate_factor(spec.schedule, step, self.steps_per_epoch, spec.epochs),
        )
        loss, done = train_step(
            self.method,
            self.pairs,
            views,
            self.optimizer,
            draws,
            TrainProgress(step, spec.epochs * self.steps_per_epoch, step // self.steps_per_epoch),
            bounds=self.bounds,
            autocast=torch.bfloat16 if spec.precision == "bfloat16" else None,
            loss_of=loss_of,
        )
        # The large views only; each has the label of its own source image.
        self.online.learn(done.clean[:2], labels)
        return loss

    def _diverged(self, epoch: int, losses: Tensor) -> str:
        first = int((~losses.isfinite()).nonzero()[0]) + 1
        spec = self.spec
        causes = [f"learning rate {base_rate(spec.optimizer, spec.batch_size):g} too high"]
        settings = [(name, getattr(spec.strategies, name)) for name in spec.active]
        for name, values in [*settings, (spec.base, getattr(spec.method, spec.base))]:
            if temperature := getattr(values, "temperature", None):
                causes.append(f"{name}'s temperature {temperature:g} too low")
        if spec.precision != "float32":
            causes.append(f"precision {spec.precision} too coarse")
        return (
            f"{self.run}: the loss became {losses[first - 1].item()} in epoch {epoch + 1}, step {first}; no receipt is "
            f"written.\nLikely causes: {'; '.join(causes)}. Change the recipe and build again."
        )

    # --- files ---------------------------------------------------------------------------------------------------

    def checkpoint(self) -> dict[str, Any]:
        """The content of a finished run's checkpoint: the backbone under plain names, and all networks and queues."""
        method = _on_cpu(self.method.state_dict())
        # The same tensors under both names: they are stored once.
        own = {name.removeprefix("backbone."): value for name, value in method.items() if name.startswith("backbone.")}
        for strategy in self.pairs:
            own = strategy.unwrap(own)
        return {
            "format": 1,
            "run": self.run,
            "architecture": self.spec.backbone.model_dump(mode="json"),
            "backbone": own,
            "method": method,
            "online": _on_cpu(self.online.layer.state_dict()),
        }

    def _save(self, path: Path, made_by: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        content = {
            "run": self.run,
            "made_by": made_by,
            "rows": rows,
            "seconds": self.seconds,
            "resumed": self.resumed,
            "method": self.method.state_dict(),
            "pairs": {strategy.name: strategy.state() for strategy in self.pairs},
            "optimizer": self.optimizer.state_dict(),
            "online": self.online.state(),
        }
        checkpoint.save_state(path, content)

    def _resumable(self, path: Path, made_by: dict[str, Any], afresh: bool) -> dict[str, Any] | None:
        """The state to resume from; None if there is none, or it is not of this training."""
        if not path.exists():
            return None
        try:
            content = checkpoint.load_state(path, "cpu")
            if content.get("run") != self.run or set(content) != STATE:
                raise UserError(f"{path}: not a state of this run.")
            if changed := [key for key, value in made_by.items() if content["made_by"].get(key) != value]:
                raise UserError(f"{path}: made with a different {' and '.join(changed)}.")
            if afresh and len(content["rows"]) == self.spec.epochs:
                raise UserError(f"{path}: of the training that is to be repeated.")
        except UserError as error:
            log.warning("%s Training starts from the first epoch.", error)
            return None
        return content

    def _restore(self, path: Path, made_by: dict[str, Any], afresh: bool) -> list[dict[str, Any]]:
        """Resume from the state of an interrupted training, if there is one; returns its rows."""
        content = self.world.broadcast(lambda: self._resumable(path, made_by, afresh))
        if content is None:
            return []
        self.method.load_state_dict(content["method"])
        for strategy in self.pairs:
            strategy.restore(content["pairs"][strategy.name])
        self.optimizer.load_state_dict(content["optimizer"])
        self.online.restore(content["online"])
        self.seconds = content["seconds"]
        self.resumed = [*content["resumed"], len(content["rows"])]
        log.info("resuming after epoch %d of %d", len(content["rows"]), self.spec.epochs)
        return content["rows"]


def _on_cpu(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().cpu().contiguous() for key, value in state.items()}


def _facts(row: dict[str, Any]) -> str:
    text = f"loss {row['loss']:.4f}, {row['images_per_second']:,.0f} images/s"
    return text if row["online_top1"] is None else f"{text}, online {row['online_top1']:.1f} %"
