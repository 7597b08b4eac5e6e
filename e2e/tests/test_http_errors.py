"""The real server answers a bad request in OpenAI's error shape, with the right status, and goes on serving."""

import json
import urllib.error
import urllib.request
from typing import Any

import openai
import pytest

import kube
import models

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello"}]


def post(url: str, body: bytes, content_type: str = "application/json") -> tuple[int, dict[str, Any]]:
    """Sends a body as it is, and gives back the status and the error object."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, {}
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["error"]


def chat(**fields: Any) -> bytes:
    return json.dumps({"model": "smollm2", "messages": HELLO, "max_tokens": 1, **fields}).encode()


# what is sent: (body, content type), status, expected members of the error, words of its message
CASES: dict[str, tuple[bytes, str, int, dict[str, Any], str]] = {
    "malformed JSON": (b'{"model": ', "application/json", 400, {"code": None}, "line 1 column"),
    "not even an object": (b"[1]", "application/json", 400, {}, "not a JSON object"),
    "another content type": (chat(), "text/plain", 415, {"code": "unsupported_media_type"}, "application/json"),
    "an unknown parameter": (chat(max_tokns=5), "application/json", 400, {"param": "max_tokns"}, "max_tokns"),
    "a parameter of the wrong type": (chat(max_tokens="many"), "application/json", 400, {"param": "max_tokens"}, "many"),
    "a parameter out of range": (chat(temperature=9), "application/json", 400, {"param": "temperature"}, "from 0 to 2"),
    "no messages": (chat(messages=[]), "application/json", 400, {"param": "messages"}, ""),
    "another model": (chat(model="gpt-4"), "application/json", 404, {"code": "model_not_found"}, "smollm2"),
    "a prompt beyond the context": (
        chat(messages=[{"role": "user", "content": "word " * 4000}]),
        "application/json", 400, {"code": "context_length_exceeded"}, "shorten the prompt",
    ),
    "a body over the limit": (
        chat(messages=[{"role": "user", "content": "x" * 3_000_000}]),
        "application/json", 413, {"code": "body_too_large"}, "send less",
    ),
}


@pytest.mark.parametrize(("body", "kind", "status", "members", "words"), CASES.values(), ids=CASES.keys())
def test_is_answered_with(
    body: bytes, kind: str, status: int, members: dict[str, Any], words: str, url: str
) -> None:
    answered, error = post(url + CHAT, body, kind)
    assert answered == status, error
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert words in error["message"]
    assert members.items() <= error.items()


def test_an_unknown_route_is_not_found(url: str) -> None:
    status, error = post(f"{url}/v1/images/generations", b"{}")
    assert (status, error["code"]) == (404, "not_found")
    assert "/docs" in error["message"]


def test_the_official_client_raises_its_own_errors(url: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0)
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(model="smollm2", messages=HELLO, temperature=9)
    with pytest.raises(openai.NotFoundError, match="smollm2"):
        client.chat.completions.create(model="gpt-4", messages=HELLO)
    with pytest.raises(openai.BadRequestError) as error:
        client.completions.create(model="smollm2", prompt="word " * 4000)
    assert error.value.code == "context_length_exceeded"


def test_errors_are_counted_by_their_type(url: str, namespace: str, served: str) -> None:
    name = 'llm_request_errors_total{error_type="invalid_request",fault="client"}'
    before = models.series(kube.raw(namespace, served, "http", "/metrics"))
    post(url + CHAT, chat(temperature=9))
    after = models.series(kube.raw(namespace, served, "http", "/metrics"))
    assert after[name] - before[name] == 1
    assert after["llm_request_errors_total"] - before["llm_request_errors_total"] == 1


def test_after_all_that_it_still_serves(url: str, namespace: str, served: str) -> None:
    assert post(url + CHAT, chat())[0] == 200
    (pod,) = kube.pods(served, namespace)
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


def test_its_api_is_documented(namespace: str, served: str) -> None:
    document = json.loads(kube.raw(namespace, served, "http", "/openapi.json"))
    assert document["openapi"].startswith("3.1")
    assert CHAT in document["paths"]
    assert "<html" in kube.raw(namespace, served, "http", "/docs")
