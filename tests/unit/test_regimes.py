"""Reporting regimes: which reports arise, when, for whom, and under which version (group K)."""

import datetime as dt
from collections import Counter
from typing import Any

from contracts.assignment import Due
from contracts.deadlines import DeadlineScheduled
from contracts.limits import DueRule
from contracts.obligation import ConfigureDue, ObligationDeclared
from contracts.organisation import DissolveUnit
from contracts.programme import CloseProgramme, IssueProgramme, Settings
from domain.obligation_opening import fitting
from tests.unit.spec import ORG, PROG, World, define_regime, local, names, sample_world

STREAM = f"programme/{PROG}"
WEEKLY = DueRule(frequency="weekly", boundary="before", weekday=3, time=dt.time(15))
MONTHLY = DueRule(frequency="monthly", boundary="before", day_of_month=19, month_of_period="reporting")
QUARTERLY = DueRule(frequency="quarterly", boundary="before", day_of_month=19, month_of_period="last")
FINAL = DueRule(frequency="once", boundary="before", date=dt.date(2027, 12, 15))


def owed(world: World, regime: str, unit: str = "PBCXB") -> list[Any]:
    """The obligations of a regime for one unit, in the order they were declared."""
    streams = [event.stream for event in world.events if isinstance(event.data, ObligationDeclared)]
    found = [world.state(stream) for stream in streams]
    return [state for state in found if state.duty.regime == regime and state.unit == unit]


def test_r163_r164_r165_whole_campaign_70_16_6_for_each_unit() -> None:
    world = sample_world()
    define_regime(world, "R-W", "weekly", WEEKLY)
    define_regime(world, "R-M", "monthly", MONTHLY)
    define_regime(world, "R-Q", "quarterly", QUARTERLY)
    world.timekeeper("2027-09-30T23:59:59")
    for unit in ("PBCXB", "QLVH"):
        assert [len(owed(world, code, unit)) for code in ("R-W", "R-M", "R-Q")] == [70, 16, 6]
    assert owed(world, "R-W", "VPS") == []
    assert owed(world, "R-W")[0].current.at == local("2026-06-04T15:00")
    assert owed(world, "R-M")[0].current.at == local("2026-06-19T00:00")
    assert owed(world, "R-M")[0].current == owed(world, "R-Q")[0].current
    assert all(state.missed for state in owed(world, "R-W"))


def test_r163_first_report_arises_where_its_period_begins() -> None:
    world = sample_world()
    assert names(define_regime(world, "R-W", "weekly", WEEKLY)) == ["RegimeDefined", "DeadlineScheduled"]
    timer = world.state(STREAM).deadlines.get("report_period", "R-W")
    assert timer.limit.at == local("2026-05-30T00:00")
    assert (timer.limit.boundary, timer.limit.named) == ("before", "2026-05-30T00:00")
    fired = world.timekeeper(world.now)
    declared = [event for event in fired if isinstance(event.data, ObligationDeclared)]
    assert [event.code for event in declared] == ["R-W-2026W23-PBCXB", "R-W-2026W23-QLVH"]
    first = world.state(declared[0].stream)
    assert (first.status, first.missed, first.duty.title) == ("open", False, "Báo cáo R-W 2026W23")
    assert isinstance(fired[-1].data, DeadlineScheduled)
    assert fired[-1].data.limit.at == local("2026-06-04T15:00")


def test_r166_data_period_is_kept_apart_from_the_limit() -> None:
    world = sample_world()
    define_regime(world, "R-M", "monthly", MONTHLY)
    world.timekeeper("2026-06-30T00:00")
    june, july = owed(world, "R-M")
    assert (june.duty.period.start, june.duty.period.end) == (local("2026-05-30T00:00"), local("2026-06-19T00:00"))
    assert (july.duty.period.start, july.duty.period.end) == (local("2026-06-19T00:00"), local("2026-07-19T00:00"))


def test_r167_final_report_fires_once_after_the_window() -> None:
    world = sample_world()
    define_regime(world, "R-F", "once", FINAL)
    world.timekeeper("2028-12-31T00:00")
    (final,) = owed(world, "R-F")
    assert final.current.at == local("2027-12-15T00:00")


def test_r169_regime_without_due_rule_gives_undated_obligations() -> None:
    world = sample_world()
    define_regime(world, "R-M", "monthly")
    world.timekeeper("2026-08-01T00:00")
    reports = owed(world, "R-M")
    assert [state.duty.period.code for state in reports] == ["2026M05", "2026M06", "2026M07", "2026M08"]
    assert {(state.status, state.current, state.missed) for state in reports} == {("open", None, False)}


def test_r171_final_report_without_date_opens_at_the_end_of_the_campaign() -> None:
    world = sample_world()
    define_regime(world, "R-F", "once")
    assert world.timekeeper("2027-09-30T23:59:59") == []
    world.timekeeper("2027-10-01T00:00")
    (final,) = owed(world, "R-F")
    assert final.current is None
    stream = f"obligation/{PROG}/{final.code}"
    due = ConfigureDue(due=Due(day=dt.date(2027, 12, 15), boundary="before"), reason="ấn định")
    assert names(world.do(due, stream, "VPS-CVP", "2027-10-02T08:00")) == ["DueConfigured", "DeadlineScheduled"]


def test_r172_declared_regime_is_scheduled_only_once_switched_on() -> None:
    world = sample_world()
    assert names(define_regime(world, "R-W", "weekly", WEEKLY, active=False)) == ["RegimeDefined"]
    assert world.timekeeper("2026-07-01T00:00") == []
    world.now = local("2026-07-01T08:00")
    assert names(define_regime(world, "R-W", "weekly", WEEKLY)) == ["RegimeDefined", "DeadlineScheduled"]
    world.timekeeper("2026-07-01T08:00")
    assert [state.duty.period.code for state in owed(world, "R-W")] == ["2026W27"]
    assert owed(world, "R-W")[0].duty.regime_version == 2
    assert names(define_regime(world, "R-W", "weekly", WEEKLY, active=False)) == ["RegimeDefined", "DeadlineCancelled"]


def test_r173_ward_weekly_for_phase_2_only_monthly_for_the_whole() -> None:
    world = sample_world()
    window: dict[str, Any] = {"start": dt.date(2026, 6, 11), "end": dt.date(2026, 12, 31), "phases": ("P2",)}
    define_regime(world, "R-W", "weekly", **window)
    define_regime(world, "R-M", "monthly")
    world.timekeeper("2027-09-30T23:59:59")
    assert len(owed(world, "R-W")) == 30
    assert owed(world, "R-W")[-1].duty.period.code == "2026W53"
    assert {state.phase for state in owed(world, "R-W")} == {"P2"}
    assert len(owed(world, "R-M")) == 17
    assert {state.current for state in owed(world, "R-W") + owed(world, "R-M")} == {None}


def test_r175_four_obligations_a_year_without_day() -> None:
    world = sample_world(issued_on=dt.date(2025, 1, 2), at="2026-05-30T07:00", window_end=dt.date(2025, 12, 31))
    world.now = local("2025-01-02T08:00")
    define_regime(world, "R-3M", "quarterly")
    world.states[f"organisation/{ORG}"] = _since_2025(world)
    world.timekeeper("2026-12-31T00:00")
    assert [state.duty.period.code for state in owed(world, "R-3M")] == ["2025Q1", "2025Q2", "2025Q3", "2025Q4"]
    assert {state.current for state in owed(world, "R-3M")} == {None}


def _since_2025(world: World) -> Any:
    import dataclasses

    organisation = world.state(f"organisation/{ORG}")
    units = {
        code: dataclasses.replace(unit, valid_from=dt.date(2025, 1, 1)) for code, unit in organisation.units.items()
    }
    return dataclasses.replace(organisation, units=units)


def test_r033_regimes_wait_for_the_issue_date() -> None:
    world = sample_world(issued_on=None)
    assert names(define_regime(world, "R-W", "weekly", WEEKLY)) == ["RegimeDefined"]
    issued = world.do(IssueProgramme(issued_on=dt.date(2026, 6, 1)), STREAM, "GD", "2026-06-01T08:00")
    assert names(issued) == ["ProgrammeIssued", "DeadlineScheduled"]
    world.timekeeper("2026-06-01T09:00")
    assert len(owed(world, "R-W")) == 1


def test_r353_a_late_timekeeper_changes_nothing() -> None:
    prompt, late = sample_world(), sample_world()
    for world in (prompt, late):
        define_regime(world, "R-W", "weekly", WEEKLY)
    prompt.timekeeper("2026-07-01T00:00")
    late.timekeeper("2026-07-01T00:00", late="2026-07-02T09:00")
    assert [(s.code, s.began_at, s.current, s.status) for s in owed(late, "R-W")] == [
        (s.code, s.began_at, s.current, s.status) for s in owed(prompt, "R-W")
    ]


def test_equal_limits_of_a_holiday_week_lose_no_report() -> None:
    world = sample_world(settings=Settings(holiday_rule="next_working_day"))
    weekend = DueRule(frequency="weekly", boundary="by_end_of", weekday=5)
    define_regime(world, "R-W", "weekly", weekend)
    world.timekeeper("2026-07-31T00:00")
    codes = [state.duty.period.code for state in owed(world, "R-W")]
    assert codes == [f"2026W{week}" for week in range(22, 32)]


def test_submitters_that_no_longer_exist_owe_nothing_and_existing_obligations_stay() -> None:
    world = sample_world()
    define_regime(world, "R-W", "weekly", WEEKLY)
    world.timekeeper("2026-06-05T00:00")
    gone = DissolveUnit(unit="QLVH", valid_to=dt.date(2026, 6, 9), successors=("PBCXB",), reason="hợp nhất")
    world.do(gone, f"organisation/{ORG}", at="2026-06-05T08:00")
    define_regime(world, "R-W", "weekly", WEEKLY)
    world.timekeeper("2026-06-12T00:00")
    counts = Counter(event.stream for event in world.events if isinstance(event.data, ObligationDeclared))
    assert set(counts.values()) == {1}
    assert len(owed(world, "R-W", "PBCXB")) == 3
    assert len(owed(world, "R-W", "QLVH")) == 2
    assert [state.duty.regime_version for state in owed(world, "R-W")] == [1, 1, 2]


def test_r009_closing_the_programme_stops_its_timers() -> None:
    world = sample_world()
    define_regime(world, "R-W", "weekly", WEEKLY)
    world.timekeeper(world.now)
    closed = world.do(CloseProgramme(reason="kết thúc"), STREAM, "GD")
    assert names(closed) == ["ProgrammeClosed", "DeadlineCancelled"]
    later = world.timekeeper("2027-01-01T00:00")
    assert {event.stream.split("/")[0] for event in later} == {"obligation"}
    assert "ObligationDeclared" not in names(later)


def test_long_codes_are_cut_and_stay_apart() -> None:
    long = [f"REPORT-OF-PROGRESS-2026W23-DEPARTMENTS-{number}" for number in range(3)]
    assert fitting("R-W-2026W23-PBCXB") == "R-W-2026W23-PBCXB"
    assert {len(fitting(code)) for code in long} == {40}
    assert len({fitting(code) for code in long}) == 3
