"""Decoding and resizing: every kind of picture, bounded, and faithful to a bilinear resize."""

import io
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from models.data.files import UnreadableError
from models.data.image import Shape, decode, image_size, load_image, resize
from tests.support.images import encoded, grey, jpeg


@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_decodes_to_the_grey_that_pillow_decodes(channels):
    content = encoded(Image.fromarray(np.dstack([grey(seed=i)[:, :, 0] for i in range(3)])), "JPEG", quality=90)
    picture = decode(content, channels)
    with Image.open(io.BytesIO(content)) as reference:
        expected = np.asarray(reference.convert({1: "L", 3: "RGB"}[channels])).reshape(31, 90, channels)
    assert np.abs(picture.astype(int) - expected).mean() < 1.5


KINDS = {
    "png": ("L", "PNG", {}),
    "palette": ("P", "PNG", {}),
    "one bit": ("1", "PNG", {}),
    "transparent": ("RGBA", "PNG", {}),
    "CMYK JPEG": ("CMYK", "JPEG", {"quality": 95}),
    "webp": ("RGB", "WEBP", {"lossless": True}),
    "bmp": ("RGB", "BMP", {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_becomes_grey(kind):
    mode, name, options = KINDS[kind]
    picture = decode(encoded(Image.fromarray(grey()[:, :, 0]).convert(mode), name, **options))
    assert picture.shape == (31, 90, 1) and picture.dtype == np.uint8
    if kind != "one bit":
        assert np.abs(picture.astype(int) - grey()).mean() < 6


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_ground_is_white_for_data_sets_as_for_the_api(mode, channels):
    drawn = Image.new("RGBA", (40, 20))  # its ground is black that nobody sees
    drawn.paste((0, 0, 0, 255), (10, 5, 30, 15))
    content = encoded(drawn.convert(mode), "PNG")
    pixels = decode(content, channels)
    assert (pixels[:4] == 255).all() and (pixels[6:14, 12:28] == 0).all()
    assert (load_image(content, channels) == pixels).all()
    assert (load_image(Image.open(io.BytesIO(content)), channels) == pixels).all()


def test_an_opaque_alpha_channel_changes_no_pixel():
    opaque = Image.fromarray(grey()[:, :, 0]).convert("RGBA")
    assert (decode(encoded(opaque, "PNG")) == grey()).all()


def test_16_bit_greys_are_scaled_not_clipped():
    deep = Image.fromarray(grey()[:, :, 0].astype(np.uint16) * 257)
    assert (decode(encoded(deep, "PNG")) == grey()).all()


@pytest.mark.parametrize(
    "content",
    [b"", b"rubbish", b"\xff\xd8\xff\xe0 and no more", jpeg()[:-300], encoded(Image.new("L", (50, 50)), "PNG")[:-30]],
)
def test_broken_bytes_are_unreadable(content):
    with pytest.raises(UnreadableError) as caught:
        decode(content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("brand, name", [(b"heic", "HEIC"), (b"mif1", "HEIC"), (b"avif", "AVIF")])
def test_what_a_phone_writes_is_called_by_its_name(brand, name):
    with pytest.raises(UnreadableError, match=f"^{name}, which is not read: save it as JPEG"):
        decode(b"\0\0\0\x24ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(40))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_of_20000_by_20000_is_refused_by_its_header(kind):
    content = encoded(Image.new("L", (4, 4)), kind)
    at = content.index(b"IHDR") + 4 if kind == "PNG" else content.index(b"\xff\xc0") + 5
    size = (20000).to_bytes(4 if kind == "PNG" else 2, "big") * 2
    content = content[:at] + size + content[at + len(size) :]
    if kind == "PNG":
        crc = zlib.crc32(content[12:29]).to_bytes(4, "big")
        content = content[:29] + crc + content[33:]
    with pytest.raises(UnreadableError, match=r"20000 x 20000|400000000 pixels"):
        decode(content)


@pytest.mark.parametrize("size", [(1, 31), (90, 1), (1, 1), (600, 31), (90, 200)])
def test_odd_sizes_still_fill_the_shape(size):
    width, height = size
    assert (resize(np.full((height, width, 1), 7, np.uint8), 32, 100) == 7).all()


@pytest.mark.parametrize("width", [40, 100, 130, 190, 260, 400])
@pytest.mark.parametrize("height", [23, 31, 32, 50, 120])
def test_resizing_stays_within_a_grey_level_of_pillow(height, width):
    picture = grey(height, width)
    expected = np.asarray(Image.fromarray(picture[:, :, 0]).resize((100, 32), Image.Resampling.BILINEAR))
    assert np.abs(resize(picture, 32, 100).reshape(32, 100).astype(int) - expected).mean() < 1


@pytest.mark.parametrize("options", [{"channels": 2}, {"width": 8}, {"height": 0}])
def test_a_shape_that_cannot_be_is_refused(options):
    with pytest.raises(ValueError, match="channels are 1 or 3"):
        Shape(**options)


def test_kept_ratio_stays_between_the_narrowest_and_the_shapes_width():
    shape = Shape(width=200, keep_ratio=True)
    assert [shape.fit_width(31, w) for w in (1, 31, 93, 900)] == [16, 32, 96, 200]
    assert Shape().fit_width(31, 93) == 100


@pytest.mark.parametrize("width", [150, 190, 260, 380, 500])
def test_fine_detail_is_smoothed_away_where_a_picture_shrinks(width):
    """Noise is the hardest: a plain bilinear resize keeps it (aliasing), an antialiased one averages it."""
    noise = np.random.default_rng(0).integers(0, 256, (32, width, 1), np.uint8)
    expected = np.asarray(Image.fromarray(noise[:, :, 0]).resize((100, 32), Image.Resampling.BILINEAR)).astype(int)
    ours, plain = (
        np.abs(resized.reshape(32, 100).astype(int) - expected).mean()
        for resized in (resize(noise, 32, 100), cv2.resize(noise, (100, 32)))
    )
    assert ours < 0.6 * plain


def picture(name):
    """An image of each kind that is opened otherwise than its neighbours, its encoded form, and how it should look."""
    base = Image.fromarray(grey()[:, :, 0])
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = Image.fromarray(grey()[:, :, 0].astype(np.uint16) * 257)
    return {
        "turned JPEG": encoded(base.rotate(90, expand=True), "JPEG", quality=100, exif=turned),
        "turned PNG": encoded(base.rotate(90, expand=True), "PNG", exif=turned),
        "16 bits": encoded(deep, "PNG"),
        "palette": encoded(base.convert("P"), "PNG"),
        "CMYK": encoded(base.convert("CMYK"), "JPEG", quality=100),
    }[name]


@pytest.mark.parametrize("kind", ["turned JPEG", "turned PNG", "16 bits", "palette", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_demo_and_data_sets_see_the_same_upright_picture(kind, channels):
    content = picture(kind)
    pixels = decode(content, channels).copy()
    assert pixels.shape == (31, 90, channels) and image_size(content) == (31, 90)
    assert np.abs(pixels.astype(int) - grey()).mean() < 6
    assert (load_image(content, channels) == pixels).all()


FLOATING = encoded(Image.fromarray(np.full((20, 40), 0.5, np.float32)), "TIFF")
FILM = encoded(Image.new("L", (90, 31)), "GIF", save_all=True, append_images=[Image.new("L", (90, 31), 255)])


@pytest.mark.parametrize(
    ("content", "reason"), [(FLOATING, "floating-point"), (FILM, "GIF of several frames")], ids=["float", "film"]
)
@pytest.mark.parametrize("opens", [decode, lambda content: load_image(content, 1)], ids=["data set", "demo"])
def test_what_has_no_one_meaning_is_refused_alike(content, reason, opens):
    with pytest.raises(UnreadableError, match=reason):
        opens(content)
