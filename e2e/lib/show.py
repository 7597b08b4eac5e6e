"""Shows people what a served model does: its answer as it comes, its metrics, its trace.

usage: show.py chat BASE-URL MODEL PROMPT TRACE-ID     streams an answer
       show.py metrics < METRICS                       a few of the server's metrics
       show.py trace < TRACE                           one trace of Jaeger's API v3 as a tree

Only the standard library, because the demo must not install anything to say hello.
"""

import json
import re
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

BAR = 30


def chat(base_url: str, model: str, prompt: str, trace_id: str) -> None:
    """Prints the answer piece by piece, then what it cost."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": 96,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    request = urllib.request.Request(
        f"{base_url}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={
            "Content-Type": "application/json",
            "traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01",
        },
    )
    began = time.monotonic()
    first = None
    tokens = 0
    for event in events(request):
        for choice in event["choices"]:
            text = choice.get("delta", {}).get("content")
            if text:
                first = first or time.monotonic()
                print(text, end="", flush=True)
        tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
    ended = time.monotonic()
    if first is None:
        sys.exit("the server sent no text")
    rate = (tokens - 1) / (ended - first) if ended > first else 0
    print(f"\n\n{tokens} tokens: the first after {span(first - began)}, then {rate:.0f} a second")


def events(request: urllib.request.Request) -> Iterator[dict]:
    """The server-sent events of an answer."""
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            for line in response:
                data = line.decode().removeprefix("data: ").strip()
                if data and data != "[DONE]" and not data.startswith(":"):
                    event = json.loads(data)
                    if "error" in event:
                        sys.exit(event["error"]["message"])
                    yield event
    except urllib.error.HTTPError as error:
        sys.exit(f"HTTP {error.code}: {error.read().decode()}")


def metrics(text: str) -> None:
    """Prints the figures that say most about a language model's service."""
    series = {}
    for name, value in re.findall(r"^(\w+)(?:{[^}]*})? (\S+)$", text, re.MULTILINE):
        series[name] = series.get(name, 0.0) + float(value)

    def mean(name: str) -> str:
        count = series.get(f"{name}_count", 0)
        return span(series[f"{name}_sum"] / count) if count else "-"

    def count(name: str) -> str:
        return f"{series.get(name, 0):.0f}"

    rows = [
        ("requests answered", "llm_request_success_total", count),
        ("time to first token, mean", "llm_time_to_first_token_seconds", mean),
        ("time per further token, mean", "llm_inter_token_latency_seconds", mean),
        ("prompt tokens", "llm_prompt_tokens_total", count),
        ("generated tokens", "llm_generation_tokens_total", count),
    ]
    for label, name, show in rows:
        print(f"{label:<30} {show(name):>9}   {name}")


def trace(text: str) -> None:
    """Draws the spans as a tree, each with its place in time."""
    groups = json.loads(text)["result"]["resourceSpans"]
    spans = [s for g in groups for scope in g["scopeSpans"] for s in scope["spans"]]
    spans.sort(key=lambda s: (int(s["startTimeUnixNano"]), -int(s["endTimeUnixNano"])))
    known = {s["spanId"] for s in spans}
    roots = [s for s in spans if s.get("parentSpanId") not in known]
    for root in roots:
        begin, end = int(root["startTimeUnixNano"]), int(root["endTimeUnixNano"])
        for label, item in tree(root, spans):
            start, stop = int(item["startTimeUnixNano"]), int(item["endTimeUnixNano"])
            scale = BAR / max(end - begin, 1)
            left = min(int((start - begin) * scale), BAR - 1)
            width = max(1, min(round((stop - start) * scale), BAR - left))
            bar = " " * left + "█" * width
            print(f"{label:<34} {span((stop - start) / 1e9):>9}  {bar}")


def tree(item: dict, spans: list[dict]) -> Iterator[tuple[str, dict]]:
    """The span and all below it, with the branches drawn."""
    yield item["name"], item
    children = [s for s in spans if s.get("parentSpanId") == item["spanId"]]
    for child in children:
        last = child is children[-1]
        below = tree(child, spans)
        label, first = next(below)
        yield ("└─ " if last else "├─ ") + label, first
        for label, further in below:
            yield ("   " if last else "│  ") + label, further


def span(seconds: float) -> str:
    """A duration for people."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["chat", base_url, model, prompt, trace_id]:
            chat(base_url, model, prompt, trace_id)
        case ["metrics"]:
            metrics(sys.stdin.read())
        case ["trace"]:
            trace(sys.stdin.read())
        case _:
            sys.exit(__doc__)
