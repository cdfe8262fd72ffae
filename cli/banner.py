"""What `parley up` shows once everything is ready."""

from __future__ import annotations

import shlex
import shutil

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.console import err, tell
from cli.data_dir import DEFAULT, DataDir
from cli.plan import Plan
from cli.token import DEFAULT_USER, make_token


def show_banner(plan: Plan) -> None:
    rows = Table.grid(padding=(0, 2))
    for name, value in (
        ("Open", f"{plan.base_url}{signed_in(plan)}"),
        ("API", f"{plan.base_url}/schema"),
        ("Model", plan.model),
        ("Data", str(plan.data.root)),
        ("Stop", "Ctrl-C (the data stays)"),
    ):
        rows.add_row(Text(name, style="bold"), Text(value, overflow="fold"))
    err.print(Panel(rows, title="Parley is ready", border_style="green", expand=False))
    if not plan.production:
        # Outside of the panel and unwrapped, so that it can be copied.
        tell(f"Talk to it:\n\n  {program()} chat{data_option(plan)}\n\nor paste this:\n")
        tell(first_words(plan))
        tell("")


def first_words(plan: Plan) -> str:
    """Commands for any POSIX shell with curl that end in a streamed answer."""
    token = make_token(DEFAULT_USER, plan.environment["PARLEY_JWT_SECRET"])
    return "\n".join(
        (
            f"URL={plan.base_url}/api/chat/conversations",
            f"AUTH='Authorization: Bearer {token}'",
            "JSON='Content-Type: application/json'",
            'ID=$(curl -s "$URL" -H "$AUTH" -H "$JSON" -d \'{}\' |'
            ' grep -o \'"id": *"[^"]*\' | head -n 1 | cut -d \'"\' -f 4)',
            'curl -s "$URL/$ID/messages" -H "$AUTH" -H "$JSON" -d \'{"content":"Hello!"}\'; echo',
            'curl -sN "$URL/$ID/events?since=0" -H "$AUTH"',
        )
    )


def signed_in(plan: Plan) -> str:
    return f" (signed in as {plan.page_user})" if plan.page_user else ""


def program() -> str:
    return "parley" if shutil.which("parley") else ".venv/bin/parley"


def data_option(plan: Plan) -> str:
    """Nothing for the usual place."""
    return (
        ""
        if plan.data.root == DataDir(DEFAULT).root
        else f" --data-dir {shlex.quote(str(plan.data.root))}"
    )
