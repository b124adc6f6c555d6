// The job: what is computed, and nothing about who computes it. A job file is TOML, versioned; its
// keys, defaults and ranges are documented in docs/job.md. Torch-free, so that the launcher can
// check a job without loading libtorch.
//
// Precedence, everywhere: flag (--set) over environment (INSTEP_SET) over job file over the
// defaults that a program gives over the defaults here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace instep::job {

enum class Loss { kCrossEntropy, kMse, kBce, kHuber };
enum class Activation { kRelu, kTanh, kSigmoid, kGelu };
enum class DataFormat { kNone, kIdx, kCsv, kSynthetic, kNpy, kCifar, kText };
enum class PartitionKind { kContiguous, kRoundRobin, kRandom, kStratified };
enum class OptimizerKind { kSgd, kAdam, kAdamW };
enum class ScheduleKind { kConstant, kStep, kCosine, kPlateau };
enum class PolicyKind { kAllReduce, kSharded, kParameterServer };
enum class CodecKind { kNone, kBf16, kInt8, kTopK };
enum class OnNonfinite { kStop, kSkip };
enum class OnCorruption { kRestore, kEnd };
enum class Compression { kAuto, kAlways, kNever };
enum class Precision { kFp32, kBf16 };
enum class Decay { kWeights, kAll };

struct Model {
  std::string kind;  // "mlp", "resnet20", …; empty when a user's program brings its own
  std::vector<std::int64_t> layers;  // mlp: inputs, hidden…, outputs; gpt, lstm: how many
  Activation activation = Activation::kRelu;
  std::int64_t heads = 4, width = 256;  // gpt; width: lstm too
  std::int64_t context = 128;           // gpt: the most tokens that it looks back on
  std::int64_t vocabulary = 256;        // gpt, lstm on tokens
  std::int64_t channels = 3;            // resnet20: of an image
  std::int64_t inputs = 0;              // lstm: values of a step; 0: it reads tokens
  std::int64_t outputs = 10;            // resnet20, lstm on values
  double dropout = 0.0;                 // gpt, lstm (between its layers)
  std::string file;                     // torchscript
  std::string file_sha256;              // of it; load() fills it in
  std::string init;                     // a safetensors file to start from; empty: by the seed
};

struct Data {
  DataFormat format = DataFormat::kNone;
  // idx, npy: four files (idx gzipped or not). csv, text, npz: train and test alone. cifar: a
  // folder or a file.
  std::string train_samples, train_targets, test_samples, test_targets;
  std::string target_column;               // csv: name or number; default the last
  bool header = true;                      // csv
  double scale = 1.0, shift = 0.0;         // x = stored * scale + shift; idx default scale 1/255
  std::int64_t classes = 0;                // 0: from the data
  std::int64_t limit = 0, test_limit = 0;  // use at most the first so many samples; 0: all
  // synthetic: seeded samples in class clusters (cross-entropy, bce) or a noisy linear map (mse).
  std::int64_t samples = 1000, test_samples_count = 200, features = 20;
  std::vector<std::int64_t> shape;  // of a synthetic sample; empty: [features]
  double noise = 1.0;
  std::string samples_key = "x", targets_key = "y";  // names of the arrays in an npz file
  std::int64_t context = 0;                          // text: tokens of a sample; 0: model.context
};

struct Split {
  double validation = 0.0;  // fraction of the training samples, [0, 0.9]
  double test = 0.0;        // the same, where the data brings no test set
  bool stratified = false;
};

struct OptimizerGroup {  // [[optimizer.group]]: parameters whose name matches
  std::string match;     // shell pattern on the parameter's name
  std::optional<double> lr, weight_decay, momentum;
};

struct Optimizer {
  OptimizerKind kind = OptimizerKind::kSgd;
  double lr = 0.01, momentum = 0.0, dampening = 0.0, weight_decay = 0.0;
  bool nesterov = false;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double clip_norm = 0.0;         // 0: no clipping by global norm
  Decay decay = Decay::kWeights;  // what weight_decay acts on: tensors of two and more dimensions
  std::vector<OptimizerGroup> groups;
};

struct Schedule {  // a factor on every group's lr, by round
  ScheduleKind kind = ScheduleKind::kConstant;
  std::int64_t warmup_rounds = 0;
  std::int64_t step_epochs = 1;  // step: every so many epochs of data, times gamma
  double gamma = 0.1;
  double final_factor = 0.0;         // cosine: what is left at the end; plateau: the least
  std::int64_t patience_epochs = 5;  // plateau: so many without improvement, then times gamma
};

struct Policy {
  PolicyKind kind = PolicyKind::kAllReduce;
  std::int64_t servers = 1;  // parameter-server only
};

struct Codec {  // what is left of gradients that are sent
  CodecKind kind = CodecKind::kNone;
  std::int64_t nodes = 0;  // of the canonical tree that are encoded; 0: each shard
  double keep = 0.05;      // top-k: the part of the values that is sent
};

struct Stop {                        // each is off at its default
  std::string metric = "accuracy";   // of the validation set, else of the test set
  std::optional<double> target;      // reached: stop ("loss" downwards, others upwards)
  std::int64_t patience_epochs = 0;  // no improvement for so many epochs
  double gradient_norm = 0.0;        // combined gradient's norm below it
  double parameter_change = 0.0;     // norm of a round's change below it
  double wall_seconds = 0.0;
};

struct Ema {           // exponential moving average of the weights
  double decay = 0.0;  // 0: none
};

struct Checkpoint {
  std::int64_t every_rounds = 0, every_epochs = 1;  // 0: not by that
  std::int64_t keep_last = 2, keep_best = 1;
};

struct Faults {          // what is done about agents that fail
  double patience = 60;  // seconds: at the most so long may an agent be silent
  OnCorruption on_corruption = OnCorruption::kRestore;
};

struct Links {  // between hosts
  Compression compression = Compression::kAuto;
};

struct Job {
  std::int64_t version = 1;
  std::string name = "run";
  std::uint64_t seed = 1;
  std::int64_t epochs = 1;
  std::int64_t batch = 64;  // global, over all shards
  std::int64_t shards = 8;
  std::int64_t threads = 1;        // intra-op threads of a shard's computation
  std::int64_t eval_batch = 1000;  // samples of one evaluation step
  bool evaluate_each_epoch = true;
  Loss loss = Loss::kCrossEntropy;
  double label_smoothing = 0.0;  // cross-entropy
  double huber_delta = 1.0;
  std::vector<std::string> metrics = {"accuracy"};  // of evaluations, beside the loss
  std::int64_t top_k = 5;
  OnNonfinite on_nonfinite = OnNonfinite::kStop;
  Precision precision = Precision::kFp32;  // of the forward and backward pass
  std::int64_t accumulate = 1;             // parts in which a shard's samples are computed
  Model model;
  Data data;
  Split split;
  PartitionKind partition = PartitionKind::kContiguous;
  Optimizer optimizer;
  Schedule schedule;
  Policy policy;
  Codec codec;
  Ema ema;
  Stop stop;
  Checkpoint checkpoint;
  Faults faults;
  Links links;
  std::uint64_t shuffle_exchange = 0;  // [debug]: not 0: the exchange's steps in this seeded order
};

// A key that was given, as "optimizer.lr", and where: "mnist.toml:12", "--set", "INSTEP_SET".
struct Given {
  std::string key, where;
};

struct Resolved {
  Job job;
  std::vector<Given> given;  // in file order, the winners only
};

// Reads and checks a job. `text` is TOML; `name` is what errors call it. Relative paths in the job
// file are resolved against `folder` (the file's own), those of sets against the working folder.
// Sets are "key=value", value as in TOML (bare words are taken as strings). The first mistake is
// the error: file:line, the key, what was found, what is allowed, and for a misspelt key the
// nearest one.
Result<Resolved> parse(std::string_view text, const std::string& name,
                       const std::filesystem::path& folder, const std::vector<std::string>& sets,
                       const std::vector<std::string>& environment_sets, const Job& defaults = {});
// PATH may be a folder with one job file in it (examples/mnist means examples/mnist/mnist.toml).
// Reads model.file's SHA-256, or holds the file to the one that is given.
Result<Resolved> load(const std::filesystem::path& path, const std::vector<std::string>& sets,
                      const std::vector<std::string>& environment_sets = {});
// The same where the files that the job names need not be there.
Result<Resolved> load_without_files(const std::filesystem::path& path,
                                    const std::vector<std::string>& sets,
                                    const std::vector<std::string>& environment_sets);
// The sets of INSTEP_SET's text: separated by ';', where it stands outside quotes and brackets.
std::vector<std::string> split_sets(std::string_view text);

// Every key's range, and what can only be judged on the whole: batch at least shards, an mlp needs
// two layers, … parse, load and from_json have done it; it is for jobs that a program puts
// together.
Status validate(const Job& job);

// The resolved job as JSON (keys as in the job file, all of them), and back. to_json is canonical:
// the same job gives the same text. from_json trusts nothing: it refuses unknown and repeated keys,
// wrong types and ranges, and more than kMaxJobBytes; a key that is not there has its default, so
// that a job saved by an older build can be read.
inline constexpr std::size_t kMaxJobBytes = 64 << 10;
std::string to_json(const Job& job);
Result<Job> from_json(std::string_view text);
// SHA-256 of the canonical JSON without what changes no bit of the result (name, checkpoint,
// policy, epochs unless the schedule depends on it, stop, metrics, faults, debug,
// evaluate_each_epoch, the folders of files): equal hashes train the same trajectory on the same
// data.
std::string hash(const Job& given);

// Whether less is better: of losses, errors and perplexity.
bool falls(std::string_view metric);
// Whether an evaluation with this loss can measure it ("loss" always).
bool fits(std::string_view metric, Loss loss);

// Nodes of the canonical tree that the job's codec encodes.
std::int64_t codec_nodes(const Job& job);

// Parameters and optimizer state of the job's model, in elements; 0 if only libtorch knows: of a
// program's own model, and of TorchScript.
std::int64_t parameter_count(const Job& job);
// A shard with fewer samples a round can cost more than 10 % of the speed.
inline constexpr std::int64_t kSmallShard = 8;

// The words of the enums, as in the job file.
std::string_view to_text(Loss value);
std::string_view to_text(Activation value);
std::string_view to_text(DataFormat value);
std::string_view to_text(PartitionKind value);
std::string_view to_text(OptimizerKind value);
std::string_view to_text(ScheduleKind value);
std::string_view to_text(PolicyKind value);
std::string_view to_text(CodecKind value);
std::string_view to_text(OnNonfinite value);
std::string_view to_text(OnCorruption value);
std::string_view to_text(Compression value);
std::string_view to_text(Precision value);
std::string_view to_text(Decay value);

}  // namespace instep::job
