"""A clear task of the sample world, and the steps of its life, for tests that begin in the middle of it."""

from dataclasses import replace
from datetime import date
from typing import Any

from contracts.assignment import (
    AssignTask,
    CheckingRule,
    Deliverable,
    Due,
    Evidence,
    Measure,
    SignOffCompletion,
    StartWork,
    SubmitResult,
    TaskContent,
)
from contracts.organisation import GrantAuthority
from contracts.programme import AssignRoles, RoleHolding
from domain.kernel import Recorded
from tests.unit.spec import ORG, PROG, World, sample_world

T = f"assignment/{PROG}/T-01"
ORGANISATION, PROGRAMME = f"organisation/{ORG}", f"programme/{PROG}"
HANDED_IN = SubmitResult(evidence=(Evidence(system="QLVB", number="12/BC"),))
CLEAR = TaskContent(
    person="PBCXB-TP",
    work="Số hóa hồ sơ",
    due=Due(day=date(2026, 6, 15)),
    responsibility="Chịu trách nhiệm về kết quả",
    authority="KY",
    deliverables=(Deliverable(code="D-1", what="Báo cáo"),),
    measures=(Measure(what="Tỷ lệ hồ sơ", target="100%"),),
    checking=CheckingRule(checked_by="VPS-CVP", every="weekly"),
    lead_unit="PBCXB",
)
"""Due by the end of 15/6/2026: late from 16/6 00:00 local time."""


def day(month: int, number: int, year: int = 2026) -> date:
    """A local day."""
    return date(year, month, number)


def clear(**changes: Any) -> TaskContent:
    """The clear task with some fields changed."""
    return replace(CLEAR, **changes)


def office(**options: Any) -> World:
    """The sample world, in which the director may sign off results and the deputy director is the level above."""
    world = sample_world(**options)
    grant = GrantAuthority(grant="G-1", post="GD", authority="KY", valid_from=date(2026, 1, 1))
    world.do(grant, ORGANISATION, "GD")
    above = AssignRoles(roles=(RoleHolding(role="level_above", posts=("PGD",)),), reason="phân cấp")
    world.do(above, PROGRAMME, "GD")
    return world


def assigned(content: TaskContent = CLEAR, world: World | None = None, stream: str = T) -> World:
    """The task was assigned on 01/6/2026."""
    world = world or office()
    world.do(AssignTask(content=content), stream, "GD", "2026-06-01T08:00")
    return world


def at_work(content: TaskContent = CLEAR, world: World | None = None) -> World:
    """Work began on 02/6/2026."""
    world = assigned(content, world)
    world.do(StartWork(), T, "PBCXB-PP", "2026-06-02T08:00")
    return world


def under_review(at: str = "2026-06-10T08:00", content: TaskContent = CLEAR, *, now: str | None = None) -> World:
    """The result was handed in by the deputy head."""
    world = at_work(content)
    world.do(HANDED_IN, T, "PBCXB-PP", at, now=now)
    return world


def sign_off(world: World, at: str | None = None, stream: str = T) -> list[Recorded[Any]]:
    """The director accepts the result under the authority the task names."""
    return world.do(SignOffCompletion(), stream, "GD", at, authority="KY")


def status(world: World, stream: str = T) -> str:
    """The status of a stream."""
    found: str = world.state(stream).status
    return found
