"""Whether thinking stops early in front of this server, by which rules, and why not."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from workers.config import WorkerConfig
from workers.early_exit import ExitRules
from workers.early_exit.rules import FILE_NAME
from workers.upstream.capabilities import Capabilities
from workers.upstream.dialects import Call, Piece
from workers.upstream.errors import UpstreamTrouble, UpstreamUnusable
from workers.upstream.markers import Markers
from workers.upstream.token_source import read_event
from workers.upstream.vocabulary import Vocabulary
from workers.upstream.wire import Wire

NUM_LIKELY: Final = 5
"""Of so many tokens a server tells the log-probabilities; all servers tell that many."""
_TRIAL_SHARE: Final = 4  # one trial beside so many requests, as in the engine


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPlan:
    """`fed_ids`: what a trial is fed after the thinking. `max_trials`: at once, of all requests."""

    rules: ExitRules
    fed_ids: tuple[int, ...]
    max_trials: int


def plan_trials(
    config: WorkerConfig,
    wire: Wire,
    found: Capabilities,
    markers: Markers,
    vocabulary: Vocabulary,
) -> tuple[TrialPlan | None, str]:
    """The trials, None when thinking does not stop early; and a line for people that says why.

    Raises UpstreamUnusable when early exit was asked for and the server lacks something, and
    EarlyExitFileError when the model's rules cannot be used.
    """
    if config.early_exit == "off":
        return None, "early exit: off, by WORKER_EARLY_EXIT"
    rules = None if config.model_dir is None else ExitRules.load(config.model_dir)
    if rules is None and config.early_exit == "auto":
        return None, f"early exit: off, {_no_rules(config)}"
    for lack in _lacks(wire, found, markers):
        if config.early_exit == "on":
            raise UpstreamUnusable(f"WORKER_EARLY_EXIT: {lack}; leave it or change the server")
        return None, f"early exit: off, {lack}"
    source = "the default rules" if rules is None else f"{config.model_dir}/{FILE_NAME}"
    rules = rules or ExitRules()
    trial_ids = vocabulary.encode_text(rules.trial_text) if rules.trial_text else ()
    plan = TrialPlan(
        rules=rules,
        fed_ids=(*markers.close_ids, *trial_ids),
        max_trials=max(1, _at_once(config, found) // _TRIAL_SHARE),
    )
    caches = (
        "caches prefixes" if found.caches_prefixes else "does not tell whether it caches prefixes"
    )
    return plan, (
        f"early exit: on, by {source}; the server tells log-probabilities and {caches}; "
        f"trials at once: {plan.max_trials}, beside requests: {max_requests(config, found, plan)}"
    )


def _no_rules(config: WorkerConfig) -> str:
    if config.model_dir is None:
        return f"{FILE_NAME} would be in WORKER_MODEL_DIR, which is not set"
    return f"{config.model_dir} has no {FILE_NAME}; `ponder calibrate` writes one"


def max_requests(config: WorkerConfig, found: Capabilities, plan: TrialPlan | None) -> int:
    """How many requests run at once: trials take places that the server would give to requests."""
    at_once = _at_once(config, found)
    if plan is None or found.max_running is None:
        return at_once
    return min(at_once, found.max_running - plan.max_trials)


def _at_once(config: WorkerConfig, found: Capabilities) -> int:
    return min(config.max_running, found.max_running or config.max_running)


def _lacks(wire: Wire, found: Capabilities, markers: Markers) -> Iterator[str]:
    """What trials need and this server does not have."""
    if found.max_running == 1:
        yield "the server runs one request at once: a trial would wait for its thinking to end"
    if found.caches_prefixes is False:
        yield "the server caches no prefixes: each trial would compute the thinking once more"
    try:
        told = _first_piece(wire, found, markers)
    except UpstreamTrouble as error:
        yield f"the server tells no log-probabilities: {error}"
    else:
        if told is None or not told.odds:
            yield "the server tells no log-probabilities"


def _first_piece(wire: Wire, found: Capabilities, markers: Markers) -> Piece | None:
    """One token, asked for as a trial asks."""
    call = Call(
        prompt_ids=markers.close_ids,
        max_tokens=1,
        temperature=0.0,
        top_p=1.0,
        seed=0,
        bans_end=True,
        num_likely=NUM_LIKELY,
    )
    reader = found.dialect.reader(call)
    for event in wire.ask_events(found.dialect.path, found.dialect.body(call)):
        for item in read_event(reader, event):
            if isinstance(item, Piece):
                return item
    return None
