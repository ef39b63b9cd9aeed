"""Create runs from resolved settings: validated specifications, with their guides."""

from typing import Any

from pydantic import ValidationError

from sslpairs.config.changes import ROOMS, set_value
from sslpairs.config.labels import parse_label, partners
from sslpairs.config.methods import METHODS
from sslpairs.config.papers import Paper
from sslpairs.config.protocols import PROTOCOLS
from sslpairs.config.recipes import Recipe
from sslpairs.config.remedies import explain
from sslpairs.config.strategies import STRATEGIES
from sslpairs.errors import UserError, listed, nearest, shown
from sslpairs.files import canonical
from sslpairs.plan.evaluations import key_of
from sslpairs.plan.limits import check_evaluation, check_schedule
from sslpairs.plan.plan import Plan
from sslpairs.plan.resolved import ResolvedSetting, SettingResolver
from sslpairs.plan.spec import RunSpec, digest


class Runs(SettingResolver):
    """Runs of a plan."""

    def check_schedules(self, paper_id: str, paper: Paper) -> None:
        """Raise ``UserError`` for a schedule whose warm-up takes up the whole training, also in tables that were not requested."""
        for table_id, table in paper.tables.items():
            try:
                self._begin(paper_id, table_id)
                recipes = [(setting, self._recipe(setting)) for setting in self._columns(table).values()]
                bases = {parse_label(row).base for row in table.rows}
            except UserError:
                continue  # reported when the table is planned
            for setting, recipe in recipes:
                for method in filter(None, (getattr(recipe.methods, base) for base in sorted(bases))):
                    change = method.training
                    schedule = (change and change.schedule) or recipe.training.schedule
                    check_schedule(schedule, setting.epochs, self.config.scale_file, self.recipe_file)

    def _recipe(self, setting: ResolvedSetting) -> Recipe:
        """Return the scale's recipe with the column's dotted changes, revalidated."""
        if not setting.changes:
            return self.recipe
        key = canonical([self.recipe_file, setting.changes])
        if key not in self.changed:
            value = self.recipe.model_dump()
            for name, new in setting.changes:
                _change(value, name, new, self.where)
                _let_through(value, name)
            try:
                self.changed[key] = Recipe.model_validate(value)
            except ValidationError as error:
                raise UserError(explain(error, Recipe, f"{self.where}: set", None, {})) from None
        return self.changed[key]

    def _run(self, draft: Plan, label, setting: ResolvedSetting, seed: int) -> str:
        """Add one run (and its guide) and return its id."""
        recipe = self._recipe(setting)
        # Runs differ only in their seed: thousands of runs come from a few dozen recipes.
        trained = (setting.dataset, setting.batch_size, setting.epochs, setting.augmentation)
        recipe_key = (id(recipe), str(label), id(setting.backbone), *trained)
        if recipe_key not in self.specs:
            self.specs[recipe_key] = self._spec(recipe, label, setting)
        spec, augmentation, gpus, guides = self.specs[recipe_key]
        spec = spec | {"seed": seed}
        guide = None
        for name, settings in guides.items():
            earlier, guide = guide, self._guide(draft, settings, setting, seed)
            if earlier not in (None, guide):
                raise UserError(
                    f"{self.recipe_file}: strategies: '{label}' would need two guides ({earlier} and {guide}), but a run has only "
                    f"one; use the same guide for both ({self.where})"
                )
            value = spec["strategies"][name]
            value = value | {"guide": value["guide"] | {"run": guide}}
            spec["strategies"] = spec["strategies"] | {name: value}
        name = f"{label}-{setting.dataset}-{augmentation}-b{setting.batch_size}-s{seed}-{digest(spec)}"
        draft.runs[name] = {
            "label": str(label),
            "dataset": setting.dataset,
            "backbone": setting.backbone.label,
            "augmentation": augmentation,
            "seed": seed,
            "gpus": gpus,
            "guide": guide,
            "spec": spec,
        }
        return name

    def _spec(self, recipe: Recipe, label, setting: ResolvedSetting) -> tuple[dict[str, Any], str, int, dict[str, Any]]:
        """Return a run's specification as JSON values, without the seed and the id of a guide; the name of its augmentation; the number
        of GPUs; and the guide of each strategy that is guided by a run, as given in the recipe."""
        method = getattr(recipe.methods, label.base)
        if method is None:
            known = ", ".join(name for name in METHODS if getattr(recipe.methods, name))
            raise UserError(
                f"{self.recipe_file}: methods: no values for '{label.base}', needed by {self.where}; add them (known: {known})"
            )
        training = recipe.training
        change = method.training
        augmentation = setting.augmentation or (change and change.augmentation) or training.augmentation
        if augmentation not in recipe.augmentations:
            hint = nearest(augmentation, list(recipe.augmentations))
            raise UserError(f"{self.where}: augmentation: '{shown(augmentation)}' is not in {self.recipe_file}{hint}")
        content = self._content(setting.dataset)
        self._check_changes(recipe, label, setting)
        base, strategies, guides = METHODS[label.base], {}, {}
        images = self._check_batch(label, setting)
        self._check_network(label, method, setting)
        for name in label.strategies:
            settings = recipe.strategy(label.base, name)
            if settings is None:
                raise UserError(
                    f"{self.recipe_file}: strategies: no values for '{name}', needed by {self.where}; add them"
                )
            settings = settings.under(base)
            if problem := settings.problem(base, setting.batch_size, images, f"data set '{setting.dataset}'"):
                file = self.config.scale_file if problem.key == "batch_sizes" else self.recipe_file
                raise UserError(f"{file}: {problem.key}: {problem.text} ({self.where})")
            value = settings.model_dump()
            if settings.guided() and settings.guide.kind == "run":
                guides[name] = settings.guide
                value["guide"] = {"kind": "checkpoint", "run": "", "layer": settings.guide.layer}
            elif settings.guided() and settings.guide.kind == "encoder":
                value["guide"] = self._encoder(settings.guide)
            strategies[name] = value
        gpus = (change and change.gpus) or training.gpus
        together, words = partners(label.strategies)
        if setting.batch_size % (gpus * together):
            key = f"methods.{label.base}.training.gpus" if change and change.gpus else "training.gpus"
            raise UserError(
                f"{self.recipe_file}: {key}: a batch of {setting.batch_size} cannot be split equally over {gpus} GPUs{words}; write a "
                f"number that divides it ({self.where})"
            )
        schedule = (change and change.schedule) or training.schedule
        epochs = setting.epochs * ((change and change.longer) or 1)
        check_schedule(schedule, epochs, self.config.scale_file, self.recipe_file)
        spec = RunSpec.model_validate(
            {
                "dataset": content,
                "backbone": setting.backbone.model_dump(),
                "method": {label.base: method.model_dump()},
                "strategies": strategies,
                "augmentation": recipe.augmentations[augmentation].model_dump(),
                "optimizer": ((change and change.optimizer) or training.optimizer).model_dump(),
                "schedule": schedule.model_dump(),
                "online": training.online.model_dump(),
                "precision": training.precision,
                "batch_size": setting.batch_size,
                "epochs": epochs,
                "seed": 0,
            }
        )
        return spec.plain(), augmentation, gpus, guides

    def _check_batch(self, label, setting: ResolvedSetting) -> int | None:
        """Return the number of training images, if known. Raise ``UserError`` if a batch is larger."""
        images = self.images_of(setting.dataset)
        longer = any(STRATEGIES[name].lengthens for name in label.strategies)
        if images and not longer and setting.batch_size > images.train:
            raise UserError(
                f"{self.config.scale_file}: batch_sizes: a batch of {setting.batch_size:,} exceeds the {images.train:,} training images "
                f"of data set '{setting.dataset}'; write a smaller number ({self.where})"
            )
        return images.train if images else None

    def _check_network(self, label, method, setting: ResolvedSetting) -> None:
        """Raise ``UserError`` for a network that cannot take the images or the small views."""
        network, images = setting.backbone, self.images_of(setting.dataset)
        if images and (problem := network.problem(images.size)):
            key, text = problem
            raise UserError(f"{self._network_key(network)}.{key}: {text} (data set '{setting.dataset}', {self.where})")
        small = getattr(method, "small", None)
        if network.one_size and small and not (images and small.size == images.size):
            raise UserError(
                f"{self.recipe_file}: methods.{label.base}.small.size: {network.label} takes images of one size only, so no small views "
                f"of {small.size} pixels; write small: null, or choose another network ({self.where})"
            )

    def _check_evaluated(self, setting: ResolvedSetting) -> None:
        """Raise ``UserError`` for a network that cannot take the images of another data set on which it is evaluated."""
        network, evaluated = setting.backbone, setting.evaluate_on or setting.dataset
        trained, other = self.images_of(setting.dataset), self.images_of(evaluated)
        if network.one_size and trained and other and trained.size != other.size:
            raise UserError(
                f"{self._network_key(network)}: {network.label} is trained on {trained.size} pixels ('{setting.dataset}') and takes no "
                f"other size, but the evaluation is on {other.size} pixels ('{evaluated}'); resize one of the two, or choose another "
                f"network ({self.where})"
            )

    def _network_key(self, network) -> str:
        """File and key of the scale's entry of a network."""
        names = (name for name, entry in self.config.scale.backbones.items() if entry == network)
        return f"{self.config.scale_file}: backbones.{next(names)}"

    def _check_changes(self, recipe: Recipe, label, setting: ResolvedSetting) -> None:
        """Raise ``UserError`` for a column's change that would have no effect in this row."""
        own = getattr(recipe.methods, label.base).training
        for key, _ in setting.changes:
            words = [word for word in key.split(".") if word not in ("training", "strategies")]
            if own and words[0] in ("augmentation", "optimizer", "schedule") and getattr(own, words[0]) is not None:
                raise UserError(
                    f"{self.where}: set: '{key}': '{label}' has its own {words[0]} (methods.{label.base}.training), which "
                    f"overrides it; change that one instead"
                )
            if words[0] not in label.strategies or len(words) != 2:
                continue
            if unused := STRATEGIES[words[0]].unused(words[1], METHODS[label.base]):
                raise UserError(f"{self.where}: set: '{key}': {unused}; remove '{label}' from the table")

    def _guide(self, draft: Plan, guide, setting: ResolvedSetting, seed: int) -> str:
        """Return the run that a guide names: same data, same network, at the scale's default batch size."""
        try:
            label = parse_label(guide.method)
        except UserError as error:
            raise UserError(f"{self.recipe_file}: guide.method: {error}") from None
        if any(STRATEGIES[name].guided() for name in label.strategies):
            guided = " and ".join(strategy.title for strategy in STRATEGIES.values() if strategy.guided())
            raise UserError(
                f"{self.recipe_file}: guide.method: '{shown(guide.method)}' itself needs a guide; name a method without {guided}"
            )
        at = ResolvedSetting(
            setting.dataset,
            setting.backbone,
            self._mapped("batch_sizes", setting.guide_batch),
            setting.epochs,
            guide.augmentation,
            (),
        )
        return self._run(draft, label, at, seed)

    def _encoder(self, guide) -> dict[str, Any]:
        """Return the guide with the encoder's identity in place of its name, and note where its weights are from."""
        known = self.config.encoders
        if guide.encoder not in known:
            raise UserError(
                f"{self.where}: guide.encoder: '{shown(guide.encoder)}' is not in config/encoders.yaml{nearest(guide.encoder, known)} "
                f"({listed(known)})"
            )
        encoder = known[guide.encoder]
        self.plan.encoders[encoder.weights.sha256] = {"name": guide.encoder, "config": encoder.model_dump(mode="json")}
        mean, std = (encoder.mean, encoder.std) if guide.statistics == "own" else (None, None)
        identity = {"encoder": encoder.identity(), "size": guide.size, "mean": mean, "std": std}
        return {"kind": "weights", **identity, "distance": guide.distance}

    def _evaluating(self, asked: dict[str, list[str]], setting: ResolvedSetting) -> dict[str, Any]:
        """Return an evaluation under all of the recipe's protocols, without its run. Its key includes the data if they are not the run's
        own."""
        self._check_evaluated(setting)
        name = setting.evaluate_on
        data = name or setting.dataset
        chosen = self.recipe.evaluation.chosen().items()
        check_evaluation(self.images_of(data), f"data set '{data}' ({self.where})", chosen, self.recipe_file)
        protocols: dict[str, Any] = self.recipe.evaluation.plain()
        other = {} if name is None else {"dataset": name, "content": self._content(name)}
        if not other:
            protocols |= {name: None for name, protocol in PROTOCOLS.items() if protocol.while_training}
        asked = {protocol: asked.get(protocol, []) for protocol in protocols}
        return {"key": key_of(protocols, other.get("content")), "protocols": protocols, "asked": asked, **other}


def _let_through(value: dict, key: str) -> None:
    """A changed value of a strategy applies to all methods: remove the methods' own values of it."""
    words = [word for word in key.split(".") if word != "strategies"]
    if words[0] in value["strategies"] and len(words) > 1:
        for method in value["methods"].values():
            (method or {}).get("strategies", {}).get(words[0], {}).pop(words[1], None)


def _change(value: dict, key: str, new: Any, where: str) -> None:
    """Set a dotted key of a recipe; a leading 'methods', 'strategies' or 'training' may be omitted."""
    if key.split(".")[0] in ("title", "about", "evaluation"):
        raise UserError(
            f"{where}: set: '{shown(key)}': a column can only change the training; change the recipe itself"
        )
    set_value(value, key, new, f"{where}: set", ROOMS)
