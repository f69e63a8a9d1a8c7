#!/bin/sh
# Creates the Python environment of the benchmark, with a pinned DuckDB.
#
# benches/against_batch/setup.sh [FOLDER]    (default: target/against_batch of the repository)
set -eu

duckdb_version=2.0.0

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/../../target/against_batch}

python3 -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check "duckdb==$duckdb_version"
"$folder/bin/python" -c 'import duckdb; print("DuckDB", duckdb.__version__)'
