#!/bin/bash
# PostgreSQL; at its first start, on an empty volume, with a database for Airflow and one for MLflow, whose owners see no other.
set -euo pipefail
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  new=$PGDATA.new # one that was not finished is made again
  rm -rf "$new"
  initdb --pgdata "$new" --username postgres --pwfile /run/secrets/postgres_password --auth-local=peer --auth-host=scram-sha-256 >/dev/null
  echo "host all all all scram-sha-256" >>"$new/pg_hba.conf"
  pg_ctl --pgdata "$new" --wait start --options "-c listen_addresses=''" >/dev/null
  for name in airflow mlflow; do
    psql --quiet --username postgres --dbname postgres -v ON_ERROR_STOP=1 -v name="$name" -v password="$(<"/run/secrets/${name}_db_password")" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name" ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
  done
  pg_ctl --pgdata "$new" --wait stop --mode fast >/dev/null
  mv "$new" "$PGDATA"
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/run/postgresql
