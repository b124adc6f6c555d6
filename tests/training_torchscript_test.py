"""A TorchScript module with BatchNorm and dropout: one `state_sha256` on 1 to 12 agents, between policies and across
resume."""

# ctest: SKIP_RETURN_CODE 77
import instep_test
from everywhere_case import EverywhereCase
from torch_case import TorchCase, torch


class Script(TorchCase, EverywhereCase):
    def test_torchscript_with_batchnorm_and_dropout(self):
        module = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.BatchNorm1d(32), torch.nn.ReLU(),
                                     torch.nn.Dropout(0.2), torch.nn.Linear(32, 3))
        self.everywhere({"model.kind": "torchscript", "model.file": str(self.script(module)),
                         "data.features": 20, "optimizer.kind": "adam"})


if __name__ == "__main__":
    instep_test.main()
