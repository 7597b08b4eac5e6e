"""Writes the tests' GGUF model as a folder in Hugging Face's form: weights in 16 bits, tokenizer, chat template."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, TokenType, dequantize

# Messages as SmolLM2 knows them, and tools as Qwen and Hermes write them.
CHAT_TEMPLATE = """\
{%- if tools %}<|im_start|>system
You may call these functions:{% for tool in tools %}
{{ tool | tojson }}{% endfor %}
Answer with <tool_call>{"name": NAME, "arguments": ARGUMENTS}</tool_call>.<|im_end|>
{% endif -%}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif -%}
"""
# Names of a layer's weights in GGUF and in Hugging Face's form.
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
WHOLE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}


def write(source: Path, folder: Path) -> None:
    """Makes the folder of the model in `source`."""
    reader = GGUFReader(source)
    config = model_config(reader)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(reader)))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    tensors = {}
    for tensor in reader.tensors:
        weights = dequantize(tensor.data, tensor.tensor_type)
        part = tensor.name.removesuffix(".weight").split(".")[-1]
        if part in heads:
            weights = in_halves(weights, heads[part])
        tensors[hugging_face_name(tensor.name)] = weights.astype(np.float16)
    write_tensors(folder / "model.safetensors", tensors)


def field(reader: GGUFReader, key: str) -> Any:
    """A value of the file's metadata."""
    return reader.fields[key].contents()


def model_config(reader: GGUFReader) -> dict[str, Any]:
    """The model's `config.json`."""
    fields = {
        "hidden_size": "llama.embedding_length",
        "intermediate_size": "llama.feed_forward_length",
        "max_position_embeddings": "llama.context_length",
        "num_attention_heads": "llama.attention.head_count",
        "num_hidden_layers": "llama.block_count",
        "num_key_value_heads": "llama.attention.head_count_kv",
        "rms_norm_eps": "llama.attention.layer_norm_rms_epsilon",
        "rope_theta": "llama.rope.freq_base",
        "vocab_size": "llama.vocab_size",
        "bos_token_id": "tokenizer.ggml.bos_token_id",
        "eos_token_id": "tokenizer.ggml.eos_token_id",
    }
    fixed = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "dtype": "float16",
        "tie_word_embeddings": True,
    }
    return fixed | {name: field(reader, key) for name, key in fields.items()}


def tokenizer(reader: GGUFReader) -> dict[str, Any]:
    """The model's `tokenizer.json`: byte-level pairs, digits each by itself."""
    tokens, kinds = field(reader, "tokenizer.ggml.tokens"), field(reader, "tokenizer.ggml.token_type")
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    control = [id for id, kind in enumerate(kinds) if kind == TokenType.CONTROL]
    return {
        "version": "1.0",
        "added_tokens": [{"id": id, "content": tokens[id], **plain} for id in control],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "vocab": {token: id for id, token in enumerate(tokens)},
            "merges": field(reader, "tokenizer.ggml.merges"),
        },
    }


def in_halves(weights: np.ndarray, heads: int) -> np.ndarray:
    """Rows as rotary embeddings take them there: each head's first halves of pairs, then its second ones."""
    rows, columns = weights.shape
    return weights.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def hugging_face_name(name: str) -> str:
    """The name of a tensor of the GGUF file."""
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{LAYER[parts[2]]}.weight"
    return f"{WHOLE[parts[0]]}.weight"


def write_tensors(file: Path, tensors: dict[str, np.ndarray]) -> None:
    """Writes the safetensors format: the header's length, the header as JSON, the data."""
    header, end = {}, 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        header[name] = {"dtype": "F16", "shape": tensor.shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            out.write(tensor.tobytes())
