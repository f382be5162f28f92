"""What the server is and offers, found out by asking it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from workers.upstream.dialects import Dialect
from workers.upstream.errors import Missing, UpstreamTrouble, UpstreamUnusable
from workers.upstream.llama_cpp import LlamaCpp
from workers.upstream.sglang import Sglang
from workers.upstream.vllm import Vllm
from workers.upstream.wire import Json, Wire

_YES_OR_NO: Final = MappingProxyType({None: "not told", True: "yes", False: "no"})
_VLLM_PREFIX_CACHING: Final = re.compile(
    r'^vllm:cache_config_info\{.*\benable_prefix_caching="(True|False)"', re.MULTILINE
)
_SERVER_INFO: Final = ("/server_info", "/get_server_info")  # newer and older SGLang


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """None: the server does not tell. `reserved_texts` are special tokens it does tell.

    `caches_prefixes`: equal beginnings of prompts are computed once.
    """

    dialect: Dialect
    model: str
    version: str
    max_model_len: int | None
    max_running: int | None
    vocab_size: int | None
    caches_prefixes: bool | None
    reserved_texts: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"{self.dialect.name} {self.version}, model {self.model}",
            f"context {_told(self.max_model_len, 'tokens')}, "
            f"at once {_told(self.max_running, 'requests')}, "
            f"vocabulary {_told(self.vocab_size, 'tokens')}",
            f"token ids in and out: {self.dialect.path}; budget: the limit of the first of two "
            f"calls; prefixes cached: {_YES_OR_NO[self.caches_prefixes]}",
        ]


def detect(wire: Wire, model: str | None) -> Capabilities:
    """Asks a server what it is. `model` None: the only one that it serves.

    Raises UpstreamUnusable when it is not there or of no known kind.
    """
    try:
        cards = {card["id"]: card for card in wire.ask("/v1/models")["data"]}
        card = cards[_choose(list(cards), model, wire.url)]
        for find in (_llama_cpp, _sglang, _vllm):
            if (found := find(wire, card)) is not None:
                return found
    except UpstreamTrouble as error:
        raise UpstreamUnusable(f"WORKER_UPSTREAM_URL: {wire.url}: {error}") from error
    except (LookupError, TypeError) as error:
        raise UpstreamUnusable(
            f"WORKER_UPSTREAM_URL: {wire.url} answers as no known server does: {error!r}"
        ) from error
    raise UpstreamUnusable(
        f"WORKER_UPSTREAM_URL: {wire.url} has none of /props (llama.cpp), /server_info (SGLang) "
        "and /version (vLLM): other servers do not tell token ids, so nothing could be counted"
    )


def _choose(models: list[str], wanted: str | None, url: str) -> str:
    if wanted is None and len(models) == 1:
        return models[0]
    if wanted is None or wanted not in models:
        raise UpstreamUnusable(f"WORKER_UPSTREAM_MODEL: {url} serves {', '.join(models) or 'none'}")
    return wanted


def _llama_cpp(wire: Wire, card: Mapping[str, Any]) -> Capabilities | None:
    props = _ask(wire, "/props")
    if props is None or "total_slots" not in props:
        return None
    texts = (props.get("bos_token"), props.get("eos_token"))
    return Capabilities(
        dialect=LlamaCpp(),
        model=card["id"],
        version=props.get("build_info", ""),
        max_model_len=props["default_generation_settings"]["n_ctx"],
        max_running=props["total_slots"],
        vocab_size=card.get("meta", {}).get("n_vocab"),
        caches_prefixes=True,  # each slot keeps its last prompt, and calls ask for it
        reserved_texts=tuple(text for text in texts if text),
    )


def _sglang(wire: Wire, card: Mapping[str, Any]) -> Capabilities | None:
    for path in _SERVER_INFO:
        if (info := _ask(wire, path)) is not None:
            return Capabilities(
                dialect=Sglang.of(info),
                model=card["id"],
                version=info.get("version", ""),
                max_model_len=card.get("max_model_len"),
                max_running=info.get("max_running_requests"),
                vocab_size=None,
                caches_prefixes=_not(info.get("disable_radix_cache")),
            )
    return None


def _vllm(wire: Wire, card: Mapping[str, Any]) -> Capabilities | None:
    info = _ask(wire, "/version")
    if info is None or "version" not in info:
        return None
    return Capabilities(
        dialect=Vllm(card["id"]),
        model=card["id"],
        version=info["version"],
        max_model_len=card.get("max_model_len"),
        max_running=None,
        vocab_size=None,
        caches_prefixes=_vllm_caches_prefixes(wire),
    )


def _vllm_caches_prefixes(wire: Wire) -> bool | None:
    """A label of its metrics tells, which it has unless they are switched off."""
    try:
        found = _VLLM_PREFIX_CACHING.search(wire.ask_text("/metrics"))
    except UpstreamTrouble:
        return None
    return None if found is None else found[1] == "True"


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _ask(wire: Wire, path: str) -> Json | None:
    """None when the server has no such page."""
    try:
        return wire.ask(path)
    except Missing:
        return None


def _told(number: int | None, unit: str) -> str:
    return "not told" if number is None else f"{number} {unit}"
