"""Reporting regimes: the timer of the next period, and the obligations it calls into being (group K, R-162).

A regime has one timer in the programme's stream, a `report_period` deadline whose occurrence is the regime's code. It
passes where the next report's data period begins; then every submitter owes that report, and the next timer is set.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

from contracts.base import Event
from contracts.deadlines import DeadlineCancelled, DeadlineScheduled, RecordDeadlinePassed
from contracts.limits import CalendarDay, Limit
from contracts.obligation import Duty, Period
from contracts.programme import RegimeDefinition
from domain.authority import organisation_of
from domain.calendar import WorkingCalendar, local_date, local_midnight, to_local
from domain.deadlines import record_passing
from domain.kernel import Change, Changes, Context, Request
from domain.limits import OnHoliday, occurrences, periods
from domain.obligation_opening import declare, fitting
from domain.organisation import Organisation
from domain.programme_state import Programme, Regime

_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Owed:
    """One report of a regime: it is called into being at `opens`. UTC; no limit means undated (R-169)."""

    code: str
    opens: datetime
    start: datetime
    end: datetime
    limit: Limit | None

    @property
    def settled_by(self) -> datetime:
        """Its limit, or without one the end of its data period."""
        return self.limit.at if self.limit else self.end


def next_period_timer(
    state: Programme, regime: RegimeDefinition, after: datetime, issued_on: date | None = None
) -> list[Event]:
    """The event that sets the timer of the first period whose limit lies after `after` (UTC); undated: whose end does.

    Empty when the regime is inactive (R-172), its start is unknown, the programme is closed, or no period is left; a
    timer that an earlier version left running is then cancelled.
    """
    found = next((owed for owed in _series(state, regime, issued_on) if owed.settled_by > after), None)
    if found is not None:
        return [state.deadlines.schedule("report_period", _timer(found.opens), occurrence=regime.code)]
    running = state.deadlines.get("report_period", regime.code)
    if running is None or running.passed:
        return []
    return [DeadlineCancelled(key=running.key, reason="superseded")]


def report_period_passed(request: Request[RecordDeadlinePassed], state: Programme, context: Context) -> Changes:
    """What the timer of a period leads to: one obligation a submitter, and the timer of the next period.

    All at the timer's own instant, however late it is processed (R-353). An obligation that exists is left alone.
    """
    passed = record_passing(request, state.deadlines, context.now)
    regime = state.regimes.get(request.data.key.occurrence)
    if not passed or regime is None or request.data.key.kind != "report_period":
        return passed
    at = passed[0].occurred_at or context.now
    series = _series(state, regime.definition, None)
    declared: Changes = []
    for owed in series:
        if owed.opens == at:
            declared += _declared(request, regime, owed, state, context)
    later = next((owed for owed in series if owed.opens > at), None)
    return [*passed, *declared, *_next(state, regime.definition, later, at)]


def _next(state: Programme, regime: RegimeDefinition, owed: _Owed | None, at: datetime) -> Changes:
    if owed is None:
        return []
    event: Any = state.deadlines.schedule("report_period", _timer(owed.opens), occurrence=regime.code)
    # The timer before has passed: this is a new limit, not the old one moved.
    return [Change(DeadlineScheduled(key=event.key, limit=event.limit), occurred_at=at)]


def _timer(opens: datetime) -> Limit:
    return Limit(at=opens, boundary="before", named=to_local(opens).replace(tzinfo=None).isoformat(timespec="minutes"))


def _series(state: Programme, regime: RegimeDefinition, issued_on: date | None) -> tuple[_Owed, ...]:
    """The reports a regime asks for, in order of their opening; each opens at another instant."""
    start = regime.start or issued_on or state.issued_on
    if start is None or state.closed or not regime.active:
        return ()
    return _reports(regime, start, state.window_end, state.settings.holiday_rule, state.calendar_days)


@lru_cache(maxsize=256)
def _reports(
    regime: RegimeDefinition,
    start: date,
    window_end: date | None,
    holiday_rule: OnHoliday,
    days: tuple[CalendarDay, ...],
) -> tuple[_Owed, ...]:
    """The same regime, window and calendar ask for the same reports: computed once, asked for at every period."""
    end = regime.end or window_end or date(start.year + 5, start.month, min(start.day, 28))
    if regime.due is None:
        return tuple(_undated(regime, start, end))
    if regime.due.date is not None and regime.end is None:
        end = max(end, regime.due.date)
    found = occurrences(regime.due, start, end, on_holiday=holiday_rule, calendar=WorkingCalendar(days))
    return tuple(_Owed(o.code, o.period_start, o.period_start, o.period_end, o.limit) for o in found)


def _undated(regime: RegimeDefinition, start: date, end: date) -> Iterator[_Owed]:
    if regime.frequency == "once":
        # A final report without a date opens when the campaign is over, and stays undated until set.
        first, over = local_midnight(start), local_midnight(end + _ONE_DAY)
        yield _Owed(f"{end:%Y%m%d}", over, first, over, None)
        return
    for period in periods(regime.frequency, start, end):
        first = local_midnight(max(period.first, start))
        yield _Owed(period.code, first, first, local_midnight(period.last + _ONE_DAY), None)


def _declared(request: Request[Any], regime: Regime, owed: _Owed, state: Programme, context: Context) -> Changes:
    units = list(_submitters(regime.definition, state, organisation_of(request, context), owed.opens))
    codes = (fitting(f"{regime.definition.code}-{owed.code}-{unit}") for unit in units)
    streams = [f"obligation/{state.code}/{code}" for code in codes]
    found: Changes = []
    for unit, stream, known in zip(units, streams, context.load_all(streams), strict=True):
        if known is None:
            duty = _duty(regime, owed, unit)
            opened = owed.opens
            found += declare(duty, owed.limit, opened, state, opened, stream=stream, occurred_at=opened)
    return found


def _submitters(regime: RegimeDefinition, state: Programme, organisation: Organisation, at: datetime) -> Iterator[str]:
    """The units that report then: those the regime names, else the participants that execute (R-162, R-174)."""
    for unit in regime.submitters or (unit for unit, executes in state.participants.items() if executes):
        known = organisation.units.get(unit)
        if known is not None and known.valid_on(local_date(at)):
            yield unit


def _duty(regime: Regime, owed: _Owed, unit: str) -> Duty:
    definition = regime.definition
    return Duty(
        kind="report",
        title=f"{definition.name_vi[:280]} {owed.code}",
        unit=unit,
        addressee=definition.addressee,
        aggregator=definition.aggregator,
        phase=definition.phases[0] if len(definition.phases) == 1 else None,
        regime=definition.code,
        regime_version=regime.version,
        period=Period(code=owed.code, start=owed.start, end=owed.end),
        source=definition.source,
    )
