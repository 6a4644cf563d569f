"""Sentences for events, Vietnamese and English: a table of facts.

`{field}` is a field of the event's data, `{a.b}` a field of a field, `{field:how}` says how it is shown:
`post` and `unit` by name, `limit` and `when` as local time, `list` joined, `words` an erasable text, `causes` those of a review's
lines, else a group of labels.
What stands in `[…]` is left out when one of its fields is empty. An event without a line here is told by its name and fields.
"""

# ruff: noqa: E501 - a sentence is not wrapped
import re
from typing import Any

from services.labels import LABELS, Labels

SENTENCES: dict[str, tuple[str, str]] = {
    "OrganisationRegistered": ("Đăng ký cơ quan {name_vi}", "Organisation registered: {name_vi}"),
    "UnitEstablished": ("Lập đơn vị {unit} ({name_vi})", "Unit {unit} established ({name_vi})"),
    "UnitDissolved": ("Giải thể đơn vị {unit:unit}[; lý do: {reason}]", "Unit {unit:unit} dissolved[; reason: {reason}]"),
    "PostEstablished": ("Lập vị trí {post} ({title_vi}) thuộc {unit:unit}", "Post {post} ({title_vi}) established in {unit:unit}"),
    "PostAbolished": ("Bỏ vị trí {post:post}[; lý do: {reason}]", "Post {post:post} abolished[; reason: {reason}]"),
    "HolderAppointed": ("Bổ nhiệm {person} giữ {post:post} từ {valid_from}", "{person} appointed to {post:post} from {valid_from}"),
    "HolderReleased": ("{post:post} thôi do {person} giữ từ {valid_to}", "{person} released from {post:post} from {valid_to}"),
    "AuthorityGranted": ("Giao thẩm quyền {authority} cho {post:post} (số {grant})[, đến {valid_to}]", "Authority {authority} granted to {post:post} ({grant})[, until {valid_to}]"),
    "AuthorityRevoked": ("Thu hồi thẩm quyền {authority} của {post:post} (số {grant})[; lý do: {reason}]", "Authority {authority} of {post:post} revoked ({grant})[; reason: {reason}]"),
    "ProgrammeRegistered": ("Đăng ký chương trình “{title_vi}”[, văn bản {number}]", "Programme registered: “{title_vi}”[, document {number}]"),
    "ProgrammeIssued": ("Ban hành chương trình[, văn bản {number}][, ngày {issued_on}]", "Programme issued[, document {number}][, on {issued_on}]"),
    "PhaseAwaitsIssue": ("Giai đoạn {phase} chờ chương trình được ban hành", "Phase {phase} waits for the programme to be issued"),
    "BasisConflictResolved": ("Chọn “{chosen}” cho căn cứ {number}[; lý do: {reason}]", "“{chosen}” chosen for legal basis {number}[; reason: {reason}]"),
    "RolesAssigned": ("Phân vai trong chương trình[; lý do: {reason}]", "Roles of the programme assigned[; reason: {reason}]"),
    "SettingsChanged": ("Đổi thiết lập của chương trình[; lý do: {reason}]", "Settings of the programme changed[; reason: {reason}]"),
    "EscalationPolicyAdopted": ("Ban hành quy tắc nhắc việc, phiên bản {policy.policy_version}[; lý do: {reason}]", "Escalation policy adopted, version {policy.policy_version}[; reason: {reason}]"),
    "CalendarAdopted": ("Áp dụng lịch làm việc", "Working calendar adopted"),
    "CalendarAmended": ("Sửa lịch làm việc[; lý do: {reason}]", "Working calendar amended[; reason: {reason}]"),
    "RegimeDefined": ("Quy định chế độ báo cáo {regime.code} “{regime.name_vi}”", "Reporting regime {regime.code} “{regime.name_vi}” defined"),
    "IndicatorDefined": ("Quy định chỉ tiêu {indicator.code} “{indicator.name_vi}”", "Indicator {indicator.code} “{indicator.name_vi}” defined"),
    "ProgrammeClosed": ("Kết thúc chương trình[; lý do: {reason}]", "Programme closed[; reason: {reason}]"),
    "DeadlineScheduled": ("Đặt hạn ({key.kind:deadline_kind}): {limit:limit}", "Limit set ({key.kind:deadline_kind}): {limit:limit}"),
    "DeadlineRescheduled": ("Dời hạn ({key.kind:deadline_kind}) đến {limit:limit}", "Limit moved ({key.kind:deadline_kind}) to {limit:limit}"),
    "DeadlineApproached": ("Đến bậc nhắc {rung} trước hạn ({key.kind:deadline_kind}) {limit:limit}", "Rung {rung} before the limit ({key.kind:deadline_kind}) {limit:limit} reached"),
    "DeadlinePassed": ("Quá hạn ({key.kind:deadline_kind}): {limit:limit}", "Limit passed ({key.kind:deadline_kind}): {limit:limit}"),
    "DeadlineMet": ("Đạt trước hạn ({key.kind:deadline_kind}) {limit:limit}, vào lúc {met_at:when}", "Limit kept ({key.kind:deadline_kind}) {limit:limit}, at {met_at:when}"),
    "DeadlineCancelled": ("Hết theo dõi hạn ({key.kind:deadline_kind}): {reason:deadline_end}", "Limit no longer applies ({key.kind:deadline_kind}): {reason:deadline_end}"),
    "PhasePlanned": ("Lập giai đoạn “{name_vi}”[ từ {start}][ đến {end}]", "Phase “{name_vi}” planned[ from {start}][ to {end}]"),
    "PhaseFollowed": ("Giai đoạn {by} nối tiếp", "Followed by phase {by}"),
    "PhaseOpened": ("Mở giai đoạn từ {starts_on}[; lý do: {reason}]", "Phase opened from {starts_on}[; reason: {reason}]"),
    "PhaseReviewStarted": ("Bắt đầu sơ kết giai đoạn[; ghi chú: {note:words}]", "Review of the phase begun[; note: {note:words}]"),
    "PhaseReviewSignedOff": ("Duyệt kết quả sơ kết giai đoạn[; tóm tắt: {summary:words}][; nguyên nhân: {lines:causes}]", "Review of the phase signed off[; summary: {summary:words}][; causes: {lines:causes}]"),
    "ProductRequired": ("Yêu cầu sản phẩm {obligation}", "Product {obligation} required"),
    "MandatoryProductDeclaredMissing": ("Ghi nhận thiếu sản phẩm bắt buộc {product.obligation}; lý do: {product.reason}", "Mandatory product {product.obligation} declared missing; reason: {product.reason}"),
    "CommendationListApproved": ("Duyệt danh sách khen thưởng: {entries:list}", "Commendation list approved: {entries:list}"),
    "AccountabilityListApproved": ("Duyệt danh sách xem xét trách nhiệm: {entries:list}", "Accountability list approved: {entries:list}"),
    "NilReturnDeclared": ("Xác nhận không có trường hợp nào ({list:phase_list})", "Nil return declared ({list:phase_list})"),
    "PhaseClosed": ("Kết thúc giai đoạn[; ghi chú: {note:words}]", "Phase closed[; note: {note:words}]"),
    "ClosedPhaseCorrected": ("Đính chính số liệu {figure} sau khi kết thúc: {was} thành {now}[; lý do: {reason}]", "Figure {figure} corrected after closing: {was} to {now}[; reason: {reason}]"),
    "YearReviewed": ("Tổng kết năm {year}[; tóm tắt: {summary:words}]", "Year {year} reviewed[; summary: {summary:words}]"),
    "TaskDrafted": ("Dự thảo nhiệm vụ “{content.work}”[; còn thiếu: {missing:list}]", "Task drafted: “{content.work}”[; missing: {missing:list}]"),
    "TaskAssigned": ("Giao nhiệm vụ “{content.work}” cho {content.lead_unit:unit}[, {content.person:post} phụ trách][, theo thẩm quyền {content.authority}][; hạn gốc: {original:limit}]", "Task “{content.work}” assigned to {content.lead_unit:unit}[, {content.person:post} in charge][, by authority {content.authority}][; first limit: {original:limit}]"),
    "AssignmentAcknowledged": ("Tiếp nhận nhiệm vụ", "Task acknowledged"),
    "WorkStarted": ("Bắt đầu thực hiện", "Work started"),
    "ProgressReported": ("Báo cáo tiến độ[ {percent} %][, tự đánh giá {judgement:judgement}][; khối lượng: {volume}][; vướng mắc: {difficulty:words}]", "Progress reported[: {percent} %][, own judgement {judgement:judgement}][; volume: {volume}][; difficulty: {difficulty:words}]"),
    "MilestoneReached": ("Đạt mốc {milestone}", "Milestone {milestone} reached"),
    "DifficultyRaised": ("Nêu vướng mắc ({field}): {what:words}[; đề xuất: {proposal:words}]", "Difficulty raised ({field}): {what:words}[; proposal: {proposal:words}]"),
    "SubtaskDelegated": ("Giao việc con {child}[, hạn {due:limit}]", "Subtask {child} delegated[, limit {due:limit}]"),
    "ResultSubmitted": ("Nộp kết quả lần {submission}, xét theo thời điểm {decides_at:when}[; ghi chú: {note:words}]", "Result submitted, no. {submission}, judged at {decides_at:when}[; note: {note:words}]"),
    "ResultReturned": ("Trả lại kết quả lần {submission}[; lý do: {reason:words}]", "Result no. {submission} returned[; reason: {reason:words}]"),
    "CompletionSignedOff": ("Xác nhận hoàn thành: {verdict.against_original:timeliness} theo hạn gốc, {verdict.against_current:timeliness} theo hạn hiện tại; người nộp {submitter:post}[; ghi chú: {note:words}]", "Completion signed off: {verdict.against_original:timeliness} by the first limit, {verdict.against_current:timeliness} by the present one; submitted by {submitter:post}[; note: {note:words}]"),
    "MatterReferredUp": ("Trình {addressee:post} quyết định: {matter:words}", "Referred to {addressee:post} for decision: {matter:words}"),
    "HigherDecisionRecorded": ("Quyết định của {addressee:post}: {decision:decision}[; nội dung: {note:words}]", "Decision of {addressee:post}: {decision:decision}[; {note:words}]"),
    "ExtensionRequested": ("Xin gia hạn đến {limit:limit}[; lý do: {reason:words}]", "Extension asked for until {limit:limit}[; reason: {reason:words}]"),
    "ExtensionApproved": ("Cho gia hạn từ {was:limit} đến {limit:limit}[, do {requested_by:post} xin][; ghi chú: {note:words}]", "Extension approved from {was:limit} to {limit:limit}[, asked for by {requested_by:post}][; note: {note:words}]"),
    "ExtensionRefused": ("Không cho gia hạn[; lý do: {reason:words}]", "Extension refused[; reason: {reason:words}]"),
    "AssignmentAmended": ("Sửa nội dung nhiệm vụ[: “{work}”][; lý do: {reason}]", "Task amended[: “{work}”][; reason: {reason}]"),
    "AssignmentReassigned": ("Chuyển nhiệm vụ từ {from_unit:unit} sang {to_unit:unit}[, {to_person:post} phụ trách][; lý do: {reason}]", "Task moved from {from_unit:unit} to {to_unit:unit}[, {to_person:post} in charge][; reason: {reason}]"),
    "AssignmentSuspended": ("Tạm dừng nhiệm vụ[; lý do: {reason}]", "Task suspended[; reason: {reason}]"),
    "AssignmentResumed": ("Tiếp tục nhiệm vụ[; lý do: {reason}]", "Task resumed[; reason: {reason}]"),
    "AssignmentCarriedOver": ("Chuyển nhiệm vụ sang giai đoạn {to_phase}[, từ {from_phase}][, hạn {limit:limit}][; lý do: {reason}]", "Task carried over to phase {to_phase}[ from {from_phase}][, limit {limit:limit}][; reason: {reason}]"),
    "AssignmentCancelled": ("Hủy nhiệm vụ[; lý do: {reason}]", "Task cancelled[; reason: {reason}]"),
    "AssignmentClosedUnfinished": ("Kết thúc khi chưa hoàn thành[; nguyên nhân: {cause_text:words}][; người đứng đầu: {responsibility.head:post}]", "Closed unfinished[; cause: {cause_text:words}][; head: {responsibility.head:post}]"),
    "AssignmentMarkedAtRisk": ("Đánh dấu có nguy cơ chậm ({rule:risk_rule})", "Marked at risk ({rule:risk_rule})"),
    "AssignmentRiskCleared": ("Hết nguy cơ chậm[; lý do: {reason}]", "No longer at risk[; reason: {reason}]"),
    "ObligationDeclared": ("Ghi nhận nghĩa vụ {duty.kind:obligation_kind} “{duty.title}”[ của {duty.unit:unit}][, {duty.post:post}][; hạn {limit:limit}][; lý do: {reason}]", "Duty declared: {duty.kind:obligation_kind} “{duty.title}”[ of {duty.unit:unit}][, {duty.post:post}][; limit {limit:limit}][; reason: {reason}]"),
    "DueConfigured": ("Đặt hạn nộp {limit:limit}[; lý do: {reason}]", "Limit set to {limit:limit}[; reason: {reason}]"),
    "ObligationOpened": ("Mở để nộp", "Opened for handing in"),
    "OwnerSet": ("Giao cho {unit:unit}[, {post:post}][; lý do: {reason}]", "Owned by {unit:unit}[, {post:post}][; reason: {reason}]"),
    "ObligationSubmitted": ("Nộp lần {submission}[, văn bản {document.number}], xét theo thời điểm {decides_at:when}[; nội dung: {note:words}]", "Handed in, no. {submission}[, document {document.number}], judged at {decides_at:when}[; {note:words}]"),
    "NothingToReportDeclared": ("Báo cáo không phát sinh, lần {submission}[; ghi chú: {note:words}]", "Nothing to report, no. {submission}[; note: {note:words}]"),
    "ObligationAccepted": ("Chấp nhận: {verdict.against_original:timeliness} theo hạn gốc; người nộp {submitter:post}[; ghi chú: {note:words}]", "Accepted: {verdict.against_original:timeliness} by the first limit; handed in by {submitter:post}[; note: {note:words}]"),
    "ObligationReturned": ("Trả lại lần {submission}[; lý do: {reason:words}]", "No. {submission} returned[; reason: {reason:words}]"),
    "ObligationConsolidated": ("Tổng hợp vào {consolidated_in}", "Consolidated in {consolidated_in}"),
    "ObligationForwarded": ("Chuyển {addressee:post}", "Forwarded to {addressee:post}"),
    "ObligationCorrected": ("Đính chính lần {correction}[, văn bản {document.number}][; lý do: {reason}]", "Corrected, no. {correction}[, document {document.number}][; reason: {reason}]"),
    "ObligationWaived": ("Miễn nộp[; lý do: {reason}]", "Waived[; reason: {reason}]"),
    "WarningRaised": ("Phát {kind:warning_kind}, cấp {level}, {act:warning_act}: gửi {recipients:posts}; hạn {limit:limit}", "Warning raised ({kind:warning_kind}, level {level}, {act:warning_act}): to {recipients:posts}; limit {limit:limit}"),
    "WarningDelivered": ("Cảnh báo cấp {level} đã gửi: {notices:notices}", "Warning of level {level} delivered: {notices:notices}"),
    "WarningAcknowledged": ("Người nhận đã xem cảnh báo cấp {level}", "Warning of level {level} acknowledged"),
    "ResponseRecorded": ("Đã xử lý cảnh báo: {response:response}[; nội dung: {note:words}]", "Warning answered: {response:response}[; {note:words}]"),
    "WarningResolved": ("Khép cảnh báo[; ghi chú: {note:words}]", "Warning resolved[; note: {note:words}]"),
    "WarningEscalated": ("Nâng cảnh báo lên cấp {level}, {act:warning_act}: gửi {recipients:posts}", "Warning escalated to level {level} ({act:warning_act}): to {recipients:posts}"),
    "WarningDismissed": ("Bác bỏ cảnh báo[; lý do: {reason:words}]", "Warning dismissed[; reason: {reason:words}]"),
    "WarningSuperseded": ("Cảnh báo hết hiệu lực: {reason:superseded}", "Warning superseded: {reason:superseded}"),
    "AccessRecorded": ("Đọc lịch sử ({act:access_act}): {about}[; người đọc {reader:post}][; lý do: {reason:words}]", "Audit history read ({act:access_act}): {about}[; reader {reader:post}][; reason: {reason:words}]"),
}  # fmt: skip
"""Event name to its sentence in Vietnamese and in English."""

_MORE: dict[str, dict[Any, tuple[str, str]]] = {
    "deadline_kind": {
        "assignment_due": ("hạn nhiệm vụ", "task due"),
        "assignment_milestone": ("mốc của nhiệm vụ", "milestone of a task"),
        "progress_update_due": ("hạn cập nhật tiến độ", "progress update due"),
        "obligation_due": ("hạn nộp", "duty due"),
        "obligation_opening": ("ngày mở nộp", "opening for handing in"),
        "report_period": ("kỳ báo cáo", "reporting period"),
        "phase_start": ("ngày bắt đầu giai đoạn", "start of the phase"),
        "phase_end": ("ngày kết thúc giai đoạn", "end of the phase"),
        "phase_review_due": ("hạn sơ kết giai đoạn", "review of the phase due"),
        "phase_handover": ("hạn chuyển giai đoạn", "handover of the phase"),
        "work_start_due": ("hạn bắt đầu việc", "start of work due"),
        "warning_response_due": ("hạn xử lý cảnh báo", "answer to the warning due"),
    },
    "deadline_end": {
        "completed": ("đã hoàn thành", "completed"),
        "late_completion": ("hoàn thành sau hạn", "completed late"),
        "closed": ("đã kết thúc", "closed"),
        "cancelled": ("đã hủy", "cancelled"),
        "waived": ("được miễn", "waived"),
        "suspended": ("tạm dừng", "suspended"),
        "superseded": ("có hạn hoặc cảnh báo khác thay thế", "superseded"),
        "resolved": ("đã xử lý", "resolved"),
    },
    "warning_kind": {
        "early": ("cảnh báo sớm", "early"),
        "overdue": ("cảnh báo quá hạn", "overdue"),
        "missed_report": ("cảnh báo thiếu báo cáo", "missed report"),
        "missed_milestone": ("cảnh báo lỡ mốc", "missed milestone"),
        "stale": ("cảnh báo không cập nhật", "stale"),
        "unanswered": ("cảnh báo chưa xử lý", "unanswered"),
    },
    "response": {
        "directive": ("văn bản chỉ đạo", "directive"),
        "adjustment": ("điều chỉnh", "adjustment"),
        "completion": ("nhiệm vụ đã hoàn thành", "completion"),
    },
    "superseded": {
        "limit_moved": ("hạn đã dời", "the limit moved"),
        "limit_cancelled": ("hạn không còn áp dụng", "the limit no longer applies"),
        "met_in_time": ("thực ra đã đạt đúng hạn", "met in time after all"),
        "stronger_warning": ("có cảnh báo cao hơn", "a stronger warning stands"),
    },
    "decision": {
        "approved": ("đồng ý", "approved"),
        "refused": ("không đồng ý", "refused"),
        "redirected": ("chuyển nơi khác xử lý", "redirected"),
    },
    "judgement": {
        "on_track": ("đúng tiến độ", "on track"),
        "difficult": ("có khó khăn", "difficult"),
        "blocked": ("bị vướng", "blocked"),
    },
    "risk_rule": {
        "time_left": ("thời gian còn lại ít", "little time left"),
        "missed_milestone": ("lỡ mốc", "missed milestone"),
        "no_update": ("không cập nhật", "no update"),
        "open_difficulty": ("vướng mắc chưa gỡ", "open difficulty"),
    },
    "phase_list": {
        "commendation": ("khen thưởng", "commendation"),
        "accountability": ("xem xét trách nhiệm", "accountability"),
    },
    "yes_no": {True: ("có", "yes"), False: ("không", "no")},
    "view": {
        "department_scorecard": ("Theo đơn vị", "By unit"),
        "phase_scorecard": ("Theo giai đoạn", "By phase"),
    },
    "axis": {
        "recorded": ("điều đã biết lúc đó", "what was known then"),
        "occurred": ("điều đã xảy ra lúc đó, theo mọi điều nay biết", "what was true then, with all that is known now"),
    },
    "finding": {
        "missed": ("THIẾU", "missed"),
        "late": ("MUỘN", "late"),
        "twice": ("HAI LẦN", "twice"),
        "different": ("KHÁC", "different"),
        "uncalled": ("KHÔNG AI YÊU CẦU", "uncalled"),
        "unreceipted": ("KHÔNG CÓ BIÊN NHẬN", "unreceipted"),
    },
    "access_act": {
        "history": ("diễn biến", "history"),
        "causes": ("nguyên nhân", "causes"),
        "effects": ("hệ quả", "effects"),
        "late": ("nhập muộn", "late entries"),
        "reconcile": ("đối soát", "reconciliation"),
        "replay": ("xem lại thời điểm", "replay"),
        "diff": ("so sánh hai thời điểm", "difference"),
        "export": ("xuất hồ sơ", "export"),
        "access": ("nhật ký đọc", "record of readings"),
    },
}


def labels(language: int) -> Labels:
    """Group to key to label: 0 Vietnamese, 1 English (where an English key is its own label)."""
    own = {group: {key: pair[language] for key, pair in keys.items()} for group, keys in _MORE.items()}
    return {**(LABELS if language == 0 else {}), **own}


PHRASES: dict[str, tuple[str, str]] = {
    "erased": ("(nội dung đã xóa, dấu băm {digest})", "(words erased, digest {digest})"),
    "words_changed": (
        "(nội dung đã bị sửa: không khớp dấu băm {digest} trong nhật ký)",
        "(the words were changed: they do not fit digest {digest} in the log)",
    ),
    "kept": ("“{words}” (dấu băm {digest})", "“{words}” (digest {digest})"),
    "late": ("nhập muộn {lag}", "entered {lag} later"),
    "days": ("{n} ngày", "{n} days"),
    "hours": ("{n} giờ", "{n} hours"),
    "minutes": ("{n} phút", "{n} minutes"),
    "before": ("trước {when}", "before {when}"),
    "by_end_of": ("hết {when}", "by the end of {when}"),
    "within": ("trong {when}", "within {when}"),
    "system": ("hệ thống Sauro ({sender})", "Sauro itself ({sender})"),
    "on_behalf": ("thay mặt {post}", "on behalf of {post}"),
    "authority": ("theo thẩm quyền {authority}", "by authority {authority}"),
    "occurred": ("xảy ra", "occurred"),
    "recorded": ("ghi nhận", "recorded"),
    "command": ("lệnh", "command"),
    "receipt": ("biên nhận", "receipt"),
    "leads_to": ("dẫn đến", "leads to"),
    "unknown_event": ("Sự kiện {name}", "Event {name}"),
    "in_stream": ("trong", "in"),
    "link_asked": ("sự kiện được hỏi", "the event"),
    "link_cause": ("vì", "because of"),
    "link_limit": ("theo hạn đã đặt tại", "resting on the limit set by"),
    "link_command": ("cùng lệnh", "of the same command"),
    "outside": ("nguyên nhân nằm ngoài nhật ký này: {id}", "the cause lies outside this log: {id}"),
    "entered_late": ("nhập muộn", "entered late"),
    "back_dated_across_limit": ("ghi lùi qua hạn", "dated back across a limit"),
    "limit_moved_after_passing": ("dời hạn sau khi đã quá hạn", "limit moved after it had passed"),
    "verdicts": (
        "{kind} {limit}: {by_occurred} theo lúc xảy ra, {by_recorded} theo lúc ghi nhận; tính theo lúc {counted}",
        "{kind} {limit}: {by_occurred} by when it occurred, {by_recorded} by when it was recorded; {counted} counts",
    ),
    "task_work": ("Việc", "Work"),
    "task_unit": ("Đơn vị", "Unit"),
    "task_person": ("Người chịu trách nhiệm", "Person in charge"),
    "task_authority": ("Thẩm quyền", "Authority"),
    "task_status": ("Trạng thái", "Status"),
    "task_health": ("Tình hình", "Health"),
    "task_original_due": ("Hạn gốc", "First limit"),
    "task_due": ("Hạn hiện hành", "Present limit"),
    "task_percent": ("Tiến độ (%)", "Progress (%)"),
    "task_was_overdue": ("Từng quá hạn", "Was overdue"),
    "task_extensions": ("Số lần gia hạn", "Extensions"),
    "task_version": ("Phiên bản", "Version"),
    "cut": ("… còn tiếp: chuỗi dài hơn {n} bậc", "… there is more: the chain goes on for more than {n} links"),
    "as_of": ("Tại {at}: {axis} (vị trí {position})", "As of {at}: {axis} (position {position})"),
    "all_zero": ("không có số liệu nào khác 0", "all figures are 0"),
    "no_rows": ("không có số liệu", "no figures"),
    "changes": ("Thay đổi từ {start} đến {end}: {axis}", "Changes from {start} to {end}: {axis}"),
    "nothing": ("không có gì", "nothing"),
    "moved": ("Đã báo cáo tại {at}, nay biết khác", "Reported at {at}, known otherwise now"),
    "moved_values": ("đã báo cáo {was}, nay biết {now}", "reported {was}, now known {now}"),
    "more_events": ("và {n} sự kiện khác (--json có đủ)", "and {n} more events (--json has all)"),
    "events": ("Sự kiện", "Events"),
    "reconciled": ("đối soát đến {at}", "reconciled up to {at}"),
    "on_record": ("có ghi", "on record"),
    "not_due": ("không phải có", "not due"),
    "due": ("đến hạn {at}", "due {at}"),
    "UNEXPLAINED": ("KHÔNG GIẢI THÍCH ĐƯỢC", "UNEXPLAINED"),
    "service_down": ("{service} im lặng từ {since} đến {until}", "{service} was silent from {since} to {until}"),
    "installation_down": (
        "không có gì được ghi từ {since} đến {until}",
        "nothing was recorded from {since} to {until}",
    ),
    "the_beginning": ("lúc đầu", "the beginning"),
    "findings": ("{n} phát hiện, {unexplained} không giải thích được", "{n} findings, {unexplained} unexplained"),
    "unknown_reader": ("không nêu tên", "unnamed"),
}
"""What stands around the sentences."""


def phrase(name: str, language: int, /, **values: object) -> str:
    """A phrase in a language (0 Vietnamese, 1 English) with its values."""
    return PHRASES[name][language].format(**values)


_FOUND: tuple[tuple[str, str], ...] = (
    (r"DeadlinePassed of (?P<deadline_kind>\w+) (.*) v(\d+)", "quá hạn ({deadline_kind}) {1}, bản {2}"),
    (
        r"DeadlineApproached rung (\S+) of (?P<deadline_kind>\w+) (.*) v(\d+)",
        "bậc nhắc {0} ({deadline_kind}) {2}, bản {3}",
    ),
    (r"(\w+) for (\w+) at position (\d+)", "{0} vì {1} #{2}"),
    (r"the limit was moved before", "hạn đã dời trước đó"),
    (r"the limit was met before", "đã đạt trước hạn"),
    (r"the subject ended before \((?P<deadline_end>\w+)\)", "đã hết theo dõi trước đó ({deadline_end})"),
    (r"not due yet", "chưa đến hạn"),
    (r"policy changed after the limit was set", "quy tắc đổi sau khi đặt hạn"),
    (r"still under way at the end", "còn đang xử lý ở cuối nhật ký"),
    (r"refused: (.*)", "bị từ chối: {0}"),
    (r"(\w+) (?:called|would call) for nothing", "{0} không dẫn đến điều gì"),
    (r"no such limit was set", "không có hạn nào như vậy"),
    (r"the limit has no such rung", "hạn không có bậc nhắc này"),
    (r"the same rung stands at position (\d+)", "bậc nhắc này đã có ở #{0}"),
    (r"it was due only at (.*)", "đến {0} mới tới hạn"),
    (r"no event calls for command (.*) of the warning service", "không sự kiện nào đòi lệnh {0} của dịch vụ cảnh báo"),
    (
        r"no receipt covers this event: no command led to it",
        "không biên nhận nào ứng với sự kiện này: không lệnh nào dẫn đến",
    ),
    (
        r"another command was sent under this id than the event calls for",
        "lệnh mang mã này khác lệnh mà sự kiện đòi hỏi",
    ),
    (r"decided again: (.*); on record: (.*)", "quyết định lại: {0}; trong nhật ký: {1}"),
    (r"by policy (\S+) the rungs before this limit are: (.*)", "theo quy tắc {0}, các bậc nhắc trước hạn này là: {1}"),
    (
        r"(\w+) was silent, but nothing else .*",
        "{0} im lặng, nhưng không việc nào khác đến hạn lúc đó: chưa đủ để nói là bị dừng",
    ),
)
"""What a reconciliation says, and how it says it in Vietnamese; groups are numbered from 0, named ones are labels."""


def found_text(text: str, language: int) -> str:
    """What a reconciliation says, in a language; what has no translation stays as it is."""
    if language == 1:
        return text
    words = labels(0)
    for pattern, told in _FOUND:
        if (found := re.fullmatch(pattern, text)) is not None:
            named = {group: words[group].get(key, key) for group, key in found.groupdict().items()}
            return told.format(*found.groups(), **named)
    return text
