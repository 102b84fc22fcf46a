"""What every network that learns all positions of a history at once must keep."""

import pytest
import torch

from tests.models import contracts as c
from weft.models.history import CausalNetwork, HistoryModel
from weft.models.registry import MODELS

CAUSAL = [
    name
    for name, entry in MODELS.items()
    if issubclass(entry.load_class(), HistoryModel) and issubclass(entry.load_class().network, CausalNetwork)
]


@pytest.mark.parametrize("name", CAUSAL)
def test_the_state_that_answers_a_query_is_the_one_that_was_learnt(name: str) -> None:
    torch.manual_seed(0)
    model = c.build(name)
    assert isinstance(model, HistoryModel)
    network = model.made_for(c.cycle()).eval()
    assert isinstance(network, CausalNetwork)
    inputs, lengths = torch.tensor([[3, 1, 4, 1], [2, 7, 0, 0], [0, 0, 0, 0]]), torch.tensor([4, 2, 0])
    learnt = network.states(inputs, lengths)[torch.arange(3), torch.tensor([3, 1, 0])]
    torch.testing.assert_close(network.encode(inputs, lengths), learnt)
