"""Contact sheets: many images side by side in one, for a person to look at."""

from __future__ import annotations

from collections.abc import Iterable

from PIL import Image, ImageDraw

from models.rendering.captions import draw_caption

GAP, LETTERS = 4, 14  # px between images, and of a caption's letters


def contact_sheet(
    items: Iterable[tuple[Image.Image, str]], width: int, row: int, rows: int | None = None, cell: int = 0
) -> Image.Image:
    """Images and their captions in rows of `width` px, like words on a page: (H, width) in the first image's mode.

    row: px from the top of one row to that of the next. rows: how many there are; further images are left out. None: as
    many as it takes. cell: px that each image gets at least; images in cells have a margin, for the captions below.
    """
    margin = GAP if cell else 0
    placed, x, y = [], 0, 0
    for image, caption in items:
        if x + image.width > width:
            x, y = 0, y + row
        if rows is not None and y >= rows * row:
            break
        placed.append((x + margin, y + margin, image, caption))
        x += max(image.width + GAP, cell)
    sheet = Image.new(placed[0][2].mode if placed else "L", (width, y + row if rows is None else rows * row), "white")
    pen = ImageDraw.Draw(sheet)
    for left, top, image, caption in placed:
        sheet.paste(image, (left, top))
        if caption:
            draw_caption(pen, (left, top + image.height + 2), caption, LETTERS)
    return sheet
