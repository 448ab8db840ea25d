# Installs what ./demo and ./test need and a new machine lacks. Sourced, not run.

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
        echo "this needs root: $*" >&2
        return 1
    fi
}

# apt_install PACKAGE...: with a list of packages that may be missing or old on a new machine. Its output is shown if it fails.
apt_install() {
    local log
    log=$(mktemp)
    set -- as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
    "$@" >"$log" 2>&1 || { as_root apt-get update -qq && "$@"; } >"$log" 2>&1 || { cat "$log" >&2; rm -f "$log"; return 1; }
    rm -f "$log"
}

# install WHAT APT-PACKAGES BREW-PACKAGES: with the package manager there is. Whoever calls it looks whether that helped.
install() {
    echo "· installing $1" >&2
    if command -v apt-get >/dev/null; then
        # shellcheck disable=SC2086 # several packages
        apt_install $2 || true
    elif [ -n "$3" ] && command -v brew >/dev/null; then
        # shellcheck disable=SC2086
        brew install $3 || true
    fi
}

# give_up WHAT SENTENCE
give_up() {
    echo "$1, and neither apt-get nor brew could provide it: $2 and run this again" >&2
    exit 1
}

need_rust() {
    command -v cargo >/dev/null || { echo "a Rust toolchain is needed: https://rustup.rs" >&2; exit 1; }
    # It links with the C compiler, which a bare machine has not.
    command -v cc >/dev/null && return
    install "a C compiler" "gcc libc6-dev" ""
    command -v cc >/dev/null || give_up "there is no C compiler to link with" "install gcc (on macOS: xcode-select --install)"
}

# The same folders as provisioner/src/postgres/binaries.rs.
have_postgres() {
    [ -n "${STROWGER_POSTGRES_BIN:-}" ] || command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ||
        compgen -G '/opt/homebrew/opt/postgresql*/bin/initdb' >/dev/null || compgen -G '/usr/local/opt/postgresql*/bin/initdb' >/dev/null
}

need_postgres() {
    have_postgres && return
    install Postgres postgresql postgresql@15
    have_postgres || give_up "Postgres is not installed" "install Postgres 15"
}

# What archives a cluster's log, for the tests that bring one tenant back as it was at a moment.
need_pgbackrest() {
    command -v pgbackrest >/dev/null && return
    install pgBackRest pgbackrest pgbackrest
    command -v pgbackrest >/dev/null || give_up "pgBackRest is not installed" "install it"
}

# What the tests run that is written in Python, in a folder of its own: the official helper library that signs webhooks, and the
# generator of requests that the API's description is held against, and a server that speaks S3.
need_python_tools() {
    STROWGER_TEST_PYTHON=$PWD/target/python/bin/python
    export STROWGER_TEST_PYTHON
    "$STROWGER_TEST_PYTHON" -c 'import twilio, schemathesis, moto.server, flask' 2>/dev/null && return
    echo "· installing the Twilio helper library, schemathesis and moto for Python" >&2
    python3 -m venv --clear target/python >/dev/null 2>&1 || {
        install Python python3-venv python
        python3 -m venv --clear target/python || give_up "there is no Python 3 with venv" "install it"
    }
    "$STROWGER_TEST_PYTHON" -m pip install --quiet twilio 'schemathesis>=4,<5' 'moto[server,s3,iam]>=5.2,<6' ||
        { echo "pip could not install twilio, schemathesis and moto, which the tests need: see above" >&2; exit 1; }
}

# The static word vectors that the tests of search by meaning load. Needs the Python of need_python_tools.
need_word_vectors() {
    STROWGER_TEST_WORD_VECTORS=$PWD/target/word-vectors
    export STROWGER_TEST_WORD_VECTORS
    PYTHON=$STROWGER_TEST_PYTHON ops/word-vectors.sh "$STROWGER_TEST_WORD_VECTORS" ||
        { echo "the word vectors could not be fetched from PyPI: see above" >&2; exit 1; }
}
