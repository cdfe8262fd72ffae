"""What `make hosts` says in the end: the figures, then what was violated. Markdown."""

from __future__ import annotations

from cli.verify.report import table as markdown
from tests.hosts.stage import Stage


def table(stage: Stage, seconds: float) -> str:
    rows = [
        (each.scenario, each.what, each.value, each.promised + ("" if each.kept else " **broken**"))
        for each in stage.figures
    ]
    packets = ", ".join(f"{count:,} {what}" for what, count in stage.packets.items())
    said = [
        f"# make hosts: {len(stage.violations)} violations",
        f"{seconds:.0f} s, {stage.messages} messages, {stage.checks:,} checks, packets: {packets}",
        markdown(("scenario", "what", "figure", "promised"), rows),
    ]
    if stage.violations:
        said += ["## Violations", *stage.violations]
    return "\n\n".join(said)
