"""A rollout is a small state: every change of it keeps it valid, and garbage is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.rollout import FILES, Change, Rollout, RolloutError

A, B, C = (digit * 16 for digit in "abc")
SHARES = st.floats(min_value=0.0001, max_value=0.5)


def as_read(rollout: Rollout) -> dict[bytes, bytes]:
    return {name.encode(): str(value).encode() for name, value in rollout.to_hash().items()}


def test_promote_and_roll_back():
    first = Rollout().promoted(A, 1.0)
    second = first.promoted(B, 2.0)
    back = second.rolled_back(3.0)

    assert (first.champion, first.previous) == (A, FILES)
    assert (second.champion, second.previous, second.promoted_at_s) == (B, A, 2.0)
    assert (back.champion, back.previous, back.promoted_at_s) == (A, "", 3.0)
    with pytest.raises(RolloutError, match="promote a version by name"):
        back.rolled_back(4.0)


def test_back_to_the_files():
    assert Rollout().promoted(A, 1.0).rolled_back(2.0).champion == FILES


def test_a_version_plays_one_part():
    canary = Rollout().promoted(A, 1.0).with_shadow(B).with_canary(B, 0.1)

    assert (canary.canary, canary.shadow) == (B, "")
    assert canary.with_shadow(B).canary == ""
    assert canary.promoted(B, 2.0) == Rollout(
        champion=B, previous=A, promoted_at_s=2.0, canary="", canary_share=0.0
    )
    assert [canary.stage(version) for version in (A, B, C)] == ["champion", "canary", ""]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.promoted(A, 1.0), "champion already"),
        (lambda r: r.with_canary(A, 0.1), "decides already"),
        (lambda r: r.with_shadow(A), "decides already"),
        (lambda r: r.with_canary(B, 0.0), "above 0, up to 0.5"),
        (lambda r: r.with_canary(B, 0.51), "above 0, up to 0.5"),
        (lambda r: r.with_canary(B, float("nan")), "above 0, up to 0.5"),
        (lambda r: r.with_canary("../etc", 0.1), "no version"),
        (lambda r: r.promoted("", 1.0), "no version"),
        (lambda r: r.without_canary(), "no canary"),
        (lambda r: r.without_shadow(), "no shadow"),
    ],
)
def test_changes_that_make_no_sense_are_refused(change, message):
    with pytest.raises(RolloutError, match=message):
        change(Rollout(champion=A))


@given(SHARES, st.integers(0, 1 << 40), st.text(max_size=20), st.floats(0, 4e9))
def test_what_is_written_is_read(share, revision, reason, time_s):
    rollout = Rollout(
        revision=revision,
        champion=A,
        previous=FILES,
        canary=B,
        canary_share=share,
        shadow=C,
        reason=reason,
        promoted_at_s=time_s,
    )

    assert Rollout.from_hash(as_read(rollout)) == rollout
    change = Change.to(rollout, "canary")
    assert Change.from_json(change.to_json().encode()) == change


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("champion", "newest"),
        ("champion", ""),
        ("canary", "A" * 16),
        ("canary_share", "0.9"),
        ("canary_share", "0"),
        ("canary_share", "-0.1"),
        ("canary_share", "inf"),
        ("canary_share", "much"),
        ("revision", "-1"),
        ("revision", "1.5"),
        ("previous", "x"),
        ("shadow", "\udcff"),
    ],
)
def test_a_field_that_cannot_be_right_is_named(name, value):
    found = as_read(Rollout(champion=A, canary=B, canary_share=0.1))
    found[name.encode()] = value.encode(errors="surrogateescape")

    with pytest.raises(RolloutError, match=name):
        Rollout.from_hash(found)


@given(st.dictionaries(st.binary(max_size=12), st.binary(max_size=12)))
def test_garbage_is_one_error(found):
    with pytest.raises(RolloutError):
        Rollout.from_hash(found)


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b"null", b'{"revision": 1}', b"\xff"])
def test_a_history_line_of_another_making_is_left_out(line):
    assert Change.from_json(line) is None
