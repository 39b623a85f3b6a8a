"""Draw docs/systems/*.svg: what each system computes, as boxes and arrows.

Run `python docs/system_pictures.py`. Colours: grey is data, blue is trained, dashed is frozen, green is a loss.
"""

from html import escape
from pathlib import Path
from typing import NamedTuple

BOX, LINE, GAP_X, GAP_Y, EDGE = 190, 17, 32, 16, 14
"""Width of a box, height of a line of text, gaps between boxes and to the edge, in pixels."""
STYLES = {
    "data": 'fill="#eceff1" stroke="#607d8b"',
    "trained": 'fill="#e3f2fd" stroke="#1565c0"',
    "frozen": 'fill="#ffffff" stroke="#1565c0" stroke-dasharray="5 3"',
    "loss": 'fill="#e8f5e9" stroke="#2e7d32"',
}


class Box(NamedTuple):
    """One box: its place in the grid, its lines and its style."""

    column: float
    row: float
    text: str
    style: str


Figure = tuple[dict[str, Box], str]
"""Boxes by name, and arrows as `a>b c>d`."""

FIGURES: dict[str, Figure] = {
    "mae_face": (
        {
            "hidden": Box(0, 0, "unlabelled face|75 % of it hidden", "data"),
            "mae": Box(1, 0, "ViT encoder", "trained"),
            "decoder": Box(2, 0, "decoder", "trained"),
            "l1": Box(3, 0, "hidden patches,|normalised: L1", "loss"),
            "second": Box(1, 1, "the same, then|AffectNet's labels", "trained"),
            "face": Box(0, 2, "labelled face", "data"),
            "first": Box(1, 2, "first pass: encoder,|a linear head a task", "trained"),
            "labels": Box(2, 2, "labels: weighted CE,|BCE, 1 - CCC", "loss"),
            "again": Box(1, 3, "second pass: encoder,|a linear head a task", "trained"),
            "soft": Box(2, 3, "labels, and the first|pass's predictions", "loss"),
        },
        "hidden>mae mae>decoder decoder>l1 mae>second second>first "
        "face>first first>labels face>again first>soft again>soft",
    ),
    "emma": (
        {
            "face": Box(0, 0.5, "face", "data"),
            "vit": Box(1, 0, "ViT, from MAE;|768-512-20", "trained"),
            "dan": Box(1, 1, "DAN, from AffectNet", "frozen"),
            "twenty": Box(2, 0, "8 expressions,|12 action units", "data"),
            "eight": Box(2, 1, "8 expressions", "data"),
            "known": Box(3, 0, "CE, BCE", "loss"),
            "va": Box(3, 1, "28 scores, no gradient|to the left; 28-256-2", "trained"),
            "ccc": Box(4, 1, "valence, arousal:|1 - CCC", "loss"),
        },
        "face>vit face>dan vit>twenty dan>eight twenty>known twenty>va eight>va va>ccc",
    ),
    "cotex": (
        {
            "face": Box(0, 1, "face", "data"),
            "one": Box(1, 0, "some patches|(1 - mask ratio)", "data"),
            "two": Box(1, 2, "other patches,|drawn anew", "data"),
            "vit1": Box(2, 0, "ViT and head", "trained"),
            "vit2": Box(2, 2, "another ViT and head", "trained"),
            "ce1": Box(3, 0, "CE", "loss"),
            "js": Box(3, 1, "agreement: lambda x|Jensen-Shannon", "loss"),
            "ce2": Box(3, 2, "CE", "loss"),
        },
        "face>one face>two one>vit1 two>vit2 vit1>ce1 vit2>ce2 vit1>js vit2>js",
    ),
    "contrawarping": (
        {
            "face": Box(0, 0.5, "unlabelled face", "data"),
            "views": Box(1, 0, "two global views", "data"),
            "moved": Box(1, 1, "first view with|muscles moved", "data"),
            "net": Box(2, 0.5, "ResNet and its|moving average (BYOL)", "trained"),
            "pull": Box(3, 0, "views: pulled together", "loss"),
            "push": Box(3, 1, "moved: pushed away|up to a margin", "loss"),
            "frame": Box(0, 2.4, "one frame of ten", "data"),
            "stages": Box(1, 2.4, "ResNet's first|three stages", "frozen"),
            "srp": Box(2, 2.4, "last stage, SRP|7x7 to 3x3x256, linear", "trained"),
            "ce": Box(3, 2.4, "expression: CE", "loss"),
        },
        "face>views face>moved views>net moved>net net>pull net>push net>stages frame>stages stages>srp srp>ce",
    ),
    "dual_view": (
        {
            "face": Box(0, 0, "whole face", "data"),
            "parts": Box(0, 1, "eyes and mouth", "data"),
            "vit1": Box(1, 0, "ViT, fine-tuned|on whole faces", "frozen"),
            "vit2": Box(1, 1, "ViT, fine-tuned|on eyes and mouth", "frozen"),
            "fusion": Box(2, 0.5, "attention between|patches, with a skip", "trained"),
            "mlp": Box(3, 0.5, "mean of patches,|MLP, linear", "trained"),
            "ce": Box(4, 0.5, "expression: CE", "loss"),
        },
        "face>vit1 parts>vit2 vit1>fusion vit2>fusion fusion>mlp mlp>ce",
    ),
    "temporal": (
        {
            "frames": Box(0, 0, "every frame|of a video", "data"),
            "net": Box(1, 0, "network of the fold|without its heads", "frozen"),
            "features": Box(2, 0, "features, written once", "data"),
            "head": Box(3, 0, "windows, frame numbers:|Transformer or TCN", "trained"),
            "loss": Box(4, 0, "losses of the track's|tasks, frame by frame", "loss"),
        },
        "frames>net net>features features>head head>loss",
    ),
}


def draw(figure: Figure) -> str:
    """The figure as SVG on white, text as text."""
    boxes, arrows = figure
    high = 2 * LINE + 14

    def corner(box: Box) -> tuple[float, float]:
        return EDGE + box.column * (BOX + GAP_X), EDGE + box.row * (high + GAP_Y)

    parts = []
    for start, end in (arrow.split(">") for arrow in arrows.split()):
        (x1, y1), (x2, y2) = corner(boxes[start]), corner(boxes[end])
        right, down = (x1 + BOX, y1 + high / 2, x2, y2 + high / 2), (x1 + BOX / 2, y1 + high, x2 + BOX / 2, y2)
        ends = right if x1 < x2 else down
        parts.append(
            '<line x1="{:g}" y1="{:g}" x2="{:g}" y2="{:g}" stroke="#455a64" marker-end="url(#a)"/>'.format(*ends)
        )
    for box in boxes.values():
        x, y = corner(box)
        parts.append(f'<rect x="{x:g}" y="{y:g}" width="{BOX}" height="{high}" rx="6" {STYLES[box.style]}/>')
        lines = box.text.split("|")
        for k, line in enumerate(lines):
            middle = y + high / 2 + 5 + (k - (len(lines) - 1) / 2) * LINE
            parts.append(f'<text x="{x + BOX / 2:g}" y="{middle:g}" text-anchor="middle">{escape(line)}</text>')
    width = max(corner(box)[0] for box in boxes.values()) + BOX + EDGE
    height = max(corner(box)[1] for box in boxes.values()) + high + EDGE
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        'font-family="sans-serif" font-size="14">'
    )
    marker = (
        '<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#455a64"/></marker></defs>'
    )
    return "\n".join([head, marker, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>", ""])


def main() -> None:
    folder = Path(__file__).parent / "systems"
    folder.mkdir(exist_ok=True)
    for name, figure in FIGURES.items():
        (folder / f"{name}.svg").write_text(draw(figure))


if __name__ == "__main__":
    main()
