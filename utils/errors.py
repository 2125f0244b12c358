"""Errors that the programs report in one line instead of a traceback."""

LONGEST_SHOWN = 80  # characters of a value in messages


class ReportedError(Exception):
    """An error whose message is all that a user needs: one line, in which control characters are escaped.

    Args:
        message: what was found and what was expected.
        advice: further lines.
    """

    def __init__(self, message: object, advice: str = ""):
        super().__init__(message)
        self.advice = advice

    def __str__(self) -> str:
        return printable(str(self.args[0])) + (f"\n{self.advice}" if self.advice else "")


class InputError(ReportedError, ValueError):
    """A file or setting that cannot be used. The message names it and says what is wrong."""


def printable(text: str) -> str:
    """Text for one line of output: control characters and undecodable bytes, as file names may hold, are escaped."""
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode()
                   for character in text)


def cut(text: str) -> str:
    """A value for a message: at most 80 characters of it."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def one_line(error: BaseException) -> str:
    """An exception's message in one line: OpenCV's reason, or the first line."""
    lines = str(getattr(error, "err", None) or error).strip().splitlines()
    return printable(lines[0]) if lines else type(error).__name__


def system_reason(error: OSError) -> str:
    """What the system says, such as "no space left on device"."""
    if error.strerror:
        return error.strerror.lower()
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__  # of a worker process: the end of its traceback
