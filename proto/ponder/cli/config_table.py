"""The variables of a configuration as a table for people, and as one that a document holds.

In a document the table of `router` stands between the lines `<!-- config:router -->` and
`<!-- /config -->`.
"""

import html
import re
from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from ponder.environment import Variable

_COLUMNS = ("name", "default", "unit", "meaning")
# Never beyond the next table's begin, should the end of this one be missing.
_SECTION = r"(<!-- config:{name} -->\n)(?:(?!<!-- config:).)*?(<!-- /config -->)"


class SectionMissing(Exception):
    """The document has no place for a table; the message says what to put there."""


def variables_table(title: str, variables: Sequence[Variable]) -> Table:
    """For a terminal: one row per variable."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for column in _COLUMNS:
        table.add_column(column, no_wrap=column == "name")
    for row in variables:
        table.add_row(row.name, _default(row), row.unit, Text(row.meaning))
    return table


def markdown_table(variables: Sequence[Variable]) -> str:
    """GitHub's form of Markdown, one line per variable, with a line end."""
    head = [" | ".join(_COLUMNS), " | ".join("---" for _ in _COLUMNS)]
    return "".join(f"| {line} |\n" for line in [*head, *map(_markdown_row, variables)])


def with_tables(document: str, tables: Mapping[str, Sequence[Variable]]) -> str:
    """The document with the tables of today. Raises SectionMissing."""
    for name, variables in tables.items():
        found = re.search(_SECTION.format(name=re.escape(name)), document, re.DOTALL)
        if found is None:
            raise SectionMissing(f"has no line <!-- config:{name} --> before <!-- /config -->")
        head, tail = document[: found.end(1)], document[found.start(2) :]
        document = f"{head}\n{markdown_table(variables)}\n{tail}"
    return document


def _markdown_row(row: Variable) -> str:
    default = f"`{row.default}`" if row.default else _default(row)
    return f"`{row.name}` | {default} | {row.unit} | {_escaped(row.meaning)}"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*|])", r"\\\1", html.escape(text, quote=False))


def _default(row: Variable) -> str:
    return "must be set" if row.default is None else row.default or "unset"
