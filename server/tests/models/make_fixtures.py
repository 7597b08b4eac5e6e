#!/usr/bin/env python3
"""Makes the tiny random models beside this file, and the logits that Transformers computes for them.

Run by hand when an architecture is added, with torch==2.9.1 transformers==4.57.1 safetensors numpy
(Python 3.11): `python server/tests/models/make_fixtures.py [name ...]`.

A model's weights are rounded to 16-bit floats, stored so, and computed with in 32 bits, so that its
file is small and still exact. Every special feature of an architecture is on, and every window and
original context is shorter than the prompt, except where candle-transformers computes (SEQUENTIAL),
which knows neither. `expected.json` holds cases: the prompt, the context length of the engine, and
the logits after some of its positions.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from transformers import (
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Olmo2Config,
    OlmoConfig,
    Phi3Config,
    PhiConfig,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3Config,
    Qwen3MoeConfig,
    Starcoder2Config,
)
from transformers.models.auto import AutoModelForCausalLM

HERE = Path(__file__).parent
PROMPT = [(index * 31 + index * index * 7 + 5) % 96 for index in range(40)]
CONTEXT = 128

COMMON = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

MODELS = {
    "llama": LlamaConfig(
        **COMMON,
        rope_theta=500000.0,
        rope_scaling={
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
        tie_word_embeddings=False,
    ),
    "mistral": MistralConfig(**COMMON, head_dim=24, sliding_window=12, tie_word_embeddings=False),
    "qwen2": Qwen2Config(
        **COMMON,
        rope_theta=1000000.0,
        use_sliding_window=True,
        sliding_window=14,
        max_window_layers=1,
        tie_word_embeddings=True,
    ),
    "qwen3": Qwen3Config(
        **COMMON,
        head_dim=32,
        rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
        tie_word_embeddings=True,
    ),
    "phi3": Phi3Config(
        **COMMON,
        partial_rotary_factor=0.75,
        original_max_position_embeddings=32,
        rope_scaling={
            "type": "longrope",
            "short_factor": [1.0, 1.1, 1.25, 1.5, 1.75, 2.0],
            "long_factor": [1.0, 1.5, 2.0, 3.0, 3.5, 4.0],
        },
        sliding_window=20,
        tie_word_embeddings=False,
    ),
    "gemma2": Gemma2Config(
        **COMMON,
        head_dim=24,
        query_pre_attn_scalar=24,
        sliding_window=12,
        attn_logit_softcapping=5.0,
        final_logit_softcapping=10.0,
    ),
    "gemma3": Gemma3TextConfig(
        **{**COMMON, "num_hidden_layers": 3},
        head_dim=24,
        query_pre_attn_scalar=24,
        sliding_window=12,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
        rope_theta=1000000.0,
        rope_local_base_freq=10000.0,
        rope_scaling={"rope_type": "linear", "factor": 8.0},
    ),
}

SMALL = {**COMMON, "hidden_size": 32, "intermediate_size": 48}
EXPERTS = {"moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2}

# Architectures of which only candle-transformers has an implementation.
SEQUENTIAL = {
    # Norms of queries and keys are where the library fails, and no published Phi has them.
    "phi": PhiConfig(**SMALL, partial_rotary_factor=0.5, hidden_act="gelu_new"),
    "starcoder2": Starcoder2Config(**SMALL, use_bias=True, sliding_window=64, rope_theta=100000.0),
    "olmo": OlmoConfig(**SMALL, clip_qkv=1.5, tie_word_embeddings=False),
    "olmo2": Olmo2Config(**SMALL, tie_word_embeddings=False, rope_theta=500000.0),
    "mixtral": MixtralConfig(**SMALL, num_local_experts=4, num_experts_per_tok=2, rope_theta=1000000.0),
    "qwen2_moe": Qwen2MoeConfig(**SMALL, **EXPERTS, shared_expert_intermediate_size=40, norm_topk_prob=False),
    "qwen3_moe": Qwen3MoeConfig(**SMALL, **EXPERTS, head_dim=16, norm_topk_prob=True),
}

# Prompts and contexts beyond the one that every model has.
MORE_CASES = {"phi3": [(PROMPT[:24], 32)]}


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    gemma = "gemma" in model.config.model_type
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name:
            values = noise * 0.2 + (0.0 if gemma else 1.0)
        elif name.endswith("bias"):
            values = noise * 0.5
        elif "embed" in name or "lm_head" in name:
            values = noise * 0.5
        else:
            # Large enough for attention to prefer some positions.
            values = noise * 0.25
        parameter.data = values.half().float()


def logits(model, tokens):
    with torch.no_grad():
        rows = model(torch.tensor([tokens]), use_cache=False).logits[0]
    positions = sorted({0, 7, len(tokens) // 2, len(tokens) - 1})
    return [
        {"position": position, "logits": [round(float(number), 5) for number in rows[position]]}
        for position in positions
    ]


def make(name, config, seed):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    model.eval()
    randomise(model, seed)
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    cases = [
        {"context": context, "tokens": tokens, "rows": logits(model, tokens)}
        for tokens, context in [(PROMPT, CONTEXT), *MORE_CASES.get(name, [])]
    ]
    # One of the models is in several files with an index.
    model.half().save_pretrained(folder, max_shard_size="100KB" if name == "llama" else "1GB")
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "expected.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    for seed, (name, config) in enumerate({**MODELS, **SEQUENTIAL}.items()):
        if not sys.argv[1:] or name in sys.argv[1:]:
            make(name, config, seed)
            print(name)
