"""Rows of train_dpo with columns of their own (patch 0014), and rows without, which OpenRLHF treats as ever."""

import math
from types import SimpleNamespace

import datasets
import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch
from openrlhf.datasets import RewardDataset
from openrlhf.models import DPOLoss
from openrlhf.trainer.dpo_trainer import DPOTrainer

from openrlhf_marge.host.rollout.tokens import encode

from scripted_dumps import tokenizer

BETA = 0.5
ROWS = [
    dict(prompt="1+1=", chosen="2\nStep 2:", rejected="3\n\n"),
    dict(prompt="1+2=", chosen=f"3{tokenizer().eos_token}", rejected="4\n"),
    dict(prompt="2+2=", chosen="4", rejected="5"),
]


def reward_dataset(rows, max_len=100, usual=0.1, is_dpo=True) -> RewardDataset:
    keys = dict(prompt_key="prompt", chosen_key="chosen", rejected_key="rejected", apply_chat_template=False)
    args = SimpleNamespace(data=SimpleNamespace(**keys), model=SimpleNamespace(label_smoothing=usual))
    strategy = SimpleNamespace(args=args)
    data = datasets.Dataset.from_list(rows)
    return RewardDataset(data, tokenizer(), max_len, strategy, is_dpo=is_dpo, num_processors=None)


def ids(batch):
    """(chosen, rejected) of every row, without padding."""
    chosen, c_mask, rejected, r_mask = (t.squeeze(1) for t in batch[:4])
    return [
        (tuple(c[m.bool()].tolist()), tuple(r[n.bool()].tolist()))
        for c, m, r, n in zip(chosen, c_mask, rejected, r_mask, strict=True)
    ]


def batch_of(data):
    return data.collate_fn([data[i] for i in range(len(data))])


def joined(row, key):
    return encode(tokenizer(), row["prompt"] + row[key])


def usual(row, key):
    """As OpenRLHF joins prompt and response where a row says nothing of it."""
    text, eos = (row["prompt"] + row[key]).rstrip("\n"), tokenizer().eos_token
    return encode(tokenizer(), text if text.endswith(eos) else f"{text} {eos}")


def test_rows_without_the_columns_have_the_usual_batches():
    batch = batch_of(reward_dataset(ROWS))
    assert len(batch) == 5 and len(reward_dataset(ROWS)[0]) == 5
    assert ids(batch) == [(usual(row, "chosen"), usual(row, "rejected")) for row in ROWS]
    assert batch[4] == [len(encode(tokenizer(), row["prompt"])) for row in ROWS]


def test_a_row_that_shall_not_end_with_eos_is_what_its_texts_say():
    ends = [False, False, True]
    batch = batch_of(reward_dataset([row | {"append_eos": end} for row, end in zip(ROWS, ends, strict=True)]))
    assert len(batch) == 5
    as_it_is = [(joined(row, "chosen"), joined(row, "rejected")) for row in ROWS[:2]]
    assert ids(batch) == [*as_it_is, (usual(ROWS[2], "chosen"), usual(ROWS[2], "rejected"))]
    assert as_it_is[0][0][-1] != tokenizer().eos_token_id == as_it_is[1][0][-1]
    # Cut at the length limit such a row keeps its own last token, too.
    (cut,) = ids(batch_of(reward_dataset([ROWS[0] | {"append_eos": False}], max_len=8)))
    assert cut[0] == joined(ROWS[0], "chosen")[:8]


def test_a_row_without_a_value_is_treated_as_usual():
    own, empty = dict(append_eos=False, label_smoothing=0.25), dict(append_eos=None, label_smoothing=None)
    batch = batch_of(reward_dataset([ROWS[0] | own, ROWS[2] | empty], usual=0.125))
    assert batch[5].dtype is torch.float32 and batch[5].tolist() == [0.25, 0.125]
    assert ids(batch)[1] == (usual(ROWS[2], "chosen"), usual(ROWS[2], "rejected"))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"label_smoothing": 0.51}, "label_smoothing of a row is 0.51; it must lie in"),
        ({"label_smoothing": -0.01}, "label_smoothing of a row is -0.01"),
        ({"label_smoothing": math.nan}, "label_smoothing of a row is nan"),
        ({"append_eos": "false"}, "append_eos of a row is neither true nor false"),
    ],
)
def test_values_that_mean_nothing_are_refused(columns, said):
    with pytest.raises(ValueError, match=said):
        reward_dataset([ROWS[0] | columns])


def test_the_reward_model_knows_no_such_columns():
    own = dict(append_eos=False, label_smoothing=0.25, margin=2)
    data = reward_dataset([row | own for row in ROWS], is_dpo=False)
    assert len(data[0]) == 5 and batch_of(data)[4] == [2, 2, 2]


def conservative(logit: float, smoothing: float) -> float:
    """-log sigmoid(beta logit) with the chance of a wrong label (cDPO, Eq. 3)."""
    right, wrong = (math.log1p(math.exp(-sign * BETA * logit)) for sign in (1, -1))
    return right * (1 - smoothing) + wrong * smoothing


LOGITS = [2.0, -1.0, 0.5]  # of the rows above


def fit(data) -> tuple[list[float], float]:
    """The losses that DPOTrainer goes backward from, one per row, and that of its evaluation."""
    losses: list[float] = []

    def forward(model, chosen, c_mask, rejected, r_mask, lengths):
        found = [tuple(encode(tokenizer(), row["prompt"])) for row in ROWS]
        rows = [found.index(tuple(c[:n].tolist())) for c, n in zip(chosen, lengths, strict=True)]
        logits = torch.tensor([LOGITS[row] * (model is trainer.model) for row in rows])
        return logits, torch.zeros_like(logits), 0, torch.zeros(())

    def reduced(logs):
        losses.append(logs.get("eval_loss", logs.get("loss")))
        return logs

    model = torch.nn.Linear(1, 1)
    loader = torch.utils.data.DataLoader(data, 1, collate_fn=data.collate_fn)
    trainer = SimpleNamespace(
        model=model, ref_model=torch.nn.Linear(1, 1), optimizer=None, epochs=1, aux_loss=False, nll_loss=False,
        loss_fn=DPOLoss(BETA, 0.1), train_dataloader=loader, concatenated_forward=forward, _wandb=None,
        _tensorboard=None, scheduler=SimpleNamespace(get_last_lr=lambda: [0.0]),
        save_logs_and_checkpoints=lambda *_: None,
        strategy=SimpleNamespace(
            accumulated_gradient=1, is_rank_0=lambda: False, all_reduce=reduced, backward=lambda *_: None,
            optimizer_step=lambda *_: None, get_grad_norm=lambda _: 0.0,
        ),
        args=SimpleNamespace(
            train=SimpleNamespace(batch_size=1), eval=SimpleNamespace(steps=-1), ckpt=SimpleNamespace(save_steps=1),
            model=SimpleNamespace(aux_loss_coef=0.0, nll_loss_coef=0.0),
        ),
    )  # fmt: skip
    DPOTrainer.fit(trainer, trainer.args, 0, len(data))
    DPOTrainer.evaluate(trainer, loader)
    return losses[:-1], losses[-1]


def test_the_loss_of_a_row_has_the_smoothing_of_that_row():
    smoothing = [0.0, 0.5, 0.25]
    rows = [row | {"label_smoothing": x} for row, x in zip(ROWS, smoothing, strict=True)]
    losses, evaluated = fit(reward_dataset(rows))
    wanted = [conservative(logit, x) for logit, x in zip(LOGITS, smoothing, strict=True)]
    assert losses == pytest.approx(wanted) and evaluated == pytest.approx(sum(wanted) / 3)
    losses, evaluated = fit(reward_dataset(ROWS))
    wanted = [conservative(logit, 0.1) for logit in LOGITS]
    assert losses == pytest.approx(wanted) and evaluated == pytest.approx(sum(wanted) / 3)


def test_a_batch_of_smoothings_is_the_mean_of_its_rows():
    logps = [torch.tensor(x) for x in ([2.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0])]
    loss, _, _ = DPOLoss(BETA, 0.4)(*logps, torch.tensor([0.0, 0.25]))
    assert loss.item() == pytest.approx((conservative(2.0, 0.0) + conservative(-1.0, 0.25)) / 2)
    stock, _, _ = DPOLoss(BETA, 0.4)(*logps)
    assert stock.item() == pytest.approx((conservative(2.0, 0.4) + conservative(-1.0, 0.4)) / 2)
