import numpy as np
import pytest
import torch

from workers.engine import SpecialTokens
from workers.engine.sampler import Sampler, SamplingBatch, keep_nucleus, uniform
from workers.engine.thinking import BanSet

TOKENS = SpecialTokens(eos_ids=frozenset({2}), think_open_id=3, think_close_id=4)
DRAWS = 20_000
# Upper 0.1 % points of the chi-square distribution, by degrees of freedom.
CRITICAL = {2: 13.82, 10: 29.59}


def sample(logits, *, temperature=1.0, top_p=1.0, ban=BanSet.THINK, seed=0):
    """Tokens and logprobs of `logits` (rows, vocabulary), row i at position i."""
    rows = len(logits)
    batch = SamplingBatch(
        temperature=torch.full((rows,), temperature),
        top_p=torch.full((rows,), top_p),
        seed=torch.full((rows,), seed),
        position=torch.arange(rows),
        ban=torch.full((rows,), int(ban)),
        greedy=temperature == 0,
        nucleus=top_p < 1,
    )
    return Sampler(TOKENS, torch.device("cpu")).sample(logits.clone(), batch)


def some_logits(vocabulary=12):
    return torch.randn(vocabulary, generator=torch.Generator().manual_seed(3)) * 1.5


def assert_fits(tokens, probs):
    """Chi-square of the observed counts at the 0.1 % level; the draws are a fixed sequence."""
    expected = probs.double() * len(tokens)
    observed = torch.bincount(tokens, minlength=len(probs)).double()
    possible = expected > 0
    assert observed[~possible].sum() == 0
    statistic = ((observed - expected)[possible] ** 2 / expected[possible]).sum()
    assert statistic < CRITICAL[int(possible.sum()) - 1]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("seed", [0, 1, -(2**63), 2**63 - 1])
def test_tokens_follow_the_softmax(temperature, seed):
    logits = some_logits()
    logits[3] = float("-inf")  # the id that THINK bans

    tokens = sample(logits.expand(DRAWS, -1), temperature=temperature, seed=seed).tokens

    assert_fits(tokens, torch.softmax(logits / temperature, -1))


def test_top_p_keeps_the_smallest_set_that_holds_the_mass():
    logits = torch.log(torch.tensor([0.4, 0.3, 0.0, 0.0, 0.0, 0.2, 0.1]))

    tokens = sample(logits.expand(DRAWS, -1), top_p=0.75).tokens

    assert_fits(tokens, torch.tensor([4 / 9, 3 / 9, 0, 0, 0, 2 / 9, 0]))


def test_the_nucleus_never_loses_the_most_likely_token():
    probs = torch.tensor([[0.9, 0.1]])

    assert keep_nucleus(probs, torch.tensor([1e-6])).tolist() == [[pytest.approx(0.9), 0.0]]


def test_greedy_takes_the_most_likely_token_and_its_log_probability():
    logits = some_logits()

    tokens, logprobs, _ = sample(logits[None], temperature=0.0, ban=BanSet.ANSWER)

    allowed = logits.clone()
    allowed[[3, 4]] = float("-inf")
    assert tokens.item() == allowed.argmax()
    assert logprobs.item() == pytest.approx(allowed.log_softmax(-1).max().item())


@pytest.mark.parametrize("ban", list(BanSet))
@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"temperature": 2.0, "top_p": 0.5}])
def test_the_entropy_is_of_the_models_own_distribution_after_bans(ban, settings):
    logits = torch.randn(30, 50, generator=torch.Generator().manual_seed(2)) * 4
    logits[:, 7] = float("-inf")  # the model's own, not a ban

    entropies = sample(logits, ban=ban, **settings).entropies

    allowed = logits.clone()
    allowed[:, list(TOKENS.banned_ids(ban))] = float("-inf")
    expected = torch.distributions.Categorical(logits=allowed).entropy()
    assert torch.allclose(entropies, expected, atol=1e-5)


def test_the_entropy_goes_from_nothing_to_that_of_the_whole_vocabulary():
    logits = torch.zeros(2, 12)
    logits[0, [index for index in range(12) if index != 6]] = float("-inf")

    certain, open_to_all = sample(logits).entropies.tolist()

    assert certain == 0
    assert open_to_all == pytest.approx(np.log(11))  # one id is banned


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_show_in_log_probability_and_entropy(value):
    logits = torch.zeros(2, 12)
    logits[1, 6] = value

    _, logprobs, entropies = sample(logits)

    assert logprobs.isfinite().tolist() == [True, False]
    assert entropies.isfinite().tolist() == [True, False]


@pytest.mark.parametrize("temperature", [1e-3, 1e-6, 1e-38])
def test_a_tiny_temperature_is_as_good_as_greedy(temperature):
    logits = torch.randn(20, 12, generator=torch.Generator().manual_seed(5)) * 3

    cold = sample(logits, temperature=temperature).tokens

    assert torch.equal(cold, sample(logits, temperature=0.0)[0])


@pytest.mark.parametrize("ban", list(BanSet))
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_banned_id_is_never_chosen(ban, temperature):
    logits = torch.zeros(500, 6)
    logits[:, [2, 3, 4]] = 30.0

    tokens = sample(logits, temperature=temperature, ban=ban).tokens

    assert not set(tokens.tolist()) & TOKENS.banned_ids(ban)


def test_a_row_does_not_depend_on_its_batch():
    logits = torch.randn(8, 50, generator=torch.Generator().manual_seed(1))
    together = sample(logits).tokens
    batch = SamplingBatch(
        temperature=torch.ones(1),
        top_p=torch.ones(1),
        seed=torch.zeros(1, dtype=torch.int64),
        position=torch.tensor([5]),
        ban=torch.zeros(1, dtype=torch.int64),
        greedy=False,
        nucleus=False,
    )

    alone = Sampler(TOKENS, torch.device("cpu")).sample(logits[5:6].clone(), batch).tokens

    assert alone[0] == together[5]


def test_the_generator_is_splitmix64():
    def mix(state: int) -> int:
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        return state ^ state >> 31

    seeds, positions = [0, 1, -5, 2**62], [0, 7, 100, 9999]
    golden = 0x9E3779B97F4A7C15
    expected = [
        ((mix((mix(s % 2**64) + (p + 1) * golden) % 2**64) >> 41) + 0.5) / 2**23
        for s, p in zip(seeds, positions, strict=True)
    ]

    assert uniform(torch.tensor(seeds), torch.tensor(positions)).tolist() == expected


def test_neighbouring_seeds_and_positions_are_independent():
    numbers = uniform(torch.arange(200).repeat_interleave(200), torch.arange(200).repeat(200))
    grid = numbers.view(200, 200).numpy()

    assert abs(np.corrcoef(grid[:-1].ravel(), grid[1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(grid[:, :-1].ravel(), grid[:, 1:].ravel())[0, 1]) < 0.02
