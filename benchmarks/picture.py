"""A curve as an SVG file: small, and readable as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP = 720, 300, 60, 40  # of the area of the curve, in pixels, and what is before it
TICKS = 6


@dataclass(frozen=True)
class Line:
    """A value to compare with."""

    value: float
    name: str


def draw(path: Path, title: str, axes: tuple[str, str], points: Sequence[tuple[float, float]], limit: Line) -> None:
    """Points (x, y) from (0, 0) on, with what the ``axes`` count."""
    right, high = points[-1][0], 1.1 * max(limit.value, *(y for _, y in points))

    def place(x: float, y: float) -> str:
        return f"{LEFT + x / right * WIDTH:.1f},{TOP + (1 - y / high) * HEIGHT:.1f}"

    def text(x: float, y: float, content: str, anchor: str, dx: int = 0, dy: int = 0) -> str:
        left, top = place(x, y).split(",")
        return f'<text x="{left}" y="{top}" dx="{dx}" dy="{dy}" text-anchor="{anchor}">{escape(content)}</text>'

    def curve(style: str, *line: tuple[float, float]) -> str:
        return f'<polyline points="{" ".join(place(*point) for point in line)}" fill="none" {style}/>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 2 * LEFT} {HEIGHT + 2 * TOP + 20}" '
        'font-family="sans-serif" font-size="13" fill="#333">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        text(0, high, title, "start", dy=-16),
        curve('stroke="#333"', (0, high), (0, 0), (right, 0)),
        curve('stroke="#c33" stroke-dasharray="6 4"', (0, limit.value), (right, limit.value)),
        text(right, limit.value, limit.name, "end", dy=-6),
        curve('stroke="#26c" stroke-width="1.5"', *points),
        *(text(right * n / TICKS, 0, f"{right * n / TICKS:.0f}", "middle", dy=18) for n in range(TICKS + 1)),
        *(text(0, high * n / TICKS, f"{high * n / TICKS:.0f}", "end", dx=-8, dy=4) for n in range(TICKS + 1)),
        text(right / 2, 0, axes[0], "middle", dy=38),
        text(0, high, axes[1], "end", dx=-8, dy=-16),
        "</svg>",
    ]
    path.write_text("\n".join(parts) + "\n")
