"""LightGCN, SGL and XSimGCL: dense matrices written from the papers' equations against the sparse graph."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from tests.models import contracts as c
from weft.data.sequences import Events
from weft.models.collaborative import Head
from weft.models.interaction_graph import InteractionGraph
from weft.models.lightgcn import LightGCNNetwork
from weft.models.settings import LightGCNSettings, SGLSettings, XSimGCLSettings
from weft.models.sgl import SGLNetwork
from weft.models.xsimgcl import XSimGCLNetwork
from weft.training.interactions import InteractionBatches

# One user takes item 2 twice; one more user has no event, item 5 was never taken. By item the edges stand in another
# order than by user.
TRAIN = c.events([[3, 2, 2], [2, 1, 4], [4]], n_items=5)
EDGES = [(1, 2), (1, 3), (2, 1), (2, 2), (2, 4), (3, 4)]
BATCH = (torch.tensor([1, 2, 2]), torch.tensor([[1, 3], [4, 1], [3, 1]]), torch.tensor([[1.0, 0.0]] * 3))


def _adjacency(edges: list[tuple[int, int]]) -> np.ndarray:
    """D^-1/2 A D^-1/2 over users 0 to 4 and items 0 to 5 (LightGCN eq. 8)."""
    a = np.zeros((11, 11))
    for user, item in edges:
        a[user, 5 + item] = a[5 + item, user] = 1
    degree = np.maximum(a.sum(1), 1)
    return a / np.sqrt(degree[:, None] * degree)


def _network(kind: type, settings: LightGCNSettings, train: Events = TRAIN) -> LightGCNNetwork:
    torch.manual_seed(0)
    return kind(settings, train, Head())


def _free(network: LightGCNNetwork) -> np.ndarray:
    return np.concatenate([network.users.weight.detach(), network.items.weight.detach()])


def _contrast(one: np.ndarray, other: np.ndarray, temperature: float) -> float:
    """InfoNCE row by row, from its definition."""
    one, other = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (one, other))
    near = np.exp(one @ other.T / temperature)
    return float(np.mean([-np.log(near[i, i] / near[i].sum()) for i in range(len(near))]))


def _bpr(nodes: np.ndarray) -> float:
    user, item, _ = (part.numpy() for part in BATCH)
    scores = (nodes[user][:, None] * nodes[5 + item]).sum(2)
    return float(np.mean(np.log1p(np.exp(scores[:, 1] - scores[:, 0]))))


def test_the_graph_spreads_as_the_dense_matrix_does_and_so_does_its_gradient() -> None:
    graph = InteractionGraph(TRAIN)
    x = torch.randn(11, 3, dtype=torch.float32, requires_grad=True)
    dense = torch.from_numpy(_adjacency(EDGES)).float()
    torch.testing.assert_close(graph(x, graph.weights()), dense @ x)
    gradient = torch.randn(11, 3)
    (found,) = torch.autograd.grad(graph(x, graph.weights()), x, gradient)
    torch.testing.assert_close(found, dense.t() @ gradient)


def test_edges_left_out_count_in_no_degree_and_the_rest_as_if_they_had_never_been() -> None:
    graph = InteractionGraph(TRAIN)
    kept = torch.tensor([1.0, 0, 1, 1, 0, 1])
    left = [edge for edge, there in zip(EDGES, kept.tolist(), strict=True) if there]
    x = torch.randn(11, 3)
    torch.testing.assert_close(graph(x, graph.weights(kept)), torch.from_numpy(_adjacency(left)).float() @ x)


def test_of_labelled_events_what_was_liked_is_an_edge() -> None:
    labelled = replace(TRAIN, label=np.array([1, 0, 0, 1, 0, 1, 1], np.float32))
    graph, x = InteractionGraph(labelled), torch.randn(11, 3)
    dense = torch.from_numpy(_adjacency([(1, 3), (2, 2), (2, 4), (3, 4)])).float()
    torch.testing.assert_close(graph(x, graph.weights()), dense @ x)


def test_lightgcn_scores_the_mean_of_all_layers_the_free_vectors_among_them() -> None:
    network = _network(LightGCNNetwork, LightGCNSettings(width=4, layers=2))
    a, x = _adjacency(EDGES), _free(network)
    expected = (x + a @ x + a @ a @ x) / 3
    found = torch.cat(network.vectors()).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert network(*BATCH).item() == pytest.approx(_bpr(expected), rel=1e-5)


def test_sgl_adds_the_contrast_of_two_views_of_the_users_and_items_of_the_batch() -> None:
    network = _network(SGLNetwork, SGLSettings(width=4, layers=1, edge_dropout=0.4, contrast=0.3, temperature=0.5))
    draws = torch.tensor([[1, 1, 0, 1, 1, 1], [1, 0, 1, 1, 1, 1]], dtype=torch.float32)
    views = iter(draws)
    network.some_edges = lambda: network.graph.weights(next(views))  # type: ignore[method-assign]
    x = _free(network)
    one, other = ((x + _adjacency([e for e, there in zip(EDGES, kept, strict=True) if there]) @ x) / 2
                  for kept in draws.tolist())  # fmt: skip
    users, items = [1, 2], [5 + item for item in (1, 3, 4)]
    contrast = sum(_contrast(one[rows], other[rows], 0.5) for rows in (users, items))
    plain = _bpr((x + _adjacency(EDGES) @ x) / 2)
    assert network(*BATCH).item() == pytest.approx(plain + 0.3 * contrast, rel=1e-5)


def test_sgl_leaves_out_the_share_of_edges_that_is_set_anew_each_time() -> None:
    many = c.events([list(range(1, 101))] * 50, n_items=100)
    network = _network(SGLNetwork, SGLSettings(width=2, edge_dropout=0.3), many)
    one, other = network.some_edges(), network.some_edges()
    assert (one == 0).float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert not torch.equal(one, other)


def test_xsimgcl_leaves_the_free_vectors_out_and_contrasts_the_mean_with_one_layer() -> None:
    settings = XSimGCLSettings(width=4, layers=2, noise=0.0, contrast=0.3, temperature=0.5, contrasted=1)
    network = _network(XSimGCLNetwork, settings)
    a, x = _adjacency(EDGES), _free(network)
    alone = (a.sum(1) == 0)[:, None]
    early, final = a @ x, np.where(alone, x, (a @ x + a @ a @ x) / 2)
    np.testing.assert_allclose(torch.cat(network.vectors()).detach().numpy(), final, rtol=1e-5, atol=1e-6)
    users, items = [1, 2], [5 + item for item in (1, 3, 4)]
    contrast = sum(_contrast(final[rows], early[rows], 0.5) for rows in (users, items))
    assert network(*BATCH).item() == pytest.approx(_bpr(final) + 0.3 * contrast, rel=1e-5)


def test_xsimgcls_noise_has_its_length_keeps_signs_and_is_gone_when_it_answers() -> None:
    network = _network(XSimGCLNetwork, XSimGCLSettings(width=4, layers=1, noise=0.2, contrasted=1))
    torch.manual_seed(0)
    noisy = network.layers(network.weight)[0]
    clean = network.eval().layers(network.weight)[0]
    torch.testing.assert_close(clean, network.layers(network.weight)[0])
    lengths = (noisy - clean).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, 0.2))
    assert (F.cosine_similarity(noisy, clean) > 0).all()
    assert torch.equal(noisy.sign(), clean.sign())


def test_a_layer_that_there_is_not_cannot_be_contrasted() -> None:
    with pytest.raises(ValidationError, match="is no layer of 2"):
        XSimGCLSettings(layers=2, contrasted=3)


def test_xsimgcl_can_learn_of_a_user_who_likes_nothing() -> None:
    liked = np.array([1.0, 1, 1, 1, 1, 1, 0], np.float32)
    train = replace(c.events([[3, 2, 2], [2, 1, 4], [4]], n_items=5), label=liked)  # the last user's only label: no
    network = _network(XSimGCLNetwork, XSimGCLSettings(width=4, layers=2, noise=0.0, loss="binary"), train).eval()
    users, items = network.vectors()
    torch.testing.assert_close(users[3], network.users.weight[3])
    loss = F.binary_cross_entropy_with_logits(users[3] @ items[4], torch.tensor(0.0))
    (gradient,) = torch.autograd.grad(loss, network.users.weight)
    assert gradient[3].abs().min() > 0


def test_sgls_contrast_does_not_drown_the_loss_of_the_scores_when_a_fit_begins() -> None:
    """At forty times the gradient, short vectors and ten times the weight, nothing is learnt of MovieLens-100K."""
    rng = np.random.default_rng(0)
    chance = 1 / np.arange(1, 301) ** 0.7
    chance /= chance.sum()
    train = c.events([(rng.choice(300, 60, replace=False, p=chance) + 1).tolist() for _ in range(200)], n_items=300)
    batch, _ = next(InteractionBatches(train, 1024, 0, 1).epoch(0))
    gradients = []
    for contrast in (0.0, SGLSettings().contrast):
        network = _network(SGLNetwork, SGLSettings(contrast=contrast), train)
        torch.manual_seed(1)
        network(*batch).backward()
        assert network.users.weight.grad is not None
        gradients.append(network.users.weight.grad)
    assert 0 < (gradients[1] - gradients[0]).norm() / gradients[0].norm() < 5
