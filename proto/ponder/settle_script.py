"""What the ledger hands to settle.lua, and the settings that both go by."""

import json
from dataclasses import dataclass

from ponder import bins, keys
from ponder.charges import charge_arguments, spent_of
from ponder.corrections import MAX_SHIFT
from ponder.counts import Totals
from ponder.outcomes import MILLIONTHS, Outcome
from ponder.settlement import Settlement, usage_to_dict


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerConfig:
    """Times in seconds. A settlement older than `settled_life_s` can no longer be told from new.

    `correction_step` is the weight of one outcome in the correction of its tier. The larger, the
    sooner it follows and the more it wavers: at rest with a standard deviation of about
    sqrt(step / 2) on the logit, 0.03 on a promised miss rate of 0.1. Where needs double in
    `ponder bench online`, coverage is 0.98 before and, 251 to 500 requests later, 0.92 with a step
    of 0.05, 0.95 with 0.2, and 0.96 with 0.4, which reserves a tenth more than 0.2. A correction
    fades by `correction_fade` with each decision on a tier above it.
    """

    timeout_s: float = 0.25
    settled_life_s: int = 7 * 86_400
    window_s: int = 3_600
    num_windows: int = 24
    max_traces: int = 100_000
    trace_life_s: int = 30 * 86_400
    correction_step: float = 0.2
    correction_fade: float = 0.002

    def window(self, time_s: float) -> int:
        """Start of the window that holds the time, unix seconds."""
        return int(time_s // self.window_s) * self.window_s

    def windows(self, now_s: float) -> list[int]:
        """Starts of the windows that have not faded, newest first."""
        newest = self.window(now_s)
        return [newest - age * self.window_s for age in range(self.num_windows)]


def script_keys(record: Settlement, config: LedgerConfig) -> list[str]:
    """KEYS, in the order of the script."""
    model, version, tenant = record.model, record.classifier_version, record.tenant
    window = config.window(record.finished_at_s)
    return [
        keys.settled(model, tenant, record.request_id),
        keys.totals(model, tenant),
        keys.counts(model, version, tenant, window),
        keys.counts(model, version, None, window),
        keys.outcomes(model, version, tenant, window),
        keys.outcomes(model, version, None, window),
        keys.corrections(model, version, tenant),
        keys.traces(model),
        keys.uncharged(model),
        keys.changed(model),
    ]


def script_arguments(record: Settlement, config: LedgerConfig) -> list[str | int]:
    """ARGV, in the order of the script."""
    life_s = config.num_windows * config.window_s
    arguments: list[str | int] = [
        json.dumps(usage_to_dict(record.usage), separators=(",", ":")),
        config.settled_life_s,
        config.window(record.finished_at_s) + life_s,
        config.max_traces,
        config.trace_life_s,
        record.to_json(),
        *_need_arguments(record),
        *_outcome_arguments(Outcome.of(record), config),
        life_s,
        *charge_arguments(spent_of(record)),
        change_member(record.classifier_version, record.tenant),
    ]
    for field, increment in Totals.of(record.usage).to_hash().items():
        arguments += [field, increment]
    return arguments


def change_member(version: str, tenant: str) -> str:
    """The name that changes of these counts and corrections are told by, see ponder/changes.py."""
    return json.dumps([version, tenant])


def _need_arguments(record: Settlement) -> list[int]:
    outcome = record.usage.thinking_tokens, record.budget_tokens, record.stop
    event_bin = bins.event_bin(*outcome)
    return [
        record.predicted_bin or 0,
        0 if record.predicted_bin is None else bins.num_at_risk_bins(*outcome),
        -1 if event_bin is None else event_bin,
    ]


def _outcome_arguments(outcome: Outcome | None, config: LedgerConfig) -> list[str | int]:
    surprise = outcome.missed - outcome.expected if outcome else 0.0
    return [
        int(outcome.tier) if outcome else 0,
        int(outcome.missed) if outcome else 0,
        round(outcome.expected * MILLIONTHS) if outcome else 0,
        repr(config.correction_step * surprise),
        repr(MAX_SHIFT),
        repr(config.correction_fade),
    ]
