"""`python -m api.schema` prints the OpenAPI document; it needs no service and no settings."""

from __future__ import annotations

import sys

import msgspec
from pydantic import SecretStr

from api.app import create_app
from shared.settings import Environment, Settings

NOWHERE = SecretStr("postgresql://nowhere/nothing")


def main() -> None:
    settings = Settings.model_construct(
        parley_env=Environment.development,
        database_url=NOWHERE,
        redis_url=SecretStr("redis://nowhere"),
        parley_jwt_secret=SecretStr("x" * 32),
    )
    document = create_app(settings).openapi_schema.to_schema()
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(document)) + b"\n")


if __name__ == "__main__":
    main()
