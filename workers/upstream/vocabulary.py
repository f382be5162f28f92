"""Prompts and markers to token ids: by the server, or by the tokenizer of a model's folder."""

from collections.abc import Sequence
from typing import Protocol

from workers.chat_template import Message
from workers.engine import EngineStopped, InvalidRequest
from workers.tokenizer import Tokenizer
from workers.upstream.errors import Refused, UpstreamTrouble
from workers.upstream.wire import Json, Wire


class Vocabulary(Protocol):
    """May take long: call it from a thread. Raises InvalidRequest or EngineStopped."""

    def encode_text(self, text: str) -> tuple[int, ...]:
        """Ids of text of our own, special tokens included."""
        ...

    def encode_chat(self, messages: Sequence[Message]) -> Sequence[int]:
        """Messages through the chat template, up to where the assistant begins."""
        ...


class LocalVocabulary:
    """The tokenizer of a Hugging Face folder, which must be that of the upstream's model."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def encode_text(self, text: str) -> tuple[int, ...]:
        """See Vocabulary."""
        return self._tokenizer.encode_text(text)

    def encode_chat(self, messages: Sequence[Message]) -> Sequence[int]:
        """See Vocabulary; text that holds a special token is refused."""
        return self._tokenizer.encode_chat(messages)


class LlamaCppVocabulary:
    """/apply-template renders, /tokenize encodes."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def encode_text(self, text: str) -> tuple[int, ...]:
        """See Vocabulary."""
        return self._tokens(text)

    def encode_chat(self, messages: Sequence[Message]) -> Sequence[int]:
        """See Vocabulary; text that holds a special token is refused."""
        for message in messages:
            content = message["content"]
            if self._tokens(content) != self._tokens(content, parse_special=False):
                raise InvalidRequest("prompt contains a text that the model reserves: remove it")
        rendered = _ask(self._wire, "/apply-template", {"messages": list(messages)})
        return self._tokens(rendered["prompt"], add_special=True)

    def _tokens(
        self, text: str, *, add_special: bool = False, parse_special: bool = True
    ) -> tuple[int, ...]:
        body = {"content": text, "add_special": add_special, "parse_special": parse_special}
        return tuple(_ask(self._wire, "/tokenize", body)["tokens"])


class VllmVocabulary:
    """/tokenize renders and encodes. It reads special tokens in any text, as vLLM's chat does."""

    def __init__(self, wire: Wire, model: str) -> None:
        self._wire = wire
        self._model = model

    def encode_text(self, text: str) -> tuple[int, ...]:
        """See Vocabulary."""
        return self._tokens({"prompt": text, "add_special_tokens": False})

    def encode_chat(self, messages: Sequence[Message]) -> Sequence[int]:
        """See Vocabulary."""
        return self._tokens({"messages": list(messages), "add_generation_prompt": True})

    def _tokens(self, body: Json) -> tuple[int, ...]:
        return tuple(_ask(self._wire, "/tokenize", {"model": self._model, **body})["tokens"])


def _ask(wire: Wire, path: str, body: Json) -> Json:
    try:
        return wire.ask(path, body)
    except Refused as error:
        raise InvalidRequest(f"the upstream refused the prompt: {error}") from error
    except UpstreamTrouble as error:
        raise EngineStopped(f"the upstream does not encode prompts: {error}") from error
