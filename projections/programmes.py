"""Read models `programmes`, `units` and `phases`: what the scorecards are grouped by."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any, NamedTuple

from contracts import organisation as o
from contracts import phase as p
from contracts import programme as c
from contracts.deadlines import DeadlinePassed
from domain.kernel import Recorded
from projections.model import Key, ReadModel, by_stream, handling


class ProgrammeRow(NamedTuple):
    """A programme's present definition, in short."""

    code: str
    organisation: str
    title_vi: str
    title_en: str | None
    kind: str
    number: str | None
    issued_on: date | None
    issued_on_sample: bool
    window_start: date | None
    window_end: date | None
    participants: tuple[Any, ...]
    regimes: tuple[Any, ...]
    indicators: tuple[str, ...]
    incomplete: tuple[str, ...]
    policy_version: int | None
    policy_ours: bool
    closed: bool
    version: int
    recorded_at: datetime


def _registered(row: None, event: Recorded[c.ProgrammeRegistered]) -> ProgrammeRow:
    data = event.data
    return ProgrammeRow(
        code=event.code,
        organisation=event.organisation,
        title_vi=data.title_vi,
        title_en=data.title_en,
        kind=data.kind,
        number=data.number,
        issued_on=data.issued_on,
        issued_on_sample=data.issued_on_sample,
        window_start=data.window_start,
        window_end=data.window_end,
        participants=tuple((part.unit, part.executes) for part in data.participants),
        regimes=(),
        indicators=(),
        incomplete=data.incomplete,
        policy_version=None,
        policy_ours=False,
        closed=False,
        version=event.version,
        recorded_at=event.recorded_at,
    )


def _regime(row: ProgrammeRow, event: Recorded[c.RegimeDefined]) -> ProgrammeRow:
    regime, version = event.data.regime, event.data.regime_version
    others = tuple(known for known in row.regimes if known[0] != regime.code)
    stated = (regime.code, version, regime.frequency, regime.active, regime.due is not None)
    return row._replace(regimes=(*others, stated))


_PROGRAMME: dict[type[Any], Callable[[Any, Recorded[Any]], ProgrammeRow]] = {
    c.ProgrammeRegistered: _registered,
    c.ProgrammeIssued: lambda row, e: row._replace(
        number=e.data.number or row.number, issued_on=e.data.issued_on, issued_on_sample=e.data.sample
    ),
    c.EscalationPolicyAdopted: lambda row, e: row._replace(
        policy_version=e.data.policy.policy_version, policy_ours=e.data.policy.ours
    ),
    c.RegimeDefined: _regime,
    c.IndicatorDefined: lambda row, e: row._replace(indicators=(*row.indicators, e.data.indicator.code)),
    c.ProgrammeClosed: lambda row, e: row._replace(closed=True),
}


def apply_programme(row: ProgrammeRow | None, event: Recorded[Any]) -> ProgrammeRow | None:
    """The programme after an event."""
    after = _PROGRAMME[type(event.data)](row, event)
    return after._replace(version=event.version, recorded_at=event.recorded_at)


PROGRAMMES = ReadModel(
    name="programmes",
    row=ProgrammeRow,
    key=("code",),
    handles=handling("programme", _PROGRAMME),
    keys=lambda event: ((event.code,),),
    apply=apply_programme,
)


class UnitRow(NamedTuple):
    """A unit of an organisation with its validity; `valid_to` is the first day without it (R-089)."""

    organisation: str
    unit: str
    name_vi: str
    name_en: str | None
    kind: str
    parent: str | None
    valid_from: date
    valid_to: date | None
    successors: tuple[str, ...]
    sample: bool


def _unit_keys(event: Recorded[Any]) -> tuple[Key, ...]:
    return ((event.code, event.data.unit),)


def apply_unit(row: UnitRow | None, event: Recorded[Any]) -> UnitRow | None:
    """The unit after an event of its organisation."""
    data = event.data
    if isinstance(data, o.UnitEstablished):
        return UnitRow(
            event.code,
            data.unit,
            data.name_vi,
            data.name_en,
            data.kind,
            data.parent,
            data.valid_from,
            None,
            (),
            data.sample,
        )
    assert row is not None
    return row._replace(valid_to=data.valid_to, successors=data.successors)


UNITS = ReadModel(
    name="units",
    row=UnitRow,
    key=("organisation", "unit"),
    handles=handling("organisation", (o.UnitEstablished, o.UnitDissolved)),
    keys=_unit_keys,
    apply=apply_unit,
)


class PhaseRow(NamedTuple):
    """A phase as it stands; `end_day` is null where the source gives only a year (R-038)."""

    programme: str
    code: str
    organisation: str
    name_vi: str
    name_en: str | None
    aim: str | None
    contents: tuple[str, ...]
    status: str
    start_day: date | None
    end_day: date | None
    end_year: int | None
    end_limit: datetime | None
    review_missing: bool
    products: tuple[Any, ...]
    missing: tuple[Any, ...]
    lists: tuple[str, ...]
    years_reviewed: tuple[int, ...]
    corrections: int
    version: int
    recorded_at: datetime


def _planned(row: None, event: Recorded[p.PhasePlanned]) -> PhaseRow:
    data = event.data
    return PhaseRow(
        programme=event.programme,
        code=event.code,
        organisation=event.organisation,
        name_vi=data.name_vi,
        name_en=data.name_en,
        aim=data.aim,
        contents=data.contents,
        status="planned",
        start_day=data.start,
        end_day=data.end,
        end_year=data.end_year,
        end_limit=data.end_limit.at if data.end_limit else None,
        review_missing=False,
        products=(),
        missing=(),
        lists=(),
        years_reviewed=(),
        corrections=0,
        version=event.version,
        recorded_at=event.recorded_at,
    )


def _declared_missing(row: PhaseRow, event: Recorded[p.MandatoryProductDeclaredMissing]) -> PhaseRow:
    product = event.data.product
    return row._replace(missing=(*row.missing, (product.obligation, product.reason)))


_PHASE: dict[type[Any], Callable[[Any, Recorded[Any]], PhaseRow]] = {
    p.PhasePlanned: _planned,
    p.PhaseFollowed: lambda row, e: row,
    p.PhaseOpened: lambda row, e: row._replace(
        status="open", start_day=e.data.starts_on, review_missing=e.data.review_missing
    ),
    DeadlinePassed: lambda row, e: row._replace(
        status="awaiting_review" if e.data.key.kind == "phase_end" and row.status == "open" else row.status
    ),
    p.PhaseReviewStarted: lambda row, e: row._replace(status="under_review"),
    p.PhaseReviewSignedOff: lambda row, e: row._replace(status="reviewed"),
    p.ProductRequired: lambda row, e: row._replace(products=(*row.products, (e.data.obligation, e.data.mandatory))),
    p.MandatoryProductDeclaredMissing: _declared_missing,
    p.CommendationListApproved: lambda row, e: row._replace(lists=(*row.lists, "commendation")),
    p.AccountabilityListApproved: lambda row, e: row._replace(lists=(*row.lists, "accountability")),
    p.NilReturnDeclared: lambda row, e: row._replace(lists=(*row.lists, f"{e.data.list}: none")),
    p.PhaseClosed: lambda row, e: row._replace(status="closed"),
    p.ClosedPhaseCorrected: lambda row, e: row._replace(corrections=row.corrections + 1),
    p.YearReviewed: lambda row, e: row._replace(years_reviewed=(*row.years_reviewed, e.data.year)),
}


def apply_phase(row: PhaseRow | None, event: Recorded[Any]) -> PhaseRow | None:
    """The phase after an event."""
    after = _PHASE[type(event.data)](row, event)
    return after._replace(version=event.version, recorded_at=event.recorded_at)


PHASES = ReadModel(
    name="phases",
    row=PhaseRow,
    key=("programme", "code"),
    handles=handling("phase", _PHASE),
    keys=by_stream,
    apply=apply_phase,
)
