"""A figure as a slide: 16:9, what it shows as the title, how it was made in the foot."""

import re
from pathlib import Path

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont

from csrec_core.files import whole_file

SIZE, MARGIN, TOP, FOOT = (1920, 1080), 96, 250, 950  # pixels; the picture stands between top and foot
TITLE, SMALL = (52, "DejaVuSans-Bold.ttf", "#1b2027"), (26, "DejaVuSans.ttf", "#59626e")
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z(])")


def save_slide(png: Path, caption: str, path: Path) -> Path:
    """Write a slide of a picture: the caption's first sentence is its title, the rest, method and n, its foot."""
    title, foot = split_caption(caption)
    slide = Image.new("RGB", SIZE, "white")
    _write_text(slide, title, top=MARGIN // 2 + 12, lines=3, look=TITLE)
    _write_text(slide, foot, top=FOOT, lines=3, look=SMALL)
    with Image.open(png) as picture:
        room = SIZE[0] - 2 * MARGIN, FOOT - TOP - 24
        scale = min(have / need for have, need in zip(room, picture.size, strict=True))
        size = round(scale * picture.size[0]), round(scale * picture.size[1])
        left = (SIZE[0] - size[0]) // 2, TOP + (room[1] - size[1]) // 2
        slide.paste(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS), left)
    with whole_file(path) as temporary:
        slide.save(temporary, format="PNG", compress_level=4)
    return path


def split_caption(caption: str) -> tuple[str, str]:
    """Return a caption's first sentence and the rest, without marks of formulas.

    Examples
    --------
    >>> split_caption("It falls by 3.1 points (900 users).")
    ('It falls by 3.1 points.', '900 users.')
    """
    plain = re.sub(r"(?<!\\)\$|[{}]|\\(?=\$)", "", caption)
    first, *rest = SENTENCE.split(" ".join(plain.split()), maxsplit=1)
    counted = re.fullmatch(r"(.*) \((.*)\)\.?", first)
    return (f"{counted[1]}.", f"{counted[2]}.") if counted and not rest else (first, "".join(rest))


def _write_text(slide: Image.Image, text: str, *, top: int, lines: int, look: tuple[int, str, str]) -> None:
    """Write text in lines as wide as the slide; letters get smaller where it needs more lines than there are."""
    size, name, colour = look
    file = Path(mpl.get_data_path()) / "fonts" / "ttf" / name
    while True:
        font = ImageFont.truetype(str(file), size)
        broken = _lines(text, font)
        if len(broken) <= lines or size < 15:
            break
        size -= 2
    ImageDraw.Draw(slide).multiline_text((MARGIN, top), "\n".join(broken), colour, font, spacing=size // 3)


def _lines(text: str, font: ImageFont.FreeTypeFont) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and font.getlength(longer) > SIZE[0] - 2 * MARGIN:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
