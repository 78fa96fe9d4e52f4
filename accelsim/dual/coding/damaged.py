"""The error that every reader of a ``.dual`` file raises."""


class DamagedFile(ValueError):
    """The bytes are not those that the writer of such a file writes.

    The message says what was found where.
    """
