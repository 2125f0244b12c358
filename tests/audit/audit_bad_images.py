"""Image files that are damaged, odd or no images, as bytes; drawn from fixed seeds."""

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image, ImageCms

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
FORMATS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif", "bmp": ".bmp"}


def picture(width: int = 40, height: int = 33, seed: int = 0, channels: int = 3) -> np.ndarray:
    """(H, W, channels) uint8: smooth colours with some noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 5, channels), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height)).reshape(height, width, channels)
    return np.clip(smooth.astype(int) + rng.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str = "png", **options: object) -> bytes:
    """An image file by Pillow."""
    file = io.BytesIO()
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
    image.save(file, kind, **options)
    return file.getvalue()


def by_opencv(image: np.ndarray, extension: str, *flags: int) -> bytes:
    return cv2.imencode(extension, image, flags)[1].tobytes()


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of_zeros(width: int, height: int, depth: int = 8) -> bytes:
    """A valid grey PNG file of zeros; small, and written without holding its pixels."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (width * depth + 7) // 8)
    data = b"".join([packer.compress(row) for _ in range(height)]) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return PNG_SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def claiming(width: int, height: int) -> bytes:
    """A PNG file of a few bytes whose header claims a size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG_SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def interlaced(rows: np.ndarray) -> bytes:
    """An Adam7 PNG file of (H, W, 3) uint8."""
    height, width = rows.shape[:2]
    data = b""
    for top, left, down, right in ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
                                   (1, 0, 2, 1)):
        part = rows[top::down, left::right]
        if part.size:
            data += b"".join(b"\0" + row.tobytes() for row in part)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    return PNG_SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def with_chunk(png: bytes, name: bytes, content: bytes) -> bytes:
    """A PNG file with a chunk added after its header."""
    return png[:33] + chunk(name, content) + png[33:]


def cut(data: bytes, share: float) -> bytes:
    return data[:int(share * len(data))]


def damaged(data: bytes, count: int, how: str, seed: int, keep: int = 0) -> bytes:
    """A file with `count` bytes zeroed or flipped, at drawn places from `keep` on."""
    rng = np.random.default_rng(seed)
    content = bytearray(data)
    for place in rng.choice(np.arange(keep, len(content)), min(count, len(content) - keep), replace=False):
        content[place] = 0 if how == "zeroed" else content[place] ^ (1 << int(rng.integers(8)))
    return bytes(content)


def unreadable_files() -> dict[str, bytes]:
    """File name -> content of files that no program can use as images."""
    whole = {kind: encoded(picture(seed=number), kind) for number, kind in enumerate(FORMATS)}
    files = {f"{kind}-cut{percent}{FORMATS[kind]}": cut(data, percent / 100)
             for kind, data in whole.items() for percent in (10, 50, 90)}
    wrong_sum = bytearray(whole["png"])
    wrong_sum[29] ^= 1  # in the header's checksum
    header_only = whole["png"][:33]
    return files | {
        "empty.png": b"", "empty.jpg": b"", "one-byte.png": b"\x89", "html.png": b"<!DOCTYPE html><html></html>\n",
        "html.jpg": b"<html><body>404</body></html>", "text.tif": b"not an image\n", "zeros.bmp": bytes(1000),
        "noise.webp": np.random.default_rng(5).bytes(3000), "header-sum.png": bytes(wrong_sum),
        "header-only.png": header_only, "no-width.png": claiming(0, 10), "no-height.png": claiming(10, 0),
        "no-size.bmp": b"BM" + bytes(12) + struct.pack("<IiiHHIIiiII", 40, 0, 0, 1, 24, 0, 0, 0, 0, 0, 0),
        "claims-60000.png": claiming(60000, 60000), "claims-2e9.png": claiming(2**31 - 1, 2**31 - 1),
        "claims-30000.jpg": _jpeg_claiming(whole["jpeg"], 65000), "float.tif": _float_tiff(),
        "zip.png": b"PK\x03\x04" + bytes(100), "svg.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    }


def _jpeg_claiming(jpeg: bytes, side: int) -> bytes:
    place = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:place] + struct.pack(">HH", side, side) + jpeg[place + 4:]


def _float_tiff() -> bytes:
    return encoded(Image.fromarray(picture()[..., 0].astype(np.float32)), "tiff")


def slightly_damaged_files() -> dict[str, tuple[bytes, tuple[int, int]]]:
    """File name -> content, width and height of files that are usable or not, depending on where they are damaged."""
    bomb = with_chunk(encoded(picture(160, 121)), b"zTXt", b"k\0\0" + zlib.compress(bytes(10**7)))
    wrong_sum = bytearray(encoded(picture(160, 121)))
    wrong_sum[-14] ^= 1  # in the data's checksum
    files = {"text-bomb.png": bomb, "data-sum.png": bytes(wrong_sum)}
    for kind, extension in FORMATS.items():
        data = encoded(picture(160, 121, 7), kind, **({"lossless": True} if kind == "webp" else {}))
        for number, (count, how) in enumerate((n, how) for n in (1, 8, 200) for how in ("zeroed", "flipped")):
            files[f"{kind}-{how}{count}{extension}"] = damaged(data, count, how, number, keep=12)
    return {name: (data, (160, 121)) for name, data in files.items()}


def odd_files() -> dict[str, tuple[bytes, tuple[int, int]]]:
    """File name -> content, and upright width and height, of files that are usable, though not common."""
    colours, size = picture(), (40, 33)
    image = Image.fromarray(colours)
    grey = colours[..., :1]
    deep = colours.astype(np.uint16) * 257
    palette = image.quantize(16)
    frames = [Image.fromarray(picture(seed=number)) for number in (1, 2)]
    animated = {"save_all": True, "append_images": frames}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    files = {
        "deep.png": by_opencv(deep, ".png"), "deep.tif": by_opencv(deep, ".tif"),
        "deep-grey.png": by_opencv(deep[..., 0], ".png"), "one-bit.png": encoded(image.convert("1")),
        "one-bit.tif": encoded(image.convert("1"), "tiff", compression="group4"),
        "palette.png": encoded(palette), "palette-clear.png": encoded(palette, transparency=3),
        "palette.bmp": encoded(palette, "bmp"), "cmyk.jpg": encoded(image.convert("CMYK"), "jpeg"),
        "cmyk.tif": encoded(image.convert("CMYK"), "tiff"), "grey.jpg": encoded(grey, "jpeg"),
        "grey-alpha.png": encoded(np.dstack([grey, grey[::-1]])), "rgba.png": encoded(np.dstack([colours, grey])),
        "rgba.webp": encoded(np.dstack([colours, grey]), "webp"),
        "rgba.tif": encoded(np.dstack([colours, grey]), "tiff"),
        "animated.webp": encoded(image, "webp", **animated), "animated.png": encoded(image, "png", **animated),
        "pages.tif": encoded(image, "tiff", **animated), "lzw.tif": encoded(image, "tiff", compression="tiff_lzw"),
        "jpeg-inside.tif": encoded(image, "tiff", compression="jpeg"), "interlaced.png": interlaced(colours),
        "progressive.jpg": encoded(image, "jpeg", progressive=True), "is-png.jpg": encoded(image),
        "is-jpeg.png": encoded(image, "jpeg"), "is-webp.tif": encoded(image, "webp"), "UPPER.PNG": encoded(image),
        "Mixed.JpEg": encoded(image, "jpeg"), "profile.png": encoded(image, icc_profile=profile),
        "profile-broken.png": encoded(image, icc_profile=b"\xff" * 50),
        "profile-broken.jpg": encoded(image, "jpeg", icc_profile=b"RGB " * 9),
        "profile-not-zlib.png": with_chunk(encoded(image), b"iCCP", b"name\0\0not zlib at all"),
        "exif-broken.jpg": encoded(image, "jpeg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\xff"),
        "exif-broken.png": with_chunk(encoded(image), b"eXIf", b"MM\0*\xff\xff\xff\xff"),
        "gamma-zero.png": with_chunk(encoded(image), b"gAMA", bytes(4)),
        "after-end.png": encoded(image) + b"<html>", "after-end.jpg": encoded(image, "jpeg") + bytes(5000),
    }
    sized = {name: (data, size) for name, data in files.items()}
    for side in ((1, 1), (1, 700), (700, 1), (31, 33), (2, 3)):
        sized[f"{side[0]}by{side[1]}.png"] = encoded(picture(*side)), side
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        upright = size if turn < 5 else size[::-1]
        sized[f"turned{turn}.jpg"] = encoded(image, "jpeg", exif=exif), upright
        if turn in (3, 6):
            sized[f"turned{turn}.png"] = encoded(image, exif=exif), upright
            sized[f"turned{turn}.tif"] = encoded(image, "tiff", tiffinfo={0x0112: turn}), upright
            sized[f"turned{turn}.webp"] = encoded(image, "webp", exif=exif), upright
    return sized


def trimap_of(width: int, height: int, values: tuple[int, int, int] = (0, 128, 255)) -> np.ndarray:
    """(H, W) uint8: three stripes, from left to right."""
    columns = np.arange(width) * 3 // max(1, width)
    return np.tile(np.array(values, np.uint8)[columns], (height, 1))
