"""What the processes of the service share."""

VERSION = "0.1.0"
"""The release, as in pyproject.toml (a test compares them)."""
