#include "job/job.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/testing_folder.h"
#include "job/testing.h"

namespace instep::job {
namespace {

namespace fs = std::filesystem;

std::string where(const Resolved& resolved, std::string_view key) {
  for (const Given& given : resolved.given) {
    if (given.key == key) return given.where;
  }
  return "";
}

TEST(Parse, AnEmptyFileIsTheDefaults) {
  const Result<Resolved> resolved = read("");
  ASSERT_TRUE(resolved.ok()) << resolved.error().message;
  EXPECT_EQ(to_json(resolved->job), to_json(Job{}));
  EXPECT_TRUE(resolved->given.empty());
}

TEST(Parse, EachTypeOfKey) {
  const Result<Resolved> resolved = read(R"(
seed = 7
evaluate_each_epoch = false
loss = "bce"
name = "try-1"
[model]
kind = "mlp"
layers = [4, 3, 1]
init = "start.safetensors"
[data]
target_column = 3
[optimizer]
lr = 1          # an integer where a number is due
momentum = 0.5
[[optimizer.group]]
match = "*.bias"
weight_decay = 0
[[optimizer.group]]
match = "0.*"
lr = 0.5
[stop]
target = 0.97
)");
  ASSERT_TRUE(resolved.ok()) << resolved.error().message;
  const Job& job = resolved->job;
  EXPECT_EQ(job.seed, 7U);
  EXPECT_FALSE(job.evaluate_each_epoch);
  EXPECT_EQ(job.loss, Loss::kBce);
  EXPECT_EQ(job.name, "try-1");
  EXPECT_EQ(job.model.layers, (std::vector<std::int64_t>{4, 3, 1}));
  EXPECT_EQ(job.model.init, "/jobs/start.safetensors");
  EXPECT_EQ(job.data.target_column, "3");
  EXPECT_EQ(job.optimizer.lr, 1.0);
  ASSERT_EQ(job.optimizer.groups.size(), 2U);
  EXPECT_EQ(job.optimizer.groups[0].match, "*.bias");
  EXPECT_EQ(job.optimizer.groups[0].weight_decay, 0.0);
  EXPECT_FALSE(job.optimizer.groups[0].lr.has_value());
  EXPECT_EQ(job.optimizer.groups[1].lr, 0.5);
  EXPECT_EQ(job.stop.target, 0.97);
  EXPECT_EQ(resolved->given.front().key, "seed");
  EXPECT_EQ(resolved->given.back().key, "stop.target");
  EXPECT_EQ(where(*resolved, "optimizer.group[1].lr"), "a.toml:20");
}

TEST(Parse, DefaultsThatDependOnOtherKeys) {
  const std::string idx = "[data]\nformat='idx'\ntrain_samples='x'\ntrain_targets='y'\n";
  EXPECT_EQ(read(idx)->job.data.scale, 1.0 / 255);
  EXPECT_EQ(read(idx + "scale = 1.0")->job.data.scale, 1.0);
  EXPECT_EQ(read("loss = 'mse'")->job.stop.metric, "loss");
  EXPECT_EQ(read("")->job.stop.metric, "accuracy");
}

TEST(Parse, AProgramsDefaultsLieBelowTheFile) {
  Job defaults;
  defaults.batch = 128;
  defaults.epochs = 5;
  const Result<Resolved> resolved = parse("epochs = 6", "a.toml", "/jobs", {}, {}, defaults);
  ASSERT_TRUE(resolved.ok());
  EXPECT_EQ(resolved->job.batch, 128);
  EXPECT_EQ(resolved->job.epochs, 6);
}

TEST(Sets, FlagOverEnvironmentOverFile) {
  const Result<Resolved> resolved =
      read("epochs = 1\nbatch = 10\nseed = 3", {"epochs=3", "epochs=4"}, {"epochs=2", "batch=20"});
  ASSERT_TRUE(resolved.ok()) << resolved.error().message;
  EXPECT_EQ(resolved->job.epochs, 4);
  EXPECT_EQ(resolved->job.batch, 20);
  EXPECT_EQ(where(*resolved, "epochs"), "--set");
  EXPECT_EQ(where(*resolved, "batch"), "INSTEP_SET");
  EXPECT_EQ(where(*resolved, "seed"), "a.toml:3");
  EXPECT_EQ(resolved->given.size(), 3U);
}

TEST(Sets, ValuesAsInTomlAndBareWords) {
  const Result<Resolved> resolved = read(
      "", {"loss=mse", "policy.kind = 'sharded'", "model.kind=mlp", "model.layers=[2, 1]", "name=5",
           "data.target_column=price", "optimizer.lr=1e-3", "evaluate_each_epoch=false"});
  ASSERT_TRUE(resolved.ok()) << resolved.error().message;
  EXPECT_EQ(resolved->job.loss, Loss::kMse);
  EXPECT_EQ(resolved->job.policy.kind, PolicyKind::kSharded);
  EXPECT_EQ(resolved->job.model.layers, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(resolved->job.name, "5");
  EXPECT_EQ(resolved->job.data.target_column, "price");
  EXPECT_EQ(resolved->job.optimizer.lr, 1e-3);
  EXPECT_FALSE(resolved->job.evaluate_each_epoch);
}

TEST(Parse, DefaultsFollowTheModelTheLossAndTheData) {
  using Metrics = std::vector<std::string>;
  const Job text =
      read("[model]\nkind='gpt'\ncontext=32\n[data]\nformat='text'\ntrain_samples='a'")->job;
  EXPECT_EQ(text.model.layers, std::vector<std::int64_t>{4});
  EXPECT_EQ(text.data.context, 32);
  EXPECT_EQ(text.metrics, (Metrics{"accuracy", "perplexity"}));
  EXPECT_EQ(parameter_count(text), (2 * 256 + 32 + 2 + 4 * (12 * 256 + 13)) * 256);
  const Job huber = read("loss='huber'")->job;
  EXPECT_EQ(huber.metrics, Metrics());
  EXPECT_EQ(huber.stop.metric, "loss");
  EXPECT_EQ(read("metrics='f1'")->job.metrics, Metrics{"f1"});
  EXPECT_EQ(read("[model]\nkind='lstm'\nlayers=3")->job.model.layers, std::vector<std::int64_t>{3});
  const Job images =
      read("[model]\nkind='resnet20'\n[data]\nformat='cifar'\ntrain_samples='a'")->job;
  EXPECT_EQ(images.data.scale, 1.0 / 255);
  EXPECT_EQ(parameter_count(images), 269'722);  // He et al., 2015, table 6: 0.27 million
}

TEST(Sets, PathsStartFromTheWorkingFolder) {
  const Result<Resolved> resolved = read("[model]\ninit='a'", {"model.init=b"});
  ASSERT_TRUE(resolved.ok());
  EXPECT_EQ(resolved->job.model.init, (fs::current_path() / "b").string());
  EXPECT_EQ(read("[model]\ninit='a'", {"model.init="})->job.model.init, "");
}

TEST(Sets, GroupsAsAWholeAndOneKey) {
  const std::string file = "[[optimizer.group]]\nmatch='a'\nlr=1\n[[optimizer.group]]\nmatch='b'\n";
  const Result<Resolved> one = read(file, {"optimizer.group[0].lr=2"});
  ASSERT_TRUE(one.ok()) << one.error().message;
  EXPECT_EQ(one->job.optimizer.groups[0].lr, 2.0);
  EXPECT_EQ(one->job.optimizer.groups.size(), 2U);
  const Result<Resolved> whole = read(file, {"optimizer.group=[{match=\"c\", lr=3}]"});
  ASSERT_TRUE(whole.ok()) << whole.error().message;
  ASSERT_EQ(whole->job.optimizer.groups.size(), 1U);
  EXPECT_EQ(whole->job.optimizer.groups[0].match, "c");
  EXPECT_EQ(whole->given.size(), 2U);
  EXPECT_TRUE(read(file, {"optimizer.group=[]"})->job.optimizer.groups.empty());
}

TEST(Sets, AreSplitOutsideQuotesAndBrackets) {
  EXPECT_EQ(split_sets("epochs=1;batch=2"), (Sets{"epochs=1", "batch=2"}));
  EXPECT_EQ(split_sets(" a='x;y' ;; b=[1;2];c=\"\\\";\" "),
            (Sets{" a='x;y' ", " b=[1;2]", "c=\"\\\";\" "}));
  EXPECT_TRUE(split_sets(" ; ").empty());
}

TEST(Sets, BadOnes) {
  EXPECT_TRUE(says(complaint("", {"epochs"}), {"--set: ", "\"epochs\"", "key=value"}));
  EXPECT_TRUE(says(complaint("", {"=3"}), {"--set: ", "key=value"}));
  EXPECT_TRUE(says(complaint("", {"epochs\nseed=3"}), {"--set: ", "key=value"}));
  EXPECT_TRUE(says(complaint("", {"epoch=3"}), {"--set: ", "epoch;", "did you mean epochs?"}));
  EXPECT_TRUE(says(complaint("", {}, {"epochs=x"}), {"INSTEP_SET: epochs: ", "\"x\"", "integer"}));
  EXPECT_TRUE(says(complaint("", {"model.layers=[1,"}), {"--set: model.layers: ", "not TOML"}));
  EXPECT_TRUE(says(complaint("", {"epochs=1\nseed=2"}), {"--set: epochs: ", "an integer"}));
  EXPECT_TRUE(says(complaint("", {"optimizer.group[999].lr=1"}), {"--set: ", "at most 64 groups"}));
  EXPECT_TRUE(says(complaint("", {"optimizer.group[1].match=x"}),
                   {"optimizer.group[0].match: ", "pattern"}));
  EXPECT_TRUE(says(complaint("", Sets(300, "epochs=1")), {"--set: ", "300", "at most 256"}));
}

struct Bad {
  std::string text;
  std::vector<std::string> parts;
};

TEST(BadInput, IsOneErrorWithLineKeyAndSuggestion) {
  const std::vector<Bad> cases = {
      // Not TOML.
      {"\xEF\xB7\xB2 = 1\n", {"a.toml:1: not TOML"}},
      {"\xC3\xA9 = 1\n", {"a.toml:1: not TOML"}},
      {"epochs = 3\nbatch = \n", {"a.toml:2: not TOML"}},
      {"epochs = 3\nepochs = 4", {"a.toml:2: not TOML"}},
      // Unknown and misspelt keys, tables, and keys below the wrong table.
      {"epochs = 3\n[optimizer]\nlrr = 1", {"a.toml:3: ", "optimizer.lrr", "mean optimizer.lr?"}},
      {"[optimiser]\nlr = 1", {"a.toml:2: ", "optimiser.lr", "mean optimizer.lr?"}},
      {"[optimizer]\nkind = 'sgd'\nbatch = 8", {"a.toml:3: ", "mean batch, ", "above the first"}},
      {"quux_corge = 1", {"a.toml:1: unknown key quux_corge", "docs/job.md"}},
      {"[quux]", {"a.toml:1: unknown key quux"}},
      {"\"optimizer.lr\" = 1", {"a.toml:1: unknown key \"optimizer.lr\""}},
      {"[[optimizer.group]]\nmatch='a'\nlearn=1", {"a.toml:3: ", "optimizer.group[0].learn"}},
      // Wrong types.
      {"epochs = 'ten'", {"a.toml:1: epochs: ", "the text \"ten\"", "an integer, 1 to "}},
      {"epochs = 1e3", {"a.toml:1: epochs: ", "the number 1000", "an integer"}},
      {"epochs = true", {"epochs: found true; allowed: an integer"}},
      {"epochs = [1]", {"epochs: found the list [1]; allowed: an integer"}},
      {"epochs = 2020-01-01", {"epochs: found a date or time"}},
      {"evaluate_each_epoch = 1", {"found the integer 1; allowed: true or false"}},
      {"name = 5", {"name: found the integer 5; allowed: a name"}},
      {"[model]\nlayers = 'five'", {"a.toml:2: model.layers: ", "a list of integers"}},
      {"metrics = ['accuracy', 3]", {"a.toml:1: metrics: ", "a list of accuracy, top-k"}},
      {"[model]\nlayers = [5, 'x']", {"a.toml:2: model.layers: ", "[5, the text \"x\"]"}},
      {"policy = 'sharded'", {"a.toml:1: policy: ", "a table [policy]", "mean policy.kind?"}},
      {"[batch]\nx = 1", {"a.toml:2: unknown key batch.x"}},
      {"[batch]", {"a.toml:1: batch: found a table; allowed: an integer"}},
      {"[optimizer.group]\nlr = 1", {"a.toml:2: optimizer.group: found a table", "[[optimizer.gr"}},
      {"[optimizer]\ngroup = 3", {"a.toml:2: optimizer.group: found the integer 3", "[[optimizer"}},
      // Out of range.
      {"epochs = 0", {"a.toml:1: epochs: found the integer 0; allowed: an integer, 1 to "}},
      {"seed = -1", {"seed: found the integer -1; allowed: an integer, 0 to "}},
      {"version = 2\nnew_key = 3",
       {"a.toml:1: version: found the integer 2; allowed: an integer, 1"}},
      {"new_key = 3\nversion = 2", {"a.toml:2: version: "}},
      {"[optimizer]\nlr = -0.1", {"a.toml:2: optimizer.lr: found the number -0.1", "0 to 1000"}},
      {"[optimizer]\nlr = nan", {"optimizer.lr: found the number nan"}},
      {"[optimizer]\nlr = inf", {"optimizer.lr: found the number inf"}},
      {"[optimizer]\nmomentum = 1.0", {"a.toml:2: optimizer.momentum: ", "from 0, below 1"}},
      {"[optimizer]\neps = 0.0", {"a.toml:2: optimizer.eps: ", "above 0, at most 1"}},
      {"[faults]\npatience = 0.25", {"a.toml:2: faults.patience: ", "above 0.25, at most 86400"}},
      {"name = '../up'", {"name: found the text \"../up\"; allowed: a name"}},
      {"[model]\ninit = \"a\\u0001b\"",
       {"a.toml:2: model.init: found the text \"/jobs/a?b\"", "control"}},
      {"[model]\nlayers = [4, 0]", {"a.toml:2: model.layers: found the list [4, 0]", "1 to "}},
      // Wrong words.
      {"loss = 'cross_entropy'",
       {"a.toml:1: loss: ", "one of cross-entropy, mse, bce", "mean cross-entropy?"}},
      {"[optimizer]\nkind = 'adma'", {"a.toml:2: optimizer.kind: ", "sgd, adam, adamw", "adam?"}},
      {"[model]\nkind = 'mpl'", {"a.toml:2: model.kind: ", "one of empty, mlp", "mean mlp?"}},
      {"[stop]\nmetric = 'f2'", {"a.toml:2: stop.metric: ", "one of accuracy, loss"}},
      // What only the whole shows, at the place that is to blame.
      {"shards = 8\nbatch = 7", {"a.toml:2: batch: found 7 with 8 shards"}},
      {"shards = 100", {"a.toml:1: batch: found 64 with 100 shards"}},
      {"[model]\nkind = 'mlp'", {"a.toml:2: model.layers: found 0 layers", "at least two"}},
      {"[model]\nlayers = [3, 4]", {"a.toml:2: model.layers: ", "model.kind"}},
      {"[model]\nkind='mlp'\nlayers=[3, 1]", {"a.toml:3: model.layers: ", "cross-entropy"}},
      {"[model]\nkind='mlp'\nlayers=[3, 4]\n[data]\nclasses=5", {"a.toml:5: ", "4 outputs for 5"}},
      {"[data]\nformat = 'idx'", {"a.toml:2: data.train_samples: idx data needs"}},
      {"[data]\nformat='idx'\ntrain_samples='a'\ntrain_targets='b'\ntest_samples='c'",
       {"a.toml:5: data.test_targets: ", "both"}},
      {"[data]\nformat='csv'\ntrain_samples='a'\ntrain_targets='b'", {"a.toml:4: ", "column"}},
      {"[data]\nformat='synthetic'\nsamples=1000000000\nfeatures=1000000",
       {"a.toml:4: data.samples: ", "at most 4294967296 values"}},
      {"[data]\nformat='synthetic'\n[model]\nkind='mlp'\nlayers=[3, 4]",
       {"a.toml:5: model.layers: found 3 inputs for samples of 20"}},
      {"[split]\nvalidation = 0.5\ntest = 0.5", {"a.toml:3: split.validation: ", "at most 0.9"}},
      {"[data]\nformat='synthetic'\n[split]\ntest=0.1", {"a.toml:4: split.test: ", "of its own"}},
      {"loss='mse'\n[split]\nstratified=true", {"a.toml:3: split.stratified: ", "loss mse"}},
      {"loss='mse'\n[partition]\nstrategy='stratified'", {"a.toml:3: partition.strategy: "}},
      {"[optimizer]\nnesterov = true", {"a.toml:2: optimizer.nesterov: ", "momentum"}},
      {"[[optimizer.group]]\nlr = 1", {"a.toml:2: optimizer.group[0].match: ", "pattern"}},
      {"[[optimizer.group]]", {"a.toml: optimizer.group[0].match: ", "pattern"}},
      {"loss='mse'\n[stop]\ntarget=0.5\nmetric='accuracy'", {"a.toml:4: stop.metric: ", "loss"}},
      {"[model]\nkind='mlp'\nlayers=[2, 2]\n[stop]\ntarget=0.5\nmetric='f1'",
       {"a.toml:6: stop.metric: ", "f1", "add it to metrics"}},
      {"metrics='top-k'\ntop_k=3\n[model]\nkind='mlp'\nlayers=[2, 3]",
       {"a.toml:2: top_k: ", "3 outputs", "below 3"}},
      {"evaluate_each_epoch=false\n[schedule]\nkind='plateau'",
       {"a.toml:3: evaluate_each_epoch: ", "needs true"}},
      {"[schedule]\nkind='plateau'\ngamma=1.0", {"a.toml:3: schedule.gamma: ", "below 1"}},
      {"loss='mse'\nmetrics=['mae', 'f1']", {"a.toml:2: metrics: ", "f1", "with it: mae"}},
      {"loss='bce'\nlabel_smoothing=0.1", {"a.toml:2: label_smoothing: ", "cross-entropy"}},
      {"shards=4\n[codec]\nkind='int8'\nnodes=5",
       {"a.toml:4: codec.nodes: found 5 nodes of a tree of 4 shards"}},
      {"shards=2000\nbatch=4000\n[codec]\nkind='bf16'",
       {"a.toml:4: codec.nodes: found 2000 shards", "at most 1024", "set codec.nodes"}},
      {"[codec]\nkind='top-k'\nkeep=0",
       {"a.toml:3: codec.keep: found the integer 0; allowed: a number, above 0"}},
      {"accumulate=9", {"a.toml:1: accumulate: found 9 parts of a shard's 8 samples"}},
      {"[model]\nkind='resnet20'\nlayers=20", {"a.toml:3: model.layers: ", "mlp"}},
      {"[model]\nkind='gpt'\nlayers=[2, 3]", {"a.toml:3: model.layers: found 2 numbers"}},
      {"[model]\nkind='gpt'\nwidth=30", {"a.toml:3: model.width: found 30, which 4 heads"}},
      {"[model]\nkind='torchscript'", {"a.toml:2: model.file: ", "torch.jit.save"}},
      {"[model]\nkind='mlp'\nlayers=[2, 2]\nfile='a'", {"a.toml:4: model.file: ", "torchscript"}},
      {"[model]\nfile_sha256='00'", {"a.toml:2: model.file_sha256: ", "torchscript"}},
      {"[model]\nkind='torchscript'\nfile='a'\nfile_sha256='00'",
       {"a.toml:4: model.file_sha256: found 00; allowed: 64"}},
      {"[model]\nkind='gpt'\n[data]\nformat='csv'\ntrain_samples='a'",
       {"a.toml:4: data.format: gpt reads text"}},
      {"[model]\nkind='resnet20'\n[data]\nformat='text'\ntrain_samples='a'",
       {"a.toml:4: data.format: text is read by gpt"}},
      {"loss='mse'\n[model]\nkind='gpt'\n[data]\nformat='text'\ntrain_samples='a'",
       {"a.toml:5: loss: text is learnt with cross-entropy"}},
      {"[model]\nkind='gpt'\n[data]\nformat='text'\ntrain_samples='a'\ncontext=200",
       {"a.toml:6: data.context: found samples of 200 tokens", "128"}},
      {"[model]\nkind='gpt'\n[data]\nformat='text'\ntrain_samples='a'\n[split]\nstratified=true",
       {"a.toml:7: split.stratified: ", "one class a sample"}},
      {"[model]\nkind='gpt'\n[data]\nformat='text'\ntrain_samples='a'\n"
       "[partition]\nstrategy='stratified'",
       {"a.toml:7: ", "one class a sample"}},
      {"[data]\nformat='synthetic'\nshape=[1,1,1,1,1,1,1,1,1]",
       {"a.toml:3: data.shape: found 9 dimensions", "at most 8"}},
      {"[data]\nformat='cifar'\ntrain_samples='a'\ntest_targets='b'",
       {"a.toml:4: data.test_targets: cifar data has its targets"}},
      {"[data]\nformat='synthetic'\nshape=[10000, 10000, 10000]",
       {"a.toml:3: data.samples: found 1200 samples of"}},
  };
  for (const Bad& bad : cases) {
    EXPECT_TRUE(says(complaint(bad.text), bad.parts)) << bad.text;
  }
}

TEST(BadInput, TheSettingThatBreaksItIsToBlame) {
  EXPECT_TRUE(says(complaint("batch = 64\nshards = 8", {"shards=100"}), {"--set: batch: ", "100"}));
}

TEST(BadInput, LongAndDeepTextsAreRefused) {
  EXPECT_TRUE(says(complaint(std::string(kMaxJobBytes + 1, '\n')), {"a.toml: found ", "65536"}));
  std::string dots = "a";
  while (dots.size() + 2 < kMaxJobBytes - 8) dots += ".a";
  EXPECT_TRUE(says(complaint(dots + " = 1"), {"a.toml: found ", "dots"}));
  EXPECT_TRUE(says(complaint(dots.substr(0, 8001) + " = 1"), {"a.toml:1: "}));
  EXPECT_TRUE(says(complaint("x = " + std::string(30000, '[')), {"a.toml:1: not TOML"}));
  EXPECT_LT(complaint("name = '" + std::string(60000, 'x') + "'").size(), 400U);
  EXPECT_LT(complaint(std::string(60000, 'x') + " = 1").size(), 400U);
  std::string groups;
  for (int i = 0; i < 65; ++i) groups += "[[optimizer.group]]\nmatch = 'a'\n";
  EXPECT_TRUE(says(complaint(groups), {"at most 64 groups"}));
}

TEST(Load, AFolderMeansItsJobFile) {
  const TestFolder made;
  const fs::path folder = made.path() / "mine";
  fs::create_directory(folder);
  const auto write = [&](const char* name, const char* text) {
    std::ofstream(folder / name) << text;
  };
  EXPECT_EQ(load(folder, {}).error().kind, ErrorKind::kNotFound);
  EXPECT_EQ(load(folder / "no.toml", {}).error().kind, ErrorKind::kNotFound);
  write("other.toml", "epochs = 2\n[model]\ninit = 'w'\n");
  const Result<Resolved> only = load(folder, {});
  ASSERT_TRUE(only.ok()) << only.error().message;
  EXPECT_EQ(only->job.epochs, 2);
  EXPECT_EQ(only->job.model.init, (folder / "w").string());
  write("third.toml", "");
  EXPECT_TRUE(says(load(folder, {}).error().message, {"several", "other.toml, third.toml"}));
  write("mine.toml", "epochs = 9\nbad = 1\n");
  EXPECT_TRUE(says(load(folder / "", {}).error().message, {"mine.toml:2: unknown key bad"}));
}

TEST(Load, AScriptIsTheOneWhoseDigestTheJobHas) {
  const TestFolder made;
  const fs::path& folder = made.path();
  made.write("job.toml", "[model]\nkind = 'torchscript'\nfile = 'm.pt'\n");
  EXPECT_TRUE(says(load(folder, {}).error().message, {"model.file: ", "m.pt is not there"}));
  made.write("m.pt", "abc");
  const auto resolved = load(folder, {});
  ASSERT_TRUE(resolved.ok()) << resolved.error().message;
  const std::string digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  EXPECT_EQ(resolved->job.model.file_sha256, digest);
  EXPECT_TRUE(load(folder, {"model.file_sha256=" + digest}).ok());
  const std::string other(64, '0');
  const auto refused = load(folder, {"model.file_sha256=\"" + other + "\""});
  ASSERT_FALSE(refused.ok());
  EXPECT_TRUE(says(refused.error().message, {"model.file: ", "ba7816bf", "another file"}));
  Job twin = resolved->job;
  twin.model.file_sha256 = other;
  EXPECT_NE(hash(twin), hash(resolved->job));
}

TEST(Validate, AProgramsJobIsHeldToTheSameRanges) {
  EXPECT_TRUE(validate(Job{}).ok());
  Job job;
  job.optimizer.lr = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(says(validate(job).error().message, {"optimizer.lr: found the number nan"}));
  job = Job{};
  job.optimizer.groups.resize(2);
  job.optimizer.groups[1].lr = -1;
  EXPECT_TRUE(says(validate(job).error().message, {"optimizer.group[1].lr: ", "-1"}));
  job = Job{};
  job.model.init = "\xff";
  EXPECT_FALSE(validate(job).ok());
  EXPECT_FALSE(to_json(job).empty());
  job = Job{};
  job.seed = std::numeric_limits<std::uint64_t>::max();
  EXPECT_TRUE(says(validate(job).error().message, {"seed: "}));
}

}  // namespace
}  // namespace instep::job
