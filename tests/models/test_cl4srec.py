"""CL4SRec beyond the contract that every model passes (tests/models/test_contracts.py)."""

import numpy as np
import torch

from weft.models.cl4srec import CL4SRecNetwork, ContrastivePairLoss, crop, mask, reorder
from weft.models.settings import CL4SRecSettings
from weft.training.pairs import PairLoss

INPUTS = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15, 0, 0, 0, 0, 0], [16] + [0] * 9])
LENGTHS = torch.tensor([10, 5, 1])
HISTORIES = [list(range(1, 11)), list(range(11, 16)), [16]]


def _module(**settings: object) -> CL4SRecNetwork:
    torch.manual_seed(0)
    small = {"width": 8, "length": 10, "blocks": 1, "dropout": 0.0}
    return CL4SRecNetwork(CL4SRecSettings(**{**small, **settings}), n_items=16)


def _often(way, share: float, times: int = 60) -> list[list[list[int]]]:
    """What a way makes of the three histories, many times; nothing but padding stands beyond the lengths."""
    torch.manual_seed(0)
    made = []
    for _ in range(times):
        items, lengths = way(INPUTS, LENGTHS, share)
        assert items.shape == INPUTS.shape
        assert all(not row[n:].any() for row, n in zip(items, lengths, strict=True))
        made.append([row[:n].tolist() for row, n in zip(items, lengths, strict=True)])
    return made


def test_cropping_keeps_one_piece_of_the_asked_length_from_anywhere() -> None:
    starts = set()
    for rows in _often(crop, 0.5):
        assert [len(row) for row in rows] == [5, 2, 1]
        assert all(row == list(range(row[0], row[0] + len(row))) for row in rows)
        starts.add(rows[0][0])
    assert starts == {1, 2, 3, 4, 5, 6}


def test_masking_hides_the_asked_number_of_items_anywhere_and_keeps_the_others_in_place() -> None:
    hidden = set()
    for rows in _often(mask, 0.45):
        assert [row.count(0) for row in rows] == [4, 2, 0]
        for row, history in zip(rows, HISTORIES, strict=True):
            assert all(new in (0, old) for new, old in zip(row, history, strict=True))
        hidden |= {place for place, item in enumerate(rows[0]) if item == 0}
    assert hidden == set(range(10))


def test_reordering_shuffles_one_piece_and_leaves_the_rest() -> None:
    moved = set()
    for rows in _often(reorder, 0.4):
        for row, history, piece in zip(rows, HISTORIES, (4, 2, 0), strict=True):
            assert sorted(row) == history
            places = [place for place, (new, old) in enumerate(zip(row, history, strict=True)) if new != old]
            assert not places or places[-1] - places[0] < piece
        moved |= {place for place, item in enumerate(rows[0], 1) if item != place}
    assert moved == set(range(1, 11))


def test_each_history_is_changed_in_one_of_the_three_ways_drawn_for_each() -> None:
    module, copies = _module(crop=0.5, mask=0.5, reorder=1.0), 300
    items, lengths = module.changed(INPUTS[:1].expand(copies, -1), LENGTHS[:1].expand(copies))
    cropped, masked = lengths == 5, (items == 0).any(1) & (lengths == 10)
    shares = [kind.float().mean().item() for kind in (cropped, masked, ~cropped & ~masked)]
    assert all(abs(share - 1 / 3) < 0.1 for share in shares), shares


def test_the_contrastive_loss_is_that_of_cosines_in_both_directions_worked_out_by_hand() -> None:
    module = _module(temperature=0.5, contrast=2.0)
    module.changed = lambda inputs, lengths: (inputs % next(divisors), lengths)  # type: ignore[method-assign]
    divisors = iter([17, 7])
    a = module.encode(INPUTS[:2], LENGTHS[:2]).detach().double().numpy()
    b = module.encode(INPUTS[:2] % 7, LENGTHS[:2]).detach().double().numpy()
    likeness = a @ b.T / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1) / 0.5
    losses = [np.log(np.exp(row).sum()) - row[own] for way in (likeness, likeness.T) for own, row in enumerate(way)]
    found = module.contrast(INPUTS, LENGTHS).item()  # the history of one item takes no part
    np.testing.assert_allclose(found, 2.0 * np.mean(losses), rtol=1e-4)
    assert abs(np.mean(losses[:2]) - np.mean(losses[2:])) > 0.01, "both directions are alike here"


def test_both_losses_are_trained_and_one_history_alone_has_nothing_to_be_told_from() -> None:
    plain, both = _module(contrast=0.0), _module(contrast=1.0)
    targets = INPUTS.roll(-1, 1) * (INPUTS > 0)
    torch.manual_seed(1)
    assert both(INPUTS, targets) > plain(INPUTS, targets) + 0.01
    torch.testing.assert_close(both(INPUTS[:1], targets[:1]), plain(INPUTS[:1], targets[:1]))


def test_labelled_pairs_are_learnt_with_the_contrast_of_their_histories() -> None:
    module = _module(contrast=1.0)
    module.changed = lambda inputs, lengths: (inputs, lengths)  # type: ignore[method-assign]
    batch = (INPUTS, LENGTHS, torch.tensor([0, 1, 1]), torch.tensor([3, 4, 5]), torch.tensor([1.0, 0.0, 1.0]))
    torch.testing.assert_close(
        ContrastivePairLoss(module)(*batch), PairLoss(module)(*batch) + module.contrast(INPUTS, LENGTHS)
    )
