# Installs what ./demo and ./test need and a new machine lacks. Sourced, not run.

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
        echo "this needs root: $*" >&2
        return 1
    fi
}

# apt_install PACKAGE...: with a list of packages that may be missing on a new machine.
apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null 2>&1 ||
        { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null; }
}

need_rust() {
    command -v cargo >/dev/null || { echo "a Rust toolchain is needed: https://rustup.rs" >&2; exit 1; }
}

have_postgres() {
    [ -n "${STROWGER_POSTGRES_BIN:-}" ] || command -v initdb >/dev/null ||
        ls /usr/lib/postgresql/*/bin/initdb /opt/homebrew/opt/postgresql*/bin/initdb /usr/local/opt/postgresql*/bin/initdb >/dev/null 2>&1
}

need_postgres() {
    have_postgres && return
    echo "· installing Postgres" >&2
    if command -v apt-get >/dev/null; then
        apt_install postgresql
    elif command -v brew >/dev/null; then
        brew install postgresql@15
    fi
    have_postgres || { echo "Postgres is not installed, and neither apt-get nor brew could do it: install Postgres 15 and run this again" >&2; exit 1; }
}

# The official helper library that signs webhooks, in a folder of its own.
need_twilio_helper() {
    STROWGER_TEST_PYTHON=$PWD/target/python/bin/python
    export STROWGER_TEST_PYTHON
    "$STROWGER_TEST_PYTHON" -c 'import twilio' 2>/dev/null && return
    echo "· installing the Twilio helper library for Python" >&2
    command -v python3 >/dev/null || apt_install python3
    python3 -m venv target/python 2>/dev/null || { apt_install python3-venv && python3 -m venv target/python; }
    "$STROWGER_TEST_PYTHON" -m pip install --quiet twilio
}
