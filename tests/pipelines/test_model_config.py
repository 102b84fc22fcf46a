"""Run configuration of models: derived from their settings, and explaining itself."""

import dagster as dg
import pytest

from assets.model_config import config_class, settings_of
from weft.errors import RequestError
from weft.models.registry import MODELS

SASREC = MODELS["sasrec"]


def test_every_setting_of_every_model_is_a_field_that_is_left_out_by_default() -> None:
    for entry in MODELS.values():
        config = config_class(entry)()
        assert set(config_class(entry).model_fields) == set(entry.settings.model_fields)
        assert config.overrides() == {}


def test_a_description_ends_in_default_and_bounds() -> None:
    told = config_class(SASREC).model_fields["dropout"].description
    assert told is not None
    assert told.endswith(f"Default {SASREC.settings.model_fields['dropout'].default!r}, ≥ 0, < 1.")


def test_what_is_set_replaces_the_default_and_nothing_else() -> None:
    config = config_class(SASREC)(width=32, loss="binary")
    made = settings_of(SASREC, "no-such-data-set", config)
    assert (made.width, made.loss) == (32, "binary")
    assert made == SASREC.settings(width=32, loss="binary")


def test_what_was_tuned_for_a_protocol_stands_over_the_data_sets_and_rankings_say_nothing_about_pairs() -> None:
    none = config_class(SASREC)()
    ranked = settings_of(SASREC, "ml-1m", none, "leave_one_out")
    assert ranked == settings_of(SASREC, "ml-1m", none)
    assert (ranked.loss, ranked.length) == ("cross_entropy", 200)
    tuned = settings_of(SASREC, "ml-1m", none, "pointwise_collm_months")
    assert (tuned.loss, tuned.length, tuned.epochs) == ("binary", 50, 30)
    assert settings_of(SASREC, "ml-1m", none, "pointwise_time") == SASREC.settings(loss="binary", length=50, patience=5)
    given = settings_of(SASREC, "ml-1m", config_class(SASREC)(length=7), "pointwise_collm_months")
    assert given == tuned.model_copy(update={"length": 7})


def test_a_loss_that_cannot_use_labels_is_refused_under_a_pointwise_protocol_alone() -> None:
    softmax = config_class(SASREC)(loss="cross_entropy")
    assert settings_of(SASREC, "tiny", softmax, "leave_one_out").loss == "cross_entropy"
    with pytest.raises(RequestError, match="cannot use the labels of pointwise_time"):
        settings_of(SASREC, "tiny", softmax, "pointwise_time")


def test_a_value_out_of_bounds_is_refused_by_name() -> None:
    with pytest.raises(RequestError, match=r"sasrec\.dropout"):
        settings_of(SASREC, "tiny", config_class(SASREC)(dropout=2.0))


def test_the_launchpad_shows_choices_as_an_enumeration() -> None:
    @dg.op
    def fit(config: config_class(SASREC)) -> None: ...

    fields = fit.config_schema.config_type.fields
    assert set(fields) == set(SASREC.settings.model_fields)
    assert {value.config_value for value in fields["loss"].config_type.inner_type.enum_values} == {
        "cross_entropy", "sampled_softmax", "binary", "gbce",
    }  # fmt: skip
