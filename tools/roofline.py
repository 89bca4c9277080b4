#!/usr/bin/env python3
"""Draws the roofline of a device and where kernels of measured steps stand on it, as an SVG.

    ravenwing profile --json > decode.json;  ravenwing profile --json -n 512 > prefill.json
    tools/roofline.py decode.json prefill.json > roofline.svg

Each input is the output of one `ravenwing profile --json`; all of one device. A dot is a kind of dispatch: operations for each
byte that it must move against operations a second; its area is its share of the step. Standard library alone.
"""

import html
import json
import math
import sys

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 960, 600, 80, 50, 240, 60
X_RANGE, Y_RANGE = (0.1, 10_000.0), (1e9, 2e15)  # flop a byte, flop a second
COLOURS = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf"]
NAMED_SHARE = 0.04  # dots of less of a step have no name


def place(value, bounds, begin, end):
    low, high = math.log10(bounds[0]), math.log10(bounds[1])
    where = (math.log10(min(max(value, bounds[0]), bounds[1])) - low) / (high - low)
    return begin + where * (end - begin)


def x_of(intensity):
    return place(intensity, X_RANGE, LEFT, WIDTH - RIGHT)


def y_of(rate):
    return place(rate, Y_RANGE, HEIGHT - BOTTOM, TOP)


def text(x, y, words, **attributes):
    extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{extra}>{html.escape(words)}</text>'


def axes():
    lines = []
    for exponent in range(-1, 5):
        x = x_of(10.0**exponent)
        lines.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        lines.append(text(x, HEIGHT - BOTTOM + 18, f"{10.0**exponent:g}", text_anchor="middle"))
    for exponent in range(9, 16):
        y = y_of(10.0**exponent)
        lines.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        lines.append(text(LEFT - 8, y + 4, f"{10.0**exponent / 1e12:g}", text_anchor="end"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    lines.append(text(middle, HEIGHT - 15, "operations for each byte", text_anchor="middle"))
    lines.append(text(20, TOP - 12, "TFLOP/s"))
    return lines


def roof(limits):
    memory, units = max(limits["read_bytes_s"], limits["copy_bytes_s"]), limits["flops_s"]
    points = [(X_RANGE[0], X_RANGE[0] * memory), (units / memory, units), (X_RANGE[1], units)]
    path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)
    lines = [f'<polyline points="{path}" fill="none" stroke="#333" stroke-width="2"/>']
    lines.append(text(x_of(0.12), y_of(0.12 * memory) - 12, f"{memory / 1e12:.1f} TB/s"))
    lines.append(text(x_of(X_RANGE[1]) - 6, y_of(units) - 8, f"{units / 1e12:.0f} TFLOP/s", text_anchor="end"))
    return lines


def dots(profile, colour):
    lines = []
    total = sum(kind["us"] or 0 for kind in profile["kinds"])
    for kind in profile["kinds"]:
        if not kind["us"] or not kind["bytes"] or not kind["flops"]:
            continue
        share = kind["us"] / total
        x, y = x_of(kind["flops"] / kind["bytes"]), y_of(kind["flops"] / kind["us"] * 1e6)
        radius = 3 + 30 * math.sqrt(share) / 2
        lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}" fill-opacity="0.45"/>')
        if share >= NAMED_SHARE:
            lines.append(text(x + radius + 3, y + 4, kind["name"], font_size=11))
    return lines


def svg(profiles):
    first = profiles[0]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        text(LEFT, 24, f'{first["device"]}, {first["tier"]}: its limits, and the kernels of a step', font_size=16),
    ]
    parts += axes() + roof(first["limits"])
    for i, profile in enumerate(profiles):
        colour = COLOURS[i % len(COLOURS)]
        y = TOP + 20 + 20 * i
        name = f'{profile["sequences"]} x {profile["tokens"]} tokens, {profile["step_us"] / 1000:.1f} ms'
        parts.append(f'<circle cx="{WIDTH - RIGHT + 24}" cy="{y - 4}" r="6" fill="{colour}" fill-opacity="0.6"/>')
        parts.append(text(WIDTH - RIGHT + 36, y, name))
        parts += dots(profile, colour)
    return "\n".join(parts + ["</svg>"]) + "\n"


def main():
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    profiles = []
    for path in sys.argv[1:]:
        try:
            with open(path, encoding="utf-8") as file:
                profiles.append(json.load(file))
        except (OSError, ValueError) as error:
            sys.exit(f"roofline: {path}: {error}")
        if not isinstance(profiles[-1], dict) or not {"kinds", "limits", "device"} <= profiles[-1].keys():
            sys.exit(f"roofline: {path} is no output of `ravenwing profile --json`")
        if not profiles[-1]["limits"]:
            sys.exit(f"roofline: {path} lacks the limits of the device, which could not be measured")
    sys.stdout.write(svg(profiles))


if __name__ == "__main__":
    main()
