"""Projections are the same however their weights lie in memory."""

import pytest
import torch
import torch.nn.functional as F

from workers.engine.models.linear import add_projection, lay_out, project

INPUTS = 96
SIZES = pytest.mark.parametrize("outputs", [24, 1024, 1000, 1536])
TOKENS = pytest.mark.parametrize("tokens", [1, 3, 130])


def random(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(len(shape))) - 0.5


@SIZES
@TOKENS
@pytest.mark.parametrize("has_bias", [False, True])
def test_a_projection_is_that_of_the_plain_weight(outputs, tokens, has_bias):
    inputs, weight = random(tokens, INPUTS), random(outputs, INPUTS)
    bias = random(outputs) if has_bias else None

    projected = project(inputs, lay_out(weight), bias)

    torch.testing.assert_close(projected, F.linear(inputs, weight, bias))
    assert projected.is_contiguous()


@SIZES
@TOKENS
def test_a_projection_is_added_in_place(outputs, tokens):
    inputs, weight, hidden = (
        random(tokens, INPUTS),
        random(outputs, INPUTS),
        random(tokens, outputs),
    )
    expected = hidden + F.linear(inputs, weight)

    add_projection(hidden, inputs, lay_out(weight))

    torch.testing.assert_close(hidden, expected)


def test_only_weights_of_many_outputs_lie_in_blocks():
    assert lay_out(random(1024, INPUTS)).shape == (4, INPUTS, 256)
    assert lay_out(random(512, INPUTS)).shape == (512, INPUTS)
    assert lay_out(random(1000, INPUTS)).shape == (1000, INPUTS)


@pytest.mark.parametrize("outputs", [8, 1024])
def test_no_tokens_have_projections_too(outputs):
    """A step of prefill chunks that do not end wants no logits."""
    weight, hidden = lay_out(torch.randn(outputs, 16)), torch.zeros(0, outputs)

    add_projection(hidden, torch.zeros(0, 16), weight)

    assert project(torch.zeros(0, 16), weight).shape == hidden.shape == (0, outputs)
