"""A chart (SVG) of one question: each figure that has a bound as a bar, beside the line of its bound.

A bar that stays on the left of the line is kept, whichever way the bound goes: what must be at least so much is drawn
as bound by value.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from report import Figure, brief

_ROW, _LEFT, _WIDE, _AT, _TOP = 34, 340, 420, 210, 44
"""Pixels: height of a row, where bars begin and how long they get, where the bound stands from there, the title."""
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2933}.t{font-weight:600;font-size:15px}.s{fill:#52606d;font-size:12px}"
    ".kept{fill:#2f855a}.missed{fill:#c05621}.bound{stroke:#1f2933;stroke-dasharray:4 3}"
    "@media(prefers-color-scheme:dark){text{fill:#e4e7eb}.s{fill:#9aa5b1}.bound{stroke:#e4e7eb}}"
)


def chart(name: str, figures: Sequence[Figure], told: str) -> str:
    """`told`: what is to be read under the title, such as the day and the machine."""
    held = [figure for figure in figures if figure.bound]
    height = _TOP + 22 + _ROW * len(held) + 14
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDE + 130} {height}" role="img">',
        f"<title>{escape(name)}</title><style>{_STYLE}</style>",
        f'<text class="t" x="12" y="24">{escape(name)}</text><text class="s" x="12" y="42">{escape(told)}</text>',
    ]
    for n, figure in enumerate(held):
        y = _TOP + 22 + n * _ROW
        bar = min(_WIDE, max(2.0, _AT * _share(figure)))
        kind = "kept" if figure.kept else "missed"
        value = f"{brief(figure.value)} {figure.unit} ({figure.bound})"
        lines += [
            f'<text x="12" y="{y + 15}">{escape(figure.name)}</text>',
            f'<rect class="{kind}" x="{_LEFT}" y="{y + 2}" width="{bar:.0f}" height="18" rx="3"/>',
            f'<text class="s" x="{_LEFT + max(bar, _AT) + 8:.0f}" y="{y + 15}">{escape(value)}</text>',
        ]
    lines.append(f'<path class="bound" d="M{_LEFT + _AT} {_TOP + 14}V{height - 8}"/></svg>')
    return "\n".join(lines) + "\n"


def _share(figure: Figure) -> float:
    """How far the figure is on its way to the bound; above 1 it is missed."""
    if figure.at_most is not None:
        return figure.value / figure.at_most if figure.at_most else float(figure.value > 0) * 2
    return (figure.at_least or 0.0) / figure.value if figure.value else 2.0
