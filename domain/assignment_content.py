"""What makes an assignment clear: the six fields and their tie to a product, a measure, a date, a check (group B)."""

from typing import Any

from contracts.assignment import TaskContent
from contracts.limits import Limit
from domain.assignment_state import Assignment
from domain.due import limit_from
from domain.kernel import Context, Refused, Request, require_stream
from domain.organisation import Organisation, require_post, require_unit
from domain.phase import Phase
from domain.programme_state import Programme, ProgrammeIsClosed

SIX = ("person", "work", "time", "responsibility", "authority", "result")


class NotSixClear(Refused):
    """One of the six is empty (R-017), or product, measure or checking rule is missing (R-019)."""


class SecondLead(Refused):
    """One task is led by one unit (R-021)."""


class UnknownPhase(Refused):
    """The programme has no such phase, or it is closed."""


class ChildAfterParent(Refused):
    """A sub-assignment is due no later than its parent (R-025)."""


class ParentNotOpen(Refused):
    """Sub-assignments are given under an open assignment."""


class MilestoneTwice(Refused):
    """A milestone has a code of its own within the task."""


class UnknownArea(Refused):
    """The programme has no such content area or category (R-010, R-111)."""


class PersonOutsideLead(Refused):
    """The accountable person sits in the lead unit (R-020, R-022)."""


def missing_fields(content: TaskContent) -> tuple[str, ...]:
    """Names of what is still open, the six first (R-017, R-019)."""
    filled = {
        "person": content.person,
        "work": content.work,
        "time": content.due or content.cadence,
        "responsibility": content.responsibility,
        "authority": content.authority,
        "result": content.deliverables,
        "measure": content.measures,
        "checking": content.checking,
        "lead_unit": content.lead_unit,
    }
    return tuple(name for name, value in filled.items() if not value)


def require_six_clear(subject: str, content: TaskContent) -> None:
    """Refuse an unclear assignment by naming what is missing."""
    if missing := missing_fields(content):
        raise NotSixClear(
            f"{subject}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} empty; six-clear assignments need "
            f"{', '.join(SIX[:-1])} and {SIX[-1]}, with a measure, a checking rule and a lead unit",
            field=", ".join(f"data.content.{_FIELD.get(name, name)}" for name in missing),
        )


_FIELD = {"time": "due", "result": "deliverables", "measure": "measures"}


def require_consistent(
    request: Request[Any], content: TaskContent, programme: Programme, organisation: Organisation, context: Context
) -> None:
    """Refuse content that names units, posts, phases or areas that do not exist, or two leads."""
    if programme.closed:
        raise ProgrammeIsClosed(f"programme {request.programme} is closed; it takes no new tasks")
    lead = content.lead_unit
    if lead is not None:
        require_unit(organisation, lead, context.now, "data.content.lead_unit")
        if lead in content.coordinating_units:
            raise SecondLead(f"unit '{lead}' leads; it cannot coordinate too", field="data.content.coordinating_units")
    for unit in content.coordinating_units:
        require_unit(organisation, unit, context.now, "data.content.coordinating_units")
    limit_from(content.due, "data.content.due")
    codes = [milestone.code for milestone in content.milestones]
    if len(set(codes)) < len(codes):
        raise MilestoneTwice("each milestone of a task has its own code", field="data.content.milestones")
    for milestone in content.milestones:
        limit_from(milestone.due, "data.content.milestones")
    resolution = content.lead_resolution
    if resolution is not None and lead not in resolution.named:
        raise SecondLead(f"the lead is one of {', '.join(resolution.named)}", field="data.content.lead_unit")
    if content.person is not None:
        post = require_post(organisation, content.person, "data.content.person")
        if lead is not None and post.unit != lead:
            raise PersonOutsideLead(
                f"post '{post.code}' sits in unit '{post.unit}', not in the lead unit '{lead}'",
                field="data.content.person",
            )
    if content.checking is not None:
        require_post(organisation, content.checking.checked_by, "data.content.checking.checked_by")
    _require_areas(content, programme)
    if content.phase is not None:
        phase = context.load(f"phase/{request.programme}/{content.phase}")
        if not isinstance(phase, Phase) or phase.status == "closed":
            raise UnknownPhase(f"phase '{content.phase}' is not planned or is closed", field="data.content.phase")


def _require_areas(content: TaskContent, programme: Programme) -> None:
    area, category = content.content_area, content.category
    if area is not None and programme.content_areas and area not in programme.content_areas:
        raise UnknownArea(f"content area '{area}' is not of this programme", field="data.content.content_area")
    known = programme.settings.categories
    if category is not None and known and category not in known:
        raise UnknownArea(f"category '{category}' is not of this programme", field="data.content.category")


def require_within_parent(request: Request[Any], content: TaskContent, limit: Limit | None, context: Context) -> str:
    """The parent's stream, refused when it is not open or due before its child (R-025)."""
    stream = f"assignment/{request.programme}/{content.parent}"
    parent = require_stream(context, stream, Assignment)
    if not parent.is_open:
        raise ParentNotOpen(f"{stream} is {parent.status}", field="data.content.parent")
    if limit is None and parent.current is not None:
        raise ChildAfterParent(
            f"{stream} is due {parent.current.named}; its child must be due no later", field="data.content.due"
        )
    require_due_within_parent(request, content, limit, context, "data.content.due")
    return stream


def require_due_within_parent(
    request: Request[Any], content: TaskContent, limit: Limit | None, context: Context, field: str
) -> None:
    """Refuse a limit later than the parent's; a move is no way round it (R-025)."""
    if content.parent is None or limit is None:
        return
    stream = f"assignment/{request.programme}/{content.parent}"
    parent = context.load(stream)
    if isinstance(parent, Assignment) and parent.current is not None and limit.at > parent.current.at:
        raise ChildAfterParent(f"{stream} is due {parent.current.named}; its child must be due no later", field=field)
