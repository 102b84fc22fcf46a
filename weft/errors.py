"""One family of errors. Each names the culprit and the remedy; the traceback belongs in the log.

The command line prints ``str(error)`` and exits with ``error.exit_code``: 2 when the request was wrong
(nothing was started), 1 when the work itself failed.
"""

from __future__ import annotations


class WeftError(Exception):
    """Something a person can put right.

    Args:
        culprit: What is wrong, with the name of the file, column, key or setting.
        remedy: What to do about it, in the imperative. May be empty where nothing can be done.
    """

    exit_code = 1

    def __init__(self, culprit: str, remedy: str = "") -> None:
        self.culprit = culprit
        self.remedy = remedy
        super().__init__(f"{culprit}\n  → {remedy}" if remedy else culprit)


class RequestError(WeftError):
    """The request is wrong: an unknown name, an illegal setting, a key that is not allowed."""

    exit_code = 2


class SourceError(WeftError):
    """A data source cannot be used: missing file or column, empty file, unsafe archive, wrong checksum."""

    exit_code = 2


class SchemaError(WeftError):
    """A table breaks the rules of its schema in ``weft/schemas.py``."""


class IntegrityError(WeftError):
    """An artifact on disk is not what was written: truncated, flipped bytes, missing digest."""


class LockedError(WeftError):
    """Another writer holds the artifact; the message names the holder."""


class MissingArtifactError(WeftError):
    """An artifact that is needed has not been made yet."""
