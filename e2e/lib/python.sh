# shellcheck shell=bash
# The tests' Python packages. Needs cluster/lib/build.sh.

# In an environment of their own in the cache, named after the list, so that a change makes a new one; its folder is PYTHON.
make_python() {
  local key
  key=$({ cat "$E2E_DIR/requirements.txt"; python3 --version; } | sha256sum | cut -c1-12)
  once "python-$key" install_packages
  PYTHON=$CACHE/python-$key
}

# shellcheck disable=SC2317,SC2329 # called by name
install_packages() {
  python3 -m venv "$WORK/out" 2>/dev/null || die "python3 cannot make virtual environments" "apt-get install python3-venv"
  with_progress "Python packages of the tests" "$CACHE/log/python.log" \
    "$WORK/out/bin/python" -m pip install --disable-pip-version-check --requirement "$E2E_DIR/requirements.txt"
}
