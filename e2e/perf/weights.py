"""Writes a Llama of random weights as a GGUF file: what it computes means nothing, but how fast it does so.

usage: weights.py SHAPE FORMAT TOKENIZER.gguf OUT.gguf
SHAPE is 1b or 7b, FORMAT is q8_0, q4_0 or q4_k, and the tokenizer is taken from another GGUF file.
"""

import sys
from dataclasses import dataclass

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, LlamaFileType

CONTEXT = 8192
BLOCKS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Shape:
    """Sizes of a Llama whose embeddings score the tokens as well."""

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int

    def matrices(self, vocabulary: int) -> dict[str, tuple[int, int]]:
        """Rows and columns of each matrix."""
        key = self.hidden // self.heads * self.kv_heads
        matrices = {"token_embd": (vocabulary, self.hidden)}
        for layer in range(self.layers):
            matrices |= {
                f"blk.{layer}.attn_q": (self.hidden, self.hidden),
                f"blk.{layer}.attn_k": (key, self.hidden),
                f"blk.{layer}.attn_v": (key, self.hidden),
                f"blk.{layer}.attn_output": (self.hidden, self.hidden),
                f"blk.{layer}.ffn_gate": (self.feed_forward, self.hidden),
                f"blk.{layer}.ffn_up": (self.feed_forward, self.hidden),
                f"blk.{layer}.ffn_down": (self.hidden, self.feed_forward),
            }
        return matrices

    def norms(self) -> list[str]:
        """Names of the vectors, all as long as `hidden`."""
        layers = range(self.layers)
        return ["output_norm", *(f"blk.{i}.{name}" for i in layers for name in ("attn_norm", "ffn_norm"))]


@dataclass(frozen=True)
class Format:
    """A block: some half-precision scales, then random bytes."""

    type: GGMLQuantizationType
    file_type: LlamaFileType
    columns: int
    scales: tuple[float, ...]
    random_bytes: int


SHAPES = {
    "1b": Shape(layers=16, hidden=2048, feed_forward=8192, heads=32, kv_heads=8),
    "7b": Shape(layers=32, hidden=4096, feed_forward=14336, heads=32, kv_heads=8),
}

# Scales with which a row's numbers have about the deviation that a trained model's have.
FORMATS = {
    "q8_0": Format(GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0, 32, (3e-4,), 32),
    "q4_0": Format(GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0, 32, (5e-3,), 16),
    "q4_k": Format(GGMLQuantizationType.Q4_K, LlamaFileType.MOSTLY_Q4_K_S, 256, (1e-4, 7.5e-4), 12 + 128),
}


def matrix(random: np.random.Generator, form: Format, rows: int, columns: int) -> np.ndarray:
    """The bytes of a random matrix, a row of blocks for each of its rows."""
    scales = np.frombuffer(np.array(form.scales, np.float16).tobytes(), np.uint8)
    count = rows * columns // form.columns
    blocks = np.empty((count, len(scales) + form.random_bytes), np.uint8)
    blocks[:, : len(scales)] = scales
    for begin in range(0, count, BLOCKS_AT_ONCE):
        part = blocks[begin : begin + BLOCKS_AT_ONCE, len(scales) :]
        part[:] = np.frombuffer(random.bytes(part.size), np.uint8).reshape(part.shape)
    return blocks.reshape(rows, -1)


def copy_tokenizer(reader: GGUFReader, writer: GGUFWriter) -> int:
    """Copies what makes text into token ids, and returns how many ids there are."""
    for name, field in reader.fields.items():
        if name.startswith("tokenizer."):
            kind, *element = field.types
            writer.add_key_value(name, field.contents(), kind, *element[-1:])
    return len(reader.fields["tokenizer.ggml.tokens"].data)


def write(shape: Shape, form: Format, tokenizer: str, out: str) -> None:
    """Writes the file, one tensor after the other."""
    random = np.random.default_rng(1)
    writer = GGUFWriter(out, "llama")
    vocabulary = copy_tokenizer(GGUFReader(tokenizer), writer)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.hidden // shape.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(vocabulary)
    writer.add_file_type(form.file_type)
    for name, (rows, columns) in shape.matrices(vocabulary).items():
        writer.add_tensor(f"{name}.weight", matrix(random, form, rows, columns), raw_dtype=form.type)
    for name in shape.norms():
        writer.add_tensor(f"{name}.weight", np.ones(shape.hidden, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    if len(sys.argv) != 5 or sys.argv[1] not in SHAPES or sys.argv[2] not in FORMATS:
        sys.exit(__doc__)
    write(SHAPES[sys.argv[1]], FORMATS[sys.argv[2]], sys.argv[3], sys.argv[4])
