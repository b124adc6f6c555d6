"""Training of an mlp on the whole data set at once, written down a second time: numpy, double precision.

Nothing here is shared with instep; what both agree on is what docs/job.md says.
"""

import fnmatch

import numpy as np


def initial(layers, seed):
    """Parameters by name, as torch.nn.Sequential numbers them, in single precision."""
    random = np.random.default_rng(seed)
    out = {}
    for i, (inputs, outputs) in enumerate(zip(layers, layers[1:])):
        out[f"{2 * i}.weight"] = random.normal(0, inputs**-0.5, (outputs, inputs)).astype(np.float32)
        out[f"{2 * i}.bias"] = random.normal(0, 0.1, outputs).astype(np.float32)
    return out


def doubles(parameters):
    return {name: np.asarray(value, np.float64) for name, value in parameters.items()}


def layer_names(parameters):
    return sorted({name.split(".")[0] for name in parameters}, key=int)


def forward(parameters, x, activation=np.tanh):
    """The inputs of each layer, and after them the outputs."""
    values = [np.asarray(x, np.float64)]
    names = layer_names(parameters)
    for name in names:
        y = values[-1] @ parameters[f"{name}.weight"].T + parameters[f"{name}.bias"]
        values.append(y if name == names[-1] else activation(y))
    return values


def relu(x):
    return np.maximum(x, 0)


def softmax(outputs):
    powers = np.exp(outputs - outputs.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def loss(kind, outputs, y):
    """The mean loss, and its gradient by the outputs."""
    size = len(outputs)
    if kind == "cross-entropy":
        p = softmax(outputs)
        rows = np.arange(size)
        hot = np.zeros_like(p)
        hot[rows, y] = 1
        return -np.log(p[rows, y]).mean(), (p - hot) / size
    y = np.asarray(y, np.float64).reshape(outputs.shape)
    if kind == "mse":
        return ((outputs - y)**2).mean(), 2 * (outputs - y) / size
    p = 1 / (1 + np.exp(-outputs))
    return (np.logaddexp(0, outputs) - y * outputs).mean(), (p - y) / size


def accuracy(kind, outputs, y):
    found = outputs.argmax(1) if kind == "cross-entropy" else outputs[:, 0] > 0
    return float((found == y).mean())


def gradients(parameters, x, y, kind):
    """Loss and gradients; between the layers is a tanh."""
    values = forward(parameters, x)
    value, delta = loss(kind, values[-1], y)
    out = {}
    names = layer_names(parameters)
    for i in reversed(range(len(names))):
        out[f"{names[i]}.weight"] = delta.T @ values[i]
        out[f"{names[i]}.bias"] = delta.sum(0)
        delta = (delta @ parameters[f"{names[i]}.weight"]) * (1 - values[i]**2)
    return value, out


def norm(tensors):
    return float(np.sqrt(sum((value**2).sum() for value in tensors)))


def setting(optimizer, name, key, default):
    """optimizer.KEY for this parameter: of the first group that matches its name, if that has the key."""
    for group in optimizer.get("group", []):
        if fnmatch.fnmatchcase(name, group["match"]):
            return group.get(key, optimizer.get(key, default))
    return optimizer.get(key, default)


def step(optimizer, name, p, g, state, t, factor):
    """One parameter after update number t (from 1), as torch.optim defines it."""
    lr = setting(optimizer, name, "lr", 0.01) * factor
    # By default biases are spared, but by a group that says how they decay.
    spared = p.ndim < 2 and optimizer.get("decay") != "all"
    decay = setting({**optimizer, "weight_decay": 0} if spared else optimizer, name, "weight_decay", 0)
    kind = optimizer.get("kind", "sgd")
    if kind == "adamw":
        p = p * (1 - lr * decay)
    else:
        g = g + decay * p
    if kind == "sgd":
        momentum = setting(optimizer, name, "momentum", 0)
        if momentum == 0:
            return p - lr * g
        m = state[name] = g if t == 1 else momentum * state[name] + (1 - optimizer.get("dampening", 0)) * g
        return p - lr * (g + momentum * m if optimizer.get("nesterov") else m)
    b1, b2 = optimizer.get("beta1", 0.9), optimizer.get("beta2", 0.999)
    m, v = state.get(name, (0, 0))
    m, v = state[name] = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
    return p - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + optimizer.get("eps", 1e-8))


class Trained:
    """What train() gives: by round the loss before it, the gradient's norm and that of the change."""

    def __init__(self, parameters):
        self.parameters, self.losses, self.norms, self.changes = doubles(parameters), [], [], []


def train(parameters, x, y, kind, optimizer, rounds, factor=lambda round: 1.0):
    out = Trained(parameters)
    state = {}
    for round_ in range(rounds):
        value, grads = gradients(out.parameters, x, y, kind)
        out.losses.append(value)
        out.norms.append(norm(grads.values()))
        clip = optimizer.get("clip_norm", 0)
        scale = min(1.0, clip / (out.norms[-1] + 1e-6)) if clip else 1.0
        after = {name: step(optimizer, name, p, grads[name] * scale, state, round_ + 1, factor(round_))
                 for name, p in out.parameters.items()}
        out.changes.append(norm(after[name] - p for name, p in out.parameters.items()))
        out.parameters = after
    return out
