"""Every setting of every process, read once from the environment."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.addresses import postgres_address, redis_address
from shared.errors import SettingsError


def _read_by(read: Callable[[str], object]) -> AfterValidator:
    def check(url: SecretStr) -> SecretStr:
        try:
            read(url.get_secret_value())
        except ValueError as error:
            raise PydanticCustomError("url", "{problem}", {"problem": str(error)}) from None
        return url

    return AfterValidator(check)


Seconds = Annotated[float, Field(gt=0)]
Limit = Annotated[int, Field(ge=0)]
"""0 is no limit."""


class Environment(StrEnum):
    development = "development"
    production = "production"


class Settings(BaseSettings):
    """Frozen; passed down, never imported as a value.

    Names are those of the environment (`.env.example` lists all of them). Durations are seconds,
    sizes are bytes.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    parley_env: Environment = Environment.production
    database_url: Annotated[SecretStr, _read_by(postgres_address)]
    redis_url: Annotated[SecretStr, _read_by(redis_address)]
    database_pool_size: Annotated[int, Field(ge=1)] = 15

    parley_host: str = "127.0.0.1"
    parley_port: Annotated[int, Field(ge=0, le=65535)] = 8000
    parley_jwt_secret: SecretStr = SecretStr("")
    parley_jwt_previous_secret: SecretStr = SecretStr("")
    parley_jwt_issuer: str = "parley"
    parley_jwt_audience: str = "parley"
    parley_jwks_url: str = ""
    service_auth_token: SecretStr = SecretStr("")
    service_auth_previous_token: SecretStr = SecretStr("")
    parley_sessions_table: str = ""
    parley_sessions_id_column: str = "id"
    parley_sessions_user_column: str = "userId"
    parley_sessions_token_column: str = "token"  # noqa: S105
    parley_sessions_expires_column: str = "expiresAt"
    parley_cors_origins: str = ""
    parley_page_user: str = ""
    parley_hsts_seconds: Annotated[int, Field(ge=0)] = 0
    parley_max_body_bytes: Annotated[int, Field(ge=1024)] = 256 * 1024
    parley_stream_lifetime_seconds: Seconds = 3600
    parley_stream_send_timeout_seconds: Seconds = 15

    parley_trusted_proxies: str = ""
    parley_limit_requests_per_minute: Limit = 6000
    parley_limit_address_requests_per_minute: Limit = 30_000
    parley_limit_messages_per_minute: Limit = 600
    parley_limit_streams: Limit = 200
    parley_limit_queued_turns: Limit = 100
    parley_limit_running_turns: Limit = 100
    parley_limit_tokens_per_day: Limit = 0

    openai_api_key: SecretStr = SecretStr("")
    openai_base_url: str = ""
    openrouter_api_key: SecretStr = SecretStr("")
    parley_model: str = ""
    parley_demo_url: str = ""
    parley_model_timeout_seconds: Seconds = 120
    parley_model_idle_timeout_seconds: Seconds = 60
    parley_model_retries: Annotated[int, Field(ge=0)] = 3
    parley_model_backoff_seconds: Seconds = 0.5
    parley_tool_timeout_seconds: Seconds = 30
    parley_turn_timeout_seconds: Seconds = 600
    parley_max_model_calls: Annotated[int, Field(ge=1)] = 10
    parley_max_answer_chars: Annotated[int, Field(ge=1000)] = 200_000
    parley_model_titles: bool = False

    parley_mcp_servers: SecretStr = SecretStr("")
    parley_mcp_file: str = ""

    parley_max_turns: Annotated[int, Field(ge=1)] = 50
    parley_max_attempts: Annotated[int, Field(ge=1)] = 3
    parley_lease_seconds: Seconds = 6
    parley_sweep_seconds: Seconds = 1
    parley_drain_seconds: Annotated[float, Field(ge=0)] = 5
    parley_retention_days: Annotated[int, Field(ge=0, le=36_500)] = 30
    parley_metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    parley_metrics_host: str = "127.0.0.1"
    otel_exporter_otlp_endpoint: str = ""
    otel_exporter_otlp_traces_endpoint: str = ""
    parley_log_format: Annotated[str, Field(pattern="^(json|console)$")] = "json"

    @property
    def cors_origins(self) -> list[str]:
        return [origin.strip() for origin in self.parley_cors_origins.split(",") if origin.strip()]


def load_settings() -> Settings:
    """Reads the environment; raises SettingsError that names every problem, never a value."""
    try:
        return Settings()  # pyright: ignore[reportCallIssue]
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in item['loc']).upper() or 'settings'}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        raise SettingsError(problems) from None
