"""What the programs report in one line instead of a traceback."""


class InputError(ValueError):
    """A file or setting that cannot be used. The message names it and says what is wrong, in one line."""
