"""The error that ends a run, or keeps one from starting."""


class RunError(RuntimeError):
    """A run that cannot be started, opened or resumed; the message says what was found and what to do."""
