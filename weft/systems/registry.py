"""Which systems there are, by what they are judged, and in which variants they come. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

FULL = "full"

Part = Literal["user_token", "item_tokens", "titles", "pictures", "fit", "language_model"]
"""What a variant may do without."""


OUTCOMES: Mapping[str, str] = MappingProxyType({"ranking": "rankings", "pointwise": "scored_pairs"})
"""What is made under protocols of each kind."""


@dataclass(frozen=True)
class Variant:
    """A system with a part left out or replaced.

    Attributes:
        about: What it is, for people.
        without: The parts that it does without.
    """

    about: str
    without: tuple[Part, ...] = ()

    def has(self, part: Part) -> bool:
        """Whether the part is in it."""
        return part not in self.without


@dataclass(frozen=True)
class System:
    """One published system.

    Attributes:
        name: Name in every table, and of its asset group.
        title: Title for people, with its source.
        kind: Of the protocols that it works under.
        protocol: Its headline.
        untimed: The protocol in its place for data without times; empty where there is none.
        listwise: A ranking protocol that it works under as well, one among a few; empty where there is none.
        variants: Its variants by name; ``full`` is the whole.
    """

    name: str
    title: str
    kind: Literal["ranking", "pointwise"]
    protocol: str
    untimed: str
    listwise: str
    variants: Mapping[str, Variant]

    @property
    def outcomes(self) -> Mapping[str, str]:
        """Names of the tables that it makes, by kind of protocol."""
        kinds = {self.kind, *(["ranking"] if self.listwise else [])}
        return {kind: name for kind, name in OUTCOMES.items() if kind in kinds}


SYSTEMS: Mapping[str, System] = MappingProxyType(
    {
        "cit_rec": System(
            "cit_rec",
            "CIT-Rec (Li et al. 2026): a user token and item tokens in the prompt of a LoRA-tuned language model",
            "pointwise",
            "pointwise_time",
            "paper_tallrec_blocks",
            "paper_candidates_20",
            MappingProxyType(
                {
                    FULL: Variant("the whole system"),
                    "without_user": Variant("no user token", ("user_token",)),
                    "without_image": Variant("item tokens of texts alone", ("pictures",)),
                    "without_text_title": Variant("item tokens in the place of titles", ("titles",)),
                    "text_only": Variant(
                        "titles alone, no token of a vector: TALLRec (Bao et al. 2023) in the same prompts",
                        ("user_token", "item_tokens"),
                    ),
                    "zero_shot": Variant(
                        "nothing is trained: the model reasons, then answers (Kojima et al. 2022)",
                        ("user_token", "item_tokens", "fit"),
                    ),
                    "plain_network": Variant(
                        "a two-layer network on the same vectors in the place of the language model",
                        ("language_model",),
                    ),
                }
            ),
        )
    }
)

VARIANTS = tuple(dict.fromkeys([FULL, *(name for system in SYSTEMS.values() for name in system.variants)]))
"""Names of all variants of all systems."""
