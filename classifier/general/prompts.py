"""Prompts made by template, for what the collected ones lack: small talk, other languages, turns.

The collected prompts are single questions in English, most of them mathematics. A service is also
sent greetings, requests to rewrite, conversations, tool calls and long documents; those are made
here from templates of this project. Equal seeds give equal prompts.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from string import Formatter
from types import MappingProxyType
from typing import Final, Self

from classifier.general.kinds import TIER_OF_KIND, Kind
from classifier.general.languages import chinese, english, french, german, spanish
from classifier.general.puzzles import PUZZLE_KINDS, puzzle

_MAX_NESTING: Final = 4
_NUMBERS: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {"a": (20, 900), "b": (11, 90), "c": (3, 40), "small": (2, 12), "year": (1850, 2024)}
)
_ENGLISH_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedPrompt:
    """`shape` is how it is sent: plain, polite, turns, follow up, tools or document."""

    text: str
    tier: str
    kind: Kind
    language: str
    shape: str


@dataclass(frozen=True, slots=True)
class Language:
    """What is asked in one language, by kind, and what its templates are filled with, by slot."""

    name: str
    templates: Mapping[Kind, tuple[str, ...]]
    words: Mapping[str, tuple[str, ...]]

    @classmethod
    def all(cls) -> tuple[Self, ...]:
        """English first."""
        modules = {
            "English": english,
            "German": german,
            "French": french,
            "Spanish": spanish,
            "Chinese": chinese,
        }
        return tuple(cls(name, m.TEMPLATES, m.WORDS) for name, m in modules.items())

    def fill(self, template: str, rng: Random, nesting: int = 0) -> str:
        """The template with every slot filled anew. Words may have slots of their own."""
        assert nesting <= _MAX_NESTING, f"the slots of {template!r} nest without end"
        parts = []
        for literal, slot, _, _ in Formatter().parse(template):
            parts.append(literal)
            if slot is not None:
                parts.append(self._word(slot, rng, nesting))
        return "".join(parts)

    def _word(self, slot: str, rng: Random, nesting: int) -> str:
        if slot in _NUMBERS:
            return str(rng.randint(*_NUMBERS[slot]))
        return self.fill(rng.choice(self.words[slot]), rng, nesting + 1)

    def of_slot(self, slot: str, rng: Random) -> str:
        """One of the words of a slot, filled."""
        return self.fill(rng.choice(self.words[slot]), rng)

    def of_kind(self, kind: Kind, rng: Random) -> str:
        """A request of this kind, filled. Puzzles are in English whatever the language."""
        if kind in PUZZLE_KINDS:
            return puzzle(kind, rng)
        return self.fill(rng.choice(self.templates[kind]), rng)


def generate(count: int, seed: int) -> Iterator[GeneratedPrompt]:
    """Puzzles, and half of the rest, in English; every kind alike. `count` is how many."""
    rng = Random(seed)
    english_first, *others = Language.all()
    for _ in range(count):
        kind = rng.choice(list(Kind))
        is_english = kind in PUZZLE_KINDS or rng.random() < _ENGLISH_SHARE
        language = english_first if is_english else rng.choice(others)
        shape = rng.choices(list(_SHAPES), weights=_SHAPE_WEIGHTS)[0]
        text, kind = _SHAPES[shape](language, kind, rng)
        yield GeneratedPrompt(
            text=text, tier=TIER_OF_KIND[kind], kind=kind, language=language.name, shape=shape
        )


def _plain(language: Language, kind: Kind, rng: Random) -> tuple[str, Kind]:
    text = language.of_kind(kind, rng)
    return (text.lower() if rng.random() < 0.15 and "$" not in text else text), kind


def _polite(language: Language, kind: Kind, rng: Random) -> tuple[str, Kind]:
    return f"{language.of_slot('please', rng)} {language.of_kind(kind, rng)}", kind


def _turns(language: Language, kind: Kind, rng: Random) -> tuple[str, Kind]:
    """Messages as the router joins them. What is asked last decides what it takes."""
    turns = []
    if rng.random() < 0.5:
        turns.append(language.of_slot("system", rng))
    for _ in range(rng.randint(1, 3)):
        earlier = rng.choice((Kind.SMALL_TALK, Kind.FACT, Kind.REWRITE, Kind.WRITE))
        turns += [language.of_kind(earlier, rng), language.of_slot("assistant", rng)]
    return "\n\n".join([*turns, language.of_kind(kind, rng)]), kind


def _follow_up(language: Language, kind: Kind, rng: Random) -> tuple[str, Kind]:
    """A question, its answer, and a few words that mean that question: it takes as much again."""
    asked, said = language.of_kind(kind, rng), language.of_slot("assistant", rng)
    return "\n\n".join([asked, said, language.of_slot("follow_up", rng)]), kind


def _tools(language: Language, kind: Kind, rng: Random) -> tuple[str, Kind]:
    """A system prompt with tools, and a request that one of them answers."""
    del kind  # choosing a tool and its arguments is one kind of request
    names = rng.sample(("get_weather", "send_message", "set_timer", "book_table", "search"), 3)
    tools = [
        {"name": name, "parameters": {"type": "object", "properties": {"value": {}}}}
        for name in names
    ]
    system = f"{language.of_slot('system', rng)}\n{json.dumps({'tools': tools})}"
    return f"{system}\n\n{language.of_slot('tool_request', rng)}", Kind.REWRITE


def _document(language: Language, kind: Kind, rng: Random) -> tuple[str, Kind]:
    """Some paragraphs and a question about them."""
    del kind  # the question is to read, however long the text is
    paragraphs = [
        " ".join(language.of_slot("sentence", rng) for _ in range(rng.randint(3, 8)))
        for _ in range(rng.choice((1, 2, 4, 12, 40)))
    ]
    return "\n\n".join([*paragraphs, language.of_slot("context_question", rng)]), Kind.EXPLAIN


_Shape = Callable[[Language, Kind, Random], tuple[str, Kind]]
_SHAPES: Final[Mapping[str, _Shape]] = MappingProxyType(
    {
        "plain": _plain,
        "polite": _polite,
        "turns": _turns,
        "follow up": _follow_up,
        "tools": _tools,
        "document": _document,
    }
)
_SHAPE_WEIGHTS: Final = (12, 3, 3, 2, 1, 1)
