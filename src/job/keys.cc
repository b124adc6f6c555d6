#include "job/keys.h"

#include <algorithm>
#include <array>
#include <limits>
#include <type_traits>

namespace instep::job {
namespace {

constexpr std::int64_t kMaxInteger = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kBillion = 1'000'000'000;

constexpr Limits integers(std::int64_t least, std::int64_t most) {
  return {.least = least, .most = most};
}
constexpr Limits numbers(double low, double high) { return {.low = low, .high = high}; }
constexpr Limits above(double low, double high) {
  return {.low = low, .high = high, .above_low = true};
}
constexpr Limits below(double low, double high) {
  return {.low = low, .high = high, .below_high = true};
}
constexpr Limits one_of(Words words) { return {.words = words}; }
constexpr Limits text(Limits::Text kind) { return {.text = kind}; }

constexpr Limits words_list(Words words) { return {.words = words, .or_text = true}; }
constexpr Limits kLayers = {.least = 1, .most = 1 << 24, .or_integer = true};
constexpr Limits kFlag = {};
constexpr Limits kWord = {};  // the words come with the enum
constexpr Limits kPath = text(Limits::Text::kPath);
constexpr Limits kFree = text(Limits::Text::kFree);
constexpr Limits kColumn = {.or_integer = true};
constexpr Limits kName = text(Limits::Text::kName);

constexpr std::array<std::string_view, 6> kModels = {"",    "mlp",  "resnet20",
                                                     "gpt", "lstm", "torchscript"};
constexpr std::array<std::string_view, 9> kStopMetrics = {
    "accuracy", "loss", "top-k", "precision", "recall", "f1", "auc", "mae", "perplexity"};

template <class T>
Ref ref(T* at) {
  if constexpr (std::is_enum_v<T>) {
    return WordRef{
        words_of(T{}), at,
        [](const void* p) { return static_cast<std::size_t>(*static_cast<const T*>(p)); },
        [](void* p, std::size_t index) { *static_cast<T*>(p) = static_cast<T>(index); }};
  } else {
    return at;
  }
}

#define AT(field) [](Job& job, std::size_t) { return ref(&job.field); }
#define AT_GROUP(field) \
  [](Job& job, std::size_t group) { return ref(&job.optimizer.groups[group].field); }

// clang-format off
const std::array kKeys = std::to_array<Key>({
    {"version", AT(version), integers(1, 1), "Version of the job file's format."},
    {"name", AT(name), kName, "Name of the run and of its directory."},
    {"seed", AT(seed), integers(0, kMaxInteger), "Seed of everything random: initial parameters, order, dropout, splits."},
    {"epochs", AT(epochs), integers(1, 1'000'000), "Epochs of data to train."},
    {"batch", AT(batch), integers(1, 1 << 24), "Samples of one round, over all shards (the remainder rule is below)."},
    {"shards", AT(shards), integers(1, 65'536), "Logical workers; part of the result, unlike the number of agents."},
    {"threads", AT(threads), integers(1, 1024), "Threads that compute one shard; part of the result."},
    {"eval_batch", AT(eval_batch), integers(1, 1 << 20), "Samples of one evaluation step."},
    {"evaluate_each_epoch", AT(evaluate_each_epoch), kFlag, "Evaluate after each epoch of data, not only at the end."},
    {"loss", AT(loss), kWord, "Loss function; the mean over the samples of a round."},
    {"label_smoothing", AT(label_smoothing), below(0, 1), "cross-entropy: the part of a target that all classes share."},
    {"huber_delta", AT(huber_delta), above(0, 1e30), "huber: errors beyond it count linearly."},
    {"metrics", AT(metrics), words_list(kMetricWords), "What evaluations measure beside the loss. By default accuracy for classes, with text perplexity too."},
    {"top_k", AT(top_k), integers(1, 1000), "Of the metric top-k: the target is among so many largest outputs."},
    {"precision", AT(precision), kWord, "bf16: the forward and backward pass under autocast; parameters, gradients and state stay fp32."},
    {"accumulate", AT(accumulate), integers(1, 65'536), "Parts in which a shard computes its samples, one after the other, to save memory."},
    {"on_nonfinite", AT(on_nonfinite), kWord, "A NaN or infinite loss or gradient: stop with a checkpoint, or skip the round's update."},

    {"model.kind", AT(model.kind), one_of(kModels), "Model that instep builds; empty if a program brings its own."},
    {"model.layers", AT(model.layers), kLayers, "mlp: widths of inputs, hidden layers, outputs. gpt (default 4), lstm (default 2): how many."},
    {"model.activation", AT(model.activation), kWord, "After each layer of the mlp but the last."},
    {"model.heads", AT(model.heads), integers(1, 1024), "gpt: attention heads of a layer."},
    {"model.width", AT(model.width), integers(1, 1 << 20), "gpt, lstm: values of a token within the model."},
    {"model.context", AT(model.context), integers(1, 1 << 20), "gpt: tokens that it looks back on, itself included."},
    {"model.vocabulary", AT(model.vocabulary), integers(2, 1 << 24), "gpt, lstm: different tokens; text in bytes has 256."},
    {"model.channels", AT(model.channels), integers(1, 4096), "resnet20: channels of an image."},
    {"model.inputs", AT(model.inputs), integers(0, 1 << 24), "lstm: values of one step of a sequence; 0: it reads tokens."},
    {"model.outputs", AT(model.outputs), integers(1, 1 << 24), "resnet20, lstm with model.inputs: outputs, or classes."},
    {"model.dropout", AT(model.dropout), below(0, 1), "gpt, lstm between its layers: probability that a value is dropped in training."},
    {"model.file", AT(model.file), kPath, "torchscript: the file that torch.jit.save wrote. It carries code: load only what you trust."},
    {"model.file_sha256", AT(model.file_sha256), kFree, "torchscript: the file's SHA-256; another file is refused. Empty: that of the file as the run begins."},
    {"model.init", AT(model.init), kPath, "Safetensors file with the initial parameters; empty: drawn from the seed."},

    {"data.format", AT(data.format), kWord, "Where samples come from; none: from a program."},
    {"data.train_samples", AT(data.train_samples), kPath, "Training samples: an IDX or NPY file; the whole data as a CSV, NPZ, CIFAR or text file, or a folder of CIFAR files."},
    {"data.train_targets", AT(data.train_targets), kPath, "Training targets: idx, and npy files."},
    {"data.test_samples", AT(data.test_samples), kPath, "Test samples; empty: no test set of its own, or that of the cifar folder."},
    {"data.test_targets", AT(data.test_targets), kPath, "Test targets: idx, and npy files."},
    {"data.target_column", AT(data.target_column), kColumn, "csv: name or number (from 1) of the target's column; empty: the last."},
    {"data.header", AT(data.header), kFlag, "csv: the first line holds the columns' names."},
    {"data.scale", AT(data.scale), numbers(-1e30, 1e30), "Values are used as stored * scale + shift. With idx and cifar the default is 1/255."},
    {"data.shift", AT(data.shift), numbers(-1e30, 1e30), "See data.scale."},
    {"data.classes", AT(data.classes), integers(0, 1'000'000), "Number of classes; a label outside is an error. 0: the largest label plus one."},
    {"data.limit", AT(data.limit), integers(0, kBillion), "Use at most the first so many training samples; 0: all."},
    {"data.test_limit", AT(data.test_limit), integers(0, kBillion), "Use at most the first so many test samples; 0: all."},
    {"data.samples", AT(data.samples), integers(1, kBillion), "synthetic: number of training samples."},
    {"data.test_samples_count", AT(data.test_samples_count), integers(0, kBillion), "synthetic: number of test samples."},
    {"data.features", AT(data.features), integers(1, 1'000'000), "synthetic: values of one sample."},
    {"data.shape", AT(data.shape), integers(1, 1 << 24), "synthetic: shape of one sample, as [3, 32, 32]; empty: data.features values."},
    {"data.noise", AT(data.noise), numbers(0, 1e6), "synthetic: standard deviation of the noise."},

    {"data.samples_key", AT(data.samples_key), kFree, "npz: name of the array of samples."},
    {"data.targets_key", AT(data.targets_key), kFree, "npz: name of the array of targets."},
    {"data.context", AT(data.context), integers(0, 1 << 20), "text: bytes of one sample, the next byte of each being its target; 0: model.context."},

    {"split.validation", AT(split.validation), numbers(0, 0.9), "Fraction of the training samples kept for validation."},
    {"split.test", AT(split.test), numbers(0, 0.9), "The same for a test set, where the data brings none."},
    {"split.stratified", AT(split.stratified), kFlag, "Split each class in the same proportion (cross-entropy)."},

    {"partition.strategy", AT(partition), kWord, "How training samples are given to shards; stratified needs cross-entropy."},

    {"optimizer.kind", AT(optimizer.kind), kWord, "Optimizer, with torch::optim's arithmetic."},
    {"optimizer.lr", AT(optimizer.lr), numbers(0, 1000), "Learning rate."},
    {"optimizer.momentum", AT(optimizer.momentum), below(0, 1), "sgd: momentum."},
    {"optimizer.dampening", AT(optimizer.dampening), numbers(0, 1), "sgd: dampening of the momentum."},
    {"optimizer.weight_decay", AT(optimizer.weight_decay), numbers(0, 1000), "L2 penalty (sgd, adam) or decoupled decay (adamw)."},
    {"optimizer.decay", AT(optimizer.decay), kWord, "What weight_decay acts on. weights: tensors of two and more dimensions, so no biases and no norms."},
    {"optimizer.nesterov", AT(optimizer.nesterov), kFlag, "sgd: Nesterov momentum; needs a momentum and no dampening."},
    {"optimizer.beta1", AT(optimizer.beta1), below(0, 1), "adam, adamw: decay of the first moment."},
    {"optimizer.beta2", AT(optimizer.beta2), below(0, 1), "adam, adamw: decay of the second moment."},
    {"optimizer.eps", AT(optimizer.eps), above(0, 1), "adam, adamw: added to the denominator."},
    {"optimizer.clip_norm", AT(optimizer.clip_norm), numbers(0, 1e12), "Clip the combined gradient to this global norm; 0: do not."},
    {"optimizer.group[].match", AT_GROUP(match), kFree, "Shell pattern (`*`, `?`) on a parameter's name."},
    {"optimizer.group[].lr", AT_GROUP(lr), numbers(0, 1000), "Instead of optimizer.lr."},
    {"optimizer.group[].weight_decay", AT_GROUP(weight_decay), numbers(0, 1000), "Instead of optimizer.weight_decay."},
    {"optimizer.group[].momentum", AT_GROUP(momentum), below(0, 1), "Instead of optimizer.momentum."},

    {"schedule.kind", AT(schedule.kind), kWord, "A factor on every learning rate."},
    {"schedule.warmup_rounds", AT(schedule.warmup_rounds), integers(0, kBillion), "Rounds of linear warm-up, before any kind."},
    {"schedule.step_epochs", AT(schedule.step_epochs), integers(1, 1'000'000), "step: every so many epochs of data, times gamma."},
    {"schedule.gamma", AT(schedule.gamma), above(0, 10), "step, plateau: the factor."},
    {"schedule.final_factor", AT(schedule.final_factor), numbers(0, 1), "cosine: the factor that is left after the last epoch. plateau: the least."},
    {"schedule.patience_epochs", AT(schedule.patience_epochs), integers(1, 1'000'000), "plateau: epochs of data without improvement of stop.metric before the factor falls."},

    {"ema.decay", AT(ema.decay), below(0, 1), "Moving average of the weights, which evaluations then use; its decay in a round. 0: none."},

    {"policy.kind", AT(policy.kind), kWord, "Who owns what and what comes back; equal bits for each."},
    {"policy.servers", AT(policy.servers), integers(1, 4096), "parameter-server: number of servers."},

    {"codec.kind", AT(codec.kind), kWord, "How gradients are encoded on their way; part of the result."},
    {"codec.nodes", AT(codec.nodes), integers(0, 1024), "Nodes of the tree of shards that are encoded, at most one a shard; 0: each shard."},
    {"codec.keep", AT(codec.keep), above(0, 1), "top-k: the part of the values that is sent; the others wait."},

    {"stop.metric", AT(stop.metric), one_of(kStopMetrics), "Judged on the validation set, else on the test set. With mse and huber the default is loss."},
    {"stop.target", AT(stop.target), numbers(-1e30, 1e30), "Stop when the metric reaches this: loss, mae and perplexity downwards, others upwards."},
    {"stop.patience_epochs", AT(stop.patience_epochs), integers(0, 1'000'000), "Stop after so many epochs of data without improvement; 0: off."},
    {"stop.gradient_norm", AT(stop.gradient_norm), numbers(0, 1e30), "Stop when the combined gradient's norm is below this; 0: off."},
    {"stop.parameter_change", AT(stop.parameter_change), numbers(0, 1e30), "Stop when the norm of a round's change is below this; 0: off."},
    {"stop.wall_seconds", AT(stop.wall_seconds), numbers(0, 1e9), "Stop after so many seconds; 0: off."},

    {"checkpoint.every_rounds", AT(checkpoint.every_rounds), integers(0, kBillion), "A checkpoint every so many rounds; 0: not by rounds."},
    {"checkpoint.every_epochs", AT(checkpoint.every_epochs), integers(0, 1'000'000), "A checkpoint every so many epochs of data; 0: not by epochs."},
    {"checkpoint.keep_last", AT(checkpoint.keep_last), integers(1, 1000), "Newest checkpoints that are kept."},
    {"checkpoint.keep_best", AT(checkpoint.keep_best), integers(0, 1000), "Best checkpoints that are kept, by stop.metric."},

    {"faults.patience", AT(faults.patience), above(0.25, 86'400), "Seconds of silence after which an agent counts as hung in any case; usually far fewer do."},
    {"faults.on_corruption", AT(faults.on_corruption), kWord, "Memory that no longer holds what was written there: restore the last checkpoint and go on, or end the run."},

    {"links.compression", AT(links.compression), kWord, "Whether values are made smaller, without loss, between hosts: auto: where a line gains by it. Changes no bit."},

    {"debug.shuffle_exchange", AT(shuffle_exchange), integers(0, kMaxInteger), "Not 0: the steps of the exchange in this seeded order. Changes no bit."},
});
// clang-format on

#undef AT
#undef AT_GROUP

bool in_range(const Limits& limits, const Value& value) {
  if (value.kind == Value::Kind::kInteger) {
    return value.integer >= limits.least && value.integer <= limits.most;
  }
  return false;
}

bool number_in_range(const Limits& limits, const Value& value) {
  if (value.kind != Value::Kind::kNumber && value.kind != Value::Kind::kInteger) return false;
  const double x =
      value.kind == Value::Kind::kNumber ? value.number : static_cast<double>(value.integer);
  const bool low = limits.above_low ? x > limits.low : x >= limits.low;
  return low && (limits.below_high ? x < limits.high : x <= limits.high);
}

bool contains(Words words, std::string_view text) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

bool is_name(std::string_view text) {
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !text.empty() && text.size() <= 64 && letter(text[0]) &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return letter(c) || c == '.' || c == '_' || c == '-'; });
}

bool text_fits(const Limits& limits, const Value& value) {
  if (value.kind != Value::Kind::kText) return false;
  if (!limits.words.empty()) return contains(limits.words, value.text);
  if (limits.text == Limits::Text::kName) return is_name(value.text);
  return value.text.size() <= kMaxTextBytes && is_clean_text(value.text);
}

// A sample of the key's type: which alternative of Ref it has does not depend on the job.
Ref sample(const Key& key) {
  static Job job = [] {
    Job one;
    one.optimizer.groups.emplace_back();
    return one;
  }();
  return key.at(job, 0);
}

struct Fits {
  const Limits& limits;
  const Value& value;
  bool operator()(const bool*) const { return value.kind == Value::Kind::kBool; }
  bool operator()(const std::int64_t*) const { return in_range(limits, value); }
  bool operator()(const std::uint64_t*) const { return in_range(limits, value); }
  bool operator()(const double*) const { return number_in_range(limits, value); }
  bool operator()(const std::optional<double>*) const {
    return value.kind == Value::Kind::kNull || number_in_range(limits, value);
  }
  bool operator()(const std::string*) const { return text_fits(limits, value); }
  bool operator()(const std::vector<std::int64_t>*) const {
    return value.kind == Value::Kind::kList && value.items.size() <= kMaxListItems &&
           std::all_of(value.items.begin(), value.items.end(),
                       [&](const Value& item) { return in_range(limits, item); });
  }
  bool operator()(const std::vector<std::string>*) const {
    return value.kind == Value::Kind::kList && value.items.size() <= kMaxListItems &&
           std::all_of(value.items.begin(), value.items.end(),
                       [&](const Value& item) { return text_fits(limits, item); });
  }
  bool operator()(const WordRef& ref) const {
    return value.kind == Value::Kind::kText && contains(ref.words, value.text);
  }
};

struct ValueOf {
  Value operator()(const bool* at) const { return Value::of(*at); }
  Value operator()(const std::int64_t* at) const { return Value::of(*at); }
  Value operator()(const std::uint64_t* at) const {
    if (*at > static_cast<std::uint64_t>(kMaxInteger)) {
      return Value::of(static_cast<double>(*at));
    }
    return Value::of(static_cast<std::int64_t>(*at));
  }
  Value operator()(const double* at) const { return Value::of(*at); }
  Value operator()(const std::optional<double>* at) const {
    return *at ? Value::of(**at) : Value::of(Value::Kind::kNull);
  }
  Value operator()(const std::string* at) const { return Value::of(*at); }
  Value operator()(const std::vector<std::int64_t>* at) const {
    Value list = Value::of(Value::Kind::kList);
    for (const std::int64_t item : *at) list.items.push_back(Value::of(item));
    return list;
  }
  Value operator()(const std::vector<std::string>* at) const {
    Value list = Value::of(Value::Kind::kList);
    for (const std::string& item : *at) list.items.push_back(Value::of(item));
    return list;
  }
  Value operator()(const WordRef& ref) const {
    const std::size_t index = ref.get(ref.at);
    return Value::of(std::string(index < ref.words.size() ? ref.words[index] : "?"));
  }
};

struct Store {
  const Value& value;
  // Adding 0.0 makes -0.0 a plain zero, so that equal jobs have equal text.
  double number() const {
    return (value.kind == Value::Kind::kNumber ? value.number
                                               : static_cast<double>(value.integer)) +
           0.0;
  }
  void operator()(bool* at) const { *at = value.truth; }
  void operator()(std::int64_t* at) const { *at = value.integer; }
  void operator()(std::uint64_t* at) const { *at = static_cast<std::uint64_t>(value.integer); }
  void operator()(double* at) const { *at = number(); }
  void operator()(std::optional<double>* at) const {
    value.kind == Value::Kind::kNull ? at->reset() : void(*at = number());
  }
  void operator()(std::string* at) const { *at = value.text; }
  void operator()(std::vector<std::int64_t>* at) const {
    at->clear();
    for (const Value& item : value.items) at->push_back(item.integer);
  }
  void operator()(std::vector<std::string>* at) const {
    at->clear();
    for (const Value& item : value.items) at->push_back(item.text);
  }
  void operator()(const WordRef& ref) const {
    const auto word = std::find(ref.words.begin(), ref.words.end(), value.text);
    ref.set(ref.at, static_cast<std::size_t>(word - ref.words.begin()));
  }
};

}  // namespace

std::span<const Key> keys() { return kKeys; }

const Key* find_key(std::string_view name) {
  const auto key = std::find_if(kKeys.begin(), kKeys.end(),
                                [&](const Key& candidate) { return candidate.name == name; });
  return key == kKeys.end() ? nullptr : &*key;
}

bool is_group_key(const Key& key) { return key.name.find("[]") != std::string_view::npos; }

std::vector<std::string> key_names() {
  std::vector<std::string> names;
  for (const Key& key : kKeys) names.emplace_back(key.name);
  return names;
}

bool fits(const Key& key, const Value& value) {
  return std::visit(Fits{key.limits, value}, sample(key));
}
bool holds_text(const Key& key) {
  const Ref ref = sample(key);
  return std::holds_alternative<std::string*>(ref) || std::holds_alternative<WordRef>(ref);
}

Words words_for(const Key& key) {
  const Ref ref = sample(key);
  const auto* word = std::get_if<WordRef>(&ref);
  return word != nullptr ? word->words : key.limits.words;
}

Value value_of(const Ref& ref) { return std::visit(ValueOf{}, ref); }
void store(const Ref& ref, const Value& value) { std::visit(Store{value}, ref); }

}  // namespace instep::job
