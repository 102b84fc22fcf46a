"""Which systems there are, by what they are judged, and in which variants they come. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

FULL = "full"


@dataclass(frozen=True)
class System:
    """One published system.

    Attributes:
        name: Name in every table, and of its asset group.
        title: Title for people, with its source.
        kind: Of the protocols that it works under.
        protocol: Its headline.
        untimed: The protocol in its place for data without times; empty where there is none.
        variants: What each variant leaves out or replaces, by name; ``full`` is the whole.
    """

    name: str
    title: str
    kind: Literal["ranking", "pointwise"]
    protocol: str
    untimed: str
    variants: Mapping[str, str]


SYSTEMS: Mapping[str, System] = MappingProxyType(
    {
        "cit_rec": System(
            "cit_rec",
            "CIT-Rec (Li et al. 2026): a user token and item tokens in the prompt of a LoRA-tuned language model",
            "pointwise",
            "pointwise_time",
            "paper_tallrec_blocks",
            MappingProxyType(
                {
                    FULL: "the whole system",
                    "without_user": "no user token",
                    "without_image": "item tokens of texts alone",
                    "without_text_title": "item tokens in the place of titles",
                    "text_only": "titles alone, no token of a vector: TALLRec (Bao et al. 2023) in the same prompts",
                    "zero_shot": "nothing is trained: the model reasons, then answers (Kojima et al. 2022)",
                    "plain_network": "a two-layer network on the same vectors in the place of the language model",
                }
            ),
        )
    }
)

VARIANTS = tuple(dict.fromkeys([FULL, *(name for system in SYSTEMS.values() for name in system.variants)]))
"""Names of all variants of all systems."""
