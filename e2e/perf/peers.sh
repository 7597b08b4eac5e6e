# shellcheck shell=bash
# The peers of `e2e/perf/run` and the weights for all, each made once and kept in the cache.

PERF_DIR=$E2E_DIR/perf
# llama.cpp's source comes within this Python package.
LLAMA_CPP_PYTHON_VERSION=0.3.36
LLAMA_CPP_PYTHON_SHA256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
LLAMA_CPP_PROGRAMS=(llama-bench llama-batched-bench llama-quantize llama-server)
# Both engines read these formats of SmolLM2: our name for it, and llama-quantize's.
SMOLLM2_FORMATS=(q4_0=Q4_0 q8_0=Q8_0 q4_k=Q4_K_M)
RANDOM_FORMATS=(q4_0 q8_0 q4_k)

# ---- llama.cpp ----------------------------------------------------------------------------------------

# It is built for this very processor, so a cache that moves to another one needs a build of its own.
llama_cpp_folder() {
  local processor
  processor=$(sed -nE '/^(model name|flags|Features)/p' /proc/cpuinfo | sort --unique | sha256sum | cut -c1-8)
  echo "$CACHE/llama.cpp-$LLAMA_CPP_PYTHON_VERSION-$processor"
}

# Its folder comes in LLAMA_CPP.
build_llama_cpp() {
  LLAMA_CPP=$(llama_cpp_folder)
  once "${LLAMA_CPP##*/}" compile_llama_cpp
}

# shellcheck disable=SC2317,SC2329 # called by name
compile_llama_cpp() {
  local source=$WORK/llama_cpp_python-$LLAMA_CPP_PYTHON_VERSION/vendor/llama.cpp options
  say "llama.cpp is built from source, once: about 15 minutes on two cores (log: $CACHE/log/llama.cpp.log)"
  with_progress "download of llama-cpp-python $LLAMA_CPP_PYTHON_VERSION" "$CACHE/log/llama.cpp-download.log" \
    python3 -m pip download --no-deps --no-cache-dir --no-binary llama-cpp-python --dest "$WORK" "llama-cpp-python==$LLAMA_CPP_PYTHON_VERSION"
  echo "$LLAMA_CPP_PYTHON_SHA256  $WORK/llama_cpp_python-$LLAMA_CPP_PYTHON_VERSION.tar.gz" | sha256sum --check --quiet ||
    die "the source of llama-cpp-python $LLAMA_CPP_PYTHON_VERSION is not the one expected"
  tar -xzf "$WORK/llama_cpp_python-$LLAMA_CPP_PYTHON_VERSION.tar.gz" -C "$WORK"
  options=(-DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=ON -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF)
  options+=(-DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=ON -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF)
  # On a Sapphire Rapids this version's products on AMX tiles end with an illegal instruction; the flags of -march=native
  # stay in force but for these.
  case $(uname -m) in
    x86_64) options+=(-DCMAKE_{C,CXX}_FLAGS="-mno-amx-tile -mno-amx-int8 -mno-amx-bf16") ;;
  esac
  with_progress "llama.cpp, 1 of 2, configuration" "$CACHE/log/llama.cpp-cmake.log" \
    cmake -G Ninja -S "$source" -B "$WORK/build" "${options[@]}"
  with_progress "llama.cpp, 2 of 2, build" "$CACHE/log/llama.cpp.log" \
    cmake --build "$WORK/build" --target "${LLAMA_CPP_PROGRAMS[@]}"
  cp "${LLAMA_CPP_PROGRAMS[@]/#/$WORK/build/bin/}" "$WORK/out/"
}

# ---- FastAPI, Transformers, torch ---------------------------------------------------------------------

# In an environment of its own, named after the list, so that a change makes a new one. It comes in PERF_PYTHON.
make_perf_python() {
  local key
  key=$({ cat "$PERF_DIR/requirements.txt"; python3 --version; } | sha256sum | cut -c1-12)
  once "perf-python-$key" install_perf_packages
  PERF_PYTHON=$CACHE/perf-python-$key
}

# shellcheck disable=SC2317,SC2329 # called by name
install_perf_packages() {
  python3 -m venv "$WORK/out" 2>/dev/null || die "python3 cannot make virtual environments" "apt-get install python3-venv"
  with_progress "Transformers, torch and FastAPI (5 GB)" "$CACHE/log/perf-python.log" \
    "$WORK/out/bin/python" -m pip install --disable-pip-version-check --no-cache-dir --requirement "$PERF_DIR/requirements.txt"
}

# ---- Weights ------------------------------------------------------------------------------------------

# make_weights MODEL.gguf: folders of GGUF files, which come in WEIGHTS.
make_weights() {
  SMOLLM2=$1
  local key smollm2 shape shapes=(1b)
  smollm2=perf-smollm2-$MODEL_PACKAGE_VERSION-$LLAMA_CPP_PYTHON_VERSION
  once "$smollm2" quantise_smollm2
  WEIGHTS=("$CACHE/$smollm2")
  [[ ${PERF_7B:-} != 1 ]] || { check_memory; shapes+=(7b); }
  key=$(sha256sum "$PERF_DIR/weights.py" | cut -c1-8)
  for shape in "${shapes[@]}"; do
    SHAPE=$shape
    once "perf-weights-$shape-$key" write_random_weights
    WEIGHTS+=("$CACHE/perf-weights-$shape-$key")
  done
}

check_memory() {
  local memory
  memory=$(awk '/^MemAvailable/ {print int($2 / 1024 / 1024)}' /proc/meminfo)
  ((memory >= 18)) || die "$memory GiB of memory are available; a 7B shape needs 18" "end something else first, or leave out PERF_7B"
}

# shellcheck disable=SC2317,SC2329 # called by name
quantise_smollm2() {
  local format
  for format in "${SMOLLM2_FORMATS[@]}"; do
    with_progress "SmolLM2 in ${format#*=}" "$CACHE/log/perf-quantise.log" \
      "$LLAMA_CPP/llama-quantize" --allow-requantize "$SMOLLM2" "$WORK/out/smollm2-${format%=*}.gguf" "${format#*=}"
  done
}

# shellcheck disable=SC2317,SC2329 # called by name
write_random_weights() {
  local format
  for format in "${RANDOM_FORMATS[@]}"; do
    [[ $SHAPE != 7b || $format == q4_0 ]] || continue
    with_progress "random weights, $SHAPE in $format" "$CACHE/log/perf-weights.log" \
      "$PERF_PYTHON/bin/python" "$PERF_DIR/weights.py" "$SHAPE" "$format" "$SMOLLM2" "$WORK/out/$SHAPE-$format.gguf"
  done
}
