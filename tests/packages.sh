#!/bin/sh
# The servers of others that the tests stand up: PgBouncer, and a Redis that speaks TLS. Prints
# nothing where they are there already.
set -e
missing=
{ command -v pgbouncer || [ -x /usr/sbin/pgbouncer ]; } >/dev/null || missing="$missing pgbouncer"
command -v redis-server >/dev/null || missing="$missing redis-server"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing$missing"
  # None of them is to be started: the tests start their own.
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  { apt-get install -qq -y --no-install-recommends $missing \
    || { apt-get update -qq && apt-get install -qq -y --no-install-recommends $missing; }; } \
    >/dev/null 2>&1 && exit 0
fi
echo "tests/services need$missing. On Debian and Ubuntu: sudo apt install$missing" >&2
exit 1
