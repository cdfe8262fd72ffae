"""What goes wrong for the person at the terminal, one tree.

CliError
├── DataDirError
├── EmbeddedMissingError
├── StartError
├── TokenError
├── EraseError
├── InitError
└── ServerError
"""

from __future__ import annotations


class CliError(Exception):
    """Shown as its sentence, without a traceback; the command then exits with 1."""


class DataDirError(CliError):
    """The data directory can't be used, or is in use."""


class EmbeddedMissingError(CliError):
    """A wheel of the `embedded` extra isn't installed."""


class StartError(CliError):
    """A process ended or stayed silent while it was expected to become ready."""


class TokenError(CliError):
    """A token can't be made here."""


class EraseError(CliError):
    """Nothing can be erased here, or it could not be finished."""


class InitError(CliError):
    """An installation can't be begun here, or is there already."""


class ServerError(CliError):
    """What the HTTP API refused, in its own words, or that it can't be reached."""
