"""`parley init`: what an installation in containers begins with, and secrets of its own."""

from __future__ import annotations

import secrets
from pathlib import Path

from cli.console import tell
from cli.data_dir import write_private
from cli.errors import InitError

COMPOSE = Path(__file__).with_name("docker-compose.yml")
"""The repository's own; here is a link to it, and in a package a copy."""

SECRET_BYTES = 36

ENVIRONMENT = """\
# Made by `parley init`: the secrets of this installation. Keep it out of every repository, and a
# copy where you keep such things: Postgres takes POSTGRES_PASSWORD once, when its data is made.
# Every other setting may stand here too: .env.example of the repository lists them.
PARLEY_IMAGE={image}
PARLEY_ENV=production
POSTGRES_PASSWORD={postgres}
REDIS_PASSWORD={redis}
# Signs and checks bearer tokens.
PARLEY_JWT_SECRET={jwt}
# A backend with this token acts for the user it names in X-User-Id.
SERVICE_AUTH_TOKEN={service}

# `echo` says back what it hears. For a model that answers leave PARLEY_MODEL empty, or name one,
# and set a key (OPENAI_API_KEY, OPENROUTER_API_KEY) or the URL of a compatible endpoint.
PARLEY_MODEL=echo
OPENAI_API_KEY=
OPENROUTER_API_KEY=
OPENAI_BASE_URL=
"""

NEXT = """\
Next:
  cd {folder}
  docker compose up -d
  . ./.env
  curl http://127.0.0.1:8000/health/ready
  curl "http://127.0.0.1:8000/api/chat?wait=30" -H "X-User-Id: alice" \\
    -H "Authorization: Bearer $SERVICE_AUTH_TOKEN" \\
    -H "Content-Type: application/json" -d '{{"message": "Hello"}}'"""


def init(folder: Path, image: str) -> None:
    """Writes `.env` and `docker-compose.yml` into `folder`, and tells how to go on.

    Raises InitError, before anything is written, where either is there already: who lost the first
    `.env` can't open the database any more. A `docker-compose.yml` that is the very same stays.
    """
    environment, compose = folder / ".env", folder / COMPOSE.name
    if not image or any(char.isspace() or char in "'\"$#\\`" for char in image):
        raise InitError(f"{image!r} can't be the name of an image")
    try:
        wanted = COMPOSE.read_bytes()
        folder.mkdir(parents=True, exist_ok=True)
        same = compose.exists() and compose.read_bytes() == wanted
        for path in (environment, *(() if same else (compose,))):
            if path.is_symlink() or path.exists():
                raise InitError(f"{path} is there already; nothing was written")
        write_private(environment, made(image))
        if not same:
            compose.write_bytes(wanted)
    except OSError as error:
        raise InitError(f"{error.filename or folder} can't be used: {error.strerror}") from None
    tell(f"Written: {environment}" + ("" if same else f" and {compose}"))
    tell(NEXT.format(folder=folder))


def made(image: str) -> str:
    """The text of an `.env`. Its secrets are of letters, digits, - and _: they need no quotes in a
    shell, in Compose, systemd or a URL.
    """
    kinds = ("postgres", "redis", "jwt", "service")
    fresh = {kind: secrets.token_urlsafe(SECRET_BYTES) for kind in kinds}
    return ENVIRONMENT.format(image=image, **fresh)
