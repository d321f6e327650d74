"""The embedded servers: private, with passwords, startable again whatever happened, at most one in a folder."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from hive.embedded import EmbeddedPostgres, EmbeddedValkey, FolderInUse, ServerError, places, process
from tests.servers import short_folder

ROOT = Path(__file__).parents[2]
SERVERS = (EmbeddedPostgres, EmbeddedValkey)
pytestmark = pytest.mark.servers
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="another account only matters to root")


@pytest.fixture
def folder():
    with short_folder() as made:
        yield made


@pytest.fixture(params=SERVERS, ids=lambda kind: kind.name)
def server(request, folder):
    made = request.param(folder, fast=True)
    yield made
    made.destroy()


def answers(url: str) -> bool:
    if url.startswith("redis"):
        with redis.Redis.from_url(url) as client:
            return bool(client.ping())
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def password(url: str) -> str:
    return url.split("@", maxsplit=1)[0].rsplit(":", 1)[1]


def wait_until(condition, limit: float = 20.0) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.01)


def run_elsewhere(code: str, *arguments: object) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)


def test_a_server_starts_answers_and_is_gone_after_its_stop(server):
    assert answers(server.start())
    pid = server.pid

    server.stop()

    assert server.pid is None
    assert not psutil.pid_exists(pid)
    assert not process.processes_in(server.data_path)


def test_starting_twice_is_one_server(server):
    first = server.start()
    pid = server.pid

    assert server.start() == first
    assert server.pid == pid


def test_a_killed_server_starts_again_on_its_port_with_its_data(server):
    url = server.start()
    if isinstance(server, EmbeddedValkey):
        with redis.Redis.from_url(url) as client:
            client.set("kept", "yes")
    else:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'yes' AS value")

    server.kill()

    assert server.pid is None
    assert server.start() == url
    if isinstance(server, EmbeddedValkey):
        with redis.Redis.from_url(url) as client:
            assert client.get("kept") == b"yes"
    else:
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT value FROM kept").fetchone() == ("yes",)


def test_a_wiped_broker_starts_empty(folder):
    with EmbeddedValkey(folder, fast=True) as broker, redis.Redis.from_url(broker.url()) as client:
        client.set("lost", "yes")

        broker.wipe()
        broker.start()

        assert client.get("lost") is None


def test_a_folder_in_use_is_refused_by_name(server):
    server.start()

    with pytest.raises(FolderInUse, match=r"hive down") as refused:
        type(server)(server.folder).start()

    assert str(server.folder) in str(refused.value)
    assert str(os.getpid()) in str(refused.value)
    assert answers(server.url())


def test_a_port_that_was_taken_meanwhile_is_replaced(server, monkeypatch):
    with places.socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        offers = [stranger.getsockname()[1], places.free_port()]
        monkeypatch.setattr(places, "free_port", lambda: offers.pop(0))

        assert answers(server.start())

    assert offers == []


def test_the_password_is_in_no_argument_environment_repr_or_log(server):
    secret = password(server.start())

    for running in process.processes_in(server.data_path):
        with contextlib.suppress(psutil.Error):  # a helper of the server may end any time
            assert secret not in " ".join(running.cmdline())
            assert secret not in str(running.environ())
    assert secret not in str(psutil.Process(server.pid).as_dict(["cmdline", "environ"]))
    assert secret not in repr(server)
    assert secret not in server.log_path.read_text()


def test_only_we_can_read_the_secrets_and_the_data(server):
    server.start()

    for name in (f"{server.name}.secret", f"{server.name}.log", f"{server.name}.lock", "valkey/valkey.conf"):
        path = server.folder / name
        if path.exists():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, name
    assert stat.S_IMODE(server.data_path.stat().st_mode) == 0o700


def test_a_wrong_password_is_refused(server):
    url = server.start()
    wrong = url.replace(password(url), "wrong")

    with pytest.raises((psycopg.OperationalError, redis.AuthenticationError)):
        answers(wrong)


def test_a_server_listens_on_loopback_alone(server):
    server.start()

    listening = [c.laddr.ip for c in psutil.Process(server.pid).net_connections() if c.status == psutil.CONN_LISTEN]

    assert listening == ["127.0.0.1"]


def test_a_server_does_not_see_our_environment(server, monkeypatch):
    monkeypatch.setenv("HIVE_KEY", "made-up-key")

    server.start()

    assert "HIVE_KEY" not in psutil.Process(server.pid).environ()


KEEPS_A_SERVER = """
import pathlib, signal, sys
from hive.embedded import EmbeddedPostgres, EmbeddedValkey
kind = {"postgres": EmbeddedPostgres, "valkey": EmbeddedValkey}[sys.argv[1]]
server = kind(pathlib.Path(sys.argv[2]), fast=True)
print(server.start(), server.pid, flush=True)
signal.pause()
"""


def test_a_server_ends_with_a_killed_owner_and_the_next_one_takes_over(server):
    with run_elsewhere(KEEPS_A_SERVER, server.name, server.folder) as owner:
        pid = int(owner.stdout.readline().split()[1])
        owner.kill()

    assert answers(server.start())
    assert server.pid != pid
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_a_pid_file_whose_number_belongs_to_another_process_now_is_no_obstacle(folder):
    with EmbeddedPostgres(folder, fast=True) as server:
        pid_file = server.data_path / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        server.kill()
        bystander = process.spawn(
            ["/bin/sleep", "60"],
            log=subprocess.DEVNULL,
            env={},
            account=places.server_account(),
            death_signal=signal.SIGKILL,
        )
        pid_file.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
        try:
            assert answers(server.start())
        finally:
            bystander.kill()
            bystander.wait()


def test_an_interrupted_first_start_leaves_nothing_and_can_be_repeated(folder):
    with run_elsewhere(KEEPS_A_SERVER, "postgres", folder) as owner:
        wait_until(lambda: list(folder.glob("postgres-*/init/data")))
        owner.send_signal(signal.SIGINT)
        owner.wait()

    assert not list(folder.glob("postgres-*"))
    assert not (folder / "postgres").exists()
    with EmbeddedPostgres(folder, fast=True) as server:
        assert answers(server.url())


def test_a_folder_that_is_no_database_is_left_alone(folder):
    (folder / "postgres").mkdir()
    (folder / "postgres" / "thesis.txt").write_text("years of work")

    with pytest.raises(ServerError, match="holds no database"):
        EmbeddedPostgres(folder).start()

    assert (folder / "postgres" / "thesis.txt").read_text() == "years of work"


def test_a_path_longer_than_a_socket_path_may_be_works(folder, request):
    deep = folder / ("long name " * 9).strip() / ("länger-" * 18)
    assert len(str(deep)) > 200

    for kind in SERVERS:
        with kind(deep, fast=True) as server:
            assert answers(server.url())


@as_root
def test_below_a_private_home_the_data_lies_outside_and_the_home_stays_private(folder):
    home = folder / "home"
    home.mkdir(mode=0o700)

    for kind in SERVERS:
        server = kind(home / "clone" / ".hive", fast=True)
        try:
            url = server.start()
            outside = server.data_path
            assert not outside.is_relative_to(home)
            server.stop()

            again = kind(home / "clone" / ".hive", fast=True)
            with again:
                assert again.data_path == outside
                assert password(again.url()) == password(url)
        finally:
            server.destroy()
        assert not outside.parent.exists()
        assert not (home / "clone" / ".hive" / f"{kind.name}.at").exists()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@as_root
def test_under_root_a_server_runs_as_nobody(server):
    server.start()

    running = psutil.Process(server.pid)
    assert set(running.uids()) == {places.server_account().uid}
    assert set(running.gids()) == {places.server_account().gid}
    groups = Path(f"/proc/{server.pid}/status").read_text().split("Groups:")[1].splitlines()[0].split()
    assert groups == []


@as_root
def test_data_outside_that_is_gone_is_not_replaced_silently(folder):
    home = folder / "home"
    home.mkdir(mode=0o700)
    with EmbeddedPostgres(home, fast=True) as server:
        data = server.data_path
    server.destroy()
    (home / "postgres.at").write_text(str(data))

    with pytest.raises(ServerError, match="is gone"):
        EmbeddedPostgres(home).start()


def test_the_log_keeps_no_value_of_a_statement_that_failed(folder):
    with EmbeddedPostgres(folder, fast=True) as server:
        with psycopg.connect(server.url()) as connection, pytest.raises(psycopg.DataError):
            connection.execute("SELECT %s::integer", ["ada@example.org"])

        assert "ada@example.org" not in server.log_path.read_text()


def test_databases_are_made_from_a_template_and_dropped_with_their_sessions(postgres):
    with psycopg.connect(postgres.create_database("pattern")) as connection:
        connection.execute("CREATE TABLE shape AS SELECT 1 AS side")

    with psycopg.connect(postgres.create_database("copy", template="pattern")) as connection:
        assert connection.execute("SELECT side FROM shape").fetchone() == (1,)
        postgres.drop_database("copy")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    postgres.drop_database("pattern")


def test_text_is_compared_by_the_builtin_provider_and_vectors_are_there(postgres, empty_database_url):
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT lower('GRÜSSE'), current_setting('server_encoding')").fetchone() == (
            "grüsse",
            "UTF8",
        )
        connection.execute("CREATE EXTENSION vector")
        assert connection.execute("SELECT '[1,2]'::vector <-> '[1,3]'::vector").fetchone() == (1.0,)


def test_a_group_that_was_killed_is_waited_for_with_all_that_it_started(tmp_path):
    """The leader is gone first; what it started holds much memory and so takes a while to end."""
    heavy = "import os; held = b'1' * (300 << 20); print(os.getpid(), flush=True); import time; time.sleep(60)"
    leader = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {heavy!r}])"
    path = tmp_path / "log"
    with process.open_log(path) as log:
        started = process.spawn(
            [sys.executable, "-c", leader], log=log, env=dict(os.environ), death_signal=signal.SIGKILL
        )
    wait_until(lambda: path.read_text().endswith("\n"))
    held = psutil.Process(int(path.read_text()))

    process.kill_group(started)

    assert started.returncode == -signal.SIGKILL
    assert not held.is_running() or held.status() == psutil.STATUS_ZOMBIE
