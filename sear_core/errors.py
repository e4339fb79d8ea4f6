"""The one error that is the user's to mend."""


class InputError(ValueError):
    """A wrong call, config or input; its text names the file, row or key and says what was expected.

    The `sear` command prints it as one paragraph and exits with 2.
    """
