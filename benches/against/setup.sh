#!/bin/sh
# Creates a Python environment with one pinned package, by default that of the drivers.
#
# benches/against/setup.sh [FOLDER [PACKAGE==VERSION]]    (default: target/against/duckdb duckdb==2.0.0)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/../../target/against/duckdb}
package=${2:-duckdb==2.0.0}

python3 -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$package"
echo "$package in $folder"
