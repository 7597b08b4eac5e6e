"""Writes a GGUF file's tokenizer as a folder, and as the cache of a model hub, which aiperf insists on.

usage: tokenizer.py MODEL.gguf FOLDER
"""

import json
import shutil
import sys
from pathlib import Path

from transformers import AutoTokenizer


def main(model: Path, folder: Path) -> None:
    plain = folder / "tokenizer"
    AutoTokenizer.from_pretrained(model.parent, gguf_file=model.name).save_pretrained(plain)
    (plain / "config.json").write_text(json.dumps({"model_type": "llama"}))
    cached = folder / "hub" / "models--local--tok"
    shutil.copytree(plain, cached / "snapshots" / "abc")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
