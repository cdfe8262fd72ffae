#!/bin/sh
# Runs a command with a Node that is new enough: the machine's own, or the one in the wheel that
# `make` installs into .venv. `sh node.sh fits` asks whether there is one.
here=$(cd "$(dirname "$0")" && pwd)
fits() {
  command -v npm >/dev/null && node -e '
    const [major, minor] = process.versions.node.split(".").map(Number);
    process.exit((major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major > 22 ? 0 : 1);
  ' 2>/dev/null
}
fits || PATH="$here/../.venv/bin:$PATH"
if [ "$1" = fits ]; then fits; else cd "$here" && exec "$@"; fi
