#!/usr/bin/env python3
"""Writes the inputs that fuzzing begins with: small, and with a bit of everything that is read.

usage: make_seeds.py CORPUS
"""

import json
import struct
import sys
from pathlib import Path

TYPES = {"u32": 4, "i32": 5, "f32": 6, "bool": 7, "text": 8, "list": 9, "u64": 10, "f64": 12}
PACKED = {"u32": "<I", "i32": "<i", "f32": "<f", "bool": "<?", "u64": "<Q", "f64": "<d"}
F32, F16, Q4_0, Q8_0 = 0, 1, 2, 8


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind, content):
    if kind == "text":
        return text(content)
    if kind == "list":
        of, items = content
        return struct.pack("<IQ", TYPES[of], len(items)) + b"".join(value(of, item) for item in items)
    return struct.pack(PACKED[kind], content)


def gguf(pairs, tensors):
    """A GGUF file; each tensor is (name, dimensions, type, bytes)."""
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    for key, kind, content in pairs:
        out += text(key) + struct.pack("<I", TYPES[kind]) + value(kind, content)
    offset = 0
    for name, dimensions, kind, size in tensors:
        out += text(name) + struct.pack("<I", len(dimensions))
        out += b"".join(struct.pack("<Q", dimension) for dimension in dimensions)
        out += struct.pack("<IQ", kind, offset)
        offset += -(-size // 32) * 32
    return out + bytes(-len(out) % 32) + bytes(offset)


def decoder(architecture, extra=()):
    """The metadata of a tiny decoder."""
    numbers = {"block_count": 1, "embedding_length": 32, "feed_forward_length": 32, "context_length": 64}
    pairs = [("general.architecture", "text", architecture)]
    pairs += [(f"{architecture}.{name}", "u32", number) for name, number in numbers.items()]
    pairs += [(f"{architecture}.attention.head_count", "u32", 2)]
    pairs += [(f"{architecture}.attention.head_count_kv", "u32", 1)]
    pairs += [(f"{architecture}.attention.layer_norm_rms_epsilon", "f32", 1e-5)]
    pairs += [(f"{architecture}.rope.freq_base", "f32", 10000.0)]
    return pairs + list(extra)


def tensors(kind=F16, vocabulary=12):
    width = {F32: 128, F16: 64, Q4_0: 18, Q8_0: 34}[kind]
    matrices = {"attn_q": 32, "attn_k": 16, "attn_v": 16, "attn_output": 32}
    matrices |= {"ffn_gate": 32, "ffn_up": 32, "ffn_down": 32}
    found = [("token_embd.weight", [32, vocabulary], kind, width * vocabulary)]
    found += [(name, [32], F32, 128) for name in ("output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight")]
    found += [(f"blk.0.{name}.weight", [32, rows], kind, width * rows) for name, rows in matrices.items()]
    return found


TEMPLATES = {
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "llama3": "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}",
    "mistral": "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}",
    "tools": "{%- if tools %}\n{{- '<|im_start|>system\\n' }}\n{%- for tool in tools %}\n{{- tool | tojson(indent=2) }}\n{%- endfor %}\n{%- endif %}\n{%- for message in messages %}\n{%- if message.role == \"assistant\" and message.tool_calls %}\n{%- for tool_call in message.tool_calls %}\n{%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}\n{{- '<tool_call>' ~ tool_call.name ~ tool_call.arguments | tojson ~ '</tool_call>' }}\n{%- endfor %}\n{%- elif message.role == \"tool\" %}\n{%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != \"tool\") %}<|im_start|>user{%- endif %}\n{{- message.content }}\n{%- endif %}\n{%- endfor %}",
    "namespace": "{%- set ns = namespace(last=-1, texts=[]) -%}{%- for message in messages[::-1] -%}{%- set ns.last = loop.index0 -%}{%- if message.content is string and not message.content.startswith('<') -%}{%- set ns.texts = ns.texts + [message.content.split('a')[0].strip().upper()] -%}{%- endif -%}{%- endfor -%}{{ ns.texts | join(', ') | length }}{{ ns.last }}",
    "macro": "{% macro say(role, text='') %}{{ role|capitalize }}: {{ text|replace('a', 'b')|default('x', true) }}{% endmacro %}{% for m in messages if m.role != 'tool' %}{{ say(m.role, m.content) }}{% if loop.last %}{% continue %}{% endif %}{% else %}none{% endfor %}{# end #}{% raw %}{{}}{% endraw %}",
    "nested": "{% set ns = namespace(x=[]) %}{% for a in range(20) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}{{ ns.x | tojson }}{{ ns.x == ns.x }}",
    "filters": "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list | tojson }}{{ messages[0] | items | list }}{{ range(3) | sum }}{{ '%s' | format(1) if false else 'a' * 3 }}{{ messages | groupby('role') | length }}",
}

PIECES = ["<unk>", "<s>", "</s>", "<0x0A>", "<0xC3>", "▁", "a", "b", "▁a", "ab", "▁ab", "  "]
WORDS = ["a", "b", "Ġ", "ab", "Ġa", "Ġab", "1", "Ċ", "Ã", "©", "<|im_start|>", "<|im_end|>"]


def gguf_files():
    words = [
        ("tokenizer.ggml.model", "text", "gpt2"),
        ("tokenizer.ggml.pre", "text", "qwen2"),
        ("tokenizer.ggml.tokens", "list", ("text", WORDS)),
        ("tokenizer.ggml.token_type", "list", ("i32", [1] * 10 + [3, 3])),
        ("tokenizer.ggml.merges", "list", ("text", ["a b", "Ġ a", "Ġ ab"])),
        ("tokenizer.ggml.eos_token_id", "u32", 11),
        ("tokenizer.ggml.bos_token_id", "u32", 10),
        ("tokenizer.ggml.add_bos_token", "bool", True),
        ("tokenizer.chat_template", "text", TEMPLATES["chatml"]),
    ]
    pieces = [
        ("tokenizer.ggml.model", "text", "llama"),
        ("tokenizer.ggml.tokens", "list", ("text", PIECES)),
        ("tokenizer.ggml.scores", "list", ("f32", [-float(index) for index in range(12)])),
        ("tokenizer.ggml.token_type", "list", ("i32", [2, 3, 3, 6, 6, 1, 1, 1, 1, 1, 1, 4])),
        ("tokenizer.ggml.unknown_token_id", "u32", 0),
        ("tokenizer.ggml.add_space_prefix", "bool", True),
    ]
    yarn = [
        ("qwen3.rope.scaling.type", "text", "yarn"),
        ("qwen3.rope.scaling.factor", "f32", 4.0),
        ("qwen3.rope.scaling.original_context_length", "u32", 16),
    ]
    yield "llama", gguf(decoder("llama", words), tensors())
    yield "llama-q8", gguf(decoder("llama", pieces), tensors(Q8_0))
    yield "mistral-q4", gguf(decoder("llama", [("llama.attention.sliding_window", "u32", 8)] + words), tensors(Q4_0))
    norms = [(f"blk.0.attn_{name}_norm.weight", [16], F32, 64) for name in "qk"]
    yield "qwen3", gguf(decoder("qwen3", yarn + words), tensors() + norms)
    factors = [("rope_freqs.weight", [8], F32, 32), ("output.weight", [32, 12], F32, 1536)]
    yield "llama3", gguf(decoder("llama", [("general.alignment", "u32", 32)] + words), tensors() + factors)
    yield "gemma2", gguf(decoder("gemma2", pieces), tensors())
    yield "kinds", gguf(
        [("a", "u64", 1), ("b", "f64", 0.5), ("c", "list", ("u32", [1, 2])), ("general.architecture", "text", "other")],
        [],
    )
    yield "split", gguf(decoder("llama", [("split.count", "u32", 2)] + words), tensors())


def safetensors(header, size):
    data = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(data)) + data + bytes(size)


def safetensors_files(config):
    def shapes():
        hidden, heads, kv = config["hidden_size"], config["num_attention_heads"], config["num_key_value_heads"]
        width, wide, count = config["head_dim"], config["intermediate_size"], config["vocab_size"]
        yield "model.embed_tokens.weight", [count, hidden]
        yield "model.norm.weight", [hidden]
        if not config.get("tie_word_embeddings"):
            yield "lm_head.weight", [count, hidden]
        for layer in range(config["num_hidden_layers"]):
            base = f"model.layers.{layer}."
            yield base + "self_attn.q_proj.weight", [heads * width, hidden]
            yield base + "self_attn.k_proj.weight", [kv * width, hidden]
            yield base + "self_attn.v_proj.weight", [kv * width, hidden]
            yield base + "self_attn.o_proj.weight", [hidden, heads * width]
            yield base + "self_attn.q_norm.weight", [width]
            yield base + "self_attn.k_norm.weight", [width]
            yield base + "mlp.gate_proj.weight", [wide, hidden]
            yield base + "mlp.up_proj.weight", [wide, hidden]
            yield base + "mlp.down_proj.weight", [hidden, wide]
            yield base + "input_layernorm.weight", [hidden]
            yield base + "post_attention_layernorm.weight", [hidden]

    def tensor(dtype, shape, start, end):
        return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}

    yield "one", safetensors({"a": tensor("F32", [2], 0, 8)}, 8)
    yield "kinds", safetensors(
        {
            "__metadata__": {"format": "pt"},
            "a": tensor("F32", [2, 1], 0, 8),
            "b": tensor("BF16", [2], 8, 12),
            "c": tensor("F16", [0], 12, 12),
            "d": tensor("I8", [3], 12, 15),
        },
        15,
    )
    header, offset = {}, 0
    for name, shape in shapes():
        size = 2
        for dimension in shape:
            size *= dimension
        header[name] = tensor("BF16", shape, offset, offset + size)
        offset += size
    yield "qwen3", safetensors(header, offset)


def bpe(**more):
    vocabulary = {token: index for index, token in enumerate(WORDS)}
    return {"model": {"type": "BPE", "vocab": vocabulary, "merges": ["a b", "Ġ a", "Ġ ab"]} | more.pop("model", {})} | more


def tokenizers():
    special = [{"id": 11, "content": "<|im_end|>", "special": True, "single_word": False, "lstrip": False, "rstrip": True, "normalized": False}]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    split = {"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}| ?\\p{L}+|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": False}
    yield "byte-level", bpe(
        version="1.0",
        truncation=None,
        padding=None,
        added_tokens=special,
        normalizer={"type": "NFC"},
        pre_tokenizer={"type": "Sequence", "pretokenizers": [split, byte_level]},
        post_processor=byte_level,
        decoder=byte_level,
        model={"ignore_merges": True},
    )
    pieces = {piece: index for index, piece in enumerate(PIECES)}
    yield "pieces", {
        "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 2},
        "padding": {"strategy": {"Fixed": 8}, "direction": "Left", "pad_to_multiple_of": 8, "pad_id": 0, "pad_type_id": 0, "pad_token": "<unk>"},
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, "vocab": pieces, "merges": [["a", "b"], ["▁", "a"], ["▁", "ab"]]},
    }
    yield "unigram", {
        "added_tokens": special,
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": True, "vocab": [[piece, -float(index)] for index, piece in enumerate(PIECES)]},
    }
    yield "wordpiece", {
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["b", 1], "cls": ["a", 0]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "a": 1, "##b": 2, "the": 3}},
    }
    yield "wordlevel", {
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, {"type": "Digits", "individual_digits": True}, {"type": "Punctuation", "behavior": "Contiguous"}]},
        "decoder": {"type": "CTC", "pad_token": "a", "word_delimiter_token": "|", "cleanup": True},
        "model": {"type": "WordLevel", "vocab": {"a": 0, "the": 1, "b": 2}, "unk_token": "b"},
    }


def requests():
    chat, completions, generate = b"\0", b"\1", b"\2"
    sampling = {"temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "seed": 7, "stop": ["a", "b"], "presence_penalty": 1.0, "frequency_penalty": -1, "repetition_penalty": 1.1, "logit_bias": {"42": 10}}
    hello = [{"role": "user", "content": "hi"}]
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", None]}}, "required": ["a"], "$defs": {"c": {"type": "string", "pattern": "^[a-z]+$"}}}
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": schema, "strict": True}}
    yield "chat", chat, {"model": "mock", "messages": hello, "max_tokens": 4} | sampling
    yield "chat-stream", chat, {"model": "mock", "messages": hello, "stream": True, "stream_options": {"include_usage": True}, "n": 2, "logprobs": True, "top_logprobs": 2}
    yield "chat-parts", chat, {"model": "mock", "messages": [{"role": "developer", "content": [{"type": "text", "text": "é"}]}, {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "id": "1", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]}, {"role": "tool", "tool_call_id": "1", "content": "2"}], "max_completion_tokens": 3, "user": "u"}
    yield "chat-tools", chat, {"model": "mock", "messages": hello, "tools": [tool], "tool_choice": "required", "max_tokens": 9}
    yield "chat-tool", chat, {"model": "mock", "messages": hello, "tools": [tool], "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": True}
    yield "chat-json", chat, {"model": "mock", "messages": hello, "response_format": {"type": "json_object"}}
    yield "chat-schema", chat, {"model": "mock", "messages": hello, "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema, "strict": True}}}
    yield "completions", completions, {"model": "mock", "prompt": "a", "logprobs": 3, "echo": False, "best_of": 1} | sampling
    yield "completions-json", completions, {"model": "mock", "prompt": "a", "response_format": {"type": "json_object"}}
    yield "completions-ids", completions, {"model": "mock", "prompt": [[1, 2, 3]], "stream": True}
    yield "generate", generate, {"prompt": "a", "stream": True} | sampling


def main():
    here = Path(__file__).parent
    corpus = Path(sys.argv[1])

    def write(target, name, data):
        folder = corpus / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"seed-{name}").write_bytes(data)

    for name, data in gguf_files():
        write("gguf_header", name, data)
    config = json.loads((here / "model/config.json").read_text())
    for name, data in safetensors_files(config):
        write("safetensors_header", name, data)
    for name, tokenizer in tokenizers():
        write("tokenizer_json", name, json.dumps(tokenizer, ensure_ascii=False).encode())
    for name, template in TEMPLATES.items():
        write("chat_template", name, template.encode())
    for name, route, body in requests():
        write("request_json", name, route + json.dumps(body, ensure_ascii=False).encode())


main()
