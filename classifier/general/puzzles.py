"""Puzzles of three sizes: a procedure that is easy to say, and takes as long as what it is done to.

In English only. What is measured of real puzzles is that the same words take a model ten times as
long when there is ten times as much of it.
"""

from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType
from typing import Final

from classifier.general.kinds import Kind

_SIZES: Final[Mapping[Kind, tuple[int, int]]] = MappingProxyType(
    {Kind.SHORT_PUZZLE: (2, 4), Kind.PUZZLE: (5, 12), Kind.LONG_PUZZLE: (13, 40)}
)
PUZZLE_KINDS: Final = frozenset(_SIZES)
_NAMES: Final = (
    "Ava",
    "Ben",
    "Cleo",
    "Dan",
    "Eli",
    "Fay",
    "Gus",
    "Hana",
    "Ivo",
    "Jo",
    "Kim",
    "Leo",
)
_WORDS: Final = (
    "river",
    "stone",
    "maple",
    "cloud",
    "ember",
    "quartz",
    "violet",
    "falcon",
    "tundra",
)


def puzzle(kind: Kind, rng: Random) -> str:
    """One puzzle of a kind in PUZZLE_KINDS."""
    size = rng.randint(*_SIZES[kind])
    return rng.choice(_PUZZLES)(size, rng)


def _sort(size: int, rng: Random) -> str:
    order = rng.choice(("ascending", "descending"))
    return f"Sort these numbers in {order} order: {_numbers(size, rng)}\nGive a list."


def _sum(size: int, rng: Random) -> str:
    terms = str(rng.randint(1, 99))
    for _ in range(size - 1):
        terms += f" {rng.choice('+-*')} {rng.randint(1, 99)}"
    return f"Calculate {terms}. Ensure to report the answer as an integer."


def _count(size: int, rng: Random) -> str:
    letter = rng.choice("aeirst")
    return f'How many times does the letter "{letter}" appear in the text: "{_text(size, rng)}"?'


def _reverse(size: int, rng: Random) -> str:
    return f"Reverse the order of the words and answer with them only: {_text(size, rng)}"


def _cipher(size: int, rng: Random) -> str:
    shifted = _text(size, rng).upper()
    return f"Decrypt this Caesar cipher text: {shifted}. Provide only the decrypted text."


def _matrix(size: int, rng: Random) -> str:
    side = max(2, size // 3)
    task = rng.choice(("Rotate it by 90 degrees", "Transpose it", "List it in spiral order"))
    return f"You are given a matrix. {task}.\n\n{_grid(side, '0123456789', rng)}\n\nYour output:"


def _maze(size: int, rng: Random) -> str:
    side = max(3, size // 2)
    return (
        "Find the length of the shortest path from the top left to the bottom right of the grid, or"
        f" say that there is none. '#' is a wall, '.' is free.\n\n{_grid(side, '...#', rng)}"
    )


def _liars(size: int, rng: Random) -> str:
    people = rng.sample(_NAMES, min(size + 1, len(_NAMES)))
    claims = [
        f"{person} says that {rng.choice(people)} is a {rng.choice(('knight', 'knave'))}."
        for person in people
    ]
    return (
        "On an island knights always tell the truth and knaves always lie. "
        f"{' '.join(claims)} Who is a knight and who is a knave?"
    )


def _sequence(size: int, rng: Random) -> str:
    first, step, factor = rng.randint(1, 9), rng.randint(1, 9), rng.randint(1, 3)
    terms = [first]
    for _ in range(size + 2):
        terms.append(terms[-1] * factor + step)
    return f"What is the next number in the sequence {', '.join(map(str, terms[:20]))}, ?"


def _graph(size: int, rng: Random) -> str:
    edges = [f"({rng.randint(0, size)}, {rng.randint(0, size)})" for _ in range(2 * size)]
    return (
        f"A graph has {size + 1} vertices and these edges: {', '.join(edges)}. Colour the vertices"
        " with three colours so that no edge joins two of one colour. Answer as JSON."
    )


def _numbers(size: int, rng: Random) -> str:
    return ", ".join(str(rng.randint(-99, 999)) for _ in range(size))


def _text(size: int, rng: Random) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(size))


def _grid(side: int, cells: str, rng: Random) -> str:
    return "\n".join(" ".join(rng.choice(cells) for _ in range(side)) for _ in range(side))


_PUZZLES: Final[tuple[Callable[[int, Random], str], ...]] = (
    _sort,
    _sum,
    _count,
    _reverse,
    _cipher,
    _matrix,
    _maze,
    _liars,
    _sequence,
    _graph,
)
