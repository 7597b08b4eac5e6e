"""What a model may write is enforced, JSON and calls of tools, by a model from either kind of file."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

import kube
import load
import models
import safetensors

FOLDER = "folder"
CAT = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "minimum": 0, "maximum": 30}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]


def ask(url: str, model: str, question: str, **fields: Any) -> tuple[int, dict[str, Any]]:
    body = {"model": model, "messages": [{"role": "user", "content": question}], "max_tokens": 64, "temperature": 0}
    status, text = load.call("POST", f"{url}/v1/chat/completions", body | fields)
    return status, json.loads(text)


def complete(url: str, model: str) -> str:
    body = {"model": model, "prompt": "The capital of France is", "max_tokens": 2, "temperature": 0}
    status, text = load.call("POST", f"{url}/v1/completions", body)
    assert status == 200, text
    return json.loads(text)["choices"][0]["text"]


@pytest.fixture(scope="module")
def folder_url(namespace: str, claim: str) -> Iterator[str]:
    """The address of the same model, served from a folder of safetensors with its tokenizer and a template for tools."""
    place = models.claim_folder("converted", namespace)
    (place / "smollm2").mkdir()
    safetensors.write(models.real_file(), place / "smollm2")
    kube.apply(models.llm(FOLDER, model={"source": "pvc://converted/smollm2"}), namespace)
    kube.wait_for_condition(FOLDER, namespace, "Ready", "True")
    with kube.forwarded(namespace, f"service/{FOLDER}", "http") as address:
        yield address
    shutil.rmtree(place, ignore_errors=True)


def test_an_answer_is_json_of_the_schema(url: str, served: str) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "cat", "strict": True, "schema": CAT}}
    status, answer = ask(url, served, "Describe a cat as JSON with name and age.", response_format=form)
    assert status == 200, answer
    cat = json.loads(answer["choices"][0]["message"]["content"])
    assert set(cat) == {"name", "age"}
    assert 0 <= cat["age"] <= 30


def test_an_answer_is_a_json_object(url: str, served: str) -> None:
    status, answer = ask(url, served, "Describe a cat as JSON with name and age.", response_format={"type": "json_object"})
    assert status == 200, answer
    (choice,) = answer["choices"]
    assert choice["finish_reason"] in ("stop", "length")
    assert choice["message"]["content"].startswith("{")


def test_tools_that_the_template_does_not_know_are_refused(url: str, served: str) -> None:
    status, answer = ask(url, served, "What is the weather in Paris?", tools=TOOLS)
    assert (status, answer["error"]["param"]) == (400, "tools")
    assert "describe the tools in the prompt instead" in answer["error"]["message"]


def test_a_folder_of_safetensors_is_the_same_model(namespace: str, url: str, served: str, folder_url: str) -> None:
    model = kube.get("llm", FOLDER, namespace)["status"]["model"]
    assert (model["architecture"], model["precision"]) == ("llama", "f16")
    assert complete(folder_url, FOLDER) == complete(url, served)


def test_a_tool_is_called_with_arguments_of_its_schema(folder_url: str) -> None:
    wanted = {"type": "function", "function": {"name": "weather"}}
    status, answer = ask(folder_url, FOLDER, "What is the weather in Paris?", tools=TOOLS, tool_choice=wanted)
    assert status == 200, answer
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "weather"
    arguments = json.loads(call["function"]["arguments"])
    assert arguments["city"] in ("Paris", "Rome")
    assert 1 <= arguments["days"] <= 9
