"""Errors, typed once. The edges map them: OpenADR response codes there, problem documents (RFC 9457) here."""


class EvenloadError(Exception):
    """Base of every error that a user or a peer can cause. Its text is written for that person.

    `field` names what of the request it is about, where that is one thing.
    """

    def __init__(self, text: str = "", *, field: str | None = None) -> None:
        super().__init__(text)
        self.field = field


class InvalidError(EvenloadError):
    """The value is malformed or breaks a rule; sending it again unchanged will fail again."""


class NotFoundError(EvenloadError):
    """Nothing has that id."""


class ConflictError(EvenloadError):
    """The request contradicts the present state (a duplicate, a lost race, a past that cannot be changed)."""


class ForbiddenError(EvenloadError):
    """The caller is known but may not do this."""


class UnavailableError(EvenloadError):
    """A resource that we depend on (disk, database, broker, peer) does not answer now; trying later can help."""


class UnfinishedError(UnavailableError):
    """A part is done and stays so; the same request again completes it."""
