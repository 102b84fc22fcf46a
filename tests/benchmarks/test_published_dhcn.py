"""S²-DHCN as published: what it learns from, and which of its epochs are told."""

import numpy as np
import pytest
import torch

from benchmarks.last_click import RULES
from benchmarks.published_dhcn import (
    PUBLISHED,
    LastClickDHCN,
    LastClickNetwork,
    as_published,
    fitted,
    told,
    without_last,
)
from benchmarks.speed.data import Split
from tests.evaluation.events import interactions
from tests.models import contracts as c
from weft.data.sequences import Events
from weft.evaluation.protocols import protocol
from weft.models.dhcn import DHCN, DHCNNetwork, contrast
from weft.models.hypergraph import Hypergraph
from weft.training.runtime import Runtime

TRAIN = c.events([[1, 2, 3], [4], [2, 5]], n_items=6)
SMALL = PUBLISHED.model_copy(update={"width": 8, "epochs": 2, "length": 10})


def test_the_last_click_of_every_session_is_left_out_of_the_graph() -> None:
    kept = without_last(TRAIN)
    assert list(zip(kept.user.tolist(), kept.item.tolist(), strict=True)) == [(1, 1), (1, 2), (3, 2)]
    made = LastClickDHCN(SMALL).made_for(TRAIN)
    assert made.graph.items.tolist() == [1, 2, 2]


def test_the_loss_is_that_of_the_last_target_and_the_contrast_of_the_last_state_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "randperm", lambda n, device=None: torch.arange(n - 1, -1, -1, device=device))
    torch.manual_seed(0)
    inputs, lengths = torch.tensor([[1, 2, 4], [2, 0, 0]]), torch.tensor([3, 1])
    last = torch.tensor([[0, 0, 3], [5, 0, 0]])
    graph = Hypergraph.of(TRAIN)
    ours = LastClickNetwork(SMALL, TRAIN.n_items, graph)
    plain = DHCNNetwork(SMALL.model_copy(update={"contrast": 0.0}), TRAIN.n_items, graph)
    plain.load_state_dict(ours.state_dict())
    lines = ours.line_states(inputs).detach()
    expected = plain(inputs, last) + SMALL.contrast * contrast(plain.encode(inputs, lengths), lines)
    found = ours(inputs, last)
    torch.testing.assert_close(found, expected)
    expected.backward()
    found.backward()
    torch.testing.assert_close(ours.items.weight.grad, plain.items.weight.grad)


def _sessions() -> Split:
    visits = [(user, 1 + (user + step) % 4, 600 * user + step) for user in range(1, 21) for step in range(4)]
    return Split(protocol(RULES).split(interactions(visits).lazy()).collect(), n_users=20, n_items=4)


@pytest.mark.parametrize("kind", [LastClickDHCN, DHCN])
def test_every_epoch_is_told_on_the_test_and_on_validation_where_that_is_held_out(kind: type[DHCN]) -> None:
    learnt_from = []

    class Watched(kind):  # type: ignore[misc,valid-type]
        def made_for(self, train: Events) -> DHCNNetwork:
            learnt_from.append(len(np.unique(train.user)))
            return super().made_for(train)

    made = _sessions()
    alone, beside = (fitted(Watched(SMALL), made, learnt, 0) for learnt in (("train", "validation"), ("train",)))
    assert learnt_from == [18, 16]  # nine tenths of twenty sessions; nine tenths of those
    assert [set(epoch) for epoch in alone] == [{"test"}] * 2
    assert [set(epoch) for epoch in beside] == [{"test", "validation"}] * 2
    assert all(np.isfinite(list(part.values())).all() for epoch in beside for part in epoch.values())


def test_another_seed_is_another_fit_and_the_same_seed_the_same() -> None:
    models = [LastClickDHCN(SMALL) for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        fitted(model, _sessions(), ("train",), seed)
    first, again, other = (model.module.items.weight for model in models)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_the_rate_falls_to_a_tenth_every_three_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rates = LastClickDHCN(SMALL.model_copy(update={"epochs": 7})), []
    model.module = model.made_for(TRAIN)

    def step(self: torch.optim.Adam) -> None:
        rates.append((self.param_groups[0]["lr"], self.param_groups[0]["weight_decay"]))

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    as_published(model, model.batches(TRAIN, 0), Runtime(device="cpu"), lambda: 0.0)
    assert [rate for rate, _ in rates] == pytest.approx([1e-3] * 3 + [1e-4] * 3 + [1e-5])
    assert {decay for _, decay in rates} == {1e-5}


def test_the_best_of_each_metric_is_of_the_test_and_the_chosen_epoch_of_validation() -> None:
    epochs = [
        {"test": {"p": 0.3, "mrr": 0.1}, "validation": {"ndcg10": 0.2}},
        {"test": {"p": 0.2, "mrr": 0.2}, "validation": {"ndcg10": 0.4}},
        {"test": {"p": 0.1, "mrr": 0.1}, "validation": {"ndcg10": 0.3}},
    ]
    found = told(epochs)
    assert found["best_on_test"] == {"p": 0.3, "mrr": 0.2}
    assert found["chosen"] == {"p": 0.2, "mrr": 0.2}
    assert "chosen" not in told([{"test": epoch["test"]} for epoch in epochs])
