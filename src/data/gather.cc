#include <algorithm>
#include <cstring>

#include "data/dataset.h"

namespace instep::data {
namespace {

// Blocks of a fixed length are what the compiler vectorises at -O2, whose cost model wants trip
// counts that it knows. Every element is v * scale + shift in this order, in a block or behind it.
constexpr std::uint64_t kBlock = 32;
constexpr std::uint64_t kPrefetchBytes = 4096;

template <class T>
void convert(const T* __restrict in, float* __restrict out, std::uint64_t count, float scale,
             float shift) {
  std::uint64_t at = 0;
  for (; at + kBlock <= count; at += kBlock) {
    for (std::uint64_t i = 0; i < kBlock; ++i) {
      out[at + i] = static_cast<float>(in[at + i]) * scale + shift;
    }
  }
  for (; at < count; ++at) out[at] = static_cast<float>(in[at]) * scale + shift;
}

template <class T>
void gather_as(const Table& table, std::span<const std::uint64_t> samples, float* x) {
  const std::uint64_t elements = table.elements();
  const T* values = reinterpret_cast<const T*>(table.values);
  const std::uint64_t bytes = elements * sizeof(T);
  for (std::uint64_t i = 0; i < samples.size(); ++i) {
    INSTEP_CHECK(samples[i] < table.size, "a batch takes samples of its table");
    // Samples lie anywhere in a table larger than the caches: the next one is fetched meanwhile.
    if (i + 1 < samples.size() && samples[i + 1] < table.size) {
      const std::byte* next = table.values + samples[i + 1] * bytes;
      for (std::uint64_t at = 0; at < std::min(bytes, kPrefetchBytes); at += 64) {
        __builtin_prefetch(next + at);
      }
    }
    convert(values + samples[i] * elements, x, elements, table.scale, table.shift);
    x += elements;
  }
}

}  // namespace

void gather(const Table& table, std::span<const std::uint64_t> samples, float* x) {
  if (table.kind == Kind::kU8) {
    gather_as<std::uint8_t>(table, samples, x);
  } else {
    gather_as<float>(table, samples, x);
  }
}

void gather_tokens(const Table& table, std::span<const std::uint64_t> samples, std::int64_t* x,
                   std::int64_t* y) {
  INSTEP_CHECK(table.kind == Kind::kTokens, "tokens are taken from a table of tokens");
  const std::uint64_t tokens = table.elements();
  const auto* stream = reinterpret_cast<const std::uint8_t*>(table.values);
  for (const std::uint64_t sample : samples) {
    INSTEP_CHECK(sample < table.size, "a batch takes samples of its table");
    const std::uint8_t* at = stream + sample * tokens;
    x = std::copy_n(at, tokens, x);
    if (y != nullptr) y = std::copy_n(at + 1, tokens, y);
  }
}

void gather_classes(const Table& table, std::span<const std::uint64_t> samples, std::int64_t* y) {
  INSTEP_CHECK(table.classes != nullptr, "classes are taken from a table that has them");
  for (const std::uint64_t sample : samples) {
    INSTEP_CHECK(sample < table.size, "a batch takes samples of its table");
    *y++ = table.classes[sample];
  }
}

void gather_targets(const Table& table, std::span<const std::uint64_t> samples, float* y) {
  INSTEP_CHECK(table.targets != nullptr, "targets are taken from a table that has them");
  const auto width = static_cast<std::uint64_t>(table.target_width);
  for (const std::uint64_t sample : samples) {
    INSTEP_CHECK(sample < table.size, "a batch takes samples of its table");
    y = std::copy_n(table.targets + sample * width, width, y);
  }
}

}  // namespace instep::data
