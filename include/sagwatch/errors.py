"""Everything that can go wrong, by what has to be done about it.

::

    SagwatchError
    ├── BadInputError            a person must change a file or an argument; never retried
    │   └── SiteFileError        names the file, the key and the remedy
    ├── StopAndAskError          a person must act (credentials, access); never retried by itself
    ├── TryAgainError            a time-out, a 5xx, a broken answer: the next try may succeed
    │   ├── IncompleteAnswerError    the catalogue sent less than it announced
    │   ├── NotYetError              the service says that what is asked for is not out yet
    │   ├── StillQueuedError         the service works on it; the next try takes the same order up
    │   └── FailedRequestError       the service took a request and could not fulfil it
    ├── NoCreditsError           wait for the next month or for a bigger budget; nothing is lost
    ├── RefusedError             the service says that this order can never work
    ├── GoneError                the service has deleted what is asked for; it has to be ordered again
    ├── BadProductError          a product that must not touch a stack; it is quarantined with this text
    ├── BadWeatherError         a weather file that must not be used; it is thrown away and asked for again
    ├── BadRevisionError         a revision that cannot be built, verified or put live
    │   └── DamagedBaseError     a file that an update would take up is damaged; solved from the beginning instead
    └── FencedError              another writer has moved on; this one must stop without a trace
"""

from __future__ import annotations

from pathlib import Path


class SagwatchError(Exception):
    """Base of all our errors: its text says what is wrong, where, and what to do."""


class BadInputError(SagwatchError):
    """A person must change a file or an argument."""


class SiteFileError(BadInputError):
    """A site file cannot be used; the text names the file, the key and the remedy."""

    def __init__(self, text: str, file: Path) -> None:
        super().__init__(text)
        self.file = file


class StopAndAskError(SagwatchError):
    """A person must act, for example renew a token; trying again would only do harm."""


class TryAgainError(SagwatchError):
    """Something outside failed in a way that may be gone at the next try."""


class IncompleteAnswerError(TryAgainError):
    """The catalogue sent fewer items than it announced: nothing of it may be believed."""


class NotYetError(TryAgainError):
    """The service says that what is asked for is not out yet."""


class StillQueuedError(TryAgainError):
    """The service has not finished; ``request_id`` names the order, so that the next try takes it up."""

    def __init__(self, text: str, request_id: str) -> None:
        super().__init__(text)
        self.request_id = request_id


class FailedRequestError(TryAgainError):
    """The service took a request and could not fulfil it."""


class NoCreditsError(SagwatchError):
    """The month's credits, or the site's budget, do not allow this order now."""


class RefusedError(SagwatchError):
    """The service says that this order can never work."""


class GoneError(SagwatchError):
    """The service has deleted what is asked for."""


class BadProductError(SagwatchError):
    """A product must not touch the stack; the text is the reason kept in quarantine."""


class BadWeatherError(SagwatchError):
    """A weather file is not what was asked for; nothing of it is used."""


class BadRevisionError(SagwatchError):
    """A revision cannot be built, verified or put live."""


class DamagedBaseError(BadRevisionError):
    """A file that an update would take up is missing or damaged: the answer comes from the beginning instead."""


class FencedError(SagwatchError):
    """Another writer has moved the track on; this one must stop."""
