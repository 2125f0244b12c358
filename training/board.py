"""TensorBoard logs."""

import logging
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from utils.file_writing import naming

log = logging.getLogger(__name__)


class Board:
    """A TensorBoard log in a folder; writes nothing, after a warning, if tensorboardX is not installed.

    Events are written at once. tensorboardX's SummaryWriter writes them in a thread, which ends when the disk is
    full; the training would then wait for it forever.

    Raises:
        OSError: here and in `add`, if the folder cannot be written to.
    """

    def __init__(self, folder: Path):
        self.folder, self.events = folder, None
        try:
            from tensorboardX import event_file_writer  # optional
        except ImportError:
            log.warning("no TensorBoard logs: tensorboardX is not installed")
            return
        with naming(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self.events = event_file_writer.EventsWriter(str(folder / "events"))

    @property
    def is_written(self) -> bool:
        """Whether tensorboardX is installed."""
        return self.events is not None

    def add(self, step: int, scalars: dict[str, float] | None = None, images: dict[str, np.ndarray] | None = None,
            ) -> None:
        """Adds values and images (H, W, 3) uint8 by their names."""
        if self.events is None:
            return
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import image, scalar

        summaries = [scalar(name, value) for name, value in (scalars or {}).items()]
        summaries += [image(name, pixels, dataformats="HWC") for name, pixels in (images or {}).items()]
        with naming(self.folder):
            for summary in summaries:
                self.events.write_event(Event(wall_time=time.time(), step=step, summary=summary))
            self.events.flush()

    def close(self) -> None:
        """Ends the log; what could not be written has been reported before."""
        if self.events is not None:
            with suppress(OSError):
                self.events.close()
