"""Settings of a tuning: CIT-Rec's numbers, bounds, and no torch."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from weft.tuning.settings import TuningSettings


def test_the_defaults_are_those_of_the_paper():
    settings = TuningSettings()
    assert (settings.rank, settings.alpha, settings.dropout) == (8, 32, 0.1)
    assert (settings.learning_rate, settings.weight_decay) == (3e-4, 1e-4)
    assert (settings.epochs, settings.patience, settings.batch) == (5, 2, 128)


@pytest.mark.parametrize(
    "wrong", [{"rank": 0}, {"dropout": 1.0}, {"modules": ()}, {"average": 0.9}, {"recompute": "sometimes"}, {"r": 8}]
)
def test_what_is_out_of_bounds_is_refused(wrong):
    with pytest.raises(ValidationError):
        TuningSettings(**wrong)


def test_every_field_says_what_it_is():
    assert all(field.description for field in TuningSettings.model_fields.values())


def test_settings_are_read_without_torch():
    code = "import sys, weft.tuning.settings; sys.exit('torch' in sys.modules or 'peft' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
