"""The chat template of a checkpoint: Jinja, with what transformers gives templates to use."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from workers.engine import CheckpointError, InvalidRequest

FILE_NAME = "chat_template.jinja"
Message = Mapping[str, str]  # role, content


class ChatTemplate:
    """Renders messages up to where the assistant begins."""

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        """`special_tokens`: bos_token and the like. Raises TemplateError for a broken source."""
        self._template = _environment().from_string(source)
        self._special_tokens = special_tokens

    @classmethod
    def load(
        cls, model_dir: Path, settings: Mapping[str, Any], special_tokens: Mapping[str, str]
    ) -> "ChatTemplate | None":
        """chat_template.jinja, or the default chat_template of tokenizer_config.json."""
        path = model_dir / FILE_NAME
        try:
            is_file = path.is_file()
            source = path.read_text("utf-8") if is_file else _default(settings.get("chat_template"))
            return None if source is None else cls(source, special_tokens)
        except (TemplateError, TypeError, LookupError, OSError, ValueError) as error:
            raise CheckpointError(f"{model_dir}: the chat template is broken: {error}") from None

    def render(self, messages: Sequence[Message]) -> str:
        """Raises InvalidRequest when the template refuses the messages."""
        try:
            return self._template.render(
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=True,
                **self._special_tokens,
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise InvalidRequest(f"messages do not fit the chat template: {error}") from None


class _Generation(Extension):
    """`{% generation %}` marks what the assistant said, for training: it changes no text."""

    tags = {"generation"}  # noqa: RUF012 - as the base class declares it

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def _default(templates: object) -> str | None:
    """Older checkpoints have several, by name."""
    if isinstance(templates, list):
        templates = {template["name"]: template["template"] for template in templates}
    if isinstance(templates, dict):
        if "default" not in templates:
            raise ValueError("it has several, none of them called default")
        templates = templates["default"]
    if templates is not None and not isinstance(templates, str):
        raise TypeError("it must be text")
    return templates


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
    )
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _strftime_now
    environment.filters["tojson"] = _to_json
    return environment


def _refuse(message: str) -> None:
    """What templates call when they do not take the messages."""
    raise TemplateError(message)


def _strftime_now(format: str) -> str:
    return datetime.now().astimezone().strftime(format)


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Unlike Jinja's own: models are not web pages, so nothing is escaped for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
