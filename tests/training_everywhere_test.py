"""What people train, over eight shards: one `state_sha256` on 1 to 12 agents, between policies and across resume."""

import instep_test
from everywhere_case import EverywhereCase

RESNET = {"model.kind": "resnet20", "model.outputs": 3, "data.shape": [3, 8, 8], "optimizer.lr": 0.05,
          "optimizer.momentum": 0.9, "optimizer.nesterov": True}
GPT = {"data.format": "text", "model.kind": "gpt", "model.layers": 2, "model.width": 16, "model.heads": 2,
       "model.context": 16, "model.dropout": 0.1, "optimizer.kind": "adamw", "optimizer.weight_decay": 0.1,
       "optimizer.clip_norm": 0.5}
LSTM = {"data.format": "text", "data.context": 12, "model.kind": "lstm", "model.width": 16,
        "model.dropout": 0.2, "optimizer.kind": "adam", "optimizer.lr": 0.01}
BF16 = {"precision": "bf16"}
TEXT = "a rose is a rose is a rose, and so is the next rose in the row of roses. " * 14


class Everywhere(EverywhereCase):
    def setUp(self):
        super().setUp()
        text = self.new_path("text.txt")
        text.write_text(TEXT)
        self.text = {"data.train_samples": str(text)}

    def test_resnet20_with_nesterov(self):
        self.everywhere(RESNET)

    def test_gpt_with_adamw_dropout_and_clipping(self):
        self.everywhere({**GPT, **self.text})

    def test_lstm_with_adam(self):
        self.everywhere({**LSTM, **self.text})

    def test_bf16(self):
        for sets in (RESNET, {**GPT, **self.text}, {**LSTM, **self.text}):
            alone = self.train(self.job, 1, {**sets, **BF16})
            for n in (3, 8):
                self.assert_same_bits(alone, self.train(self.job, n, {**sets, **BF16}), f"{n} agents")
            full = self.train(self.job, 2, sets)
            self.assertNotEqual(full["parameters_sha256"], alone["parameters_sha256"])

    def test_an_average_in_parts(self):
        sets = {**RESNET, "ema.decay": 0.9, "accumulate": 2, "label_smoothing": 0.1, "split.validation": 0.2}
        report = self.everywhere(sets)
        self.assertIn("accuracy", report["validation"])
        plain = self.train(self.job, 1, {**sets, "ema.decay": 0})
        self.assertEqual(plain["parameters_sha256"], report["parameters_sha256"], "an average trains nothing")
        self.assertNotEqual(plain["validation"]["loss"], report["validation"]["loss"], "but is what is measured")


if __name__ == "__main__":
    instep_test.main()
