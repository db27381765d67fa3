"""Tracking events as an LMS writes them to its log: one builder per kind of event.

The names are those of event-routing-backends' white lists (a test compares them). An event is a dictionary in the
log's own form: ``event`` is an object where the server emitted it and a JSON string where a browser or an app did.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from tutor_transform_logs.demo.scene import ROOT, LoggedEvent, Scene, context_of, from_browser, from_server, log_entry

_VIDEO: dict[str, LoggedEvent] = {
    # name: what the player adds to the video's id, code and duration
    "load_video": {},
    "play_video": {"currentTime": 4.25},
    "pause_video": {"currentTime": 61.008},
    "stop_video": {"currentTime": 194.9},
    "complete_video": {"currentTime": 195},
    "seek_video": {"new_time": 10, "old_time": 94.381, "type": "onSlideSeek"},
    "hide_transcript": {"current_time": 12.5},
    "show_transcript": {"current_time": 13.5},
    "speed_change_video": {"current_time": 3.09, "old_speed": "1.0", "new_speed": "1.25"},
    "video_hide_cc_menu": {"current_time": 21.1},
    "video_show_cc_menu": {"current_time": 22.2},
    "edx.video.closed_captions.shown": {"current_time": 19.1},
    "edx.video.closed_captions.hidden": {"current_time": 20.1},
    "edx.video.language_menu.shown": {"current_time": 30.1},
    "edx.video.language_menu.hidden": {"current_time": 31.1},
}
_MOBILE_VIDEO = {
    # name: the browser's name for it, which the LMS leaves in event_type
    "edx.video.loaded": "load_video",
    "edx.video.played": "play_video",
    "edx.video.paused": "pause_video",
    "edx.video.stopped": "stop_video",
    "edx.video.completed": "complete_video",
    "edx.video.position.changed": "seek_video",
    "edx.video.transcript.shown": "show_transcript",
    "edx.video.transcript.hidden": "hide_transcript",
}
_ENROLLMENT: dict[str, LoggedEvent] = {
    "edx.course.enrollment.activated": {"mode": "audit"},
    "edx.course.enrollment.deactivated": {"mode": "audit"},
    "edx.course.enrollment.mode_changed": {"mode": "verified"},
    "edx.course.grade.passed.first_time": {},
    "edx.course.grade.now_passed": {},
    "edx.course.grade.now_failed": {},
}
_FORUM = {
    "thread": ("created", "deleted", "edited", "viewed", "reported", "unreported", "voted"),
    "response": ("created", "deleted", "edited", "reported", "unreported", "voted"),
    "comment": ("created", "deleted", "edited", "reported", "unreported"),
}
_FORUM_TEXT = "Why does 数据 need an index? لا أفهم 🤔"


def _video(name: str, scene: Scene) -> LoggedEvent:
    data = {"id": scene.hex_id(5), "code": "b7xgknqkQk8", "duration": 195.5} | _VIDEO[name]
    return from_browser(name, scene, data)


def _mobile_video(name: str, scene: Scene) -> LoggedEvent:
    legacy = _MOBILE_VIDEO[name]
    data = {"id": scene.hex_id(5), "code": "mobile", "duration": 195.5} | _VIDEO[legacy]
    context = context_of(
        scene,
        "/segmentio/event",
        application={"name": "edx.mobileapp.android", "version": "5.0.1"},
        component="videoplayer",
    )
    return log_entry(name, scene, context, json.dumps(data), "mobile", f"{ROOT}/courses/{scene.course}", legacy)


def _enrollment(name: str, scene: Scene) -> LoggedEvent:
    data = {"user_id": scene.user_id, "course_id": scene.course} | _ENROLLMENT[name]
    return from_server(name, scene, data, "/change_enrollment")


def _grade(name: str, scene: Scene) -> LoggedEvent:
    data = {"user_id": scene.user_id, "course_id": scene.course}
    if name == "edx.grades.course.grade_calculated":
        data |= {"percent_grade": 0.86, "letter_grade": "B", "grading_policy_hash": "wUbvSrGqSvzSg7M="}
    else:
        data |= {
            "block_id": scene.block("sequential"),
            "weighted_total_earned": 2.0,
            "weighted_total_possible": 3.0,
        }
        data |= {"weighted_graded_earned": 2.0, "weighted_graded_possible": 3.0}
    return from_server(name, scene, data, f"/courses/{scene.course}/progress")


def _exam(name: str, scene: Scene) -> LoggedEvent:
    kind, done = name.split(".")[2], name.endswith("submitted")
    data = {
        "exam_id": 1 + scene.number % 50,
        "exam_content_id": scene.block("sequential"),
        "exam_name": "Final exam: Übung",
        "exam_default_time_limit_mins": 60,
        "exam_is_proctored": kind == "proctored",
        "exam_is_practice_exam": kind == "practice",
        "exam_is_active": True,
        "attempt_id": 1 + scene.number,
        "attempt_user_id": scene.user_id,
        "attempt_started_at": scene.time if done else None,
        "attempt_completed_at": scene.time if done else None,
        "attempt_code": scene.hex_id(9),
        "attempt_allowed_time_limit_mins": 60,
        "attempt_status": "submitted" if done else "created",
        "attempt_event_elapsed_time_secs": 1368.7657 if done else None,
    }
    return from_server(name, scene, data, "/api/edx_proctoring/v1/proctored_exam/attempt")


def _completion(name: str, scene: Scene) -> LoggedEvent:
    data = {
        "user_id": scene.user_id,
        "course_id": scene.course,
        "context_key": scene.course,
        "block_id": scene.block("problem"),
        "block_type": "problem",
        "completion": 1.0 if scene.number % 3 else 0.5,
        "is_new": True,
    }
    return from_server(name, scene, data, f"/courses/{scene.course}/xblock/handler")


def _forum(name: str, scene: Scene) -> LoggedEvent:
    kind, action = name.split(".")[2:]
    post = f"{scene.number:024x}"
    data: LoggedEvent = {
        "commentable_id": "course",
        "id": post,
        "body": f"<p>{_FORUM_TEXT}</p>",
        "truncated": False,
    }
    if kind == "thread":
        data |= {"title": _FORUM_TEXT, "thread_type": "discussion", "group_id": None}
        path = f"/api/discussion/v1/threads/{'' if action == 'created' else post + '/'}"
    else:
        data |= {"discussion": {"id": f"{scene.number + 1:024x}"}}
        path = f"/api/discussion/v1/comments/{'' if action == 'created' else post + '/'}"
    if action == "voted":
        data |= {"vote_value": "up", "undo_vote": False, "target_username": scene.username}
    data |= {"url": f"{ROOT}/discussions", "user_forums_roles": ["Student"], "user_course_roles": []}
    return from_server(name, scene, data, path)


def _link(name: str, scene: Scene) -> LoggedEvent:
    data = {
        "current_url": f"{ROOT}/courses/{scene.course}/course/",
        "target_url": f"{ROOT}/courses/{scene.course}/jump_to/{scene.block('sequential')}",
    }
    return from_browser(name, scene, data)


def _outline(name: str, scene: Scene) -> LoggedEvent:
    data = {
        "id": scene.block("sequential"),
        "current_url": f"{ROOT}/courses/{scene.course}/course/",
        "target_url": f"{ROOT}/courses/{scene.course}/jump_to/{scene.block('sequential')}",
        "target_name": "Lesson 3 - الدرس",
        "widget_placement": "accordion",
    }
    return from_browser(name, scene, data)


def _sequence(name: str, scene: Scene) -> LoggedEvent:
    data = {"id": scene.block("sequential"), "current_tab": 4, "tab_count": 10, "widget_placement": "top"}
    if name.endswith("tab_selected"):
        data["target_tab"] = 8
    return from_browser(name, scene, data)


def _module_context(scene: Scene) -> LoggedEvent:
    return {"module": {"display_name": "Checkboxes ☑", "usage_key": scene.block("problem")}, "asides": {}}


def _problem_path(scene: Scene, handler: str) -> str:
    return f"/courses/{scene.course}/xblock/{scene.block('problem')}/handler/xmodule_handler/{handler}"


def _show_answer(name: str, scene: Scene) -> LoggedEvent:
    data = {"problem_id": scene.block("problem")}
    return from_server(name, scene, data, _problem_path(scene, "problem_show"), **_module_context(scene))


def _hint(name: str, scene: Scene) -> LoggedEvent:
    data = {"hint_index": 0, "hint_len": 2, "hint_text": "Look 这里", "module_id": scene.block("problem")}
    return from_server(name, scene, data, _problem_path(scene, "hint_button"), **_module_context(scene))


_QUESTIONS = (
    ("What colour is the sea?", "blue", "optionresponse", "optioninput"),
    ("Which are musical instruments?", ["a piano", "一把吉他"], "choiceresponse", "checkboxgroup"),
    ("How many are there?", "3.5", "numericalresponse", "formulaequationinput"),
)


def _problem_check(name: str, scene: Scene, questions: int = 1) -> LoggedEvent:
    problem = scene.hex_id(7)
    submission, answers, correct_map = {}, {}, {}
    for index, (question, answer, response_type, input_type) in enumerate(_QUESTIONS[:questions]):
        key = f"{problem}_{index + 2}_1"
        answers[key] = answer
        correct_map[key] = {
            "correctness": "correct",
            "npoints": None,
            "msg": "",
            "hint": "",
            "queuestate": None,
        }
        submission[key] = {
            "question": question,
            "answer": answer,
            "response_type": response_type,
            "input_type": input_type,
            "correct": True,
            "variant": "",
            "group_label": "",
        }
    data = {
        "state": {
            "seed": 1,
            "student_answers": {},
            "has_saved_answers": False,
            "correct_map": {},
            "done": None,
        },
        "problem_id": scene.block("problem"),
        "answers": answers,
        "grade": questions,
        "max_grade": questions,
        "correct_map": correct_map,
        "success": "correct",
        "attempts": 1 + scene.number % 5,
        "submission": submission,
    }
    event = from_server(name, scene, data, _problem_path(scene, "problem_check"), **_module_context(scene))
    return event | {"page": "x_module"}


def problem_check_many(name: str, scene: Scene) -> LoggedEvent:
    """A problem with three questions: ERB makes four xAPI statements of it."""
    return _problem_check(name, scene, len(_QUESTIONS))


def problem_check_browser(name: str, scene: Scene) -> LoggedEvent:
    """The browser's half of a submission: ``event`` is a form, not JSON.

    ERB's Caliper transformer looks for the referer in the context, where a log has none: it raises ValueError.
    """
    return from_browser(
        name, scene, f"input_{scene.hex_id(7)}_2_1%5B%5D=choice_0&input_{scene.hex_id(7)}_2_1%5B%5D=choice_2"
    )


def problem_check_browser_with_referer(name: str, scene: Scene) -> LoggedEvent:
    """The same with the referer left in the context, as some sites' processors do: Caliper has a transformer for it."""
    event = problem_check_browser(name, scene)
    return event | {"context": event["context"] | {"referer": event["referer"], "event_source": "browser"}}


Builder = Callable[[str, Scene], LoggedEvent]

BUILDERS: dict[str, Builder] = (
    dict.fromkeys(_VIDEO, _video)
    | dict.fromkeys(_MOBILE_VIDEO, _mobile_video)
    | dict.fromkeys(_ENROLLMENT, _enrollment)
    | dict.fromkeys(("edx.grades.subsection.grade_calculated", "edx.grades.course.grade_calculated"), _grade)
    | {
        f"edx.special_exam.{kind}.attempt.{action}": _exam
        for kind in ("timed", "practice", "proctored")
        for action in ("created", "submitted")
    }
    | {f"edx.forum.{kind}.{action}": _forum for kind, actions in _FORUM.items() for action in actions}
    | {
        "edx.completion.block_completion.changed": _completion,
        "edx.ui.lms.link_clicked": _link,
        "edx.ui.lms.outline.selected": _outline,
        "edx.ui.lms.sequence.outline.selected": _outline,
        "edx.ui.lms.sequence.next_selected": _sequence,
        "edx.ui.lms.sequence.previous_selected": _sequence,
        "edx.ui.lms.sequence.tab_selected": _sequence,
        "showanswer": _show_answer,
        "edx.problem.hint.demandhint_displayed": _hint,
        "problem_check": _problem_check,
    }
)
"""Every event name of ERB's white lists, with the function that builds such an event."""

# In ERB's xAPI white list, but ERB 9.3 has no transformer for them: it logs an error and makes nothing.
WITHOUT_XAPI_TRANSFORMER = frozenset({"edx.video.language_menu.shown", "edx.video.language_menu.hidden"})
WITHOUT_CALIPER_TRANSFORMER = frozenset({"edx.course.grade.now_passed", "edx.course.grade.now_failed"})
CALIPER_NAMES = frozenset(
    {
        "edx.course.enrollment.activated",
        "edx.course.enrollment.deactivated",
        "edx.course.grade.passed.first_time",
        "edx.course.grade.now_passed",
        "edx.course.grade.now_failed",
        "edx.ui.lms.link_clicked",
        "edx.ui.lms.outline.selected",
        "edx.ui.lms.sequence.outline.selected",
        "edx.ui.lms.sequence.next_selected",
        "edx.ui.lms.sequence.previous_selected",
        "edx.ui.lms.sequence.tab_selected",
        "showanswer",
        "edx.problem.hint.demandhint_displayed",
        "problem_check",
        *("load_video", "play_video", "complete_video", "stop_video", "pause_video", "seek_video"),
        *(f"edx.video.{what}" for what in ("loaded", "played", "completed", "stopped", "paused", "position.changed")),
    }
)


def build(name: str, scene: Scene) -> LoggedEvent:
    """The event of this name in this scene. :raises KeyError: the name is in none of ERB's white lists."""
    return BUILDERS[name](name, scene)


def page_view(path: str, scene: Scene) -> LoggedEvent:
    """A request that the LMS logged: about half of a real log, and nothing that ERB knows."""
    context = context_of(scene, path)
    return log_entry(path, scene, context, json.dumps({"GET": {}, "POST": {}}), "server", None)


def to_json(event: LoggedEvent, *, ascii_only: bool = True) -> str:
    """The event as the LMS dumps it; ``ascii_only=False`` as log forwarders rewrite it."""
    return json.dumps(event, ensure_ascii=ascii_only)


def with_prefix(text: str, scene: Scene, milliseconds: int = 0) -> str:
    """``text`` behind the prefix that an LMS's logging puts before each event."""
    stamp = scene.time[:19].replace("T", " ")
    return f"{stamp},{milliseconds:03d} INFO 16 [tracking] [user {scene.user_id}] [ip {scene.ip}] logger.py:41 - {text}"
