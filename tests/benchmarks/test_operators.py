"""What a training step asks of a card: no more operators for a larger batch."""

from benchmarks import operators


def test_a_larger_batch_takes_no_more_operators_and_the_loss_is_most_of_them():
    few, many = operators.count_step("crnn", 1), operators.count_step("crnn", 4)
    assert few == many
    assert few["loss"] > few["forward"] and sum(few.values()) < 320


def test_attentions_loss_is_a_handful(capsys):
    operators.main(["--recipes", "seq2seq_attention"])
    row = capsys.readouterr().out.splitlines()[-1]
    assert int(row.split("|")[3]) < 12
