"""The whole way of a user: apply the sample, watch it become ready, talk to it, look into it, scale it, delete it.

The tests of this module build on each other, in this order.
"""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI

import kube
import models
import monitoring

NAME = "smollm2"
QUESTION = [{"role": "user", "content": "What is gravity?"}]
CHILDREN = "deployments,replicasets,services,configmaps,pods,endpointslices"


@pytest.fixture(scope="module")
def client(namespace: str, ready: dict[str, Any]) -> Iterator[OpenAI]:
    """The official client, pointed at the deployment's Service."""
    with kube.forwarded(namespace, f"service/{NAME}", "http") as address:
        yield OpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=0)


@pytest.fixture(scope="module")
def ready(namespace: str, claim: str) -> dict[str, Any]:
    """The resource of the sample manifest, once it serves. Its traces go to the cluster's Jaeger, all of them."""
    kube.kubectl("-n", namespace, "apply", "-f", str(models.SAMPLE))
    collector = kube.get("service", "jaeger", "observability")["spec"]["clusterIP"]
    tracing = {"endpoint": f"http://{collector}:4317", "samplingRatio": "100%"}
    kube.patch("llm", NAME, namespace, {"spec": {"observability": {"tracing": tracing}}})
    return kube.wait_for_condition(NAME, namespace, "Ready", "True", "AllPodsReady", seconds=120)


def metrics(namespace: str) -> dict[str, float]:
    return models.series(kube.raw(namespace, NAME, "http", "/metrics"))


def test_the_sample_becomes_ready_and_its_status_says_what_is_served(namespace: str, ready: dict[str, Any]) -> None:
    status = ready["status"]
    generation = ready["metadata"]["generation"]
    assert status["observedGeneration"] == generation
    assert {c["type"] for c in status["conditions"]} >= {"Ready", "Scheduled", "ModelLoaded", "SpecSupported"}
    assert {c["observedGeneration"] for c in status["conditions"]} == {generation}
    assert status["url"] == f"http://{NAME}.{namespace}.svc:8080"
    assert status["readyReplicas"] == 1
    assert status["load"] == {"stage": "Loaded", "percent": 100}
    model = status["model"]
    assert (model["name"], model["architecture"], model["device"]) == (NAME, "llama", "cpu")
    assert model["backend"] == "kernels"
    assert model["contextLength"] == 2048
    assert model["weightsBytes"] > 50_000_000


def test_kubectl_get_llm_shows_it_at_a_glance(namespace: str, ready: dict[str, Any]) -> None:
    header, line = kube.kubectl("-n", namespace, "get", "llm").splitlines()
    assert header.split()[:4] == ["NAME", "MODEL", "PRECISION", "READY"]
    assert line.split()[:4] == [NAME, NAME, ready["status"]["model"]["precision"], "True"]


def test_kubectl_explain_describes_every_field() -> None:
    assert "pvc://claim/path" in kube.kubectl("explain", "llm.spec.model.source")
    assert "Sequences computed at once" in kube.kubectl("explain", "llm.spec.engine.maxBatchSize")


def test_the_model_is_listed(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [NAME]
    assert client.models.retrieve(NAME).owned_by == "candlepower"


def test_a_chat_is_answered_in_english(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=NAME, messages=QUESTION, max_tokens=48, temperature=0)
    text = answer.choices[0].message.content
    assert any(word in text.lower() for word in ("force", "mass", "physics")), text
    assert answer.usage.completion_tokens <= 48
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_brings_the_same_answer_piece_by_piece(client: OpenAI) -> None:
    request = {"model": NAME, "messages": QUESTION, "max_tokens": 24, "temperature": 0}
    whole = client.chat.completions.create(**request)
    chunks = list(client.chat.completions.create(**request, stream=True, stream_options={"include_usage": True}))
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    assert len([piece for piece in pieces if piece]) > 10
    assert chunks[-1].usage == whole.usage
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason == "length"


def test_a_plain_prompt_is_continued(client: OpenAI) -> None:
    answer = client.completions.create(model=NAME, prompt="The capital of France is", max_tokens=8, temperature=0)
    assert "Paris" in answer.choices[0].text


def test_a_stop_string_ends_the_answer_and_is_left_out(client: OpenAI) -> None:
    answer = client.completions.create(model=NAME, prompt="1, 2, 3, 4,", max_tokens=32, temperature=0, stop=["7"])
    assert answer.choices[0].finish_reason == "stop"
    assert "6" in answer.choices[0].text
    assert "7" not in answer.choices[0].text


def test_a_seed_makes_a_random_answer_repeatable(client: OpenAI) -> None:
    def answer(seed: int) -> str:
        request = client.chat.completions.create(model=NAME, messages=QUESTION, max_tokens=16, temperature=1, seed=seed)
        return request.choices[0].message.content

    assert answer(7) == answer(7)
    assert len({answer(seed) for seed in (1, 2, 3)}) > 1


def test_kubectl_get_llm_shows_how_fast_it_answered(client: OpenAI, namespace: str) -> None:
    def shown() -> tuple[bool, Any]:
        performance = kube.get("llm", NAME, namespace)["status"].get("performance", {})
        header, line = kube.kubectl("-n", namespace, "get", "llm").splitlines()
        at = {name: header.index(name) for name in ("TTFT-P95", "TOK/S")}
        cells = {name: line[start:].split(" ")[0] for name, start in at.items()}
        wanted = {"TTFT-P95": performance.get("ttft", {}).get("p95"), "TOK/S": performance.get("tokensPerSecond")}
        return all(cells.values()) and cells == wanted, [cells, performance]

    kube.wait_for("figures in the table", shown, 60)


def test_metrics_count_exactly_the_requests_that_were_made(client: OpenAI, namespace: str) -> None:
    before = metrics(namespace)
    usages = []
    for words in (4, 8, 12):
        answer = client.chat.completions.create(model=NAME, messages=QUESTION, max_tokens=words, temperature=0)
        usages.append(answer.usage)
    after = metrics(namespace)

    def moved(name: str) -> float:
        return after[name] - before[name]

    assert moved("llm_request_success_total") == 3
    assert moved("llm_time_to_first_token_seconds_count") == 3
    assert moved("llm_e2e_request_latency_seconds_count") == 3
    assert moved("llm_prompt_tokens_total") == sum(usage.prompt_tokens for usage in usages)
    assert moved("llm_generation_tokens_total") == sum(usage.completion_tokens for usage in usages)
    assert moved("llm_request_errors_total") == 0
    assert after["llm_num_requests_running"] == after["llm_num_requests_waiting"] == 0
    assert after["llm_model_loaded"] == 1


def test_a_request_is_one_trace_with_its_phases(client: OpenAI) -> None:
    trace_id, caller = secrets.token_hex(16), secrets.token_hex(8)
    answer = client.chat.completions.create(
        model=NAME,
        messages=QUESTION,
        max_tokens=8,
        temperature=0,
        extra_headers={"traceparent": f"00-{trace_id}-{caller}-01"},
    )
    spans = monitoring.spans("observability", "jaeger", "query", trace_id)
    monitoring.check_parents(spans, caller)
    server = spans["POST /v1/chat/completions"]
    attributes = {item["key"]: next(iter(item["value"].values())) for item in server["attributes"]}
    assert attributes["gen_ai.request.model"] == NAME
    assert int(attributes["gen_ai.usage.input_tokens"]) == answer.usage.prompt_tokens
    assert int(attributes["gen_ai.usage.output_tokens"]) == answer.usage.completion_tokens
    assert not any("gravity" in json.dumps(span) for span in spans.values()), "prompts stay out of traces"


def test_it_scales_to_two_and_back(namespace: str, client: OpenAI) -> None:
    for number in (2, 1):
        kube.kubectl("-n", namespace, "scale", f"llm/{NAME}", f"--replicas={number}")
        wait_for_replicas(namespace, number)


def wait_for_replicas(namespace: str, number: int) -> None:
    def look() -> tuple[bool, Any]:
        resource = kube.get("llm", NAME, namespace)
        status = resource["status"]
        settled = status["readyReplicas"] == status["replicas"] == number == len(kube.pods(NAME, namespace))
        return settled and kube.condition(resource, "Ready").get("status") == "True", status

    kube.wait_for(f"{number} replicas", look)


def test_events_tell_its_story(namespace: str, ready: dict[str, Any]) -> None:
    events = kube.find("events", namespace)
    told = {event["reason"] for event in events if event["involvedObject"]["kind"] == "LLMDeployment"}
    assert "AllPodsReady" in told, told


def test_after_its_deletion_nothing_is_left(namespace: str, ready: dict[str, Any]) -> None:
    kube.kubectl("-n", namespace, "delete", "llm", NAME)

    def gone() -> tuple[bool, Any]:
        left = kube.find(CHILDREN, namespace, f"candlepower.dev/llmdeployment={NAME}")
        return not left, [f"{item['kind']} {item['metadata']['name']}" for item in left]

    kube.wait_for("nothing left of it", gone)
    everything = {item["kind"] for item in kube.find(CHILDREN, namespace)}
    assert everything <= {"ConfigMap"}, "only Kubernetes's own root certificate"
