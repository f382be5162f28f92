"""The options that `ask` and `plan` share, turned into a connection and a request."""

import functools
import sys
from collections.abc import Callable
from typing import Any, Final

import click

from ponder.cli import variables
from ponder.cli.client import Connection
from ponder.cli.processes import DEFAULT_PORT
from ponder.v1 import reasoner_pb2
from ponder.v1.budget_pb2 import Sampling, Tier

TIERS = ("simple", "moderate", "complex", "research")
_TIER = click.Choice(TIERS, case_sensitive=False)
_INT32_MAX = 2**31 - 1

target_option: Final = click.option(
    "--target",
    default=f"127.0.0.1:{DEFAULT_PORT}",
    envvar=variables.TARGET,
    show_default=True,
    show_envvar=True,
    metavar="HOST:PORT",
    help="Where the router listens.",
)
tls_option: Final = click.option(
    "--tls-dir",
    envvar=variables.TLS_DIR,
    show_envvar=True,
    default="",
    metavar="DIR",
    help="Call by TLS: folder with ca.crt, and tls.crt and tls.key where the router asks.",
)

_OPTIONS: tuple[Callable[[Callable[..., None]], Callable[..., None]], ...] = (
    click.argument("question"),
    target_option,
    click.option("--api-key", envvar=variables.API_KEY, show_envvar=True, help="The tenant's key."),
    tls_option,
    click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(0, min_open=True),
        default=120.0,
        show_default=True,
        metavar="SECONDS",
        help="The call's deadline; thinking is cut so that an answer still fits.",
    ),
    click.option(
        "--budget",
        type=click.IntRange(0, _INT32_MAX),
        metavar="N",
        help="Think at most N tokens; decides before --tier.",
    ),
    click.option("--tier", type=_TIER, help="Think as much as this tier allows."),
    click.option("--max-tier", type=_TIER, help="Neither decide on nor escalate above this tier."),
    click.option(
        "--coverage",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        metavar="P",
        help="Probability with which an automatic budget should suffice.  [router's default: 0.9]",
    ),
    click.option(
        "--worth",
        "worth_tokens",
        type=click.IntRange(0, _INT32_MAX),
        metavar="N",
        help="Think on only while one more finished request costs at most N thinking tokens, "
        "as predicted; 0: whatever it costs.  [router's default: 0]",
    ),
    click.option(
        "--max-answer-tokens",
        type=click.IntRange(1, _INT32_MAX),
        metavar="N",
        help="Cut the answer at N tokens.",
    ),
    click.option(
        "--temperature",
        type=click.FloatRange(0),
        help="0 is greedy.  [default: the model's own]",
    ),
    click.option("--seed", type=click.IntRange(0, 2**64 - 1), help="The same again, exactly."),
)


def request_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options; the command is called with `connection` and `request` in their place."""

    @functools.wraps(command)
    def with_request(**options: Any) -> None:
        connection = Connection(
            target=options.pop("target"),
            api_key=options.pop("api_key"),
            tls_dir=options.pop("tls_dir"),
            timeout_s=options.pop("timeout_s"),
        )
        command(connection=connection, request=_take_request(options), **options)

    decorated: Callable[..., None] = with_request
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def _take_request(options: dict[str, Any]) -> reasoner_pb2.ReasonRequest:
    max_answer_tokens = options.pop("max_answer_tokens")
    return reasoner_pb2.ReasonRequest(
        prompt=_prompt(options.pop("question")),
        thinking_budget=options.pop("budget"),
        tier=_tier(options.pop("tier")),
        max_tier=_tier(options.pop("max_tier")),
        coverage=options.pop("coverage"),
        worth_tokens=options.pop("worth_tokens"),
        max_answer_tokens=max_answer_tokens or 0,
        sampling=Sampling(temperature=options.pop("temperature"), seed=options.pop("seed")),
    )


def _prompt(question: str) -> str:
    """`-` reads standard input. Arguments that are not UTF-8 arrive as lone surrogates."""
    try:
        if question == "-":
            return sys.stdin.buffer.read().decode().rstrip("\r\n")
        return question.encode().decode()
    except UnicodeError as error:
        raise click.BadParameter("is not UTF-8 text", param_hint="QUESTION") from error


def _tier(name: str | None) -> Tier.ValueType | None:
    return Tier.Value(f"TIER_{name.upper()}") if name else None
