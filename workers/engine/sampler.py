"""Chooses the next tokens of a batch. The same function on CPU and CUDA.

Randomness is a pure function of (seed, position): a counter-based generator gives one uniform
number per row, and the token is found by inverting the cumulative distribution. So a token
depends neither on the batch around it nor on preemption or resumption.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from workers.engine.thinking import BanSet, SpecialTokens

# splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014), as
# signed 64-bit integers: torch multiplies int64 modulo 2^64.
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)
GREEDY_BELOW = 1e-5  # a division by less overflows float32, and changes nothing else
_UNIFORM_BITS = 23  # (n + 0.5) / 2^23 is exact in float32, and never 0 or 1


@dataclass(frozen=True, slots=True)
class SamplingBatch:
    """Per row: `position` is that of the token to sample. `nucleus` says that a top_p is < 1."""

    temperature: Tensor  # (rows,) float32; 0 is greedy
    top_p: Tensor  # (rows,) float32
    seed: Tensor  # (rows,) int64
    position: Tensor  # (rows,) int64
    ban: Tensor  # (rows,) int64, a BanSet
    greedy: bool  # every temperature is 0
    nucleus: bool


class Sampled(NamedTuple):
    """What was drawn for each row, and how sure the model was of it.

    Log-probability and entropy are of the model's own distribution: after bans, before temperature
    and top-p. Neither is finite where the logits were not.
    """

    tokens: Tensor  # (rows,), whole numbers
    logprobs: Tensor  # (rows,) float32, nats
    entropies: Tensor  # (rows,) float32, nats, from 0 to log(vocabulary)


class Sampler:
    """Bans, temperature, top-p and the draw."""

    def __init__(self, tokens: SpecialTokens, device: torch.device) -> None:
        bans = [tokens.banned_ids(ban) for ban in BanSet]
        ids = sorted(frozenset().union(*bans))
        self._ids = torch.tensor(ids, dtype=torch.int64, device=device)
        banned = [[token in ban for token in ids] for ban in bans]
        self._banned = torch.tensor(banned, dtype=torch.bool, device=device)  # (sets, ids)
        padded = [[token if token in ban else -1 for token in ids] for ban in bans]
        self.banned_ids = torch.tensor(padded, dtype=torch.int32, device=device)  # (sets, ids)
        self.close_id = -1 if tokens.think_close_id is None else tokens.think_close_id

    def sample(self, logits: Tensor, batch: SamplingBatch) -> Sampled:
        """Draw from logits (rows, vocabulary), float32, which are overwritten."""
        self._apply_bans(logits, batch.ban)
        tokens = logits.argmax(-1)
        logprobs = logits.log_softmax(-1)
        if not batch.greedy:
            is_greedy = batch.temperature < GREEDY_BELOW
            temperature = batch.temperature.masked_fill(is_greedy, 1.0)
            probs = (logprobs / temperature[:, None]).softmax(-1)
            if batch.nucleus:
                probs = keep_nucleus(probs, batch.top_p)
            drawn = draw(probs, uniform(batch.seed, batch.position))
            tokens = torch.where(is_greedy, tokens, drawn)
        chosen = logprobs.gather(1, tokens[:, None])[:, 0]
        return Sampled(tokens, chosen, entropy(logprobs))

    def nucleus_floors(
        self, logits: Tensor, ban: Tensor, temperature: Tensor, top_p: Tensor
    ) -> Tensor:
        """The least logit of each row's nucleus, (rows,); -inf where top_p is 1 or more."""
        logits = logits.to(torch.float32, copy=True)
        self._apply_bans(logits, ban)
        descending = logits.sort(-1, descending=True).values
        temperature = temperature.masked_fill(temperature < GREEDY_BELOW, 1.0)
        probs = (descending / temperature[:, None]).softmax(-1)
        floors = descending.gather(1, _count_nucleus(probs, top_p) - 1)[:, 0]
        return floors.masked_fill(top_p >= 1, float("-inf"))

    def _apply_bans(self, logits: Tensor, ban: Tensor) -> None:
        columns = logits.index_select(1, self._ids)
        columns.masked_fill_(self._banned.index_select(0, ban), float("-inf"))
        logits.index_copy_(1, self._ids, columns)


def uniform(seed: Tensor, position: Tensor) -> Tensor:
    """One number in (0, 1) per row, from int64 seed and position alone."""
    state = _mix(seed) + (position + 1) * _GOLDEN
    bits = _shift_right(_mix(state), 64 - _UNIFORM_BITS)
    return (bits.to(torch.float32) + 0.5) * 2.0**-_UNIFORM_BITS


def draw(probs: Tensor, uniform: Tensor) -> Tensor:
    """Invert the cumulative distribution of unnormalised `probs` (rows, vocabulary)."""
    cumulative = probs.cumsum(-1)
    target = uniform[:, None] * cumulative[:, -1:]
    # The first entry that reaches a positive target has a positive probability.
    # Where the sum is not finite there is none, and the index is past the vocabulary.
    return torch.searchsorted(cumulative, target)[:, 0].clamp_(max=probs.shape[1] - 1)


def entropy(logprobs: Tensor) -> Tensor:
    """Entropy in nats, (rows,), of normalised log-probabilities (rows, vocabulary)."""
    finite = logprobs.clamp(min=torch.finfo(logprobs.dtype).min)  # -inf times 0 is NaN
    return finite.mul_(logprobs.exp()).sum(-1).neg_()


def keep_nucleus(probs: Tensor, top_p: Tensor) -> Tensor:
    """Zero all but the smallest set of most likely tokens that holds `top_p` (ties stay)."""
    descending = probs.sort(-1, descending=True).values
    threshold = descending.gather(1, _count_nucleus(descending, top_p) - 1)
    return probs.masked_fill(probs < threshold, 0.0)


def _count_nucleus(descending: Tensor, top_p: Tensor) -> Tensor:
    """How many of the most likely tokens hold `top_p`, (rows, 1), at least one."""
    mass_before = descending.cumsum(-1) - descending
    return (mass_before < top_p[:, None]).sum(-1, keepdim=True).clamp_(min=1)


def _mix(state: Tensor) -> Tensor:
    state = (state ^ _shift_right(state, 30)) * _MIX_1
    state = (state ^ _shift_right(state, 27)) * _MIX_2
    return state ^ _shift_right(state, 31)


def _shift_right(value: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64, which torch shifts arithmetically."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
