"""Make the pictures of the documentation, one of them from a finished run: python docs/pictures.py reports/quick"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from PIL import Image

from csrec_core.data.books import simulate_books
from csrec_core.plots.files import save_drawing, use_style
from csrec_core.plots.marks import BLUE, GREY, ORANGE, label_ends

FOLDER = Path(__file__).with_name("pictures")
OVER_TIME = "figures/04_treatment_effect/over-time/over-time.png"
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
    print(f"{target.name}: {target.stat().st_size / 1000:.0f} kB")


def draw_one_user() -> Axes:
    """Draw the true chances of one reader of the books world under either arm, and between them the effects."""
    truth = simulate_books(users=1, seed=2).truth.query("source == 'system'")
    ax, step = plt.figure().gca(), range(1, len(truth) + 1)
    ax.vlines(step, truth["p_self"], truth["p_system"], color=GREY, alpha=0.6)
    ends = []
    for column, mark, colour, name in (
        ("p_system", "o", BLUE, "by the system"),
        ("p_self", "s", ORANGE, "by themselves"),
    ):
        ax.plot(step, truth[column], mark, color=colour)
        ends.append((step[-1], truth[column].iloc[-1], name, colour))
    ax.set(xlabel="number of the exposure", ylabel="probability of acceptance", ylim=(0, 1))
    label_ends(ax, ends)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


if __name__ == "__main__":
    use_style()
    with TemporaryDirectory() as folder:
        shrink(save_drawing(draw_one_user(), Path(folder) / "one-user")[0], FOLDER / "one-user.png")
    shrink(Path(sys.argv[1]) / OVER_TIME, FOLDER / "over-time.png")
