"""CTC without the host, beside torch's own."""

import pytest
import torch
import torch.nn.functional as F

from models.network.ctc_loss import ctc_losses, pad_labels_to

T = 12


def both(texts, classes=6, scale=1.0, columns=T):
    """(our losses, torch's), (our gradient, torch's) for these texts under random logits."""
    torch.manual_seed(0)
    logits = torch.randn(columns, len(texts), classes) * scale
    lengths = torch.tensor([len(text) for text in texts])
    labels = torch.tensor([c for text in texts for c in text], dtype=torch.long)
    weights = torch.rand(len(texts)) + 0.5
    found = []
    for compute in (
        lambda x: ctc_losses(x, pad_labels_to(labels, lengths, columns), lengths),
        lambda x: F.ctc_loss(x.log_softmax(2), labels, torch.full_like(lengths, columns), lengths, reduction="none",
                             zero_infinity=True),
    ):  # fmt: skip
        x = logits.clone().requires_grad_()
        loss = compute(x)
        (loss * weights).sum().backward()
        found.append((loss.detach(), x.grad))
    return zip(*found, strict=True)


@pytest.mark.parametrize(
    "texts",
    [
        [[1, 2, 3], [4], [5, 4, 3, 2, 1]],
        [[1, 1, 1], [2, 2], [3, 3, 4, 4]],  # repeats need a blank between
        [[], [1, 2], []],  # nothing written
        [[1] * 6, [1, 2] * 6, [1, 2] * 3],  # the second fills every column
    ],
)
def test_losses_and_gradients_are_torchs_own(texts):
    for ours, theirs in both(texts):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_text_that_cannot_fit_costs_nothing_and_teaches_nothing():
    (ours, theirs), (gradient, _) = both([[1] * 7, [1, 2], [2] * 12])  # 7 equal characters need 13 columns
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert ours[0] == ours[2] == 0
    assert not gradient[:, [0, 2]].any()
    assert gradient[:, 1].any()


def test_sure_logits_do_not_underflow():
    for ours, theirs in both([[1, 2, 3], [3, 3], [2]], scale=60.0):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_what_is_not_a_number_is_not_hidden():
    logits = torch.zeros(T, 1, 4)
    logits[3, 0, 1] = float("nan")
    assert ctc_losses(logits, torch.tensor([[1, 2]]), torch.tensor([2])).isnan().all()


def test_texts_become_rows_cut_where_no_column_is_left():
    labels, lengths = torch.tensor([1, 2, 3, 4, 5, 6]), torch.tensor([2, 0, 3, 1])
    assert pad_labels_to(labels, lengths, 2).tolist() == [[1, 2], [0, 0], [3, 4], [6, 0]]
