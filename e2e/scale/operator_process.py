"""The operator as a process: started, measured and ended."""

import os
import time
import urllib.request
from pathlib import Path

from processes import Failed, end, start, tail

LISTEN = "127.0.0.1:18080"
TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20


class Operator:
    """One run of the operator."""

    def __init__(self, binary: Path, kubeconfig: Path, log: Path, *flags: str, listen: str = LISTEN) -> None:
        self.log = log
        self.listen = listen
        self.began = time.time()
        command = ["env", f"KUBECONFIG={kubeconfig}", str(binary), "--listen", listen, *flags]
        self.process = start(command, log)

    def wait_until_ready(self) -> None:
        """Until each cache is filled."""
        deadline = time.monotonic() + 120
        while self._get("/readyz") is None:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise Failed(f"the operator does not become ready\n{tail(self.log)}")
            time.sleep(0.05)

    def reconciles(self) -> int:
        """Reconciles of LLMDeployments that have ended well so far."""
        wanted = 'candlepower_operator_reconciles_total{controller="llmdeployment",result="success"}'
        return int(self.metrics().get(wanted, 0))

    def metrics(self) -> dict[str, float]:
        """Every series that it exports now."""
        text = self._get("/metrics") or ""
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {series: float(value) for series, value in lines}

    def count_ready(self) -> int:
        """LLMDeployments whose condition Ready is true."""
        wanted = ("candlepower_llmdeployment_condition{", 'condition="Ready"', 'status="true"')
        return int(sum(value for series, value in self.metrics().items() if all(part in series for part in wanted)))

    def resident_mib(self) -> float:
        return self._memory("VmRSS")

    def peak_mib(self) -> float:
        return self._memory("VmHWM")

    def _memory(self, field: str) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024 / MIB
        raise Failed(f"the operator has ended\n{tail(self.log)}")

    def cpu_seconds(self) -> float:
        """CPU time since its start."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def end(self) -> None:
        end(self.process)

    def _get(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(f"http://{self.listen}{path}", timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            return None
