"""`parley up`: everything on this machine, from nothing to a ready service and back.

Read `up` first: it is the whole story.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cli.console import Progress, tell
from cli.data_dir import DataDir
from cli.errors import StartError
from cli.plan import MARKERS, STOP_ORDER, Plan, make_plan
from cli.postgres import Postgres, newest_schema
from cli.process import Child, end_leftover
from cli.supervisor import Stopped, Supervisor, how
from cli.valkey import Valkey

READY_SECONDS = 90.0


def up(host: str, port: int, workers: int, data_dir: Path, page_user: str) -> None:
    """Returns when it was asked to stop and everything has ended. Raises CliError otherwise."""
    data = DataDir(data_dir).create()
    with data.lock():
        plan = make_plan(host, port, workers, data, page_user)
        supervisor = Supervisor(tell)
        with supervisor.signals():
            try:
                with suppress(Stopped):
                    plan = Start(plan, supervisor).run()
                    announce(plan)
                    supervisor.watch()
                tell("Stopping …")
            finally:
                supervisor.stop(STOP_ORDER)
                data.url_file.unlink(missing_ok=True)
            tell(f"Stopped. The data stays in {data.root}")


def announce(plan: Plan) -> None:
    from cli.banner import show_banner

    plan.data.url_file.write_text(plan.base_url + "\n")
    show_banner(plan)
    print(f"ready {plan.base_url}", flush=True)


class Start:
    """The steps from a plan to a ready service. Independent ones run side by side."""

    def __init__(self, plan: Plan, supervisor: Supervisor) -> None:
        self.plan = plan
        self.supervisor = supervisor
        self.progress = Progress()
        self.postgres: Postgres | None = None

    def run(self) -> Plan:
        """The plan, completed with the addresses that were found on the way."""
        with self.progress.shown():
            clean_up_after_a_killed_one(self.plan.data)
            stores_ready = self._start_stores()
            if not self._migrated():
                self._wait("Postgres and Redis", stores_ready)
                self._migrate()
            self._start_services(stores_ready)
        return self.plan

    def _start_stores(self) -> Callable[[], bool]:
        """Postgres, Redis and the demo model don't know each other: all start before we wait."""
        self.progress.step("Starting Postgres and Redis")
        conditions: list[Callable[[], bool]] = []
        found = self.plan.way_in()
        self.demo_ready = self._start_demo_model()
        if "REDIS_URL" not in self.plan.environment:
            valkey = Valkey(self.plan.data)
            redis = self.supervisor.start(Child(valkey.program(), self.plan.data))
            found["REDIS_URL"] = valkey.url
            conditions.append(lambda: valkey.ready(redis))
        if "DATABASE_URL" not in self.plan.environment:
            self.postgres = postgres = Postgres(self.plan.data)
            database = self.supervisor.start(Child(postgres.program(), self.plan.data))
            found["DATABASE_URL"] = postgres.url
            conditions.append(lambda: postgres.ready(database))
            for note in postgres.notes:
                tell(note)
        self.plan = replace(self.plan, environment={**self.plan.environment, **found})
        return lambda: all(ready() for ready in conditions)

    def _start_demo_model(self) -> Callable[[], bool]:
        if self.plan.demo_port is None:
            return lambda: True
        self.supervisor.start(self.plan.demo_model())
        return lambda: answers(f"http://127.0.0.1:{self.plan.demo_port}/health")

    def _migrated(self) -> bool:
        """Whether our own database has seen these migrations; readiness checks it again."""
        mark = self.postgres.schema_mark if self.postgres else None
        return bool(mark and mark.is_file() and mark.read_text() == newest_schema())

    def _migrate(self) -> None:
        self._run_migrate()
        if self.postgres:
            self.postgres.schema_mark.write_text(newest_schema())

    def _run_migrate(self) -> None:
        migrate = self.plan.migrate()
        migrate.log.unlink(missing_ok=True)
        self.progress.step("Preparing the database")
        migrate.start()
        try:
            self._wait("The migration", lambda: not migrate.alive())
        finally:
            migrate.forget()
        if code := migrate.returncode():
            last = migrate.last_lines()
            raise StartError(f"The database could not be prepared ({how(code)}):\n{last}")

    def _start_services(self, stores_ready: Callable[[], bool]) -> None:
        """They load for longer than the stores need to start, and wait for them if need be.

        One worker makes the service ready; more of them loading would only delay it.
        """
        self.progress.step("Starting the API and the workers")
        self.supervisor.start(self.plan.worker(1))
        self.supervisor.start(self.plan.api())
        self._wait("Postgres and Redis", stores_ready)
        self._wait("The service", self._api_ready)
        if self.plan.demo_port is not None:
            self.progress.step("Loading the demo model")
        self._wait("The demo model", self.demo_ready)
        for number in range(2, self.plan.workers + 1):
            self.supervisor.start(self.plan.worker(number))

    def _api_ready(self) -> bool:
        return answers(f"{self.plan.base_url}/health/ready")

    def _wait(self, what: str, done: Callable[[], bool]) -> None:
        self.supervisor.wait(what, done, READY_SECONDS, self.progress.tick)


def clean_up_after_a_killed_one(data: DataDir) -> None:
    """Ends what an `up` that was killed itself left running. We hold the lock: nobody else's."""
    for prefix in STOP_ORDER:
        number = signal.SIGINT if prefix == "postgres" else signal.SIGTERM
        for pid_file in sorted(data.run.glob(f"{prefix}*.pid")):
            if end_leftover(pid_file, MARKERS[prefix], number):
                tell(f"Ended {pid_file.stem}, which an earlier run had left")


def answers(url: str) -> bool:
    import httpx  # loads while the children do, not before they are started

    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False
