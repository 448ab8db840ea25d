#!/usr/bin/env bash
# Fetches the static word vectors that `--word-vectors DIR` reads: two files of the MIT-licensed Python package wordllama
# (https://pypi.org/project/wordllama), 18 MB, checked against what they were when this was written.
#
#   ops/word-vectors.sh DIR
#
# Needs Python 3 with pip: $PYTHON, or python3. Does nothing where the files are there already.
set -euo pipefail
[ $# = 1 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
folder=$1
python=${PYTHON:-python3}

check() {
    (cd "$folder" && sha256sum --quiet --check) <<'SUMS'
64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5  l2_supercat_256.safetensors
93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68  l2_supercat_tokenizer_config.json
SUMS
}

mkdir -p "$folder"
check >/dev/null 2>&1 && exit
wheel=$(mktemp -d)
trap 'rm -rf "$wheel"' EXIT
# The files are the same in the wheel of every platform; this one is taken wherever we are.
"$python" -m pip download --quiet --no-deps --dest "$wheel" --only-binary :all: \
    --platform manylinux2014_x86_64 --python-version 3.11 --implementation cp wordllama==0.4.0.post1
"$python" - "$wheel"/*.whl "$folder" <<'PY'
import pathlib, sys, zipfile
wheel, folder = zipfile.ZipFile(sys.argv[1]), pathlib.Path(sys.argv[2])
for inside in ("weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json"):
    (folder / pathlib.Path(inside).name).write_bytes(wheel.read("wordllama/" + inside))
PY
check
