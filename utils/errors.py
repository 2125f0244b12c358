"""Errors that the programs report in one line instead of a traceback."""


class InputError(ValueError):
    """A file or setting that cannot be used. The message names it and says what is wrong, in one line."""


def one_line(error: BaseException) -> str:
    """An exception's message in one line: OpenCV's reason, or the first line."""
    lines = str(getattr(error, "err", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
