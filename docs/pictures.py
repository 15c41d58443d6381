"""Make the pictures of the documentation from a finished run: python docs/pictures.py reports/quick"""

import sys
from pathlib import Path

from PIL import Image

PICTURES = {
    "over-time": "04_treatment_effect",
    "one-user": "04_treatment_effect",
    "variants": "01_causal_graph",
}
WIDTH = 1200  # pixels; a page shows them at half of that
COLOURS = 64


def shrink(source: Path, target: Path) -> None:
    """Write a picture no wider than WIDTH and of few colours, which drawings do not need more of."""
    picture = Image.open(source).convert("RGB")
    if picture.width > WIDTH:
        picture = picture.resize(
            (WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS
        )
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    run = Path(sys.argv[1])
    for slug, notebook in PICTURES.items():
        target = Path(__file__).with_name("pictures") / f"{slug}.png"
        target.parent.mkdir(exist_ok=True)
        shrink(run / "figures" / notebook / slug / f"{slug}.png", target)
        print(f"{target.name}: {target.stat().st_size / 1000:.0f} kB")
