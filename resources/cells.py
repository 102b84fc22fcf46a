"""Which cells a run makes. Dagster's partition is the data set; protocol, variant, profile and seed come from here."""

from collections.abc import Callable

import dagster as dg
from pydantic import Field, field_validator

from resources.data_source import DataSource
from resources.profiles import PROFILES, Profile, load
from weft.cells import Cell
from weft.evaluation.protocols import Protocol, headline, protocol
from weft.systems.registry import FULL, SYSTEMS, VARIANTS


class Cells(dg.ConfigurableResource):
    """The cells of a run: every combination of what is listed."""

    data_source: dg.ResourceDependency[DataSource]
    protocols: list[str] = Field(
        default=[], description="Names of protocols; none means the headline of the data set, and that of each system."
    )
    variants: list[str] = Field(
        default=[FULL], description=f"Variants of each system, of those that it has: {', '.join(VARIANTS)}."
    )
    seeds: list[int] = Field(default=[0], description="Seeds of everything that is drawn.")
    profile: str = Field(default="offline", description=f"Which models and sizes: {', '.join(PROFILES)}.")

    @field_validator("variants")
    @classmethod
    def _variants_exist(cls, variants: list[str]) -> list[str]:
        if not variants or set(variants) - set(VARIANTS):
            raise ValueError(f"give at least one variant; there is {', '.join(VARIANTS)}")
        return variants

    @field_validator("profile")
    @classmethod
    def _profile_exists(cls, profile: str) -> str:
        if profile not in PROFILES:
            raise ValueError(f"there is no profile {profile!r}; choose from {', '.join(PROFILES)}")
        return profile

    @field_validator("seeds")
    @classmethod
    def _counted_from_zero(cls, seeds: list[int]) -> list[int]:
        if not seeds or min(seeds) < 0:
            raise ValueError("give at least one seed, from 0")
        return seeds

    def of(self, dataset: str) -> list[Cell]:
        """The cells of plain models on one data set, which come in no variants.

        Raises:
            RequestError: If a protocol or the data set is unknown.
        """
        return [
            Cell(dataset, self.protocol(dataset, name).name, self.profile, FULL, seed)
            for name in self.protocols or [self.headline(dataset)]
            for seed in self.seeds
        ]

    def of_system(self, name: str, dataset: str) -> list[Cell]:
        """The cells of one of ``SYSTEMS``: the protocols of the run that it works under, in the variants that it has.

        Its headline where the run names no protocol; nothing where the data set has nothing to judge it by.
        """
        return [
            Cell(dataset, protocol, self.profile, variant, seed)
            for protocol in self._judged_by(name, dataset)
            for variant in self.variants
            if variant in SYSTEMS[name].variants
            for seed in self.seeds
        ]

    def of_states(self, dataset: str) -> list[Cell]:
        """The cells of users' states before each judged row: one per protocol of a system that judges, and seed."""
        protocols = dict.fromkeys(
            protocol
            for name, system in SYSTEMS.items()
            if system.kind == "pointwise"
            for protocol in self._judged_by(name, dataset)
        )
        return [Cell(dataset, protocol, self.profile, seed=seed) for protocol in protocols for seed in self.seeds]

    def of_aligned(self, dataset: str) -> list[Cell]:
        """The cells of what is fitted on the items alone: one per seed."""
        return [Cell(dataset, profile=self.profile, seed=seed) for seed in self.seeds]

    def _judged_by(self, name: str, dataset: str) -> list[str]:
        """The protocols that a system works under in this run."""
        system, spec = SYSTEMS[name], self.data_source.spec(dataset)
        named = self.protocols or [own for own in [system.protocol if spec.has_times else system.untimed] if own]
        rated = spec.has_ratings or system.kind != "pointwise"
        return [
            rule
            for rule in named
            if rule == system.listwise or (rated and self.protocol(dataset, rule).kind == system.kind)
        ]

    def of_items(self, dataset: str) -> Cell:
        """The cell of what is made of each item alone: one per data set and profile."""
        return Cell(dataset, profile=self.profile)

    def of_intents(self, dataset: str) -> list[Cell]:
        """The cells of what a language model infers from sessions (LLM4SBR): one per session protocol of the run.

        The headline ``sessions`` where the run names none; nothing where the data set has no times to cut at.
        """
        return self._of_texts(dataset, lambda rule: rule.grouped_by == "session", "sessions")

    def of_assessments(self, dataset: str) -> list[Cell]:
        """The cells of what it says of labelled pairs (SCoRe): one per pointwise protocol of the run.

        The headline ``pointwise_time`` where the run names none; nothing where the data set has no ratings or times.
        """
        rated = self.data_source.spec(dataset).has_ratings
        return self._of_texts(dataset, lambda rule: rule.kind == "pointwise", "pointwise_time") if rated else []

    def _of_texts(self, dataset: str, fits: Callable[[Protocol], bool], headline: str) -> list[Cell]:
        if not self.data_source.spec(dataset).has_times:
            return []
        named = [name for name in self.protocols if fits(self.protocol(dataset, name))]
        return [Cell(dataset, name, self.profile) for name in named or [headline]]

    def models(self) -> Profile:
        """The profile of the run."""
        return load(self.profile)

    def headline(self, dataset: str) -> str:
        """The protocol that the data set is judged by."""
        return headline(comes_split=self.data_source.spec(dataset).comes_split)

    def protocol(self, dataset: str, name: str) -> Protocol:
        """The protocol ``name`` with the rules that the data set sets for it."""
        return protocol(name, self.data_source.spec(dataset).protocols.get(name))

    def rule(self, cell: Cell) -> Protocol:
        """The protocol of a cell, with the rules that its data set sets for it."""
        return self.protocol(cell.dataset, str(cell.protocol))
