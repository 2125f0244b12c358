"""Errors that the programs report in one line instead of a traceback."""


class ReportedError(Exception):
    """An error whose message is all that a user needs: one line, in which control characters are escaped.

    Args:
        message: what was found and what was expected.
        advice: further lines.
    """

    def __init__(self, message: object, advice: str = ""):
        super().__init__(printable(str(message)) + (f"\n{advice}" if advice else ""))


class InputError(ReportedError, ValueError):
    """A file or setting that cannot be used. The message names it and says what is wrong."""


def printable(text: str) -> str:
    """Text for one line of output: control characters and undecodable bytes, as file names may hold, are escaped."""
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode()
                   for character in text)


def one_line(error: BaseException) -> str:
    """An exception's message in one line: OpenCV's reason, or the first line."""
    lines = str(getattr(error, "err", None) or error).strip().splitlines()
    return printable(lines[0]) if lines else type(error).__name__


def system_reason(error: OSError) -> str:
    """What the system says, such as "no space left on device"."""
    return error.strerror.lower() if error.strerror else str(error)
