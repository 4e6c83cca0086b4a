#!/bin/bash
# Prepares Airflow, and can be repeated: metadata database, pools, the connection to Spark, the first user. What is there stays.
set -euo pipefail
airflow db migrate
airflow pools import include/pools.json
if ! airflow connections get spark_default >/dev/null 2>&1; then
  airflow connections add spark_default --conn-json "$SPARK_CONNECTION"
fi
if ! airflow users list --output plain | awk 'NR > 1 {print $2}' | grep -qx admin; then
  airflow users create --username admin --role Admin --firstname First --lastname User --email admin@localhost --password "$ADMIN_PASSWORD"
fi
# Who may look at runs and logs may look at the pages.
airflow roles add-perms Viewer User --resource Plugins --action can_read
