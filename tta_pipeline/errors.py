"""The errors that a user can cause. Each message says what was expected, what came, where, and what to do."""


class InputError(Exception):
    """A config, sheet, table or option that does not fit."""


class DivergedError(InputError):
    """NaN or infinity where a model's numbers are expected: a training that diverged, or inputs out of any scale."""


class SlideError(Exception):
    """One slide that cannot be used: unreadable, without mpp, without tissue. The study's policy decides the rest."""


class ArtifactError(Exception):
    """A file of the pipeline that is missing, cut off, or of another kind than expected."""


class ConvergenceError(Exception):
    """An iterative solver that did not reach its tolerance."""


USER_ERRORS = (InputError, SlideError, ArtifactError, ConvergenceError)
