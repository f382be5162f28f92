"""Text to token ids and back for one checkpoint: special ids, chat template, streaming text."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as HfTokenizer

from workers.chat_template import ChatTemplate, Message
from workers.engine import CheckpointError, InvalidRequest, SpecialTokens

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
TOOL_CALL = "<tool_call>"
REPLACEMENT = "\ufffd"  # what decoders write for the bytes of a broken character


class Tokenizer:
    """tokenizer.json with what the configuration files beside it say."""

    def __init__(self, model_dir: Path) -> None:
        """Read the tokenizer; raises CheckpointError in one line."""
        self._tokenizer = _load_tokenizer(model_dir / "tokenizer.json")
        settings = {
            **_read_optional(model_dir / "special_tokens_map.json"),
            **_read_optional(model_dir / "tokenizer_config.json"),
        }
        self.bos_id = self._id_of(_token_text(settings.get("bos_token")))
        self.eos_ids = self._find_eos_ids(model_dir, settings)
        self.think_open_id = self._id_of(THINK_OPEN)
        self.think_close_id = self._id_of(THINK_CLOSE)
        self._special_ids = self._find_special_ids()
        self._template = ChatTemplate.load(model_dir, settings, _special_texts(settings))
        self._check_vocabulary(model_dir)

    @property
    def can_think(self) -> bool:
        """Whether <think> and </think> are tokens of this model."""
        return self.think_open_id is not None and self.think_close_id is not None

    def special_tokens(self, wrap_up: str = "", separators: Sequence[str] = ()) -> SpecialTokens:
        """What the engine needs.

        `wrap_up` is said before a forced </think>; a token with one of `separators` in its text
        ends a step of the thinking.
        """
        return SpecialTokens(
            eos_ids=self.eos_ids,
            think_open_id=self.think_open_id if self.can_think else None,
            think_close_id=self.think_close_id if self.can_think else None,
            wrap_up_ids=self.encode_text(wrap_up),
            step_end_ids=self.step_end_ids(separators),
            tool_call_id=self._id_of(TOOL_CALL),
        )

    def encode_text(self, text: str) -> tuple[int, ...]:
        """Ids of text of our own, special tokens included."""
        return tuple(self._encode(text))

    def step_end_ids(self, separators: Sequence[str]) -> frozenset[int]:
        """Tokens that end a step of the thinking: those with one of `separators` in their text."""
        if not separators:
            return frozenset()
        size = self._tokenizer.get_vocab_size(with_added_tokens=True)
        texts = self._tokenizer.decode_batch([[token] for token in range(size)])
        found = {i for i, text in enumerate(texts) if any(sep in text for sep in separators)}
        return frozenset(found - self._special_ids)

    def encode_prompt(self, text: str) -> list[int]:
        """One question: through the chat template, or <bos>, text, <think> without one.

        Raises:
            InvalidRequest: the text contains a special token.
        """
        if self._template is not None:
            return self.encode_chat([{"role": "user", "content": text}])
        ids = self._encode_outside_text(text)
        opening = [] if self.bos_id is None else [self.bos_id]
        closing = [self.think_open_id] if self.can_think and self.think_open_id is not None else []
        return [*opening, *ids, *closing]

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """Messages through the chat template, up to where the assistant begins.

        Raises:
            InvalidRequest: a message contains a special token, the template refuses the
                messages, or the model has none.
        """
        if self._template is None:
            raise InvalidRequest("messages: this model has no chat template; use prompt")
        for message in messages:
            self._encode_outside_text(message["content"])
        return self._encode(self._template.render(messages))

    def opens_thinking(self, prompt_ids: Sequence[int]) -> bool:
        """Whether a prompt ends inside <think>: the last marker decides."""
        for token in reversed(prompt_ids):
            if token in (self.think_open_id, self.think_close_id):
                return token == self.think_open_id
        return False

    def decode(self, ids: Iterable[int]) -> str:
        """Text of `ids` without special tokens."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def stream(self) -> "TextStream":
        """Incremental decoding of one text."""
        return TextStream(self)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _encode_outside_text(self, text: str) -> list[int]:
        """Ids of text from outside, which must not steer the model by its special tokens."""
        ids = self._encode(text)
        steering = self._special_ids.intersection(ids)
        if steering:
            token = self._tokenizer.id_to_token(min(steering))
            raise InvalidRequest(f"prompt contains {token!r}, which the model reserves: remove it")
        return ids

    def _id_of(self, token: str | None) -> int | None:
        if token is None:
            return None
        found: int | None = self._tokenizer.token_to_id(token)
        return found

    def _find_special_ids(self) -> frozenset[int]:
        added = self._tokenizer.get_added_tokens_decoder()
        special = {token_id for token_id, token in added.items() if token.special}
        markers = {self.think_open_id, self.think_close_id}  # Qwen3 does not flag them as special
        return frozenset(special | {marker for marker in markers if marker is not None})

    def _find_eos_ids(self, model_dir: Path, settings: Mapping[str, Any]) -> frozenset[int]:
        ids = {self._id_of(_token_text(settings.get("eos_token")))}
        for name in ("generation_config.json", "config.json"):
            found = _read_optional(model_dir / name).get("eos_token_id")
            ids.update(found if isinstance(found, list) else [found])
        return frozenset(token for token in ids if token is not None)

    def _check_vocabulary(self, model_dir: Path) -> None:
        """Every id of the tokenizer must have an embedding, every end token a text."""
        unknown = [e for e in sorted(self.eos_ids) if self._tokenizer.id_to_token(e) is None]
        if unknown:
            raise CheckpointError(
                f"{model_dir}: eos_token_id {unknown[0]} is no token of tokenizer.json: "
                "tokenizer and model do not belong together"
            )
        rows = _read_optional(model_dir / "config.json").get("vocab_size")
        largest = max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        if isinstance(rows, int) and largest >= rows:
            raise CheckpointError(
                f"{model_dir}: tokenizer.json has token {largest}, the model's vocabulary only "
                f"{rows}: tokenizer and model do not belong together"
            )


class TextStream:
    """Turns ids into text piece by piece and never emits half a character.

    Decodes only the tokens since the last piece that ended in a whole character, together with
    the piece before it, because a decoder may treat the first token of a text in its own way.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._num_context = 0  # leading ids whose text was emitted; kept as context

    @property
    def holds_text(self) -> bool:
        """Whether ids wait for the rest of a character."""
        return len(self._ids) > self._num_context

    def feed(self, ids: Iterable[int]) -> str:
        """Add ids; returns the text that is complete now."""
        self._ids.extend(ids)
        text = self._new_text()
        if not text or text.endswith(REPLACEMENT):
            return ""
        del self._ids[: self._num_context]
        self._num_context = len(self._ids)
        return text

    def flush(self) -> str:
        """The rest, a broken character included."""
        text = self._new_text()
        self._ids.clear()
        self._num_context = 0
        return text

    def _new_text(self) -> str:
        context = self._tokenizer.decode(self._ids[: self._num_context])
        return self._tokenizer.decode(self._ids)[len(context) :]


def _load_tokenizer(path: Path) -> HfTokenizer:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        return HfTokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
        message = " ".join(str(error).split())
        raise CheckpointError(f"{path}: cannot be read as a tokenizer: {message}") from None


def _token_text(token: object) -> str | None:
    """A token in tokenizer_config.json: its text, or an object that holds it."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None


def _special_texts(settings: Mapping[str, Any]) -> dict[str, str]:
    """bos_token, eos_token and the like, those that are set."""
    texts = {
        name: _token_text(token) for name, token in settings.items() if name.endswith("_token")
    }
    return {name: text for name, text in texts.items() if text is not None}


def _read_optional(path: Path) -> Mapping[str, Any]:
    """A JSON object, empty when there is no such file."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: must hold a JSON object")
    return content
