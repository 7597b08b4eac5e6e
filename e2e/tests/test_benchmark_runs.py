"""LLMBenchmark beyond a single run: recommendations that are tried, baselines, schedules, other servers, and faults in mid-run."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import kube
import load
import models
import stores
from test_benchmark import LABEL, wait_for_benchmark

pytestmark = pytest.mark.alone

NAME = "one-place"
WORKLOAD = {"prompts": [{"tokens": 48, "weight": 1}], "outputTokens": 8}
VARIANT = {"name": "chunked", "patch": {"engine": {"prefillChunk": 64}}}
BUCKET_PORT = 18200


@pytest.fixture(scope="module")
def target(namespace: str, claim: str) -> str:
    """A deployment that computes one request at a time, and can be made worse."""
    engine = {"maxContextLength": 2048, "maxBatchSize": 1}
    kube.apply(models.llm(NAME, engine=engine, pod=load.FAULTS_ALLOWED), namespace)
    kube.wait_for_condition(NAME, namespace, "Ready", "True", seconds=120)
    return NAME


def start(name: str, namespace: str, target: dict[str, Any], seconds: int = 8, **spec: Any) -> None:
    scenarios = [{"name": "6-users", "users": 6, "duration": f"{seconds}s", "warmUp": "1s"}]
    fields = {"target": target, "profile": "custom", "scenarios": scenarios, "workload": WORKLOAD, **spec}
    kube.apply({"apiVersion": "candlepower.dev/v1alpha1", "kind": "LLMBenchmark", "metadata": {"name": name}, "spec": fields}, namespace)


def finished(name: str, namespace: str, seconds: float = 120) -> dict[str, Any]:
    """The status of a benchmark that has ended well."""
    return wait_for_benchmark(name, namespace, "Complete", "True", "ReportWritten", seconds)["status"]


def report(name: str, namespace: str) -> dict[str, Any]:
    return json.loads(kube.get("configmap", f"{name}-report", namespace)["data"]["report.json"])


@pytest.fixture(scope="module")
def first(namespace: str, target: str) -> dict[str, Any]:
    """A run whose best recommendation was tried, too."""
    start("first", namespace, {"deployment": target}, tryRecommendations=1)
    return finished("first", namespace, seconds=180)


def test_the_first_recommendation_is_tried_and_its_effect_measured(namespace: str, first: dict[str, Any]) -> None:
    assert first["primaryBottleneck"] == "queueing"
    (tried,) = first["variants"]
    assert "tokens per second" in tried["result"], tried
    (comparison, *_) = report("first", namespace)["comparisons"]
    change = next(row for level in comparison["levels"] for row in level["rows"] if row["metric"] == "ttftP95")
    assert change["after"]["value"] < 0.75 * change["before"]["value"], "six places instead of one"


def test_a_run_like_its_baseline_is_as_before(namespace: str, target: str, first: dict[str, Any]) -> None:
    start("again", namespace, {"deployment": target}, baseline={"benchmark": "first"}, regressionTolerance="90%")
    finished("again", namespace)
    wait_for_benchmark("again", namespace, "Regressed", "False", "AsBefore", 10)
    (comparison,) = report("again", namespace)["comparisons"]
    assert (comparison["before"], comparison["after"]) == ("first", "the deployment")
    tpot = next(row for row in comparison["levels"][0]["rows"] if row["metric"] == "tpot")
    assert tpot["before"]["interval"] and tpot["after"]["interval"], tpot


def test_a_run_that_is_worse_than_its_baseline_says_by_how_much(namespace: str, target: str, first: dict[str, Any]) -> None:
    with kube.forwarded(namespace, f"service/{target}", "http") as url:
        load.inject(url, stepDelay="20ms")
        start("worse", namespace, {"deployment": target}, baseline={"benchmark": "first"}, regressionTolerance="50%")
        finished("worse", namespace)
        load.inject(url)
    resource = wait_for_benchmark("worse", namespace, "Regressed", "True", "WorseThanBefore", 10)
    assert "TPOT rose from" in kube.condition(resource, "Regressed")["message"]


def test_any_server_with_openais_api_can_be_measured(namespace: str, target: str) -> None:
    folder = models.claim_folder("records", namespace)
    url = f"http://{target}.{namespace}.svc:8080"
    records = {"existingClaim": "records"}
    start("by-url", namespace, {"url": url, "model": target, "metrics": {"url": f"{url}/metrics"}}, records=records)
    status = finished("by-url", namespace)
    assert float(status["scenarios"][0]["summary"]["tokensPerSecond"]) > 1
    assert status["primaryBottleneck"] == "queueing"
    with gzip.open(next((folder / "by-url").rglob("records.jsonl.gz"))) as lines:
        assert len([json.loads(line) for line in lines]) > 6


def test_without_metrics_the_report_says_what_is_missing(namespace: str, target: str) -> None:
    start("without", namespace, {"url": f"http://{target}.{namespace}.svc:8080", "model": target}, seconds=4)
    finished("without", namespace)
    missing = {one["what"]: one["why"] for one in report("without", namespace)["missing"]}
    assert any("set spec.target.metrics" in why for why in missing.values()), missing


def test_a_load_generator_that_is_lost_is_replaced(namespace: str, target: str) -> None:
    start("lost", namespace, {"deployment": target})
    wait_for_benchmark("lost", namespace, "Complete", "False", "Running", 60)
    kube.kubectl("-n", namespace, "delete", "pods", "-l", f"{LABEL}=lost", "--grace-period=0", "--force")
    assert finished("lost", namespace)["verdict"] in ("Met", "Missed")


def test_a_load_generator_that_is_lost_goes_on_with_the_rounds_on_its_claim(namespace: str, target: str) -> None:
    folder = models.claim_folder("rounds", namespace) / "resumed"
    start("resumed", namespace, {"deployment": target}, records={"existingClaim": "rounds"}, variants=[VARIANT])
    kube.wait_for("the first round's records", lambda: ((folder / "deployment").is_dir(), [str(path) for path in folder.glob("*")]), 90)
    before = json.loads((folder / "deployment" / "run.json").read_text())["startedAt"]

    def at_the_variant() -> tuple[bool, Any]:
        status = kube.get("llmbench", "resumed", namespace).get("status", {})
        return "variant" in status.get("stage", "").lower() or bool(status.get("variant")), status

    kube.wait_for("the variant", at_the_variant, 60)
    kube.kubectl("-n", namespace, "delete", "pods", "-l", f"{LABEL}=resumed", "--grace-period=0", "--force")
    finished("resumed", namespace, seconds=240)
    written = report("resumed", namespace)
    (why,) = [one["why"] for one in written["missing"] if one["what"] == "an earlier attempt"]
    assert "went on with what it had left" in why, why
    assert json.loads((folder / "deployment" / "run.json").read_text())["startedAt"] == before
    assert (folder / "variant-chunked" / "records.jsonl.gz").exists()


def wait_for_load_on_the_copy(name: str, namespace: str) -> None:
    """Until the copy of VARIANT is under load."""

    def loaded() -> tuple[bool, Any]:
        status = kube.get("llmbench", name, namespace).get("status", {})
        return status.get("scenario", {}).get("variant") == VARIANT["name"], status

    kube.wait_for("load on the copy", loaded, 120)
    assert len(kube.find("llm", namespace, f"{LABEL}={name}")) == 1


def wait_for_no_copy(name: str, namespace: str) -> None:
    """Until no copy is left, and no pod of one."""

    def gone() -> tuple[bool, Any]:
        copies = [copy["metadata"]["name"] for copy in kube.find("llm", namespace, f"{LABEL}={name}")]
        pods = [pod["metadata"]["name"] for pod in kube.find("pods", namespace) if pod["metadata"]["name"].startswith(f"{name}-")]
        of_copies = [pod for pod in pods if "-bench-" not in pod and "-probe-" not in pod]
        return not copies and not of_copies, copies + pods

    kube.wait_for(f"the copy of {name} to be gone", gone, 60)


def test_a_load_generator_that_is_lost_under_a_variant_leaves_no_copy(namespace: str, target: str) -> None:
    start("torn", namespace, {"deployment": target}, variants=[VARIANT])
    wait_for_load_on_the_copy("torn", namespace)
    kube.kubectl("-n", namespace, "delete", "pods", "-l", f"{LABEL}=torn", "--grace-period=0", "--force")
    status = finished("torn", namespace, seconds=240)
    (tried,) = status["variants"]
    assert "tokens per second" in tried["result"], tried
    wait_for_no_copy("torn", namespace)


def test_a_benchmark_that_is_deleted_under_a_variant_takes_its_copy_along(namespace: str, target: str) -> None:
    start("dropped", namespace, {"deployment": target}, seconds=30, variants=[VARIANT])
    wait_for_load_on_the_copy("dropped", namespace)
    kube.kubectl("-n", namespace, "delete", "llmbench", "dropped")
    wait_for_no_copy("dropped", namespace)


def test_records_go_to_a_bucket_that_checks_signatures(namespace: str, target: str, tmp_path: Path) -> None:
    (tmp_path / "seed").write_text("any")
    keys = {"accessKeyId": stores.KEY, "secretAccessKey": stores.SECRET}
    kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bucket-keys"}, "stringData": keys}, namespace)
    with stores.bucket(tmp_path / "seed", "seed", tmp_path, BUCKET_PORT) as address:
        bucket = {"bucket": stores.BUCKET, "prefix": "team-a/", "endpoint": f"http://{address}"}
        records = {"s3": {**bucket, "credentials": {"secretRef": {"name": "bucket-keys"}}}}
        start("to-a-bucket", namespace, {"deployment": target}, seconds=4, records=records)
        finished("to-a-bucket", namespace)
    missing = [one for one in report("to-a-bucket", namespace)["missing"] if "bucket" in one["what"]]
    assert missing == []
    folder = tmp_path / "buckets" / stores.BUCKET / "team-a" / "to-a-bucket" / "deployment"
    assert [one["name"] for one in json.loads((folder / "run.json").read_text())["scenarios"]] == ["6-users"]
    with gzip.open(folder / "records.jsonl.gz") as lines:
        assert len([json.loads(line) for line in lines]) > 6


def test_a_target_that_dies_in_mid_run_is_told_as_it_was(namespace: str, target: str) -> None:
    start("dies", namespace, {"deployment": target}, seconds=10)

    def measuring() -> tuple[bool, Any]:
        status = kube.get("llmbench", "dies", namespace).get("status", {})
        return status.get("stage") == "Measuring", status

    kube.wait_for("the load", measuring, 60)
    kube.kubectl("-n", namespace, "delete", "pods", "-l", f"candlepower.dev/llmdeployment={target}", "--grace-period=0", "--force")
    status = finished("dies", namespace)
    (level,) = report("dies", namespace)["levels"]
    assert level["figures"]["failed"] > 0, level["figures"]
    assert status["verdict"] == "Missed", status
    kube.wait_for_condition(target, namespace, "Ready", "True", seconds=120)


def test_a_schedule_runs_by_itself(namespace: str, target: str) -> None:
    start("nightly", namespace, {"deployment": target}, seconds=3, schedule="* * * * *", historyLimit=1)

    def ran() -> tuple[bool, Any]:
        runs = [one["metadata"]["name"] for one in kube.find("llmbench", namespace) if one["metadata"]["name"].startswith("nightly-")]
        return bool(runs), runs

    name = kube.wait_for("a run of the schedule", ran, 80)[0]
    finished(name, namespace)
    schedule = kube.get("llmbench", "nightly", namespace)
    assert kube.condition(schedule, "Complete")["reason"] == "ScheduleActive"
    assert kube.condition(schedule, "Regressed")["reason"] == "NothingToCompare"
    kube.kubectl("-n", namespace, "delete", "llmbench", "nightly")
