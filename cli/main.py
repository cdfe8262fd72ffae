"""The `parley` command. Each command imports what it needs, so that the light ones start fast."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cli.data_dir import DEFAULT, DataDir
from cli.errors import CliError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Parley: an open chat-agent service. `parley up` runs all of it on this machine.",
)

DataDirOption = Annotated[
    Path, typer.Option("--data-dir", envvar="PARLEY_DATA_DIR", help="Where `parley up` keeps data.")
]
UrlOption = Annotated[
    str, typer.Option("--url", envvar="PARLEY_URL", help="Default: the running `parley up`.")
]


@app.command()
def up(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8000,
    data_dir: DataDirOption = DEFAULT,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many workers.")] = 2,
    page_user: Annotated[
        str, typer.Option(help="Whom the page opens for without a token; '' for nobody.")
    ] = "developer",
) -> None:
    """Start the API, workers, Postgres, Redis and a model, and keep them running.

    DATABASE_URL, REDIS_URL and the model settings of the environment are used where they are set.
    """
    from cli.up import up as run_up

    with told_plainly():
        run_up(host, port, workers, data_dir, page_user)


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="Where; made if it isn't there.")] = Path("."),
    image: Annotated[str, typer.Option(help="The image that Compose runs.")] = "parley",
) -> None:
    """Write a docker-compose.yml and an .env with fresh secrets. Nothing is ever overwritten."""
    from cli.init import init as run_init

    with told_plainly():
        run_init(directory, image)


@app.command()
def api() -> None:
    """Run one API process, configured by the environment."""
    run_module("api.main")


@app.command()
def worker() -> None:
    """Run one worker process, configured by the environment."""
    run_module("worker.main")


@app.command()
def migrate() -> None:
    """Bring the database of DATABASE_URL to the newest schema."""
    run_module("migrations.run")


@app.command()
def token(
    user: Annotated[str, typer.Option(help="Whom the token speaks for.")] = "developer",
    data_dir: DataDirOption = DEFAULT,
    ttl: Annotated[int, typer.Option(help="Seconds until it expires.")] = 12 * 3600,
) -> None:
    """Print a development token."""
    from cli.token import find_secret, make_token

    with told_plainly():
        print(make_token(user, find_secret(DataDir(data_dir)), ttl))


@app.command()
def status(
    data_dir: DataDirOption = DEFAULT,
    url: UrlOption = "",
    watch: Annotated[bool, typer.Option("--watch", help="Queue, turns and workers, live.")] = False,
    interval: Annotated[
        float | None,
        typer.Option(min=0.1, max=60, help="Seconds between two pictures; usually 0.5."),
    ] = None,
) -> None:
    """Show the processes of `parley up` and whether the service is ready.

    With --watch the service at work, until Ctrl-C; where the output is no terminal, a line a
    second.
    """
    from cli.status import show_status

    with told_plainly():
        if watch:
            from cli.watch import watch as run_watch

            run_watch(DataDir(data_dir), url, interval)
            return
        fine = show_status(DataDir(data_dir), url)
    raise typer.Exit(0 if fine else 1)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False,
    data_dir: DataDirOption = DEFAULT,
    url: Annotated[
        str, typer.Option("--url", envvar="PARLEY_URL", help="Where the API is; else as set.")
    ] = "",
    model_seconds: Annotated[
        float, typer.Option(min=1, max=600, help="How long the model may take.")
    ] = 20,
) -> None:
    """Find out what is wrong with a deployment, and what to do about it.

    Uses the settings of the environment, or of the running `parley up`. Exits with 1 if a check
    failed; a warning is none.
    """
    from cli.doctor import doctor as run_doctor

    with told_plainly():
        fine = run_doctor(DataDir(data_dir), url, as_json=as_json, model_seconds=model_seconds)
    raise typer.Exit(0 if fine else 1)


@app.command()
def chat(
    text: Annotated[
        str | None, typer.Argument(help="One message; without it, a conversation.")
    ] = None,
    conversation: Annotated[str, typer.Option(help="Continue this conversation.")] = "",
    url: UrlOption = "",
    bearer: Annotated[str, typer.Option("--token", envvar="PARLEY_TOKEN")] = "",
    user: Annotated[str, typer.Option(help="Make a development token for.")] = "developer",
    data_dir: DataDirOption = DEFAULT,
) -> None:
    """Talk to the agent over the public HTTP API."""
    from cli.chat import chat as run_chat

    with told_plainly():
        completed = run_chat(text, conversation, url, bearer, user, DataDir(data_dir))
    raise typer.Exit(0 if completed else 1)


@app.command()
def erase(
    user: Annotated[str, typer.Option(help="Everything of this owner.")] = "",
    conversation: Annotated[str, typer.Option(help="This conversation, whoever owns it.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The receipt as JSON.")] = False,
    data_dir: DataDirOption = DEFAULT,
) -> None:
    """Erase everything of an owner, or a conversation, from Postgres and Redis, for good.

    Uses DATABASE_URL and REDIS_URL, or the running `parley up`. Prints a receipt of what went and
    looks for anything that is left; exits with 1 if there is.
    """
    from cli.erase_command import erase as run_erase

    with told_plainly():
        clean = run_erase(user, conversation, DataDir(data_dir), yes=yes, as_json=as_json)
    raise typer.Exit(0 if clean else 1)


@app.command()
def verify(
    turns: Annotated[int, typer.Option(min=1, help="Messages that clients say.")] = 200,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Repeat as many until this time is over.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed: the same faults and words.")] = 1,
    workers: Annotated[int, typer.Option(min=1, max=16)] = 3,
    apis: Annotated[int, typer.Option(min=1, max=8)] = 2,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Where the scratch directory is made.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report to this file too.")] = None,
    keep: Annotated[bool, typer.Option(help="Keep logs and database, also of a success.")] = False,
    storm: Annotated[bool, typer.Option(help="The storm of faults.")] = True,
    steps: Annotated[bool, typer.Option(help="The table of steps.")] = True,
) -> None:
    """Prove on this machine that no fault loses, repeats or reorders anything.

    Starts a service of its own with a stand-in model, kills and freezes its processes while clients
    chat, and checks what came of it. Exits with 1 if anything was violated.
    """
    from cli.verify.command import Wanted
    from cli.verify.command import verify as run_verify
    from cli.verify.storm import Options

    options = Options(seed, turns, seconds, workers, apis)
    with told_plainly():
        good = run_verify(Wanted(options, storm, steps, data_dir, report, keep))
    raise typer.Exit(0 if good else 1)


@contextmanager
def told_plainly() -> Generator[None]:
    """An expected failure is one sentence on stderr and exit code 1."""
    try:
        yield
    except CliError as error:
        from cli.console import complain

        complain(str(error))
        raise typer.Exit(1) from None


def run_module(module: str) -> None:
    """This process becomes the other: same pid, same environment, signals go straight to it."""
    sys.stdout.flush()
    os.execv(sys.executable, (sys.executable, "-P", "-m", module))  # noqa: S606


def main() -> None:
    app()


if __name__ == "__main__":
    main()
