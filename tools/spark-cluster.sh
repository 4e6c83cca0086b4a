#!/usr/bin/env bash
# A real Spark standalone cluster (master and workers of the pyspark in .venv) for tests and trials, as processes of this
# machine that listen on 127.0.0.1 only.
#
#   spark-cluster.sh start DIR [WORKERS]            starts it and prints the master's URL
#   spark-cluster.sh stop DIR                       stops it
#   spark-cluster.sh node DIR start|stop|kill NODE  one of: master, worker1, worker2, …
#
# A worker has one core and SPARK_WORKER_MEMORY (default 1g), enough for one executor with Spark's defaults. Applications
# that start outside need SPARK_LOCAL_IP=127.0.0.1, and PYTHONPATH of what their executors import.
set -euo pipefail
usage() { sed -n '5,7s/^# *//p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
here=$(cd "$(dirname "$0")" && pwd)
verb=$1 base=$(mkdir -p "$2" && cd "$2" && pwd)
run=$base/run
shift 2
mkdir -p "$run"
# shellcheck source=tools/nodes.sh
. "$here/nodes.sh"
export SPARK_LOCAL_IP=127.0.0.1 SPARK_DAEMON_MEMORY=256m SPARK_WORKER_DIR=$base/work
spark_class() { echo "$here"/../.venv/lib/python3.*/site-packages/pyspark/bin/spark-class; }

start_node() { # NODE
  local deploy=org.apache.spark.deploy
  case $1 in
  master) launch master "$(spark_class)" $deploy.master.Master --host 127.0.0.1 --port "$(port 1)" --webui-port "$(port 2)" ;;
  worker[1-9]*) launch "$1" "$(spark_class)" $deploy.worker.Worker --host 127.0.0.1 --port 0 --webui-port 0 --cores 1 \
    --memory "${SPARK_WORKER_MEMORY:-1g}" "spark://127.0.0.1:$(port 1)" ;;
  *) echo "spark-cluster.sh: expected master or workerN, found $1" >&2; exit 1 ;;
  esac
}

alive_workers() { # COUNT
  curl -fs --noproxy '*' "http://127.0.0.1:$(port 2)/json/" | grep -Eq "\"aliveworkers\" : $1\b"
}

case $verb in
start)
  workers=${1:-1}
  keep_free_ports 2
  start_node master
  for ((n = 1; n <= workers; n++)); do start_node "worker$n"; done
  wait_until 90 "a Spark cluster of $workers worker(s)" alive_workers "$workers"
  echo "spark://127.0.0.1:$(port 1)" ;;
stop) end_all TERM ;;
node)
  case ${1:-} in
  start) start_node "${2:?the node}" ;;
  stop) end_node TERM "${2:?the node}" ;;
  kill) end_node KILL "${2:?the node}" ;;
  *) usage ;;
  esac ;;
*) usage ;;
esac
