// The job as JSON, its hash, and what is counted from it.
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "base/text.h"
#include "job/job.h"
#include "job/keys.h"
#include "job/testing.h"

namespace instep::job {
namespace {

TEST(Json, ThereAndBackIsTheSame) {
  const Result<Resolved> resolved = read(R"(
seed = 9223372036854775807
loss = "bce"
[model]
kind = "mlp"
layers = [3, 1]
init = "größe.safetensors"
[optimizer]
kind = "adamw"
lr = 0.1
[[optimizer.group]]
match = "*.bias"
weight_decay = 0.3
[stop]
target = 0.1
[debug]
shuffle_exchange = 5
)");
  ASSERT_TRUE(resolved.ok()) << resolved.error().message;
  const std::string text = to_json(resolved->job);
  const Result<Job> back = from_json(text);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(to_json(*back), text);
  EXPECT_EQ(back->seed, 9223372036854775807U);
  EXPECT_EQ(back->optimizer.groups[0].weight_decay, 0.3);
  EXPECT_EQ(back->model.init, "/jobs/größe.safetensors");
  for (const Key& key : keys()) {
    const std::string last(key.name.substr(key.name.rfind('.') + 1));
    EXPECT_NE(text.find(cat('"', last, "\":")), std::string::npos) << key.name;
  }
}

TEST(Json, MinusZeroIsZero) {
  EXPECT_EQ(to_json(read("[data]\nshift = -0.0")->job), to_json(Job{}));
}

TEST(Json, ForeignTextsAreRefused) {
  const auto refused = [](std::string_view text) {
    const Result<Job> job = from_json(text);
    return job.ok() ? std::string("accepted") : job.error().message;
  };
  EXPECT_EQ(refused("{}"), "accepted");
  EXPECT_TRUE(says(refused(""), {"job JSON: ", "cut off"}));
  EXPECT_TRUE(says(refused("[]"), {"no JSON object"}));
  const std::string whole = to_json(Job{});
  EXPECT_TRUE(says(refused(whole.substr(0, whole.size() / 2)), {"cut off"}));
  EXPECT_TRUE(says(refused(R"({"epochs":3,"epochs":4})"), {"\"epochs\" stands twice"}));
  EXPECT_TRUE(says(refused(R"({"epoch":3})"), {"unknown key epoch;", "epochs?"}));
  EXPECT_TRUE(says(refused(R"({"epochs":"3"})"), {"epochs: found the text"}));
  EXPECT_TRUE(says(refused(R"({"epochs":null})"), {"epochs: found nothing"}));
  EXPECT_TRUE(says(refused(R"({"seed":18446744073709551615})"), {"seed: found the number 18446"}));
  EXPECT_TRUE(says(refused(R"({"batch":4})"), {"batch: found 4 with 8 shards"}));
  EXPECT_TRUE(says(refused(R"({"model":{"kind":7}})"), {"model.kind: found the integer 7"}));
  EXPECT_TRUE(says(refused(R"({"optimizer.lr":1})"), {"unknown key \"optimizer.lr\""}));
  EXPECT_TRUE(says(refused(R"({"":1})"), {"unknown key"}));
  EXPECT_TRUE(says(refused(R"({"model":[{"kind":"mlp"}]})"), {"model: found a list of tables"}));
  EXPECT_TRUE(says(refused(cat("{\"a\":", std::string(60000, '['))), {"nested too deep"}));
  EXPECT_TRUE(says(refused(std::string(kMaxJobBytes + 1, ' ')), {"65536"}));
  std::string objects;
  for (int i = 0; i < 10000; ++i) objects += R"({"a":)";
  EXPECT_TRUE(says(refused(objects), {"nested too deep"}));
}

TEST(Json, EveryCutAndFlipOfAJobIsSurvived) {
  const std::string whole = to_json(Job{});
  for (std::size_t i = 0; i < whole.size(); ++i) {
    EXPECT_FALSE(from_json(whole.substr(0, i)).ok()) << i;
    for (const int bit : {0, 2, 6}) {
      std::string flipped = whole;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << bit));
      if (const Result<Job> job = from_json(flipped); job.ok()) {
        EXPECT_TRUE(validate(*job).ok());
      }
    }
  }
}

TEST(Hash, LeavesOutWhatChangesNoBit) {
  const std::string base = hash(Job{});
  EXPECT_EQ(base.size(), 64U);
  const Sets none = {"name=other",
                     "epochs=9",
                     "policy.kind=sharded",
                     "stop.wall_seconds=5",
                     "checkpoint.keep_last=9",
                     "faults.patience=5",
                     "links.compression=never",
                     "debug.shuffle_exchange=4",
                     "codec.nodes=2",  // of no codec
                     "evaluate_each_epoch=false"};
  for (const std::string& set : none) EXPECT_EQ(hash(read("", {set})->job), base) << set;
  const Sets some = {"seed=2",         "batch=65",          "shards=4",
                     "threads=2",      "optimizer.lr=0.02", "loss=mse",
                     "model.init=w",   "data.limit=5",      "partition.strategy=random",
                     "codec.kind=bf16"};
  for (const std::string& set : some) EXPECT_NE(hash(read("", {set})->job), base) << set;
}

TEST(Hash, CosineDependsOnTheEpochs) {
  const Sets cosine = {"schedule.kind=cosine"};
  EXPECT_NE(hash(read("", cosine)->job), hash(read("epochs = 2", cosine)->job));
}

TEST(Hash, DoesNotDependOnWhereTheFilesLie) {
  const std::string_view text = "[model]\ninit = 'w'";
  EXPECT_EQ(hash(parse(text, "a", "/one", {}, {})->job),
            hash(parse(text, "a", "/two", {}, {})->job));
}

TEST(ParameterCount, CountsWeightsBiasesAndState) {
  const std::string mlp = "[model]\nkind='mlp'\nlayers=[784, 64, 10]\n[optimizer]\n";
  constexpr std::int64_t kWeights = 785 * 64 + 65 * 10;
  EXPECT_EQ(parameter_count(read(mlp)->job), kWeights);
  EXPECT_EQ(parameter_count(read(mlp + "momentum=0.9")->job), 2 * kWeights);
  EXPECT_EQ(parameter_count(read(mlp + "kind='adam'")->job), 3 * kWeights);
  EXPECT_EQ(parameter_count(Job{}), 0);
}

TEST(Words, AreThoseOfTheJobFile) {
  EXPECT_EQ(to_text(Loss::kBce), "bce");
  EXPECT_EQ(to_text(Activation::kGelu), "gelu");
  EXPECT_EQ(to_text(DataFormat::kSynthetic), "synthetic");
  EXPECT_EQ(to_text(PartitionKind::kStratified), "stratified");
  EXPECT_EQ(to_text(OptimizerKind::kAdamW), "adamw");
  EXPECT_EQ(to_text(ScheduleKind::kCosine), "cosine");
  EXPECT_EQ(to_text(PolicyKind::kParameterServer), "parameter-server");
  EXPECT_EQ(to_text(CodecKind::kTopK), "top-k");
  EXPECT_EQ(to_text(OnNonfinite::kSkip), "skip");
}

}  // namespace
}  // namespace instep::job
