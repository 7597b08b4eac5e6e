"""What the tests share: a namespace, a proxy and an operator for each module, and what to tell when a test fails."""

import atexit
from collections.abc import Callable, Iterator

import pytest

import operators
from fault_proxy import Proxy
from operator_process import Operator
from processes import end_all, tail

# What a run that is interrupted has started ends with it.
atexit.register(end_all)


@pytest.fixture(scope="module")
def namespace(request: pytest.FixtureRequest) -> str:
    """A namespace of the module's own."""
    return operators.new_namespace(request.module.__name__.removeprefix("test_").replace("_", "-"))


@pytest.fixture(scope="module")
def new_proxy() -> Iterator[Callable[[], Proxy]]:
    """Makes proxies."""
    proxies = []

    def make() -> Proxy:
        proxies.append(Proxy(operators.CREDENTIALS))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.close()


@pytest.fixture(scope="module")
def start(
    namespace: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Operator]]:
    """Starts operators in the namespace, behind a proxy and with flags."""
    folder = tmp_path_factory.mktemp("operators")
    started = request.node.operators = []

    def begin(proxy: Proxy, *flags: str) -> Operator:
        started.append(operators.start(proxy, namespace, folder, *flags))
        return started[-1]

    yield begin
    for operator in started:
        operator.end()


@pytest.fixture(scope="module")
def shared_proxy(new_proxy: Callable[[], Proxy]) -> Proxy:
    return new_proxy()


@pytest.fixture
def proxy(shared_proxy: Proxy) -> Iterator[Proxy]:
    """The module's proxy, which makes no mistake before a test asks for it."""
    yield shared_proxy
    shared_proxy.clear()


@pytest.fixture(scope="module")
def operator(shared_proxy: Proxy, start: Callable[..., Operator]) -> Operator:
    """The module's operator."""
    return start(shared_proxy)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Adds to a failure what the operators said last, and what they asked for."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        module = item.getparent(pytest.Module)
        for number, operator in enumerate(getattr(module, "operators", [])):
            report.sections.append((f"operator {number}", tail(operator.log)))
        if shared := getattr(item, "funcargs", {}).get("shared_proxy"):
            report.sections.append(("the last requests", last_requests(shared)))


def last_requests(proxy: Proxy) -> str:
    lines = [f"{r.at:.2f} {r.verb} {r.resource} {r.namespace}/{r.name} → {r.status}" for r in proxy.requests[-30:]]
    return "\n".join(lines)
