"""`guidellm run`, without the fields that the target refuses: the arguments are those of `guidellm run`.

guidellm always asks for `continuous_usage_stats` and `ignore_eos`, and a server that knows either of them not answers
400. LEFT_OUT names those to leave out, with commas. Nothing that measures is touched.
"""

import os
import sys

from guidellm.backends.openai.request_handlers import ChatCompletionsRequestHandler
from guidellm.cli import cli

LEFT_OUT = [name for name in os.environ.get("LEFT_OUT", "").split(",") if name]
whole_format = ChatCompletionsRequestHandler.format


def shorter_format(self, *arguments, **options):
    request = whole_format(self, *arguments, **options)
    for name in LEFT_OUT:
        request.body.pop(name, None)
        request.body.get("stream_options", {}).pop(name, None)
    return request


# At the top of the module, so that it also holds in the processes that guidellm starts: they read the module anew.
ChatCompletionsRequestHandler.format = shorter_format

if __name__ == "__main__":
    cli(["run", *sys.argv[1:]])
