#include "cli/export_python.h"

#include "base/text.h"

namespace instep::cli {
namespace {

// Names of parameters and arithmetic as in src/model; tests/export_test.py holds both to each
// other.
constexpr std::string_view kHead = R"(load(folder) gives the trained module in eval mode.

Needs torch and safetensors. model.safetensors holds the weights, job.json how they came about.
"""

import json
import pathlib

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

)";

constexpr std::string_view kTail = R"(

def load(folder=None):
    """The module of the export in `folder`, by default the one where this file is."""
    folder = pathlib.Path(folder or pathlib.Path(__file__).parent)
    model = build(json.loads((folder / "job.json").read_text())["model"])
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval()
)";

constexpr std::string_view kMlp = R"(
class Mlp(nn.Sequential):
    def forward(self, x):
        return super().forward(x.flatten(1))


def build(job):
    activation = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU}[job["activation"]]
    parts = []
    for inputs, outputs in zip(job["layers"], job["layers"][1:]):
        parts += [nn.Linear(inputs, outputs), activation()]
    return Mlp(*parts[:-1])
)";

constexpr std::string_view kResnet20 = R"(
def convolution(inputs, outputs, stride):
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.stride = 1 if inputs == outputs else 2
        self.before = (outputs - inputs) // 2
        self.after = outputs - inputs - self.before
        self.conv1 = convolution(inputs, outputs, self.stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = convolution(outputs, outputs, 1)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride != 1:  # a shortcut without parameters
            x = F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, self.before, self.after))
        return F.relu(y + x)


class ResNet20(nn.Module):
    def __init__(self, channels, outputs):
        super().__init__()
        self.conv1 = convolution(channels, 16, 1)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16) for _ in range(3)))
        self.layer2 = nn.Sequential(Block(16, 32), Block(32, 32), Block(32, 32))
        self.layer3 = nn.Sequential(Block(32, 64), Block(64, 64), Block(64, 64))
        self.fc = nn.Linear(64, outputs)

    def forward(self, x):
        """Images [n, channels, h, w]; [n, h, w] where an image has one channel."""
        x = x.unsqueeze(1) if x.dim() == 3 else x
        x = F.relu(self.bn1(self.conv1(x.contiguous(memory_format=torch.channels_last))))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


def build(job):
    return ResNet20(job["channels"], job["outputs"])
)";

constexpr std::string_view kGpt = R"(
class Attention(nn.Module):
    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x):
        n, t, width = x.shape
        q, k, v = (part.transpose(1, 2) for part in
                   self.c_attn(x).view(n, t, 3, self.heads, width // self.heads).unbind(2))
        y = F.scaled_dot_product_attention(
            q, k, v, dropout_p=self.dropout if self.training else 0.0, is_causal=True)
        return F.dropout(self.c_proj(y.transpose(1, 2).reshape(n, t, width)), self.dropout, self.training)


class FeedForward(nn.Module):
    def __init__(self, width, dropout):
        super().__init__()
        self.dropout = dropout
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x):
        return F.dropout(self.c_proj(F.gelu(self.c_fc(x))), self.dropout, self.training)


class Layer(nn.Module):
    def __init__(self, width, heads, dropout):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads, dropout)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, dropout)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, layers, width, heads, context, vocabulary, dropout):
        super().__init__()
        self.dropout = dropout
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Embedding(context, width)
        self.h = nn.ModuleList(Layer(width, heads, dropout) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe.weight[:tokens.shape[1]]
        x = F.dropout(x, self.dropout, self.training)
        for layer in self.h:
            x = layer(x)
        return self.ln_f(x)


class Gpt(nn.Module):
    def __init__(self, layers, width, heads, context, vocabulary, dropout):
        super().__init__()
        self.transformer = Transformer(layers, width, heads, context, vocabulary, dropout)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens):
        """int64 [n, t], t at most the context -> logits of each next token [n, t, vocabulary]."""
        return self.lm_head(self.transformer(tokens))


def build(job):
    return Gpt(job["layers"][0], job["width"], job["heads"], job["context"], job["vocabulary"], job["dropout"])
)";

constexpr std::string_view kLstm = R"(
class Lstm(nn.Module):
    def __init__(self, layers, width, inputs, outputs, vocabulary, dropout):
        super().__init__()
        self.inputs = inputs
        if inputs == 0:
            self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(inputs or width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.head = nn.Linear(width, outputs if inputs else vocabulary)

    def forward(self, x):
        """Tokens, int64 [n, t] -> logits [n, t, vocabulary]; or values [n, t, inputs] -> [n, outputs]."""
        if self.inputs == 0:
            return self.head(self.lstm(self.embedding(x))[0])
        return self.head(self.lstm(x.reshape(len(x), -1, self.inputs))[0][:, -1])


def build(job):
    return Lstm(job["layers"][0], job["width"], job["inputs"], job["outputs"], job["vocabulary"], job["dropout"])
)";

}  // namespace

std::string python_module(std::string_view kind) {
  std::string_view body;
  if (kind == "mlp") body = kMlp;
  if (kind == "resnet20") body = kResnet20;
  if (kind == "gpt") body = kGpt;
  if (kind == "lstm") body = kLstm;
  return body.empty() ? "" : cat(kPythonBegin, kHead, body, kTail);
}

}  // namespace instep::cli
