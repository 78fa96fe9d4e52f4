"""The two ways a command can end badly, as exceptions that carry one clear line."""


class InputError(ValueError):
    """Bad input from the user: a file, a key, a flag.

    The command line prints it as ``error: ...`` and exits with 2.

    The message is one line that names the file, the key, the value, and what was expected.
    """


class NumericalError(ArithmeticError):
    """A computation left the finite numbers (a loss became NaN).

    The message says where and what to fall back on.
    """
