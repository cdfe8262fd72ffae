"""Whether this process records spans: where an endpoint is set, and not otherwise."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from shared import spans
from shared.errors import SettingsError
from shared.settings import Settings

FLUSH_SECONDS = 2.0
"""For the last spans. A collector that takes longer misses them."""
PATH = "v1/traces"
NAME = "OTEL_EXPORTER_OTLP_ENDPOINT"


def begin_tracing(settings: Settings, *, process: str) -> bool:
    """True if spans are recorded from now on.

    Raises SettingsError where they are to be and the extra `otlp` is not installed.
    """
    url = traces_url(settings)
    if not url or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if urlsplit(url).scheme not in ("http", "https"):
        raise SettingsError([f"{NAME}: an http or https address is needed"])
    try:
        # A process that tells nobody has no room for what this loads.
        from shared.otlp import Otlp
    except ImportError:
        needed = f"{NAME}: traces need the extra `otlp`: pip install 'parley[otlp]'"
        raise SettingsError([needed]) from None
    try:
        spans.record(Otlp(url, service=f"parley-{process}"))
    except ValueError:
        raise SettingsError(["OTEL_…: a setting of the exporter is none that it knows"]) from None
    return True


def end_tracing() -> None:
    """Tells the last spans, if the collector takes them at once."""
    if (recorder := spans.recorder()) is not None:
        spans.record(None)
        recorder.end(FLUSH_SECONDS)


def traces_url(settings: Settings) -> str:
    """As OpenTelemetry has it: the endpoint of the traces alone is used as it is."""
    if settings.otel_exporter_otlp_traces_endpoint:
        return settings.otel_exporter_otlp_traces_endpoint
    base = settings.otel_exporter_otlp_endpoint.rstrip("/")
    return base and f"{base}/{PATH}"
