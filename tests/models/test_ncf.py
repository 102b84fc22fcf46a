"""NCF-MLP: its score by hand, and its catalogue in parts."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from weft.models import ncf
from weft.models.ncf import Tower
from weft.models.settings import NCFSettings


def _tower(**settings: object) -> Tower:
    torch.manual_seed(0)
    return Tower(NCFSettings(width=4, layers=2, **settings)).eval()


def test_a_score_is_that_of_the_layers_on_both_vectors_one_after_the_other() -> None:
    tower, rng = _tower(), np.random.default_rng(0)
    user, item = (rng.normal(size=4).astype(np.float32) for _ in range(2))
    w = {name: tensor.numpy() for name, tensor in tower.state_dict().items()}
    first = np.concatenate([w["of_user.weight"], w["of_item.weight"]], 1) @ np.concatenate([user, item])
    first = np.maximum(first + w["of_item.bias"], 0)
    assert first.shape == (4,)
    second = np.maximum(w["inner.1.weight"] @ first + w["inner.1.bias"], 0)
    assert second.shape == (2,)
    expected = w["inner.4.weight"] @ second + w["inner.4.bias"]
    found = tower(torch.from_numpy(user)[None], torch.from_numpy(item)[None])
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-5)


def test_the_catalogue_in_parts_is_every_pair_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ncf, "_PAIRS", 12)
    tower, users, items = _tower(), torch.randn(7, 4), torch.randn(5, 4)
    each = tower(users[:, None].expand(7, 5, 4), items.expand(7, 5, 4))
    torch.testing.assert_close(tower.catalogue(users, items), each)
    assert tower.catalogue(users[:0], items).shape == (0, 5)


def test_a_width_that_cannot_be_halved_so_often_is_refused() -> None:
    with pytest.raises(ValidationError, match="cannot be halved"):
        NCFSettings(width=4, layers=4)
