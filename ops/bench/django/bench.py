"""What `run` is asked for."""

import os
import socket
import subprocess
import sys
import time

import psycopg


def database():
    """Makes the database where there is none."""
    with psycopg.connect(dbname="postgres", autocommit=True) as db:
        if not db.execute("select from pg_database where datname = 'bench_django'").fetchall():
            db.execute("create database bench_django")


def django():
    import django as library

    library.setup()
    from django.core.management import call_command

    return call_command


def make(count):
    """Makes the tenants that are lacking up to `count`, one after the other in one process."""
    database()
    call = django()
    call("migrate_schemas", "--shared", verbosity=0)
    from customers.models import Client, Domain

    start, made = time.monotonic(), 0
    for n in range(Client.objects.exclude(schema_name="public").count() + 1, count + 1):
        client = Client(schema_name=f"t{n}")
        client.save(verbosity=0)
        Domain.objects.create(domain=f"t{n}.bench", tenant=client, is_primary=True)
        made += 1
    seconds = time.monotonic() - start
    print(f"django-tenants: {made} tenants made in {seconds:.2f} s, {1000 * seconds / max(made, 1):.1f} ms each")


def migrate(count):
    """Each run is a process of its own, as an operator starts it."""
    for what, more in [("no-op", {}), ("one column", {"BENCH_COLUMN": "1"})]:
        # A column that is there is not added again: the second executor finds nothing to do, so it goes over the fleet with the first
        # one's migration taken back.
        for executor in ["standard", "multiprocessing"]:
            if more and executor == "multiprocessing":
                subprocess.run([sys.executable, "bench.py", "back"], check=True, env={**os.environ, **more})
            start = time.monotonic()
            subprocess.run(
                [sys.executable, "bench.py", "migrate-all", executor], check=True, env={**os.environ, **more}
            )
            seconds = time.monotonic() - start
            print(f"django-tenants, {what}, {executor}: {seconds:.2f} s, {1000 * seconds / count:.1f} ms each", flush=True)


def back():
    from psycopg import sql

    with psycopg.connect(dbname="bench_django") as db:
        for (name,) in db.execute("select schema_name from customers_client where schema_name <> 'public'").fetchall():
            schema = sql.Identifier(name)
            db.execute(sql.SQL("alter table {}.memories drop column bench").format(schema))
            db.execute(sql.SQL("delete from {}.django_migrations where name = 'v8'").format(schema))


def serve():
    """Says where it listens, then becomes gunicorn."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listening.set_inheritable(True)
    print(f"listening on http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    gunicorn = os.path.join(os.path.dirname(sys.executable), "gunicorn")
    options = ["--workers", "2", "--threads", "4", "--keep-alive", "600", "--log-level", "error"]
    os.execv(gunicorn, ["gunicorn", "--bind", f"fd://{listening.fileno()}", *options, "bench:application()"])


def application():
    django()
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", count]:
            make(int(count))
        case ["migrate", count]:
            migrate(int(count))
        case ["migrate-all", executor]:
            django()("migrate_schemas", "--tenant", f"--executor={executor}", verbosity=0)
        case ["back"]:
            back()
        case ["serve"]:
            serve()
        case _:
            sys.exit("make N | migrate N | serve")
