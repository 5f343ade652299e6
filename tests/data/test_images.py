import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from vg_gym import registry
from vg_gym.data.images import ArrayImage, FileImage, image_size, read_image, to_rgb
from vg_gym.errors import VGGymError
from vg_gym.types import ImageRef

GRADIENT = np.stack(np.meshgrid(np.arange(40) * 6, np.arange(24) * 10), -1).astype(np.uint8)
IMAGE = np.concatenate([GRADIENT, np.full((24, 40, 1), 90, np.uint8)], -1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff"])
def test_orientation_is_applied_to_pixels_and_size(tmp_path, orientation, suffix):
    upright = Image.fromarray(IMAGE)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
    path = tmp_path / f"a.{suffix}"
    stored.save(path, exif=exif, **options)
    pixels = read_image(path)
    assert pixels.shape == IMAGE.shape and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - IMAGE).max() <= 6
    assert image_size(path) == (40, 24)


def test_grey_becomes_three_equal_channels(tmp_path):
    gray = GRADIENT[..., 0]
    Image.fromarray(gray).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.repeat(gray[..., None], 3, -1))


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.array([[0, 128, 129, 257, 30_000, 65_535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    expected = np.round(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 1], expected)
    # As "I", the mode in which older Pillow opens such files.
    np.testing.assert_array_equal(to_rgb(Image.fromarray(values.astype(np.int32)))[..., 0], expected)


def test_sixteen_bit_colour_is_scaled():
    # A PNG of one 16-bit RGB pixel, written by hand, since Pillow writes none.
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    row = b"\0" + struct.pack(">HHH", 65_535, 32_768, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    assert to_rgb(Image.open(io.BytesIO(png))).tolist() == [[[255, 128, 0]]]


def test_cmyk_becomes_its_colours(tmp_path):
    colors = np.array([[[255, 0, 0], [0, 255, 0], [255, 255, 255], [0, 0, 0]]], np.uint8).repeat(16, 0).repeat(16, 1)
    Image.fromarray(colors).convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    with Image.open(tmp_path / "a.jpg") as saved:
        assert saved.mode == "CMYK"
    pixels = read_image(tmp_path / "a.jpg")
    assert np.abs(pixels[8, 8::16].astype(int) - colors[8, 8::16]).max() <= 12


def test_palette_and_transparency_are_laid_on_white(tmp_path):
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 0, 0])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "a.png", transparency=0)
    assert read_image(tmp_path / "a.png").tolist() == [[[255, 255, 255], [200, 0, 0]]]
    palette.save(tmp_path / "b.png")
    assert read_image(tmp_path / "b.png").tolist() == [[[10, 20, 30], [200, 0, 0]]]
    half = Image.new("LA", (1, 1), (0, 128))
    assert abs(int(to_rgb(half)[0, 0, 0]) - 127) <= 1
    assert to_rgb(Image.new("RGBA", (1, 1), (9, 8, 7, 255))).tolist() == [[[9, 8, 7]]]
    assert to_rgb(Image.new("1", (1, 1), 1)).tolist() == [[[255, 255, 255]]]


def test_missing_image_names_places_and_remedy(tmp_path):
    image = FileImage(tmp_path / "x" / "a.jpg", elsewhere=(tmp_path / "y" / "a.jpg",))
    with pytest.raises(VGGymError, match=r"a\.jpg; looked in .*/x, .*/y; download the images or correct root="):
        image.array()
    with pytest.raises(VGGymError, match="no image .*b.jpg; download"):
        read_image(tmp_path / "b.jpg")
    with pytest.raises(VGGymError, match="cannot read image"):
        read_image(tmp_path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "tiff", "bmp", "webp"])
def test_cut_short_at_any_byte_is_an_error_that_names_the_file(tmp_path, suffix):
    whole, cut = tmp_path / f"a.{suffix}", tmp_path / f"cut.{suffix}"
    Image.fromarray(IMAGE).save(whole)
    data = whole.read_bytes()
    for end in range(0, len(data) * 4 // 5, max(1, len(data) // 40)):
        cut.write_bytes(data[:end])
        with pytest.raises(
            VGGymError, match=r"damaged or unsupported image .*cut\.\w+ \(.+\); if it is an image, fetch it again"
        ):
            read_image(cut)


def test_an_opener_that_lacks_a_package_is_an_error_of_the_file(tmp_path, monkeypatch):
    def patched(*_, **__):
        raise ModuleNotFoundError("No module named 'pi_heif'")

    monkeypatch.setattr(Image, "open", patched)  # as `import ultralytics` does for files that Pillow does not know
    with pytest.raises(VGGymError, match=r"damaged or unsupported image .*a\.jpg \(No module named 'pi_heif'\)"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_flipped_bytes_never_raise_anything_else(tmp_path):
    rng = np.random.default_rng(0)
    errors = 0
    for suffix in ("jpg", "png", "tiff", "gif"):
        Image.fromarray(IMAGE).save(tmp_path / f"a.{suffix}")
        data = np.frombuffer((tmp_path / f"a.{suffix}").read_bytes(), np.uint8)
        for _ in range(60):
            damaged = data.copy()
            damaged[rng.integers(len(data), size=8)] = rng.integers(256, size=8)
            (tmp_path / "b").write_bytes(damaged.tobytes())
            try:
                assert read_image(tmp_path / "b").ndim == 3
            except VGGymError:
                errors += 1
    assert errors > 50


def test_float_pixels_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(VGGymError, match=r"a\.tiff \(floating-point"):
        read_image(tmp_path / "a.tiff")


def test_size_reads_no_pixels(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: data.index(b"\xff\xda") + 14])  # headers up to the start of the scan
    image = FileImage(tmp_path / "a.jpg")
    assert image.size == (40, 24)
    with pytest.raises(VGGymError):
        image.array()


def test_another_size_than_annotated_is_an_error(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    assert FileImage(tmp_path / "a.png", known_size=(40, 24)).array().shape == (24, 40, 3)
    with pytest.raises(VGGymError, match="is 40x24, the annotations say 24x40; get the original"):
        FileImage(tmp_path / "a.png", known_size=(24, 40)).array()


def test_references_implement_the_protocol(tmp_path):
    assert isinstance(FileImage(tmp_path / "a.png", "k", (1, 1)), ImageRef)
    assert FileImage(tmp_path / "a.png", "k").key == "k"
    image = ArrayImage(IMAGE)
    assert isinstance(image, ImageRef) and image.size == (40, 24) and image.array() is IMAGE
    assert image.key == ArrayImage(IMAGE.copy()).key != ArrayImage(IMAGE[::-1]).key
    assert ArrayImage(IMAGE.reshape(40, 24, 3)).key != image.key
    for wrong in (IMAGE[..., 0], IMAGE.astype(float), IMAGE[:0], np.zeros((2, 2, 4), np.uint8)):
        with pytest.raises(VGGymError, match="uint8 array"):
            ArrayImage(wrong)


def turned(path, orientation, **options):
    """Save an image whose stored pixels are :data:`IMAGE`, with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(IMAGE).save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_stored_pixels_are_those_of_the_file(tmp_path, orientation, suffix):
    image = FileImage(turned(tmp_path / f"a.{suffix}", orientation), orientation="stored")
    np.testing.assert_array_equal(image.array(), IMAGE)
    assert image.size == (40, 24)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_size_that_is_one_orientation_s_alone_decides(tmp_path, orientation):
    path = turned(tmp_path / "a.png", orientation)
    for said in ("stored", "upright", ""):
        np.testing.assert_array_equal(FileImage(path, None, (40, 24), (), said).array(), IMAGE)
        np.testing.assert_array_equal(FileImage(path, None, (24, 40), (), said).array(), read_image(path))


@pytest.mark.parametrize(("orientation", "size"), [(2, (40, 24)), (3, None), (4, None), (6, None)])
def test_an_orientation_that_nothing_decides_is_an_error(tmp_path, orientation, size):
    image = FileImage(turned(tmp_path / "a.png", orientation), None, size, (), "")
    with pytest.raises(
        VGGymError, match=rf"a\.png has the EXIF orientation {orientation}, and nothing says .*=upright"
    ):
        image.array()
    assert FileImage(turned(tmp_path / "b.png", 1), None, size, (), "").array().shape == (24, 40, 3)


def written_png(bits, kind, row, transparent):
    """A PNG of one pixel, written by hand."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header, pixels = struct.pack(">IIBBBBB", 1, 1, bits, kind, 0, 0, 0), zlib.compress(b"\0" + row)
    parts = ((b"IHDR", header), (b"tRNS", transparent), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in parts)


@pytest.mark.parametrize(
    ("bits", "kind", "row"),
    [
        (16, 2, struct.pack(">HHH", 25_700, 256, 5)),
        (16, 0, struct.pack(">H", 25_700)),
        (8, 2, bytes([7, 8, 9])),
        (8, 0, bytes([7])),
        (4, 0, bytes([0x50])),
        (2, 0, bytes([0x40])),
        (1, 0, bytes([0])),
    ],
)
def test_a_transparent_value_of_any_depth_is_white(tmp_path, bits, kind, row):
    values = row if bits == 16 else struct.pack(f">{len(row)}H", *(value >> (8 - bits) for value in row))
    path = tmp_path / "a.png"
    path.write_bytes(written_png(bits, kind, row, values))
    assert read_image(path).tolist() == [[[255, 255, 255]]]
    opaque = b"".join(struct.pack(">H", value ^ 1) for value in struct.unpack(f">{len(values) // 2}H", values))
    path.write_bytes(written_png(bits, kind, row, opaque))
    assert read_image(path).max() < 255 or bits == 16 and kind == 2  # of 16-bit colours Pillow keeps the upper 8 bits


def test_grey_tiffs_of_which_white_is_zero(tmp_path):
    Image.fromarray(np.full((4, 4), 25_700, np.uint16)).save(tmp_path / "a.tiff", tiffinfo={262: 0})
    assert set(read_image(tmp_path / "a.tiff").ravel().tolist()) == {155}


@pytest.mark.parametrize("dataset", ["refshapes", "refscenes"])
def test_numpy_takes_an_image_itself(dataset):
    image = registry.open_dataset(dataset, "test")[0].query.image
    assert np.array_equal(np.asarray(image), image.array()) and np.asarray(image, dtype=np.float32).dtype == np.float32
    own = ArrayImage(np.full((4, 6, 3), 7, np.uint8))
    assert np.asarray(own).shape == (4, 6, 3) and np.array(own, copy=True) is not own.array()
