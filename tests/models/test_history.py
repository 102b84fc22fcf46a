"""What every network that learns all positions of a history at once must keep."""

import numpy as np
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


@pytest.mark.parametrize("name", ["sasrec", "gru4rec"])
def test_every_target_counts_alike_however_many_its_batch_has(name: str) -> None:
    rng = np.random.default_rng(0)
    lengths = [2] * 6 + [9] * 3 + [4]  # batches of three histories have 3 to 24 targets
    train = c.events([rng.integers(1, c.N_ITEMS, length).tolist() for length in lengths])

    def gradient(batch: int) -> tuple[torch.Tensor, int]:
        """Of the item vectors, over an epoch in which they hardly move; and its number of steps."""
        steps: list[torch.Tensor] = []
        model = c.build(name, batch=batch, length=9, epochs=1, dropout=0.0, weight_decay=0.0, learning_rate=1e-9)
        assert isinstance(model, HistoryModel)
        made = model.made_for(train)
        made.items.weight.register_post_accumulate_grad_hook(lambda weight: steps.append(weight.grad.clone()))
        model.made_for = lambda _: made  # type: ignore[method-assign]
        torch.manual_seed(0)
        made.load_state_dict({key: 0.1 * torch.randn_like(value) for key, value in made.state_dict().items()})
        model.fit(train, None, c.runtime())
        return torch.stack(steps).sum(0), len(steps)

    (whole, one), (parts, several) = gradient(batch=10), gradient(batch=3)
    assert (one, several) == (1, 4)
    torch.testing.assert_close(parts / several, whole, rtol=1e-4, atol=1e-6)
