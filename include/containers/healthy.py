#!/usr/bin/env python3
"""Health of a container: `healthy.py URL` expects a response without error, `healthy.py URL PART` JSON with a healthy PART.

`healthy.py job TYPE` expects a job of Airflow with a heartbeat in the last minute.
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


def main(target: str, part: str = "") -> None:
    """End with an error where the target is not healthy."""
    if target == "job":
        return heartbeat(part)
    with urlopen(target, timeout=8) as response:  # noqa: S310  the address is the image's own
        content = response.read()
    if part and json.loads(content)[part]["status"] != "healthy":
        raise SystemExit(f"{part} is not healthy: {content.decode()}")
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
