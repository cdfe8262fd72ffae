"""The secrets and addresses of the ways in: what would open the door to everybody is refused."""

from __future__ import annotations

from urllib.parse import urlsplit

from api.tokens import is_owner
from shared.errors import SettingsError
from shared.settings import Environment, Settings

MIN_SECRET_BYTES = 32
MIN_SECRET_CHARACTERS = 8

# What stands in examples and tutorials is known to everybody, however long it is.
WELL_KNOWN = (
    *("changeme", "change-me", "change_me", "change this", "example", "placeholder"),
    *("your-secret", "your_secret", "your-256-bit-secret", "a-string-secret-at-least-256-bits"),
)


def refuse_open_doors(settings: Settings) -> None:
    """Raises SettingsError that names every problem. In development any secret will do."""
    secret = settings.parley_jwt_secret.get_secret_value()
    service = settings.service_auth_token.get_secret_value()
    earlier_secret = settings.parley_jwt_previous_secret.get_secret_value()
    earlier_service = settings.service_auth_previous_token.get_secret_value()
    strict = settings.parley_env is not Environment.development
    problems: list[str] = []
    if not (secret or service or settings.parley_jwks_url or settings.parley_sessions_table):
        problems.append(
            "PARLEY_JWT_SECRET: there is no way in; set this one, PARLEY_JWKS_URL, "
            "PARLEY_SESSIONS_TABLE or SERVICE_AUTH_TOKEN"
        )
    for name, value, current in (
        ("PARLEY_JWT_SECRET", secret, secret),
        ("PARLEY_JWT_PREVIOUS_SECRET", earlier_secret, secret),
        ("SERVICE_AUTH_TOKEN", service, service),
        ("SERVICE_AUTH_PREVIOUS_TOKEN", earlier_service, service),
    ):
        if value and strict and (problem := _weakness(value)):
            problems.append(f"{name}: {problem}")
        if value and not current:
            problems.append(f"{name}: there is none that it came before")
    if not all("!" <= char <= "~" for char in service + earlier_service):
        problems.append("SERVICE_AUTH_TOKEN: a header can only carry visible ASCII")
    if {service, earlier_service} & {secret, earlier_secret} - {""}:
        problems.append("SERVICE_AUTH_TOKEN: it travels, so it must not be the JWT secret too")
    if settings.parley_jwks_url and (problem := _unfit(settings.parley_jwks_url, strict=strict)):
        problems.append(f"PARLEY_JWKS_URL: {problem}")
    if settings.parley_page_user and strict:
        problems.append("PARLEY_PAGE_USER: whoever opens the page would be this user")
    if settings.parley_page_user and not is_owner(settings.parley_page_user):
        problems.append("PARLEY_PAGE_USER: this can't be the name of a user")
    if problems:
        raise SettingsError(problems)


def _weakness(secret: str) -> str | None:
    if len(secret.encode()) < MIN_SECRET_BYTES:
        return f"the secret must have at least {MIN_SECRET_BYTES} bytes"
    if len(set(secret)) < MIN_SECRET_CHARACTERS:
        return f"the secret must have at least {MIN_SECRET_CHARACTERS} different characters"
    if any(known in secret.lower() for known in WELL_KNOWN):
        return "the secret is one of those that stand in examples"
    return None


def _unfit(url: str, *, strict: bool) -> str | None:
    try:
        parsed = urlsplit(url)
        _ = parsed.port
    except ValueError:
        return "it is no URL"
    if parsed.scheme != "https" and (strict or parsed.scheme != "http"):
        return "it must begin with https://"
    if not parsed.hostname or parsed.username is not None or parsed.fragment:
        return "it must name a host, and neither a user nor a fragment"
    return None
