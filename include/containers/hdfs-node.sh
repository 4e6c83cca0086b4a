#!/bin/bash
# Runs one node of HDFS: `hdfs-node.sh namenode|datanode [ARGUMENTS]`, or `hdfs-node.sh prepare`, which waits for the NameNode and
# makes the project's folders. A NameNode formats its folder once, and never one that holds anything.
set -euo pipefail
case ${1:?namenode, datanode or prepare} in
namenode)
  if [ ! -d /var/lib/hdfs/name/current ]; then
    hdfs namenode -format -nonInteractive
  fi
  hdfs "$@" &
  # It merges the journal into the image, every hour or million changes; without it a start takes longer from month to month.
  { until (: </dev/tcp/localhost/9870) 2>/dev/null; do sleep 1; done; exec hdfs secondarynamenode; } &
  trap 'kill $(jobs -p)' TERM
  wait -n || true # whichever ends, the container does, and both are started anew
  kill $(jobs -p) 2>/dev/null || true
  wait
  ;;
datanode) exec hdfs "$@" ;;
prepare)
  hdfs dfsadmin -safemode wait
  folder() { # PATH MODE; one that is there stays as it is
    hdfs dfs -test -d "$1" && return
    hdfs dfs -mkdir -p "$1.new"
    hdfs dfs -chmod "$2" "$1.new"
    hdfs dfs -chown ctr:ctr "$1.new"
    hdfs dfs -mv "$1.new" "$1"
  }
  folder /tmp 1777
  folder /ctr 750
  folder /ctr/raw 770
  ;;
*)
  echo "expected namenode, datanode or prepare, found $1" >&2
  exit 2
  ;;
esac
