"""What is searched is declared on the settings, and every value of it can be fitted with."""

from typing import Any

import pytest
from pydantic import Field

from weft.models.registry import MODELS
from weft.models.settings import HistorySettings, PopularitySettings, SASRecSettings
from weft.models.settings.search import Among, Between, among, between, space_of


@pytest.mark.parametrize("name", MODELS)
def test_every_value_that_is_searched_is_within_the_bounds_of_its_field(name: str) -> None:
    settings = MODELS[name].settings
    for field, searched in space_of(settings).items():
        tried: tuple[Any, ...] = searched.values if isinstance(searched, Among) else (searched.low, searched.high)
        assert len(set(tried)) > 1, field
        for value in tried:
            assert getattr(settings(**{field: value}), field) == value


def test_models_that_are_fitted_vary_what_matters() -> None:
    assert set(space_of(SASRecSettings)) == {
        "batch", "learning_rate", "weight_decay", "width", "dropout", "blocks",
    }  # fmt: skip
    assert space_of(SASRecSettings)["learning_rate"] == Between(3e-4, 1e-2, log=True)
    assert space_of(SASRecSettings)["width"] == Among((32, 64, 128))
    assert space_of(PopularitySettings) == {}


def test_a_field_with_another_default_stays_in_the_space_unless_it_says_otherwise() -> None:
    class Other(HistorySettings):
        dropout: float = Field(0.5, description="Another default.")
        width: int = Field(64, description="Never searched.", json_schema_extra=among())
        batch: int = Field(32, description="Searched elsewhere.", json_schema_extra=among(16, 32))
        heat: float = Field(0.1, description="Its own.", json_schema_extra=between(0.05, 0.5))

    class Further(Other):
        heat: float = Field(0.2, description="Another default again.")

    for settings in (Other, Further):
        space = space_of(settings)
        assert space["dropout"] == Between(0.0, 0.6)
        assert space["batch"] == Among((16, 32))
        assert space["heat"] == Between(0.05, 0.5)
        assert "width" not in space
        assert "length" not in space
