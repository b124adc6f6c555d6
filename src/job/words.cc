#include "job/words.h"

#include <array>
#include <cstddef>

namespace instep::job {
namespace {

using Word = std::string_view;

constexpr std::array<Word, 4> kLoss = {"cross-entropy", "mse", "bce", "huber"};
constexpr std::array<Word, 4> kActivation = {"relu", "tanh", "sigmoid", "gelu"};
constexpr std::array<Word, 7> kDataFormat = {"none", "idx",   "csv", "synthetic",
                                             "npy",  "cifar", "text"};
constexpr std::array<Word, 4> kPartitionKind = {"contiguous", "round-robin", "random",
                                                "stratified"};
constexpr std::array<Word, 3> kOptimizerKind = {"sgd", "adam", "adamw"};
constexpr std::array<Word, 4> kScheduleKind = {"constant", "step", "cosine", "plateau"};
constexpr std::array<Word, 3> kPolicyKind = {"all-reduce", "sharded", "parameter-server"};
constexpr std::array<Word, 4> kCodecKind = {"none", "bf16", "int8", "top-k"};
constexpr std::array<Word, 2> kOnNonfinite = {"stop", "skip"};
constexpr std::array<Word, 2> kOnCorruption = {"restore", "end"};
constexpr std::array<Word, 3> kCompression = {"auto", "always", "never"};
constexpr std::array<Word, 2> kPrecision = {"fp32", "bf16"};
constexpr std::array<Word, 2> kDecay = {"weights", "all"};

template <class Enum>
std::string_view word(Enum value) {
  const Words words = words_of(value);
  const auto index = static_cast<std::size_t>(value);
  INSTEP_CHECK(index < words.size(), "an enum of the job has one of its values");
  return words[index];
}

}  // namespace

Words words_of(Loss) { return kLoss; }
Words words_of(Activation) { return kActivation; }
Words words_of(DataFormat) { return kDataFormat; }
Words words_of(PartitionKind) { return kPartitionKind; }
Words words_of(OptimizerKind) { return kOptimizerKind; }
Words words_of(ScheduleKind) { return kScheduleKind; }
Words words_of(PolicyKind) { return kPolicyKind; }
Words words_of(CodecKind) { return kCodecKind; }
Words words_of(OnNonfinite) { return kOnNonfinite; }
Words words_of(OnCorruption) { return kOnCorruption; }
Words words_of(Compression) { return kCompression; }
Words words_of(Precision) { return kPrecision; }
Words words_of(Decay) { return kDecay; }

std::string_view to_text(Loss value) { return word(value); }
std::string_view to_text(Activation value) { return word(value); }
std::string_view to_text(DataFormat value) { return word(value); }
std::string_view to_text(PartitionKind value) { return word(value); }
std::string_view to_text(OptimizerKind value) { return word(value); }
std::string_view to_text(ScheduleKind value) { return word(value); }
std::string_view to_text(PolicyKind value) { return word(value); }
std::string_view to_text(CodecKind value) { return word(value); }
std::string_view to_text(OnNonfinite value) { return word(value); }
std::string_view to_text(OnCorruption value) { return word(value); }
std::string_view to_text(Compression value) { return word(value); }
std::string_view to_text(Precision value) { return word(value); }
std::string_view to_text(Decay value) { return word(value); }

}  // namespace instep::job
