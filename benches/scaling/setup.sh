#!/bin/sh
# Creates the Python environment of the benchmark, with a pinned matplotlib for the plots.
#
# benches/scaling/setup.sh [FOLDER]    (default: target/scaling/python of the repository)
set -eu

matplotlib_version=3.11.2

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/../../target/scaling/python}

python3 -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    "matplotlib==$matplotlib_version"
"$folder/bin/python" -c 'import matplotlib; print("matplotlib", matplotlib.__version__)'
