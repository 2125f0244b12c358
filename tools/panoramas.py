"""Perspective photographs from high-dynamic-range panoramas."""

import base64
import tempfile

import cv2
import numpy as np

MIDDLE = 0.18  # target for the geometric mean of a panorama's light
WHITE = 4.0  # light that is mapped to white


def read_panorama(data: bytes) -> np.ndarray:
    """Equirectangular panorama from a JavaScript module with an OpenEXR file, (H, W, 3) float32 linear RGB."""
    import OpenEXR  # optional; most OpenCV builds lack OpenEXR, and none reads this compression

    content = base64.b64decode(data.partition(b"base64,")[2].rstrip(b"';\n "))
    with tempfile.NamedTemporaryFile(suffix=".exr") as file:
        file.write(content)
        file.flush()
        return OpenEXR.File(file.name).channels()["RGB"].pixels.astype(np.float32)


def tone_mapped(light: np.ndarray) -> np.ndarray:
    """Linear light (H, W, 3) as (H, W, 3) uint8, exposed for its mean, with highlights compressed."""
    light = np.maximum(light, 0)
    exposed = light * (MIDDLE / np.exp(np.log(light.mean(axis=2) + 1e-4).mean()))
    tones = np.clip(exposed * (1 + exposed / WHITE**2) / (1 + exposed), 0, 1) ** (1 / 2.2)
    return np.rint(tones * 255).astype(np.uint8)


def perspective_view(panorama: np.ndarray, yaw: float, pitch: float, field_of_view: float,
                     size: tuple[int, int]) -> np.ndarray:
    """The view of a camera at the centre of an equirectangular panorama (H, 2 H, 3), (*size, 3).

    Args:
        yaw, pitch: of the camera, in degrees; 0, 0 is the panorama's centre, positive is right and up.
        field_of_view: horizontal, in degrees.
        size: height and width.
    """
    height, width = size
    focal = width / 2 / np.tan(np.radians(field_of_view) / 2)
    right, up = np.meshgrid(np.arange(width) - (width - 1) / 2, (height - 1) / 2 - np.arange(height))
    turn = np.radians(pitch)
    ahead, up = focal * np.cos(turn) - up * np.sin(turn), focal * np.sin(turn) + up * np.cos(turn)
    longitude = np.arctan2(right, ahead) + np.radians(yaw)
    latitude = np.arctan2(up, np.hypot(right, ahead))
    rows, columns = panorama.shape[:2]
    x = ((longitude / (2 * np.pi) + 0.5) % 1) * columns - 0.5
    y = np.clip((0.5 - latitude / np.pi) * rows - 0.5, 0, rows - 1)
    return cv2.remap(panorama, x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)
