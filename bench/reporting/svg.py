"""A small plot as inline SVG: axes, lines, points, bands. Colours come from the page's style sheet.

Numbers are placed by linear or logarithmic scales; text is escaped by markupsafe. No JavaScript is needed to see it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup, escape

from bench.errors import plain

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 40
MOST_POINTS = 600  # of a line: more than pixels


@dataclass
class Scale:
    """Values in [low, high] to pixels in [start, end]."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (value - low) / ((high - low) or 1) * (self.end - self.start)

    def places(self, values: Sequence[float]) -> list[float]:
        """Of many values at once."""
        numbers, low, high = (np.log10(v) if self.log else np.asarray(v, float) for v in (values, self.low, self.high))
        found: list[float] = (self.start + (numbers - low) / ((high - low) or 1) * (self.end - self.start)).tolist()
        return found

    def ticks(self) -> list[float]:
        """About five round values: 1, 2 or 5 times a power of ten."""
        if self.log:
            low, high = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            some = [m * 10.0**e for e in range(low, high + 1) for m in ((1, 2, 5) if high - low < 3 else (1,))]
            return [tick for tick in some if self.low <= tick <= self.high]
        span = (self.high - self.low) or 1
        step = 10 ** math.floor(math.log10(span / 5))
        step *= next(m for m in (1, 2, 5, 10) if span / (m * step) <= 6)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, int(self.high / step + 1e-9) + 1)]


@dataclass
class Plot:
    """Draw into it, then `svg()`. Values outside of the ranges are the caller's mistake."""

    title: str
    x_label: str
    y_label: str
    x: tuple[float, float]
    y: tuple[float, float]
    log_x: bool = False
    x_ticks: Sequence[tuple[float, str]] | None = None
    parts: list[str] = field(default_factory=list)
    names: list[tuple[int, str]] = field(default_factory=list)  # of the legend

    def __post_init__(self) -> None:
        self.across = Scale(*self.x, LEFT, WIDTH - RIGHT, self.log_x)
        self.up = Scale(*self.y, HEIGHT - BOTTOM, TOP)

    def at(self, x: float, y: float) -> str:
        return f"{self.across(x):.1f},{self.up(y):.1f}"

    def name(self, colour: int, text: str) -> None:
        """Into the legend."""
        if (colour, text) not in self.names:
            self.names.append((colour, text))

    def line(self, points: Sequence[tuple[float, float]], colour: int, style: str = "") -> None:
        across, up = self.across.places([x for x, _ in points]), self.up.places([y for _, y in points])
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, up, strict=True))
        self.parts.append(f'<polyline class="line s{colour % 8} {style}" points="{path}"/>')

    def point(self, x: float, y: float, colour: int, tip: str, style: str = "") -> None:
        cx, cy = self.at(x, y).split(",")
        self.parts.append(
            f'<circle class="point s{colour % 8} {style}" cx="{cx}" cy="{cy}" r="4.5" tabindex="0">'
            f"<title>{escaped(tip)}</title></circle>"
        )

    def whisker(self, x: float, low: float, high: float, colour: int) -> None:
        """An interval of y at x."""
        self.line([(x, low), (x, high)], colour, "whisker")

    def band(self, x: tuple[float, float], tip: str, style: str = "band") -> None:
        left, right = self.across(x[0]), self.across(x[1])
        self.parts.append(
            f'<rect class="{style}" x="{left:.1f}" y="{TOP}" width="{max(1.0, right - left):.1f}"'
            f' height="{HEIGHT - BOTTOM - TOP}"><title>{escaped(tip)}</title></rect>'
        )

    def level(self, y: float, tip: str) -> None:
        """A line across, such as a baseline."""
        self.parts.append(
            f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.up(y):.1f}" y2="{self.up(y):.1f}">'
            f"<title>{escaped(tip)}</title></line>"
        )

    def mark(self, x: float, tip: str) -> None:
        """A line upwards, such as a change."""
        at = self.across(x)
        self.parts.append(
            f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}">'
            f"<title>{escaped(tip)}</title></line>"
        )

    def axes(self) -> list[str]:
        bottom, middle = HEIGHT - BOTTOM, (TOP + HEIGHT - BOTTOM) / 2
        parts = [
            f'<text class="label" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}">{escaped(self.x_label)}</text>'
        ]
        parts.append(
            f'<text class="label" transform="translate(13 {middle}) rotate(-90)">{escaped(self.y_label)}</text>'
        )
        if self.y[0] > 0:
            begins = format_tick(float(f"{self.y[0]:.3g}"))
            parts.append(f'<text class="cut" x="{LEFT + 4}" y="{bottom - 5}">axis begins at {begins}</text>')
        for tick in self.up.ticks():
            y = self.up(tick)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="tick y" x="{LEFT - 6}" y="{y + 4:.1f}">{format_tick(tick)}</text>')
        for tick, text in self.x_ticks or [(tick, format_tick(tick)) for tick in self.across.ticks()]:
            x = self.across(tick)
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
            parts.append(f'<text class="tick x" x="{x:.1f}" y="{bottom + 17}">{escaped(text)}</text>')
        return parts

    def svg(self) -> Markup:
        """The figure with its legend as HTML; everything from outside in it is escaped."""
        legend = "".join(f'<li class="s{colour % 8}">{escaped(text)}</li>' for colour, text in self.names)
        return Markup(
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escaped(self.title)}">'
            + "".join([*self.axes(), *self.parts])
            + f'</svg><ul class="legend">{legend}</ul>'
        )


STYLE = """svg{font:11px sans-serif;background:#fff}text{fill:#59636e}.label,.tick.x{text-anchor:middle}
.tick.y{text-anchor:end}.grid{stroke:#d8dee4}.line{fill:none;stroke:var(--c);stroke-width:2.5}.point{fill:var(--c)}
.level{stroke:#8886;stroke-width:2;stroke-dasharray:8 4}.s0{--c:#0072b2}.s1{--c:#d55e00}.s2{--c:#009e73}
.s3{--c:#cc79a7}.s4{--c:#b58900}.s5{--c:#56a0d3}.s6{--c:#6e4bb8}.s7{--c:#444}"""


def standalone(plot: Plot) -> str:
    """The figure as a file of its own, with its title and legend inside."""
    names = [f'<text class="s{colour % 8}" x="{LEFT}" y="{HEIGHT + 16 * (i + 1)}"><tspan fill="var(--c)">●</tspan>'
             f" {escaped(text)}</text>" for i, (colour, text) in enumerate(plot.names)]  # fmt: skip
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 -20 {WIDTH} {HEIGHT + 30 + 16 * len(names)}">'
        f'<style>{STYLE}</style><text x="{LEFT}" y="-6">{escaped(plot.title)}</text>'
        + "".join([*plot.axes(), *plot.parts, *names])
        + "</svg>\n"
    )


def escaped(text: str) -> Markup:
    return escape(plain(text))


def format_tick(value: float) -> str:
    """12000 -> 12k, 0.25 -> 0.25"""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 10 or (abs(value) >= size and value % size == 0):
            return f"{value / size:g}{letter}"
    value = float(f"{value:.4g}")
    return f"{value:g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.0e}"


def padded_range(values: Sequence[float], floor: float | None = None) -> tuple[float, float]:
    """A range a little larger than the values; from `floor` when given."""
    low, high = min(values), max(values)
    edge = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return (low - edge if floor is None else floor), high + edge


def thin_out(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST_POINTS, keeping the lowest and the highest of each stretch: a spike must stay to be seen."""
    stretch = -(-2 * len(points) // MOST_POINTS)
    if stretch <= 2:
        return list(points)
    kept = []
    for start in range(0, len(points), stretch):
        part = points[start : start + stretch]
        kept += sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})
    return kept
