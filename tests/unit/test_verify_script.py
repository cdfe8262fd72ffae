"""The script of a proof, and the language its messages are written in."""

from __future__ import annotations

import pytest

from cli.verify import directives
from cli.verify.script import Features, Script

NOTHING = Features(on_busy=False, keys=False, cancel=False, retry=False, faults=False)


def test_the_same_seed_makes_the_same_script() -> None:
    assert Script.of(7, 100) == Script.of(7, 100)
    assert Script.of(7, 100).hash == Script.of(7, 100).hash


def test_another_seed_makes_another_script() -> None:
    assert Script.of(7, 100).hash != Script.of(8, 100).hash


@pytest.mark.parametrize("turns", [1, 13, 400])
def test_it_says_exactly_as_many_messages_as_asked(turns: int) -> None:
    assert Script.of(1, turns).turns == turns


def test_no_text_and_no_task_comes_twice() -> None:
    says = Script.of(3, 400).says
    titles = [title for say in says for title in directives.task_titles(say.text)]
    assert len({say.text for say in says}) == len(says)
    assert len(set(titles)) == len(titles) > 50


def test_a_long_script_has_everything_that_clients_can_do() -> None:
    script = Script.of(5, 400)
    says, steps = script.says, [step for talk in script.talks for step in talk.steps]
    assert {say.on_busy for say in says} == {"enqueue", "reject", "interrupt", "rollback", "steer"}
    assert any(say.doubled for say in says)
    assert any(say.cancel_twice for say in says)
    assert any(step.retry for step in steps)
    assert any(step.together for step in steps)
    assert {each.kind for talk in script.talks for each in talk.listeners} == {"stream", "poll"}
    kinds = {fault.kind for say in says for fault in directives.faults(say.text)}
    assert kinds == set(directives.FAULTS)
    assert len(script.owners) > 2


def test_what_may_not_be_used_is_not_in_it() -> None:
    script = Script.of(5, 400, NOTHING)
    assert {say.on_busy for say in script.says} == {"enqueue"}
    assert not any(say.doubled or say.cancel_after is not None for say in script.says)
    assert not any(step.retry for talk in script.talks for step in talk.steps)
    assert not any(directives.faults(say.text) for say in script.says)
    assert script.turns == 400


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("say one  two\nthree", "one  two\nthree"),
        ("slow 20 one two", "one two"),
        ("flaky 429 2 slow 20 one two", "one two"),
        ('call create_task {"title": "a"}\nthen say done it', "done it"),
        ('again create_task {"title": "a"}\nthen flaky cut 1 slow 5 done', "done"),
        ('flaky 500 1 call create_task {"title": "a"}\nthen say done', "done"),
        ('call create_task {"title": "a"}', None),
        ("status 500", None),
    ],
)
def test_the_whole_answer_follows_from_the_message(text: str, answer: str | None) -> None:
    assert directives.final_text(text) == answer


def test_the_part_that_is_due_follows_from_the_results() -> None:
    text = 'flaky 500 1 again f {"a": 1} again f {"a": 2}\nthen flaky cut 1 say done'
    assert directives.due(text, 0) == text
    assert directives.due(text, 1) == text
    assert directives.due(text, 2) == "flaky cut 1 say done"


def test_every_fault_in_the_way_is_known() -> None:
    text = 'flaky 500 1 call f {"a": 1}\nthen flaky cut 2 say done'
    assert [(fault.kind, fault.tries) for fault in directives.faults(text)] == [
        ("500", 1),
        ("cut", 2),
    ]
    assert directives.faultless(text) == 'call f {"a": 1}\nthen say done'


def test_text_before_a_tool_call_is_expected_too() -> None:
    text = 'again f {"a": 1} again f {"a": 2}\nthen say done'
    assert directives.possible_texts(text) == ["Step 1. ", "Step 2. ", "done"]
