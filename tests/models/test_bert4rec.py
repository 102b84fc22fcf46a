"""BERT4Rec beyond the contract that every model passes (tests/models/test_contracts.py)."""

import numpy as np
import pytest
import torch

from tests.models import by_hand
from weft.models.bert4rec import BERT4RecNetwork
from weft.models.settings import BERT4RecSettings


def _module(**settings: object) -> BERT4RecNetwork:
    torch.manual_seed(0)
    small = {"width": 8, "length": 4, "heads": 2, "blocks": 2, "feedforward": 2, "dropout": 0.0}
    return BERT4RecNetwork(BERT4RecSettings(**{**small, **settings}), n_items=9)


def _state_by_hand(module: BERT4RecNetwork, history: list[int]) -> np.ndarray:
    """The last position of two blocks in which everybody sees everybody; the mask stands at the end."""
    of = by_hand.values(module)
    vectors = [*(of["items.weight"][item] for item in history), of["mask"]]
    first = len(of["positions.weight"]) - len(vectors)
    x = [np.sqrt(8) * vector + of["positions.weight"][first + place] for place, vector in enumerate(vectors)]
    everybody = [list(range(len(x)))] * len(x)
    for name in ("blocks.0.", "last_block."):
        x = by_hand.block(by_hand.part(of, name), x, heads=2, seen=everybody)
    return by_hand.norm(of, "norm", x[-1])


def test_the_answer_is_the_state_of_a_mask_after_the_last_item_worked_out_by_hand() -> None:
    module = _module().eval()
    with torch.no_grad():
        states = module.encode(torch.tensor([[3, 5, 3, 7], [2, 9, 0, 0], [0, 0, 0, 0]]), torch.tensor([4, 2, 0]))
    for state, history in zip(states, ([3, 5, 3, 7], [2, 9], []), strict=True):
        np.testing.assert_allclose(state, _state_by_hand(module, history), rtol=1e-4, atol=1e-5)


def test_hiding_the_last_item_alone_is_training_on_exactly_what_is_asked_later() -> None:
    module = _module()
    last = torch.tensor([[False, False, False, True], [False, True, False, False]])
    module.hidden = lambda lengths, time: (lengths, last)  # type: ignore[method-assign]
    loss = module(torch.tensor([[3, 5, 7], [8, 0, 0]]), torch.tensor([[5, 7, 1], [2, 0, 0]]))
    logits = module.scores(torch.tensor([[3, 5, 7], [8, 0, 0]]), torch.tensor([3, 1]))[:, 1:]
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1])))


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_hidden_item_is_predicted_from_both_sides_and_never_from_itself(blocks: int) -> None:
    module, hidden = _module(blocks=blocks), torch.tensor([[False, True, False]])

    def state(first: int, middle: int, last: int) -> torch.Tensor:
        return module.through(*module.masked(torch.tensor([[first, middle, last]]), torch.tensor([3]), hidden))[0, 1]

    torch.testing.assert_close(state(3, 5, 7), state(3, 6, 7))
    assert not torch.allclose(state(3, 5, 7), state(4, 5, 7))
    assert not torch.allclose(state(3, 5, 7), state(3, 5, 8))


def test_the_share_that_is_asked_for_is_hidden_and_of_every_history_something() -> None:
    torch.manual_seed(0)
    module, lengths = _module(mask=0.25, last=0.0), torch.full((4000,), 40)
    left, hidden = module.hidden(lengths, 50)
    assert torch.equal(left, lengths)
    assert not hidden[:, 40:].any()
    assert abs(hidden[:, :40].float().mean().item() - 0.25) < 0.01
    assert module.hidden(torch.ones(1000, dtype=torch.long), 3)[1].tolist() == [[True, False, False]] * 1000


def test_a_share_of_the_histories_ends_at_any_place_and_hides_its_last_item_alone() -> None:
    torch.manual_seed(0)
    left, hidden = _module(mask=0.5, last=0.3).hidden(torch.full((9000,), 30), 30)
    cut = (hidden.sum(1) == 1) & hidden[torch.arange(9000), left - 1]
    assert abs(cut.float().mean().item() - 0.3) < 0.02
    assert (left[~cut] == 30).all()
    places = torch.bincount(left[cut], minlength=31)
    assert places[0] == 0
    assert (places[1:] > 40).all()  # 90 expected of each


def test_padding_changes_no_state() -> None:
    module = _module().eval()
    alone = module.encode(torch.tensor([[3, 5]]), torch.tensor([2]))
    padded = module.encode(torch.tensor([[3, 5, 0, 0], [1, 2, 3, 4]]), torch.tensor([2, 4]))
    torch.testing.assert_close(alone[0], padded[0])
