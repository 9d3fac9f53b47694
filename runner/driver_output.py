"""Reads what a driver printed with --json, and decides whether it may count.

The contract is docs/driver-interface.md. Whatever does not keep it is a failure with a reason,
never a number.
"""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Optional

from runner.allocators import Allocator, provider_problem
from runner.decode import DecodeError, decode
from runner.records import Check, Latency, Measurement, Phase, Process, Provider

DRIVER_SCHEMA = "hakmem-driver"
DRIVER_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class DriverReport:
    """The JSON object of a driver."""

    schema: str
    schema_version: int
    workload: str
    variant: str
    compiler: str
    flags: str
    arguments: dict[str, Any]
    mode: str
    provider: Provider
    operations: int
    checksum: Optional[str]
    wall_seconds: float
    cpu_user_seconds: float
    cpu_system_seconds: float
    ops_per_second: float
    peak_rss_bytes: int
    end_rss_bytes: int
    rss_halves_bytes: list[int]
    minor_faults: int
    major_faults: int
    phases: list[Phase]
    latency: Optional[Latency] = None
    check: Optional[Check] = None
    processes: list[Process] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    def measurement(self) -> Measurement:
        """Return the numbers alone."""
        return Measurement(
            operations=self.operations,
            wall_seconds=self.wall_seconds,
            cpu_user_seconds=self.cpu_user_seconds,
            cpu_system_seconds=self.cpu_system_seconds,
            ops_per_second=self.ops_per_second,
            peak_rss_bytes=self.peak_rss_bytes,
            end_rss_bytes=self.end_rss_bytes,
            rss_halves_bytes=self.rss_halves_bytes,
            minor_faults=self.minor_faults,
            major_faults=self.major_faults,
            checksum=self.checksum,
            phases=self.phases,
            latency=self.latency,
            check=self.check,
            arguments=self.arguments,
            processes=self.processes,
            figures=self.figures,
        )


def parse_report(output: bytes) -> DriverReport:
    """Return the report in a driver's standard output; raises DecodeError with the reason."""
    if not output.strip():
        raise DecodeError("the driver printed nothing")
    try:
        value = json.loads(output.decode("utf-8"))
    except ValueError as error:
        raise DecodeError(f"the driver's output is no JSON ({error})") from error
    except RecursionError as error:
        raise DecodeError("the driver's output is nested too deeply") from error
    report = decode(DriverReport, value, "the driver's output")
    if report.schema != DRIVER_SCHEMA or report.schema_version != DRIVER_SCHEMA_VERSION:
        raise DecodeError(
            f"the driver speaks {report.schema} version {report.schema_version} instead of "
            f"{DRIVER_SCHEMA} version {DRIVER_SCHEMA_VERSION}"
        )
    return report


def report_problem(
    report: DriverReport,
    allocator: Allocator,
    workload: str,
    arguments: list[str],
) -> Optional[tuple[str, str]]:
    """Return (kind, reason) why a report can't count as a sample, None if it can.

    `arguments` is the command line that was given to the driver.
    """
    if report.workload != workload:
        return "output", f"the driver measured {report.workload} instead of {workload}"
    problem = provider_problem(allocator, report.provider, report.mode)
    if problem is not None:
        return "provider", problem
    if "--check" in arguments:
        if report.check is None:
            return "check", "the driver reported no result of --check"
        if report.check.errors:
            return "check", (
                f"--check found {report.check.errors} damaged of {report.check.blocks} blocks"
            )
    if "--latency" in arguments and report.latency is None:
        return "output", "the driver reported no latency"
    difference = _other_arguments(report, arguments)
    if difference is not None:
        return "output", difference
    if report.operations <= 0 or report.ops_per_second <= 0 or report.wall_seconds <= 0:
        return "output", "the driver reported no operation or no time"
    if report.peak_rss_bytes <= 0:
        return "output", "the driver reported no peak memory"
    if report.processes and report.cpu_user_seconds + report.cpu_system_seconds <= 0:
        return "output", "the driver reported no processor time"
    if not report.processes and len(report.rss_halves_bytes) != 2:
        return "output", "the driver did not report the memory of both halves of the run"
    return None


def _other_arguments(report: DriverReport, arguments: list[str]) -> Optional[str]:
    """Compare the numbers that were asked for with those that the driver says it used."""
    for option, text in zip(arguments, arguments[1:]):
        name = option[2:] if option.startswith("--") else ""
        used = report.arguments.get(name)
        if isinstance(used, bool) or not isinstance(used, (int, float)):
            continue
        try:
            asked = int(text) if isinstance(used, int) else float(text)
        except ValueError:
            continue
        if abs(asked - used) > (0 if isinstance(used, int) else 1e-6 * abs(asked)):
            return f"the driver ran with {name}={used} instead of {text}"
    return None
