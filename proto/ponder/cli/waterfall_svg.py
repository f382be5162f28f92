"""A waterfall as an SVG picture: time to the right, one row per span."""

from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

from ponder.cli.waterfall import Row

# In pixels.
_WIDTH: Final = 1000
_LABELS: Final = 190
_RIGHT: Final = 20
_ROW: Final = 22
_BAR: Final = 14
_TOP: Final = 56
_BOTTOM: Final = 30
_CHARACTER: Final = 6.2
_NUM_TICKS: Final = 6
_COLOURS: Final = ("#4c78a8", "#59a14f", "#b07aa1", "#f28e2b", "#76b7b2", "#9c755f")
_ERROR: Final = "#d62728"


def svg(title: str, rows: Sequence[Row]) -> str:
    """The picture. Colours tell processes apart, a red edge is a span that failed."""
    height = _TOP + _ROW * len(rows) + _BOTTOM
    total_ms = max((row.start_ms + row.duration_ms for row in rows), default=0.0) or 1.0
    places = dict.fromkeys(_place(row) for row in rows)
    colours = {place: _COLOURS[i % len(_COLOURS)] for i, place in enumerate(places)}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        _text(12, 20, title, weight="bold", size=13),
        *_legend(colours),
        *_axis(total_ms, height),
    ]
    for index, row in enumerate(rows):
        lines += _row(row, _TOP + _ROW * index, total_ms, colours[_place(row)])
    return "\n".join([*lines, "</svg>"]) + "\n"


def _legend(colours: dict[str, str]) -> Iterator[str]:
    x = 12.0
    for place, colour in colours.items():
        yield f'<rect x="{x:.0f}" y="30" width="10" height="10" fill="{colour}"/>'
        yield _text(x + 14, 39, place)
        x += 30 + _CHARACTER * len(place)


def _axis(total_ms: float, height: int) -> Iterator[str]:
    step_ms = _step(total_ms / _NUM_TICKS)
    for index in range(int(total_ms / step_ms) + 1):
        x = _x(index * step_ms, total_ms)
        y = height - _BOTTOM
        yield f'<line x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{y}" stroke="#ddd"/>'
        yield _text(x, y + 16, f"{index * step_ms:g} ms", anchor="middle", fill="#555")


def _row(row: Row, y: int, total_ms: float, colour: str) -> Iterator[str]:
    x, right = _x(row.start_ms, total_ms), _x(row.start_ms + row.duration_ms, total_ms)
    width = max(1.0, right - x)
    edge = f' stroke="{_ERROR}" stroke-width="2"' if row.span.is_error else ""
    yield _text(12 + 12 * row.depth, y + 11, row.label)
    yield (
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" rx="2" '
        f'fill="{colour}"{edge}/>'
    )
    words = f"{row.duration_ms:.3g} ms" if row.duration_ms < 1 else f"{row.duration_ms:.0f} ms"
    words += f": {row.note}" if row.note else ""
    needed = _CHARACTER * len(words)
    if x + width + 6 + needed < _WIDTH:
        yield _text(x + width + 5, y + 11, words, fill="#333")
    elif needed < width:
        yield _text(x + 6, y + 11, words, fill="white")
    else:
        yield _text(x - 5, y + 11, words, anchor="end", fill="#333")


def _x(at_ms: float, total_ms: float) -> float:
    return _LABELS + at_ms / total_ms * (_WIDTH - _LABELS - _RIGHT)


def _step(at_least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten."""
    power = 10.0 ** len(str(int(at_least))) / 10
    return next(f * power for f in (1, 2, 5, 10) if f * power >= at_least)


def _place(row: Row) -> str:
    return f"{row.span.service} {row.span.instance}".strip()


def _text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    weight: str = "normal",
    size: int = 11,
    fill: str = "black",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
        f'font-size="{size}" fill="{fill}">{escape(words)}</text>'
    )
