"""The set of proposals has no order, and rows without a proposal count for nothing."""

import numpy as np
import torch

from vg_gym.agents.proposal_attention import EMPTY_SCORE, MIN_SPLIT_ROWS, ProposalAttention
from vg_gym.features.query_proposals import RELATIVE, WIDTH


def a_set(rng, count, there):
    found = rng.uniform(0.1, 0.4, (2, count, WIDTH)).astype(np.float32)
    found[..., 2:4] += 0.3
    found[:, there:] = 0
    return torch.from_numpy(found)


def test_order_does_not_matter(rng):
    torch.manual_seed(0)
    module, observed, text = ProposalAttention(5, 16), a_set(rng, 5, 4), torch.randn(2, 16)
    order = torch.tensor([2, 0, 3, 1, 4])
    read, scores = module({"proposals": observed.flatten(1), "text": text})
    mixed, moved = module({"proposals": observed[:, order].flatten(1), "text": text})
    torch.testing.assert_close(read, mixed, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(scores[:, order], moved, atol=1e-5, rtol=1e-4)
    assert (scores[:, 4] == EMPTY_SCORE).all() and (scores[:, :4] > EMPTY_SCORE).all()


def test_empty_rows_change_nothing_and_gradients_are_finite(rng):
    torch.manual_seed(0)
    few, many = ProposalAttention(4, 16), ProposalAttention(6, 16)
    many.load_state_dict(few.state_dict())
    observed, text = a_set(rng, 6, 4), torch.randn(2, 16)
    observed[1, 2:] = 0
    read, scores = many({"proposals": observed.flatten(1), "text": text})
    torch.testing.assert_close(
        read, few({"proposals": observed[:, :4].flatten(1), "text": text})[0], atol=1e-5, rtol=1e-4
    )
    alone, scored = many({"proposals": observed[1:].flatten(1), "text": text[1:]})
    torch.testing.assert_close(read[1:], alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(scores[1:], scored, atol=1e-5, rtol=1e-4)
    assert (scores[1, 2:] == EMPTY_SCORE).all()
    (read.sum() + scores.sum()).backward()
    assert all(torch.isfinite(p.grad).all() for p in many.parameters() if p.grad is not None)


def test_with_no_proposal_at_all_the_read_out_is_finite():
    read, scores = ProposalAttention(3, 16)({"proposals": torch.zeros(1, 3 * WIDTH), "text": torch.randn(1, 16)})
    assert torch.isfinite(read).all() and (scores == EMPTY_SCORE).all()


def test_a_minibatch_in_two_parts_is_the_same_function(rng):
    torch.manual_seed(0)
    module, text = ProposalAttention(6, 16), torch.randn(MIN_SPLIT_ROWS + 3, 16)
    observed = torch.from_numpy(rng.uniform(0.1, 0.4, (MIN_SPLIT_ROWS + 3, 6, WIDTH)).astype(np.float32))
    observed *= torch.from_numpy(np.arange(6) < rng.integers(0, 7, (MIN_SPLIT_ROWS + 3, 1)))[..., None]
    read, scores = module({"proposals": observed.flatten(1), "text": text})
    with torch.no_grad():
        whole, rated = module({"proposals": observed.flatten(1), "text": text})
    torch.testing.assert_close(read, whole, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(scores, rated, atol=1e-5, rtol=1e-4)
    (read.sum() + scores.sum()).backward()
    together = [p.grad.clone() for p in module.parameters() if p.grad is not None]
    module.zero_grad()
    parts = [module._read(observed[i : i + 1], text[i : i + 1]) for i in range(len(observed))]
    sum(r.sum() + s.sum() for r, s in parts).backward()
    for ours, alone in zip(together, [p.grad for p in module.parameters() if p.grad is not None], strict=True):
        torch.testing.assert_close(ours, alone, atol=1e-3, rtol=1e-3)


def test_looks_follow_their_proposals_and_words_beyond_the_text_are_not_read(rng):
    torch.manual_seed(0)
    module, observed = ProposalAttention(5, 16, words=7), a_set(rng, 5, 4)
    looks, words, text = torch.randn(2, 5, 16), torch.randn(2, 7, 16), torch.randn(2, 16)
    words[0, 4:], words[1, 6:] = 0, 0
    order = torch.tensor([2, 0, 3, 1, 4])

    def seen(rows=slice(None), length=7):
        return {"proposals": observed[:, rows].flatten(1), "text": text,
                "proposal_features": looks[:, rows].flatten(1), "words": words[:, :length].flatten(1)}  # fmt: skip

    read, scores = module(seen())
    mixed, moved = module(seen(order))
    torch.testing.assert_close(read, mixed, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(scores[:, order], moved, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(module(seen(length=6))[1], scores, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(module(seen(length=5))[1][1], scores[1], atol=1e-4)
    looks[:, 0] += 1
    assert not torch.allclose(module(seen())[1][:, 0], scores[:, 0], atol=1e-4)


def test_rivals_and_words_are_dropped_but_never_the_target(rng):
    torch.manual_seed(0)
    module, rows = ProposalAttention(5, 16, words=7), 400
    seen = {"proposals": torch.rand(rows, 5 * WIDTH) + 0.1, "text": torch.rand(rows, 16),
            "proposal_features": torch.rand(rows, 5 * 16), "words": torch.rand(rows, 7 * 16) + 0.1}  # fmt: skip
    meant = torch.from_numpy(rng.integers(-1, 5, rows))
    less = module.looks.thinned(seen, meant, 5)
    there = less["proposals"].unflatten(1, (5, -1)).amin(-1) > 0
    assert there[torch.arange(rows), meant][meant >= 0].all() and 0.7 < there.float().mean() < 0.85
    heard = less["words"].unflatten(1, (7, -1))
    assert 0.87 < (heard.amin(-1) > 0).float().mean() < 0.93 and ((heard.amin(-1) > 0) == (heard.amax(-1) > 0)).all()
    assert less["text"] is seen["text"] and (seen["proposals"] > 0).all()
    assert torch.isfinite(module(less)[1]).all()


def test_a_settled_choice_stays_and_ignores_the_place_of_the_agent(rng):
    torch.manual_seed(0)
    module, observed = ProposalAttention(5, 16, words=7), a_set(rng, 5, 4)
    seen = {"proposals": observed.flatten(1), "text": torch.randn(2, 16),
            "proposal_features": torch.randn(2, 80), "words": torch.randn(2, 7 * 16)}  # fmt: skip
    read, scores = module(seen)
    observed[..., -RELATIVE:] += 1
    elsewhere, same = module({**seen, "proposals": observed.flatten(1)})
    torch.testing.assert_close(scores, same)
    assert not torch.allclose(read, elsewhere, atol=1e-3)
    module.looks.settled.fill_(True)
    read, scores = module(seen)
    assert not scores.requires_grad
    read.sum().backward()
    assert {name.split(".")[0] for name, p in module.named_parameters() if p.grad is not None} == {"read_outs"}


def test_without_any_word_scores_and_gradients_are_finite(rng):
    torch.manual_seed(0)
    module, observed = ProposalAttention(5, 16, words=7), a_set(rng, 5, 4)
    seen = {"proposals": observed.flatten(1), "text": torch.randn(2, 16),
            "proposal_features": torch.randn(2, 80), "words": torch.randn(2, 7 * 16)}  # fmt: skip
    seen["words"][1] = 0
    read, scores = module(seen)
    (read.sum() + scores.sum()).backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)
    module.eval()
    with torch.no_grad():
        assert all(torch.isfinite(values).all() for values in module(seen))
