// Built with -O3 -mavx2 and -ffp-contract=off (see the root CMakeLists.txt).
#include "reduce/kernels.h"

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "base/result.h"

namespace instep::reduce {
namespace {

// Elements that pass through the stack machine at once: a handful of such rows stays in the L1
// cache.
constexpr std::size_t kRow = 1024;
// How far ahead of a long sum its sources are fetched, in elements: the processor's own prefetching
// ends at each page. Worth 10 to 15% of an exchange that memory bounds; 256 to 1,024 do alike.
constexpr std::size_t kAhead = 512;

float one_nan(float value) {
  return value == value ? value : std::numeric_limits<float>::quiet_NaN();
}

void finish(float* __restrict to, const float* __restrict a, float factor, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) to[i] = one_nan(a[i] * factor);
}

void finish_sum(float* __restrict to, const float* __restrict a, const float* __restrict b,
                float factor, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) to[i] = one_nan((a[i] + b[i]) * factor);
}

// As finish_sum (or finish, without b), written around the cache: the next reader is another core,
// and a plain store would first read the line that it overwrites.
template <bool kTwo>
void finish_streamed(float* __restrict to, const float* __restrict a, const float* __restrict b,
                     float factor, std::size_t count) {
  const __m256 factors = _mm256_set1_ps(factor);
  const __m256 nan = _mm256_set1_ps(std::numeric_limits<float>::quiet_NaN());
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __builtin_prefetch(a + i + kAhead);
    if constexpr (kTwo) __builtin_prefetch(b + i + kAhead);
    __m256 sum = _mm256_loadu_ps(a + i);
    if constexpr (kTwo) sum = _mm256_add_ps(sum, _mm256_loadu_ps(b + i));
    sum = _mm256_mul_ps(sum, factors);
    sum = _mm256_blendv_ps(sum, nan, _mm256_cmp_ps(sum, sum, _CMP_UNORD_Q));
    _mm256_stream_ps(to + i, sum);
  }
  for (; i < count; ++i) {
    float sum = a[i];
    if constexpr (kTwo) sum += b[i];
    to[i] = one_nan(sum * factor);
  }
}

double lanes_sum(const std::array<double, 8>& lane) {
  return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

template <class Value>
double squares(std::size_t count, const Value& value) {
  std::array<double, 8> lane{};
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (std::size_t j = 0; j < 8; ++j) {
      const double x = value(i + j);
      lane[j] += x * x;
    }
  }
  for (std::size_t j = 0; i < count; ++i, ++j) {
    const double x = value(i);
    lane[j] += x * x;
  }
  return lanes_sum(lane);
}

// The words of 64 bits are loaded into registers by name: through an array the compiler goes by way
// of the stack, at a tenth of the speed.
template <bool kCopy>
std::uint64_t add_bits(float* to, const float* from, std::size_t count) {
  constexpr std::size_t kWords = 4, kLanes = 4 * kWords;
  const std::size_t words = count / 2;
  const auto load = [=](std::size_t word) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 2 * word));
    if constexpr (kCopy) _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 2 * word), bits);
    return bits;
  };
  __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
  std::size_t i = 0;
  for (; i + kLanes <= words; i += kLanes) {
    a = _mm256_add_epi64(a, load(i));
    b = _mm256_add_epi64(b, load(i + kWords));
    c = _mm256_add_epi64(c, load(i + 2 * kWords));
    d = _mm256_add_epi64(d, load(i + 3 * kWords));
  }
  std::uint64_t lanes[kWords];
  const __m256i all = _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), all);
  std::uint64_t sum = lanes[0] + lanes[1] + lanes[2] + lanes[3];
  for (; i < words; ++i) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, from + 2 * i, sizeof bits);
    if constexpr (kCopy) std::memcpy(to + 2 * i, &bits, sizeof bits);
    sum += bits;
  }
  return sum;
}

}  // namespace

void add(float* to, const float* a, const float* b, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) to[i] = a[i] + b[i];
}

void scale(float* to, float factor, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) to[i] *= factor;
}

void blend(float* to, const float* from, float weight, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) to[i] += weight * (from[i] - to[i]);
}

double sum_of_squares(const float* values, std::size_t count) {
  return squares(count, [values](std::size_t i) { return static_cast<double>(values[i]); });
}

double sum_of_squared_differences(const float* a, const float* b, std::size_t count) {
  return squares(count, [a, b](std::size_t i) { return static_cast<double>(a[i]) - b[i]; });
}

std::uint64_t sum_of_bits(const float* values, std::size_t count) {
  return add_bits<false>(nullptr, values, count);
}

std::uint64_t copy_and_sum_bits(float* to, const float* from, std::size_t count) {
  return add_bits<true>(to, from, count);
}

double tree_sum(std::span<const double> values) {
  if (values.empty()) return 0;
  if (values.size() == 1) return values[0];
  const std::size_t left = left_count(static_cast<std::uint32_t>(values.size()));
  return tree_sum(values.first(left)) + tree_sum(values.subspan(left));
}

Combiner::Combiner(std::uint32_t shards, const std::vector<Node>& nodes)
    : program_(combine_program(shards, nodes)) {
  std::size_t depth = 0;
  std::size_t most = 0;
  for (const std::int32_t entry : program_) {
    depth = entry == kAdd ? depth - 1 : depth + 1;
    most = std::max(most, depth);
  }
  INSTEP_CHECK(program_.empty() || depth == 1, "a combine program leaves one sum");
  scratch_.resize(most * kRow);
}

NodeSum::NodeSum(const Node& node, const std::vector<Node>& parts) : sum(1, {{0, 1}}) {
  std::vector<Node> inside;
  for (std::size_t part = 0; part < parts.size(); ++part) {
    if (!contains(node, parts[part])) continue;
    from.push_back(part);
    // A node's tree is that of as many shards from zero on.
    inside.push_back({parts[part].first - node.first, parts[part].count});
  }
  sum = Combiner(node.count, inside);
}

void Combiner::run(const float* const* parts, float* to, std::size_t count, float factor,
                   bool stream) {
  std::array<const float*, 64> stack{};
  std::array<float*, 64> row{};  // a scratch row for each place on the stack
  for (std::size_t i = 0; i * kRow < scratch_.size(); ++i) row[i] = scratch_.data() + i * kRow;
  for (std::size_t begin = 0; begin < count; begin += kRow) {
    const std::size_t n = std::min(kRow, count - begin);
    std::size_t depth = 0;
    // The last addition is fused with the scaling, so it is left on the stack for the end.
    for (std::size_t step = 0; step < program_.size(); ++step) {
      const std::int32_t entry = program_[step];
      if (entry != kAdd) {
        const float* part = parts[entry];
        stack[depth++] = part == nullptr ? nullptr : part + begin;
        continue;
      }
      if (step + 1 == program_.size()) break;
      --depth;
      const float*& left = stack[depth - 1];
      const float* right = stack[depth];
      if (right == nullptr) continue;
      if (left == nullptr) {
        left = right;
        std::swap(row[depth - 1], row[depth]);  // the sum moves down with its row
      } else {
        add(row[depth - 1], left, right, n);
        left = row[depth - 1];
      }
    }
    const float* a = depth > 0 ? stack[0] : nullptr;
    const float* b = depth > 1 ? stack[1] : nullptr;
    if (a == nullptr) std::swap(a, b);
    float* out = to + begin;
    if (a == nullptr) {
      std::memset(out, 0, n * sizeof(float));
    } else if (b == nullptr) {
      stream ? finish_streamed<false>(out, a, nullptr, factor, n) : finish(out, a, factor, n);
    } else {
      stream ? finish_streamed<true>(out, a, b, factor, n) : finish_sum(out, a, b, factor, n);
    }
  }
}

}  // namespace instep::reduce
