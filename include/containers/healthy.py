#!/usr/bin/env python3
"""Health of a container: `healthy.py URL` expects a response without error, `healthy.py URL PART` JSON with a healthy PART.

`healthy.py job TYPE` expects a job of Airflow with a heartbeat in the last minute, `healthy.py spark-worker URL MASTER` that
Spark's master lists the worker: one that starts while a master recovers can stay unknown to it for good.
"""

import json
import sys
from urllib.request import urlopen


def heartbeat(job_type: str) -> None:
    """End with an error where the job has no recent heartbeat; PGHOST and the like name the database."""
    import psycopg2  # in Airflow's images only

    with psycopg2.connect("connect_timeout=5") as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT now() - max(latest_heartbeat) < interval '1 minute' FROM job WHERE job_type = %s", [job_type]
        )
        if not cursor.fetchone()[0]:
            raise SystemExit(f"{job_type}: no heartbeat within a minute")


def registered(worker: str, master: str) -> None:
    """End with an error where the master does not list the Spark worker as alive."""
    own = json.loads(read(worker, 4))["id"]
    alive = [listed["id"] for listed in json.loads(read(master, 4))["workers"] if listed["state"] == "ALIVE"]
    if own not in alive:
        raise SystemExit(f"{own} is not registered; the master has {', '.join(alive) or 'no worker'}")


def read(url: str, seconds: float = 8) -> bytes:
    """Return what a URL responds within so many seconds; an error status is an error."""
    with urlopen(url, timeout=seconds) as response:  # noqa: S310  the address is the image's own
        return bytes(response.read())


def main(target: str, *arguments: str) -> None:
    """End with an error where the target is not healthy."""
    if target == "job":
        heartbeat(*arguments)
    elif target == "spark-worker":
        registered(*arguments)
    else:
        content = read(target)
        for part in arguments:
            if json.loads(content)[part]["status"] != "healthy":
                raise SystemExit(f"{part} is not healthy: {content.decode()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
