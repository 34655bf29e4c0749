"""Redis, Postgres and PgBouncer of our own: on free ports, in directories of their own."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import psycopg
import redis

from support.paths import ROOT, program
from support.waiting import accepts_connections, free_port, wait_until


class Redis:
    """`options`: further settings, as of redis.conf; `password`: also of its primary, if it has one."""

    def __init__(self, directory, password=None, **options):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"redis://{self.address}/0"
        self._directory = directory
        self._process = None
        self._options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "no",
            "repl-diskless-sync-delay": 0,
            "dir": directory,
        }
        if password:
            self._options |= {"requirepass": password, "masterauth": password}
        self._options |= {name.replace("_", "-"): value for name, value in options.items()}
        self.client = redis.Redis(port=self.port, password=password, socket_timeout=5)

    def start(self, **changes):
        self._options |= {name.replace("_", "-"): value for name, value in changes.items()}
        command = [program("redis-server")]
        for name, value in self._options.items():
            command += [f"--{name}", *(str(value).split() or [""])]
        with open(self._directory / "redis.log", "a") as log:
            self._process = subprocess.Popen([str(part) for part in command], stdout=log)
        wait_until(self._answers, "redis-server answers")
        return self

    def _answers(self):
        if self._process.poll() is not None:
            raise AssertionError((self._directory / "redis.log").read_text())
        try:
            return self.client.ping()
        except (redis.ConnectionError, redis.exceptions.BusyLoadingError):
            return False

    def role(self):
        return self.client.role()[0].decode()

    def signal(self, number):
        self._process.send_signal(number)

    def kill(self):
        if self._process:
            self._process.kill()
            self._process.wait(timeout=10)
            self._process = None

    def stop(self, keep=False):
        """keep: it starts again with what it knows."""
        if self._process:
            if not keep:
                (self._directory / "dump.rdb").unlink(missing_ok=True)
            self.client.config_set("save", "3600 1" if keep else "")  # saves when it is told to end
            self._process.terminate()
            self._process.wait(timeout=10)
            self._process = None

    def reset(self):
        if not self._process:
            self.start()
        self.client.flushall()


class Postgres:
    """A cluster with the database `llm`; as root it runs as the user postgres."""

    def __init__(self):
        self.port = free_port()
        self.conninfo = f"host=127.0.0.1 port={self.port} user=postgres dbname=llm"
        self._user = "postgres" if os.geteuid() == 0 else None
        # Not below pytest's directory: that one is closed to the user postgres.
        self._directory = pathlib.Path(tempfile.mkdtemp(prefix="llm-postgres-"))
        if self._user:
            shutil.chown(self._directory, self._user)
        self._data = self._directory / "data"
        self._process = None
        places = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        self._places = [str(place) for place in places]

    def create(self):
        command = [program("initdb", *self._places), "-D", self._data, "-U", "postgres"]
        command += ["-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=self._user, cwd="/")
        self.start()
        server = self.conninfo.replace("dbname=llm", "dbname=postgres")
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("CREATE DATABASE llm")
        subprocess.run(
            [ROOT / "scripts/apply-schema", self.conninfo], check=True, stdout=subprocess.DEVNULL
        )

    def start(self):
        command = [program("postgres", *self._places), "-D", self._data, "-p", self.port]
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "50",
        }
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with open(self._directory / "postgres.log", "a") as log:
            self._process = subprocess.Popen(
                [str(part) for part in command], stderr=log, user=self._user, cwd="/"
            )
        wait_until(self._answers, "postgres answers", timeout=30)

    def _answers(self):
        try:
            psycopg.connect(self.conninfo.replace("dbname=llm", "dbname=postgres")).close()
            return True
        except psycopg.OperationalError:
            return False

    def stop(self):
        """At once, as in a crash: whatever is not committed is lost."""
        if self._process:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=20)
            self._process = None

    def destroy(self):
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def reset(self):
        if not self._process:
            self.start()
        with psycopg.connect(self.conninfo) as connection:
            tables = "llm_spend, llm_spend_daily, llm_spend_daily_tag, llm_budget_spend"
            connection.execute(f"TRUNCATE {tables}")

    def use_tls(self, key, certificate):
        for source, name in ((key, "server.key"), (certificate, "server.crt")):
            target = self._data / name
            shutil.copyfile(source, target)
            target.chmod(0o600)
            if self._user:
                shutil.chown(target, self._user)
        self._set_tls("on")

    def use_no_tls(self):
        self._set_tls("off")

    def _set_tls(self, value):
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET ssl = {value}")
            connection.execute("SELECT pg_reload_conf()")
        wait_until(lambda: self._shows_tls(value), f"ssl is {value}")

    def _shows_tls(self, value):
        with psycopg.connect(self.conninfo) as connection:
            return connection.execute("SHOW ssl").fetchone() == (value,)

    def tls_clients(self):
        """How many connections are encrypted, this one not counted."""
        with psycopg.connect(self.conninfo) as connection:
            query = "SELECT count(*) FROM pg_stat_ssl WHERE ssl AND pid <> pg_backend_pid()"
            return connection.execute(query).fetchone()[0]

    def rows(self, columns="*"):
        """Every spend row, as dicts."""
        with psycopg.connect(self.conninfo, row_factory=psycopg.rows.dict_row) as connection:
            return connection.execute(f"SELECT {columns} FROM llm_spend").fetchall()

    def wait_rows(self, count, timeout=20):
        """The rows, as soon as there are `count` of them; more are an error."""
        rows = wait_until(
            lambda: (found := self.rows()) and len(found) >= count and found,
            f"{count} rows in Postgres",
            timeout,
        )
        assert len(rows) == count
        return rows


class PgBouncer:
    """In transaction mode before the database `llm`, with one connection to it for everybody."""

    SETTINGS = """
        [databases]
        llm = host=127.0.0.1 port={postgres_port} dbname=llm user=postgres
        [pgbouncer]
        listen_addr = 127.0.0.1
        listen_port = {port}
        unix_socket_dir =
        auth_type = any
        pool_mode = transaction
        default_pool_size = 1
        server_login_retry = 1
    """

    def __init__(self, postgres, directory):
        self.port = free_port()
        self.conninfo = f"host=127.0.0.1 port={self.port} user=postgres dbname=llm"
        directory.chmod(0o755)
        settings = directory / "pgbouncer.ini"
        text = self.SETTINGS.format(postgres_port=postgres.port, port=self.port)
        settings.write_text("\n".join(line.strip() for line in text.splitlines()))
        command = [program("pgbouncer"), "-q", settings]
        self._process = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, user="postgres" if os.geteuid() == 0 else None, cwd="/"
        )
        wait_until(lambda: accepts_connections(self.port), "pgbouncer answers")

    def stop(self):
        self._process.terminate()
        self._process.wait(timeout=10)
