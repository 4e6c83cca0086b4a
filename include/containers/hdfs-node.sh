#!/bin/bash
# Runs one node of HDFS: `hdfs-node.sh namenode|datanode`, or `hdfs-node.sh prepare`, which waits for the NameNode and makes the
# project's folders. A NameNode formats its folder once, and never one that holds anything.
set -euo pipefail
case ${1:?namenode, datanode or prepare} in
namenode)
  if [ ! -d /var/lib/hdfs/name/current ]; then
    hdfs namenode -format -nonInteractive
  fi
  exec hdfs namenode
  ;;
datanode) exec hdfs datanode ;;
prepare)
  hdfs dfsadmin -safemode wait
  hdfs dfs -mkdir -p /ctr/raw /tmp
  hdfs dfs -chown ctr:ctr /ctr /ctr/raw
  hdfs dfs -chmod 750 /ctr
  hdfs dfs -chmod 770 /ctr/raw
  hdfs dfs -chmod 1777 /tmp
  ;;
*)
  echo "expected namenode, datanode or prepare, found $1" >&2
  exit 2
  ;;
esac
