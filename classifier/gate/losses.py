"""Are the candidate's curves as likely as the champion's: on all rows, and on strange prompts."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from classifier.errors import ClassifierError
from classifier.evaluate import row_log_losses
from classifier.features import NUM_LEXICAL
from classifier.gate.contest import Contender, Contest
from classifier.gate.report import Check
from classifier.gate.resampling import Interval, mean_interval
from classifier.gate.rows import LoggedRows

STRANGE_SHARE: Final = 0.1

Judged = tuple[Contender, Contender, LoggedRows]
"""Candidate and champion on the same rows."""


def check_sharpness(contest: Contest) -> Check:
    """Log-loss, exact under right-censoring: refused when it is certainly above the champion's."""
    return _check(
        "sharpness",
        contest.candidate,
        contest.champion,
        contest.rows,
        remedy="its curves fit the requests worse than the champion's: train it on more traces, "
        "and look whether their budgets and stops are right",
    )


def check_out_of_domain(contest: Contest, foreign: LoggedRows | None) -> Check:
    """The same on prompts of other kinds, or without any on the held-out rows that are least like
    those that train; and every prediction is a probability.
    """
    try:
        candidate, champion, rows = _on_foreign(contest, foreign) if foreign else _strange(contest)
    except ClassifierError as error:
        return Check.of("out of domain", passed=False, remedy=str(error))
    return _check(
        "out of domain",
        candidate,
        champion,
        rows,
        remedy="on prompts unlike most it is worse than the champion: train it on traces of such "
        "prompts too, or with a smaller C",
    )


def _on_foreign(contest: Contest, foreign: LoggedRows) -> Judged:
    """Raises ClassifierError."""
    candidate = Contender.of(contest.candidate.served, foreign.data)
    return candidate, Contender.of(contest.champion.served, foreign.data), foreign


def _strange(contest: Contest) -> Judged:
    usual = contest.background if len(contest.background) else contest.rows
    chosen = is_strange(contest.data.features, usual.data.features)
    return (
        contest.candidate.rows(chosen),
        contest.champion.rows(chosen),
        contest.rows.rows(chosen),
    )


def is_strange(features: NDArray[np.float32], usual: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The STRANGE_SHARE of rows whose lexical features are furthest from the usual ones.

    By Mahalanobis distance, with a ridge as some features never vary. Source: P. C. Mahalanobis
    (1936), "On the Generalised Distance in Statistics".
    """
    lexical, known = features[:, :NUM_LEXICAL].astype(float), usual[:, :NUM_LEXICAL].astype(float)
    spread = known.std(axis=0) + 1e-3
    offsets = (lexical - known.mean(axis=0)) / spread
    covariance = np.cov(known / spread, rowvar=False) + 1e-3 * np.eye(NUM_LEXICAL)
    distances = np.einsum("ij,ij->i", offsets @ np.linalg.inv(covariance), offsets)
    strange = np.zeros(len(features), dtype=np.bool_)
    strange[np.argsort(distances)[-max(1, int(len(features) * STRANGE_SHARE)) :]] = True
    return strange


def _check(
    name: str, candidate: Contender, champion: Contender, rows: LoggedRows, *, remedy: str
) -> Check:
    losses, difference = _losses(candidate, champion, rows)
    return Check.of(
        name,
        passed=difference.low <= 0.0,  # false for NaN
        remedy=remedy,
        candidate=f"log-loss {losses[0]:.3f}",
        champion=f"log-loss {losses[1]:.3f}",
        limit=f"difference {difference}: not above 0",
        figures={
            "candidate_log_loss": losses[0],
            "champion_log_loss": losses[1],
            "difference": difference.estimate,
            "low": difference.low,
            "high": difference.high,
            "rows": len(rows),
        },
    )


def _losses(
    candidate: Contender, champion: Contender, rows: LoggedRows
) -> tuple[tuple[float, float], Interval]:
    own, other = (row_log_losses(c.hazards, rows.data) for c in (candidate, champion))
    means = float(own.mean()), float(other.mean())
    return means, mean_interval(own - other, rows.prompts)
