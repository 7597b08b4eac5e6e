"""The parts that measure engines without HTTP: ours beside llama.cpp, with the same file and as many threads."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from gguf import GGUFReader
from processes import Commands, Failed, busy_core, cores, run
from results import Row

BANDWIDTH, PRODUCTS = "memory bandwidth", "int8 products"
BATCH = 8
BATCH_PROMPT = 16
DEEP = 4096
PREFILLS = (64, 512)
LARGE = 300 << 20  # bytes of weights from which on a model is a large one


@dataclass(frozen=True)
class Weights:
    """A model's file, and what its use costs by nature."""

    name: str
    path: Path
    stored_bytes: int
    layer_products: int  # multiplications for each token
    output_products: int  # multiplications for the logits of one

    @classmethod
    def read(cls, name: str, path: Path) -> "Weights":
        matrices = [tensor for tensor in GGUFReader(path).tensors if len(tensor.shape) == 2]
        layers = [tensor for tensor in matrices if tensor.name.startswith("blk.")]
        # Of a model whose embeddings are its output, they are the one matrix that is no layer's.
        ends = [tensor for tensor in matrices if tensor not in layers]
        return cls(
            name,
            path,
            sum(int(tensor.n_bytes) for tensor in matrices),
            sum(int(tensor.n_elements) for tensor in layers),
            max(int(tensor.n_elements) for tensor in ends),
        )

    @property
    def large(self) -> bool:
        return self.stored_bytes > LARGE

    @property
    def decode_tokens(self) -> int:
        return 32 if self.large else 128

    def products(self, prompt: int) -> int:
        return self.layer_products * prompt + self.output_products


@dataclass(frozen=True)
class Tools:
    """Where the programs are that measure."""

    ours: Path  # a folder of Cargo's release profile
    llama: Path
    logs: Path
    threads: int

    def machine(self) -> Commands:
        return Commands([str(self.ours / "examples/machine_speed"), str(self.threads)], self.logs / "machine_speed.log")

    def engine(self, weights: Weights, context: int) -> Commands:
        """Our engine with a model; its first line has been read."""
        command = [str(self.ours / "examples/engine_speed"), str(weights.path), str(self.threads), str(context)]
        return Commands(command, self.logs / "engine_speed.log")

    def llama_bench(self, weights: Weights, prompts: list[int], tokens: int, warm_up: bool) -> dict[str, float]:
        """Tokens per second of llama-bench: `pp64` for a prompt of 64 tokens, `tg` for decoding."""
        command = [str(self.llama / "llama-bench"), "-m", str(weights.path), "-t", str(self.threads), "-r", "1"]
        command += ["-p", ",".join(map(str, prompts)) or "0", "-n", str(tokens), "-o", "json"]
        command += [] if warm_up else ["--no-warmup"]
        tests = json.loads(run(command, self.logs / "llama-bench.log"))
        return {f"pp{test['n_prompt']}" if test["n_prompt"] else "tg": test["avg_ts"] for test in tests}

    def llama_batch(self, weights: Weights, tokens: int) -> float:
        """Tokens per second that llama.cpp decodes for several sequences together."""
        command = [str(self.llama / "llama-batched-bench"), "-m", str(weights.path), "-t", str(self.threads)]
        command += ["-c", "2048", "-npp", str(BATCH_PROMPT), "-ntg", str(tokens), "-npl", str(BATCH)]
        output = run([*command, "--output-format", "jsonl"], self.logs / "llama-batched-bench.log")
        for line in output.splitlines():
            if line.startswith('{"n_kv_max"'):
                return json.loads(line)["speed_tg"]
        raise Failed(f"llama-batched-bench told no speed; what it wrote: {output[-500:]}")


def speed(engine: Commands, command: str) -> float:
    """Tokens per second of our engine."""
    answer = engine.ask(command)
    return answer["tokens"] / answer["seconds"]


@contextmanager
def loaded(tools: Tools, weights: Weights, context: int) -> Iterator[tuple[Commands, dict]]:
    """Our engine with a model, and what it says of it."""
    with closing(tools.engine(weights, context)) as engine:
        facts = engine.answer()
        speed(engine, "decode 1 16 16")
        yield engine, facts


class Comparison:
    """Rounds of one model, ours and llama.cpp in turn."""

    def __init__(self, tools: Tools, weights: Weights, parts: set[str]) -> None:
        self.tools, self.weights, self.parts = tools, weights, parts
        name, peer = weights.name, "llama.cpp"
        self.decode = Row(
            f"decode, 1 stream, {name}", peer, "tokens/s", decode_target(weights), bound=BANDWIDTH
        )
        self.bandwidth = Row(f"decode, 1 stream, {name}: weights read", "as fast as memory is", "GB/s", 0.75)
        self.batch = Row(f"decode, {BATCH} streams, {name}", peer, "tokens/s", 1.5)
        self.prefill = {
            length: Row(f"prefill {length}, {name}", peer, "tokens/s", 2.0, bound=PRODUCTS) for length in PREFILLS
        }

    def rows(self) -> list[Row]:
        rows = [self.decode, *([self.bandwidth] if self.weights.large else [])] if "decode" in self.parts else []
        rows += [self.batch] if "batch" in self.parts else []
        return rows + (list(self.prefill.values()) if "prefill" in self.parts else [])

    def ours(self, engine: Commands) -> dict[str, float]:
        tokens, figures = self.weights.decode_tokens, {}
        if "decode" in self.parts:
            figures["tg"] = speed(engine, f"decode 1 1 {tokens}")
        if "batch" in self.parts:
            figures["batch"] = speed(engine, f"decode {BATCH} {BATCH_PROMPT} {tokens // 2}")
        if "prefill" in self.parts:
            figures |= {f"pp{length}": speed(engine, f"prefill {length}") for length in PREFILLS}
        return figures

    def llama(self) -> dict[str, float]:
        tools, weights, figures = self.tools, self.weights, {}
        tokens = weights.decode_tokens if "decode" in self.parts else 0
        prefills = list(PREFILLS) if "prefill" in self.parts else []
        # llama-bench warms up with as long a prompt as it measures. Where that takes many seconds it is left out
        # for the longest, which comes last.
        separate = prefills[-1:] if weights.large else []
        short = prefills[: len(prefills) - len(separate)]
        if short or tokens:
            figures |= tools.llama_bench(weights, short, tokens, warm_up=True)
        if separate:
            figures |= tools.llama_bench(weights, separate, 0, warm_up=False)
        if "batch" in self.parts:
            figures["batch"] = tools.llama_batch(weights, weights.decode_tokens // 2)
        return figures

    def round(self, number: int, engine: Commands, machine: Commands) -> None:
        limits = machine.ask("")
        if number % 2:
            peer, ours = self.llama(), self.ours(engine)
        else:
            ours, peer = self.ours(engine), self.llama()
        if "decode" in self.parts:
            gigabytes = self.weights.stored_bytes / 1e9
            self.decode.add(ours["tg"], peer["tg"], lambda tokens: tokens * gigabytes / limits["readBandwidth"])
            self.bandwidth.add(ours["tg"] * gigabytes, limits["readBandwidth"])
        if "batch" in self.parts:
            self.batch.add(ours["batch"], peer["batch"])
        for length, row in self.prefill.items() if "prefill" in self.parts else ():
            products = self.weights.products(length) / length / 1e9
            of_bound = (lambda tokens, each=products: tokens * each / limits["products"]) if limits["products"] else None
            row.add(ours[f"pp{length}"], peer[f"pp{length}"], of_bound)


def decode_target(weights: Weights) -> float:
    """The ratio that decoding one stream has to reach."""
    if weights.large:
        return 1.05
    return 1.3 if weights.name.endswith("q4_0") else 1.2


def compare(tools: Tools, models: list[Weights], parts: set[str], rounds: int, machine: Commands) -> Iterator[Row]:
    """Decoding and prefill beside llama.cpp."""
    for weights in models:
        comparison = Comparison(tools, weights, parts)
        with loaded(tools, weights, 1024) as (engine, _):
            for number in range(rounds):
                comparison.round(number, engine, machine)
        yield from comparison.rows()


def context(tools: Tools, models: list[Weights], rounds: int, machine: Commands) -> Iterator[Row]:
    """What decoding costs more after thousands of tokens, beside what reading their KV cache takes at least."""
    for weights in models:
        row = Row(
            f"decode at {DEEP} tokens of context, {weights.name}: what a step takes longer",
            "KV bytes / bandwidth", "ms", 1.0, less_is_better=True,
        )  # fmt: skip
        reserved = DEEP + 256
        with loaded(tools, weights, reserved) as (engine, facts):
            kv_bytes = facts["kvCacheBytes"] / (reserved * BATCH) * DEEP
            speed(engine, f"decode 1 {DEEP} 1")  # fills the KV cache
            for _ in range(rounds):
                bandwidth = machine.ask("")["readBandwidth"]
                short = speed(engine, f"decode 1 1 {weights.decode_tokens}")
                deep = speed(engine, f"decode 1 {DEEP} {weights.decode_tokens}")
                row.add(1e3 / deep - 1e3 / short, kv_bytes / bandwidth / 1e6)
                row.note = f"a step takes {1e3 / short:.1f} ms without context, {1e3 / deep:.1f} ms with it"
        yield row


def busy(tools: Tools, models: list[Weights], rounds: int) -> Iterator[Row]:
    """The engine beside a program that wants one core for itself, on a fair kernel half of that core."""
    usable = cores()
    fair = (len(usable) - 0.5) / len(usable)
    for weights in models:
        row = Row(f"decode beside one busy core, {weights.name}", "its fair share", "of its idle pace", 0.7)
        command = f"decode 1 1 {weights.decode_tokens}"
        with loaded(tools, weights, 1024) as (engine, _):
            for _ in range(rounds):
                idle = speed(engine, command)
                with busy_core(usable[-1], tools.logs / "busy.log"):
                    beside = speed(engine, command)
                row.add(beside / idle, fair)
        yield row
