"""Method labels such as ``byol+gps+dimcl``: parsing, the meaning of each combination, and which combinations are refused."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec

from sslpairs.config.meaning import Meaning
from sslpairs.config.methods import METHODS
from sslpairs.config.strategies import STRATEGIES
from sslpairs.errors import UserError, nearest, shown


@dataclass(frozen=True)
class Label:
    """A base method and its pair strategies, in the order of composition."""

    base: str
    strategies: tuple[str, ...]

    def __str__(self) -> str:
        return "+".join((self.base, *self.strategies))

    @property
    def title(self) -> str:
        """Name printed in tables, for example 'BYOL + GPS'."""
        return " + ".join([METHODS[self.base].title, *(STRATEGIES[name].title for name in self.strategies)])


def meaning(strategy: str, base: str) -> Meaning:
    """Return the meaning of a base method under a pair strategy: the strategy's entry, else the method's, else the strategy's default."""
    defined = (
        STRATEGIES[strategy].meanings.get(base)
        or METHODS[base].meanings.get(strategy)
        or STRATEGIES[strategy].otherwise
    )
    return defined or Meaning(
        "refused",
        f"{STRATEGIES[strategy].title} is not defined for {METHODS[base].title}; define it in `meanings` of "
        f"src/sslpairs/config/methods/{base}.py",
    )


def parse_label(text: str) -> Label:
    """Parse a method label; strategies may be given in any order.

    Raise ``UserError`` for unknown or repeated words and for combinations without a meaning.
    """
    base, *strategies = text.split("+")
    if base not in METHODS:
        raise UserError(f"'{shown(text)}': '{shown(base)}' is not a base method{_hint('methods', base, METHODS)}")
    for name in strategies:
        if name not in STRATEGIES:
            hint = _hint("strategies", name, STRATEGIES, "pairs")
            raise UserError(f"'{shown(text)}': '{shown(name)}' is not a pair strategy{hint}")
        if strategies.count(name) > 1:
            raise UserError(f"'{shown(text)}': '{name}' is given twice; write it once")
        defined = meaning(name, base)
        if defined.status == "refused":
            raise UserError(f"'{shown(text)}' has no meaning: {defined.text}")
    return Label(base, tuple(name for name in STRATEGIES if name in strategies))


def _hint(settings: str, name: str, known: dict, tensors: str | None = None) -> str:
    tensors = tensors or settings
    if name.isidentifier() and name not in ("base", "build") and find_spec(f"sslpairs.{tensors}.{name}"):
        return f": src/sslpairs/{tensors}/{name}.py exists, but src/sslpairs/config/{settings}/{name}.py does not; write it"
    return f"{nearest(name, list(known))} ({', '.join(known)})"


def partners(strategies: Iterable[str]) -> tuple[int, str]:
    """Return how many images of a batch one process needs together under these strategies, and the reason as text for a message."""
    paired = [STRATEGIES[name] for name in strategies if STRATEGIES[name].together > 1]
    words = f", each with partners for {' and '.join(strategy.title for strategy in paired)}" if paired else ""
    return max([1, *(strategy.together for strategy in paired)]), words


def combinations_page() -> str:
    """``docs/combinations.md``: every base method under every pair strategy, as Markdown."""
    words = {"released": "released", "named": "paper", "ours": "ours", "refused": "refused"}
    lines = [
        "# Base methods and pair strategies",
        "",
        "Written by `sslpairs schema` from `src/sslpairs/config/strategies/`, which also decides which labels are accepted.",
        "",
        "**released**: as in the paper's released code. **paper**: the paper names it and released no code. **ours**: no source",
        "defines it; the definition is this project's. **refused**: has no meaning, and a label that asks for it is an error.",
        "",
        "| | " + " | ".join(strategy.title for strategy in STRATEGIES.values()) + " |",
        "|---|" + "---|" * len(STRATEGIES),
    ]
    for base, method in METHODS.items():
        cells = " | ".join(words[meaning(name, base).status] for name in STRATEGIES)
        lines.append(f"| {method.title} (`{base}`) | {cells} |")
    for name, strategy in STRATEGIES.items():
        lines += ["", f"## {strategy.title} (`{name}`)", "", "| base | | definition |", "|---|---|---|"]
        for base, method in METHODS.items():
            defined = meaning(name, base)
            lines.append(f"| {method.title} | {words[defined.status]} | {defined.text} |")
    lines += [
        "",
        "## Several strategies at once",
        "",
        "No paper defines it; the order is ours. SPPS lengthens the list of items, and GPS then chooses partners for items whose",
        "two sources are the same image. MixCo mixes the augmented, normalised views; CLAE attacks view 1 of the same batch, by",
        "the base's loss alone. The loss is (1 - w_D) * [base + w_M * mixed + w_A * adversarial] + w_D * dimensional, where for",
        "SwAV and DINO base and mixed cross entropies are averaged together. Mixed and adversarial images never reach a queue, a",
        "bank, a centre, a momentum encoder or DimCL, and each strategy draws from a random stream of its own.",
        "",
    ]
    return "\n".join(lines)
