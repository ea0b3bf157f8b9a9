"""Tables for people at the width of a terminal."""

from cl_bench.cli.output import emit


def printed(rows, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    emit(rows, "table", "a title")
    return capsys.readouterr().out


def test_no_word_is_broken_and_no_number_cut_where_a_table_is_wider_than_the_terminal(
    capsys, monkeypatch
):
    row = {"strategy": "ewc (strength=10)", "seeds": 5}
    row |= {f"task {n}": 0.123456 for n in range(9)}
    row |= {"average accuracy": "0.9462 [0.9458, 0.9466]", "forgetting": "-0.0012 [-0.5, 0.5]"}
    text = printed([row, {**row, "strategy": "naive"}], 80, capsys, monkeypatch)
    assert max(map(len, text.splitlines())) <= 80
    words = text.split()
    assert words.count("0.1235") == 18
    assert all(word in words for word in ("average", "accuracy", "forgetting", "[0.9458,", "seeds"))
    assert words.count("naive") == text.count("strategy") > 1  # once a block
    wide = printed([row], 200, capsys, monkeypatch)
    assert wide.count("ewc (strength=10)") == 1


def test_long_texts_break_at_their_words(capsys, monkeypatch):
    definition = "mean over all tasks of the accuracy after the last task, and more of the same"
    text = printed([{"metric": "m", "definition": definition}], 40, capsys, monkeypatch)
    assert max(map(len, text.splitlines())) <= 40
    assert all(word in text.split() for word in definition.split())


def test_each_block_of_columns_says_which_row_is_which(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    columns = [f"measured_{number}" for number in range(6)]
    rows = [
        {
            "strategy": "ewc",
            "benchmark": "permuted-mnist",
            "seed": seed,
            **dict.fromkeys(columns, 0.5),
        }
        for seed in (98, 99)
    ]
    emit(rows)
    blocks = capsys.readouterr().out.split("strategy")[1:]
    assert len(blocks) > 1
    assert all("seed" in block and "98" in block and "99" in block for block in blocks)
    assert sum("permuted-mnist" in block for block in blocks) == 1
