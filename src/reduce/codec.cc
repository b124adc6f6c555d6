// Built with -O3 -mavx2 and -ffp-contract=off (see the root CMakeLists.txt).
#include "reduce/codec.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <utility>

#include "base/result.h"

namespace instep::reduce {
namespace {

constexpr std::size_t kRun = 1024;
constexpr std::uint32_t kMagnitude = 0x7fffffff;
constexpr std::uint32_t kInfinity = 0x7f800000;

// Magnitudes are ordered as their bits are.
std::uint32_t magnitude(float value) { return std::bit_cast<std::uint32_t>(value) & kMagnitude; }

std::uint32_t largest(const float* values, std::size_t count) {
  std::uint32_t most = 0;
  for (std::size_t i = 0; i < count; ++i) most = std::max(most, magnitude(values[i]));
  return most;
}

void fill_nan(float* values, std::size_t count) {
  std::fill_n(values, count, std::numeric_limits<float>::quiet_NaN());
}

// The magnitude of the `keep`-th largest. Most values are below all of the `keep` largest of 64
// maxima, and so out of the question.
std::uint32_t threshold(const float* values, std::size_t count, std::size_t keep) {
  constexpr std::size_t kLanes = 64;
  std::array<std::uint32_t, kRun> left{};
  std::uint32_t floor = 0;
  if (keep <= kLanes && count == kRun) {
    std::array<std::uint32_t, kLanes> most{};
    for (std::size_t i = 0; i < count; i += kLanes) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        most[lane] = std::max(most[lane], magnitude(values[i + lane]));
      }
    }
    std::nth_element(most.begin(), most.begin() + static_cast<std::ptrdiff_t>(keep - 1), most.end(),
                     std::greater<>());
    floor = most[keep - 1];
  }
  std::size_t found = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t it = magnitude(values[i]);
    left[found] = it;
    found += it >= floor ? 1 : 0;
  }
  const auto at = left.begin() + static_cast<std::ptrdiff_t>(keep - 1);
  std::nth_element(left.begin(), at, left.begin() + static_cast<std::ptrdiff_t>(found),
                   std::greater<>());
  return *at;
}

// The upper half of what is left of a value; the lower one is zero.
std::uint32_t upper_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const bool is_nan = (bits & kMagnitude) > kInfinity;
  return is_nan ? 0x7fc0U : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// The levels of a run of int8. The step is 0 where all become zero, and NaN where all become that.
struct Levels {
  float step = 0, inverse = 0;
};

Levels levels_of(const float* values, std::size_t count) {
  constexpr float kLevels = 127;
  const std::uint32_t bits = largest(values, count);
  if (bits >= kInfinity) return {std::numeric_limits<float>::quiet_NaN(), 0};
  const auto most = std::bit_cast<float>(bits);
  if (most < 0x1p-100F) return {};
  return {most / kLevels, kLevels / most};
}

// Adding and taking away 1.5 * 2^23 rounds to an integer, ties to even.
float level(float value, float inverse) {
  constexpr float kRounding = 0x1.8p23F;
  return (value * inverse + kRounding) - kRounding;
}

void pack_bf16(const float* values, std::size_t count, std::byte* to) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto half = static_cast<std::uint16_t>(upper_half(values[i]));
    std::memcpy(to + i * sizeof half, &half, sizeof half);
  }
}

void unpack_bf16(const std::byte* from, std::size_t count, float* to) {
  for (std::size_t i = 0; i < count; ++i) {
    std::uint16_t half = 0;
    std::memcpy(&half, from + i * sizeof half, sizeof half);
    to[i] = std::bit_cast<float>(std::uint32_t{half} << 16);
  }
}

void pack_int8(const float* values, std::size_t count, std::byte* to) {
  const Levels levels = levels_of(values, count);
  std::memcpy(to, &levels.step, sizeof levels.step);
  to += sizeof levels.step;
  if (!(levels.step > 0)) {
    std::memset(to, 0, count);
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const auto whole = static_cast<std::int32_t>(level(values[i], levels.inverse));
    to[i] = static_cast<std::byte>(whole);
  }
}

void unpack_int8(const std::byte* from, std::size_t count, float* to) {
  float step = 0;
  std::memcpy(&step, from, sizeof step);
  from += sizeof step;
  if (std::isnan(step)) return fill_nan(to, count);
  for (std::size_t i = 0; i < count; ++i) {
    to[i] = static_cast<float>(static_cast<std::int8_t>(from[i])) * step;
  }
}

}  // namespace

void through_bf16(float* values, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = std::bit_cast<float>(upper_half(values[i]) << 16);
  }
}

void through_int8(float* values, std::size_t count) {
  const Levels levels = levels_of(values, count);
  if (std::isnan(levels.step)) return fill_nan(values, count);
  if (levels.step == 0) {
    std::fill_n(values, count, 0.0F);
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = level(values[i], levels.inverse) * levels.step;
  }
}

std::size_t packed_bytes(Codec codec, std::size_t count) {
  switch (codec) {
    case Codec::kBf16:
      return count * sizeof(std::uint16_t);
    case Codec::kInt8:
      return sizeof(float) + count;
    case Codec::kNone:
    case Codec::kTopK:
      break;
  }
  INSTEP_CHECK(codec == Codec::kNone, "top-k is not packed");
  return count * sizeof(float);
}

void pack(Codec codec, const float* values, std::size_t count, std::byte* to) {
  if (codec == Codec::kBf16) return pack_bf16(values, count, to);
  if (codec == Codec::kInt8) return pack_int8(values, count, to);
  std::memcpy(to, values, packed_bytes(codec, count));
}

void unpack(Codec codec, const std::byte* from, std::size_t count, float* to) {
  if (codec == Codec::kBf16) return unpack_bf16(from, count, to);
  if (codec == Codec::kInt8) return unpack_int8(from, count, to);
  std::memcpy(to, from, packed_bytes(codec, count));
}

void through(Codec codec, float* values, std::size_t count) {
  if (codec == Codec::kBf16) through_bf16(values, count);
  if (codec == Codec::kInt8) through_int8(values, count);
}

void through_top_k(float* values, const float* standing, float* next, std::size_t count,
                   std::size_t keep) {
  INSTEP_CHECK(count <= kRun && keep > 0, "top-k works on a block at a time");
  for (std::size_t i = 0; i < count; ++i) values[i] += standing[i];
  if (largest(values, count) >= kInfinity) {
    std::copy_n(standing, count, next);
    return fill_nan(values, count);
  }
  keep = std::min(keep, count);
  if (count == 0) return;
  const std::uint32_t least = threshold(values, count, keep);
  std::size_t above = 0;
  for (std::size_t i = 0; i < count; ++i) above += magnitude(values[i]) > least ? 1 : 0;
  std::size_t equals = keep - above;  // of those at the threshold, the first so many
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t it = magnitude(values[i]);
    const bool sent = it > least || (it == least && equals > 0);
    if (sent && it == least) --equals;
    next[i] = sent ? 0.0F : values[i];
    values[i] = sent ? values[i] : 0.0F;
  }
}

CodedCombiner::CodedCombiner(std::uint32_t shards, const std::vector<Node>& parts, Coding coding,
                             bool relayed)
    : coding_(std::move(coding)), relayed_(relayed), top_(shards, coding_.nodes) {
  std::size_t most = coding_.nodes.size();
  for (const Node& node : coding_.nodes) {
    NodeSum inside(node, parts);
    most = std::max(most, inside.from.size());
    const bool encoded = relayed && inside.from.size() == 1;
    inside_.push_back({std::move(inside), encoded});
  }
  sums_.resize(coding_.nodes.size() * kRun);
  coded_.resize(coding_.nodes.size());
  rows_.resize(most);
}

void CodedCombiner::run(const float* const* parts, float* to, std::size_t count, float factor,
                        const Residual* residuals) {
  INSTEP_CHECK(count <= kRun, "a codec works on a block at a time");
  const auto keep = static_cast<std::size_t>(std::ceil(coding_.keep * static_cast<double>(count)));
  for (std::size_t node = 0; node < inside_.size(); ++node) {
    auto& [inside, encoded] = inside_[node];
    bool there = false;
    coded_[node] = nullptr;
    for (std::size_t i = 0; i < inside.from.size(); ++i) {
      rows_[i] = parts[inside.from[i]];
      there = there || rows_[i] != nullptr;
    }
    if (!there) {
      if (coding_.codec == Codec::kTopK) {
        std::copy_n(residuals[node].standing, count, residuals[node].next);
      }
      continue;
    }
    if (encoded) {
      coded_[node] = rows_[0];
      continue;
    }
    float* sum = sums_.data() + node * kRun;
    inside.sum.run(rows_.data(), sum, count, 1.0F, false);
    if (coding_.codec == Codec::kTopK) {
      through_top_k(sum, residuals[node].standing, residuals[node].next, count,
                    std::max<std::size_t>(1, keep));
    } else {
      through(coding_.codec, sum, count);
    }
    coded_[node] = sum;
  }
  top_.run(coded_.data(), to, count, factor, false);
  if (!relayed_) through(coding_.codec, to, count);
}

}  // namespace instep::reduce
