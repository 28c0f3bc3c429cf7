"""What the demo agent makes of text: the same of the same, and true to it."""

import pytest

from jackfield_demo_agent.text import Line, reply, split_pieces, split_sentences, summarise

STORY = (
    "The town was quiet. Ships lay in the harbour, and the ships slept. "
    "A cat sat on a wall. In the morning the ships left the harbour! Was anybody sad?"
)
ROOM = [
    Line("Ada", "The deploy is at noon. Bring coffee."),
    Line("Ben", "Lunch is at one."),
    Line("Cy", "I moved the deploy to Friday. The coffee stays."),
]


def test_a_summary_has_the_sentences_of_the_most_frequent_words_in_their_order() -> None:
    assert summarise(STORY, 2) == (
        "Ships lay in the harbour, and the ships slept. In the morning the ships left the harbour!"
    )


def test_a_summary_is_never_longer_than_the_text() -> None:
    assert summarise(STORY, 20) == STORY


@pytest.mark.parametrize("text", ["word", "no end", "of the and", "1.5 is a number.", "…", "?!"])
def test_a_text_of_one_sentence_is_its_own_summary(text: str) -> None:
    assert summarise(text, 2) == text


def test_a_blank_text_has_no_summary() -> None:
    assert summarise(" \n ", 2) == ""


def test_a_line_ends_a_sentence() -> None:
    assert split_sentences("one\ntwo. three") == ["one", "two.", "three"]


@pytest.mark.parametrize("text", ["", "a", " a  b ", "two\nlines here", "\n\tx", "no-break here"])
def test_the_pieces_of_a_text_are_the_text(text: str) -> None:
    assert "".join(split_pieces(text)) == text


def test_a_piece_is_one_word() -> None:
    assert split_pieces("say it word by word") == ["say ", "it ", "word ", "by ", "word"]


def test_an_answer_is_the_sentence_that_has_most_of_the_question() -> None:
    assert reply("@demo lunch?", ROOM) == "Ben said: “Lunch is at one.”"
    assert reply("Is the deploy at noon?", ROOM) == "Ada said: “The deploy is at noon.”"


def test_of_several_sentences_the_latest_answers() -> None:
    assert reply("When is the deploy?", ROOM) == "Cy said: “I moved the deploy to Friday.”"


def test_the_question_is_no_answer_to_itself() -> None:
    question = "Any news of the printer?"
    said = [*ROOM, Line("Dot", question)]
    assert reply(question, said) == "Nobody here has said anything about news and printer."


def test_a_room_is_summed_up_for_whoever_asks() -> None:
    assert reply("a summary, please", ROOM) == (
        "In short, of Ada, Ben and Cy: The deploy is at noon. Bring coffee."
    )
    assert reply("tl;dr", []) == "Nobody has said anything here."


def test_who_asks_nothing_is_greeted() -> None:
    assert reply("and you?", ROOM, "Ada").startswith("Hello Ada. ")
    assert reply("…", ROOM).startswith("Hello. ")
