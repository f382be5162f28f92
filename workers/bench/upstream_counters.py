"""How many tokens a server says that it has sampled: its Prometheus counter."""

from typing import Final

import click
import httpx2

_COUNTERS: Final = (
    "llamacpp:tokens_predicted_total",
    "vllm:generation_tokens_total",
    "sglang:generation_tokens_total",
)


def read_counter(url: str | None) -> float | None:
    """None without a URL. Raises ClickException when the server has no such counter."""
    if url is None:
        return None
    reply = httpx2.get(f"{url.rstrip('/')}/metrics", timeout=10.0)
    found = counter_of(reply.text) if reply.is_success else None
    if found is None:
        raise click.ClickException(f"{url}/metrics has none of {', '.join(_COUNTERS)}")
    return found


def counter_of(text: str) -> float | None:
    """The sum over a counter's labels, in Prometheus' text format."""
    values = [float(line.split()[-1]) for line in text.splitlines() if line.startswith(_COUNTERS)]
    return sum(values) if values else None
