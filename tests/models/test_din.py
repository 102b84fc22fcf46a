"""DIN: its score by hand, what an item of the history adds, and that it learns from labels alone."""

import numpy as np
import pytest
import torch

from tests.models import contracts as c
from weft.errors import RequestError
from weft.models import din
from weft.models.din import DIN, DINNetwork
from weft.models.settings import DINSettings


def _network() -> DINNetwork:
    torch.manual_seed(0)
    return DINNetwork(DINSettings(width=4, hidden=3, length=4), n_items=6).eval()


def _expected(network: DINNetwork, history: list[int], item: int) -> float:
    w = {name: tensor.numpy() for name, tensor in network.state_dict().items()}

    def prelu(x: np.ndarray, slope: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, slope * x)

    asked, interest = w["items.weight"][item], np.zeros(4)
    for each in w["items.weight"][history]:
        unit = w["of_history.weight"] @ each + w["of_item.weight"] @ asked + w["of_item.bias"]
        unit = prelu(unit + w["of_both.weight"] @ (each * asked), w["activation.0.weight"])
        interest = interest + (w["activation.1.weight"] @ unit + w["activation.1.bias"]) * each
    hidden = w["judge.1.weight"] @ np.concatenate([interest, asked, interest * asked]) + w["judge.1.bias"]
    return float((w["judge.4.weight"] @ prelu(hidden, w["judge.2.weight"]) + w["judge.4.bias"])[0])


def test_a_score_weighs_each_item_of_the_history_against_the_candidate() -> None:
    network = _network()
    with torch.no_grad():
        network.items.weight[1:].normal_()  # as drawn they are small, and a wrong sum would hardly show
        found = network.pair_scores(
            torch.tensor([[3, 5, 2], [4, 0, 0], [0, 0, 0]]), torch.tensor([3, 1, 0]),
            torch.tensor([0, 0, 1, 2]), torch.tensor([1, 6, 1, 1]),
        )  # fmt: skip
    pairs = ([3, 5, 2], 1), ([3, 5, 2], 6), ([4], 1), ([], 1)
    np.testing.assert_allclose(found, [_expected(network, *pair) for pair in pairs], rtol=1e-4, atol=1e-6)


def test_the_catalogue_in_parts_is_every_pair_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(din, "_PAIRS", 10)
    network, inputs, lengths = _network(), torch.tensor([[3, 5], [4, 0]]), torch.tensor([2, 1])
    with torch.no_grad():
        scores = network.scores(inputs, lengths)
        for row, item in ((0, 1), (0, 6), (1, 1), (1, 5)):
            pair = network.pair_scores(inputs, lengths, torch.tensor([row]), torch.tensor([item]))
            torch.testing.assert_close(scores[row, item], pair[0])
    assert scores.shape == (2, 7)


def test_without_labels_it_is_refused_before_any_work() -> None:
    with pytest.raises(RequestError, match="labelled pairs alone"):
        DIN(DINSettings(width=4)).fit(c.cycle(), None, c.runtime())
