# shellcheck shell=bash
# Runs a long command with its output in a log file, and says now and then how far it is.

RUNNING_GROUP=""

# with_progress LABEL LOG COMMAND...: on a terminal one line that is rewritten, elsewhere a line every 30 s.
with_progress() {
  local label=$1 log=$2 began=$SECONDS next=0 status=0
  shift 2
  mkdir -p "$(dirname "$log")"
  critical start_group "$log" "$@"
  while kill -0 "$RUNNING_GROUP" 2>/dev/null; do
    if [[ -t 1 ]]; then
      printf '\r\033[K%s: %s' "$label" "$(progress_line "$log" $((SECONDS - began)))"
    elif ((SECONDS - began >= next)); then
      ((next == 0)) || say "$label: $(progress_line "$log" $((SECONDS - began)))"
      next=$((next + 30))
    fi
    sleep 0.5
  done
  wait "$RUNNING_GROUP" || status=$?
  RUNNING_GROUP=""
  [[ ! -t 1 ]] || printf '\r\033[K'
  if ((status)); then
    printf '\nthe end of %s:\n' "$log" >&2
    tail -n 20 "$log" | cut -c1-300 | sed 's/^/  | /' >&2
    die "$label failed after $((SECONDS - began)) s" "the whole log: $log"
  fi
  say "$label: done in $((SECONDS - began)) s"
}

# In a session of its own, so that an interruption ends it with all that it has started.
start_group() {
  local log=$1
  shift
  setsid "$@" >"$log" 2>&1 </dev/null 9>&- &
  RUNNING_GROUP=$!
}

# How long so far, how many lines the command wrote (for `go build -v`: packages), and the newest of them.
progress_line() {
  printf '%d:%02d  %5d steps  %s' $(($2 / 60)) $(($2 % 60)) "$(wc -l <"$1")" "$(tail -n 1 "$1" | cut -c1-60)"
}

# shellcheck disable=SC2317,SC2329 # called by name at exit
stop_running_group() { [[ -z $RUNNING_GROUP ]] || kill -s TERM -- "-$RUNNING_GROUP" 2>/dev/null; }
at_exit stop_running_group
