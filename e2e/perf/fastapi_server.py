"""The stack that many teams start from: FastAPI, and one call of Transformers' `generate` for each request.

usage: fastapi_server.py MODEL.gguf PORT THREADS

Answers `POST /v1/completions` (prompt as text or token ids, max_tokens, stream) and `GET /health`. The weights become
floats when they are loaded, of 16 or of 32 bits, whatever generates faster on this machine. Requests are greedy.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, TextIteratorStreamer

# Requests computed at once. They share the cores and Python's interpreter lock, so that more would only wait longer.
WORKERS = 4
TRIAL_TOKENS = 8


class Completion(BaseModel):
    """What a request may ask for; other fields are ignored."""

    prompt: str | list[int]
    max_tokens: int = 16


class Generator:
    """The model and the threads that run it."""

    def __init__(self, path: str) -> None:
        folder, name = os.path.split(path)
        self.tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
        # Floats, as in the files that most teams load, not blocks of few bits.
        dense = GgufConfig(dequantize=True)
        candidates = [
            AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, quantization_config=dense, dtype=dtype).eval()
            for dtype in (torch.float32, torch.bfloat16)
        ]
        self.model = min(candidates, key=self.seconds)
        self.threads = ThreadPoolExecutor(WORKERS)

    def seconds(self, model: Any) -> float:
        """What some tokens take, after as many to warm up."""
        prompt = torch.tensor([[100] * 64])
        for _ in range(2):
            began = time.monotonic()
            self.tokens(model, prompt, TRIAL_TOKENS)
        return time.monotonic() - began

    def tokens(self, model: Any, prompt: torch.Tensor, count: int, streamer: Any = None) -> int:
        """Generates exactly so many tokens."""
        try:
            with torch.inference_mode():
                answer = model.generate(
                    prompt,
                    attention_mask=torch.ones_like(prompt),
                    max_new_tokens=count,
                    min_new_tokens=count,
                    do_sample=False,
                    pad_token_id=0,
                    streamer=streamer,
                )
            return answer.shape[1] - prompt.shape[1]
        except Exception:
            if streamer:  # or its reader would wait for ever
                streamer.end()
            raise

    def start(self, body: Completion) -> tuple[TextIteratorStreamer, "Future[int]"]:
        """Puts a request before the threads."""
        ids = self.tokenizer(body.prompt).input_ids if isinstance(body.prompt, str) else body.prompt
        streamer = TextIteratorStreamer(self.tokenizer, skip_prompt=True)
        prompt = torch.tensor([ids])
        return streamer, self.threads.submit(self.tokens, self.model, prompt, body.max_tokens, streamer)


def events(streamer: TextIteratorStreamer, counted: "Future[int]") -> Iterator[str]:
    """The answer as server-sent events."""
    for text in streamer:
        yield event({"choices": [{"index": 0, "text": text}]})
    yield event({"choices": [], "usage": {"completion_tokens": counted.result()}})
    yield "data: [DONE]\n\n"


def event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content)}\n\n"


def serve(model: str, port: int, threads: int) -> None:
    """Serves until it is told to end."""
    torch.set_num_threads(threads)
    generator = Generator(model)
    app = FastAPI()

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok", "dtype": str(generator.model.dtype)}

    @app.post("/v1/completions")
    def complete(body: Completion) -> StreamingResponse:
        return StreamingResponse(events(*generator.start(body)), media_type="text/event-stream")

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
