#!/bin/bash
# Prepares Airflow, and can be repeated: metadata database, pools, the connection to Spark, the first user. What is there stays.
set -euo pipefail
# A database is not changed under a scheduler of an older version.
if ! airflow db check-migrations --migration-wait-timeout 0 2>/dev/null && airflow jobs check --job-type SchedulerJob --allow-multiple --limit 100 2>/dev/null; then
  echo "This version changes Airflow's database, and a scheduler of another version runs on it: \`make down\` first, then \`make up\`." >&2
  exit 1
fi
airflow db migrate
airflow pools export /tmp/there.json
python - <<'PYTHON'
import json
from pathlib import Path

there = json.loads(Path("/tmp/there.json").read_text())
pools = json.loads(Path("include/airflow_control/pools.json").read_text())
Path("/tmp/missing.json").write_text(json.dumps({name: pool for name, pool in pools.items() if name not in there}))
PYTHON
airflow pools import /tmp/missing.json
if ! airflow connections get spark_default >/dev/null 2>&1; then
  airflow connections add spark_default --conn-json "$SPARK_CONNECTION"
fi
if ! airflow users list --output plain | awk 'NR > 1 {print $2}' | grep -qx admin; then
  printf '%s\n' "$ADMIN_PASSWORD" "$ADMIN_PASSWORD" | airflow users create --username admin --role Admin --firstname First --lastname User --email admin@localhost
fi
# Who may look at runs and logs may look at the pages.
airflow roles add-perms Viewer User --resource Plugins --action can_read
