"""guidellm's mock server, with the times at which it really wrote: the arguments are those of `guidellm mock-server`.

For each streamed answer it writes a line to the file in MOCK_LOG: when the handler began, the first and last token were
written and the answer ended, in seconds of this process's monotonic clock, and the number of tokens.
"""

import json
import os
import runpy
import sys
import time

from guidellm.mock_server.handlers.chat_completions import ChatCompletionsHandler
from sanic.response import ResponseStream

LOG = open(os.environ["MOCK_LOG"], "w", buffering=1)
# The times of each stream that has not ended; such objects take no attributes.
STREAMS: dict[int, list[float]] = {}
handle, write = ChatCompletionsHandler.handle, ResponseStream.write


async def timed_handle(self, request):
    began = time.monotonic()
    answer = await handle(self, request)
    if isinstance(answer, ResponseStream):
        STREAMS[id(answer)] = [began]
    return answer


async def timed_write(self, message):
    await write(self, message)
    times = STREAMS.get(id(self))
    if times is None:
        return
    if '"delta": {"content"' in message:
        times.append(time.monotonic())
    elif message.startswith("data: [DONE]") and len(times) > 1:
        line = [times[0], times[1], times[-1], time.monotonic(), len(times) - 1]
        LOG.write(json.dumps(line) + "\n")


ChatCompletionsHandler.handle, ResponseStream.write = timed_handle, timed_write
sys.argv = ["guidellm", "mock-server", *sys.argv[1:]]
runpy.run_module("guidellm", run_name="__main__", alter_sys=True)
