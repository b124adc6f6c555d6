#include "fabric/compression.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "base/random.h"
#include "fabric/frame.h"

namespace instep::fabric {
namespace {

using Bytes = std::vector<std::byte>;

constexpr double kSlow = 1e6, kFast = 1e15;  // bytes a second

Bytes noise(std::size_t bytes) {
  Random random(1);
  Bytes out(bytes);
  for (std::byte& it : out) it = static_cast<std::byte>(random.next());
  return out;
}

// As gradients are spread.
Bytes normal(std::size_t count, std::size_t width) {
  Random random(1);
  Bytes out;
  for (std::size_t i = 0; i < count; ++i) {
    const auto bits =
        std::bit_cast<std::array<std::byte, 4>>(static_cast<float>(random.normal() * 1e-3));
    out.insert(out.end(), bits.end() - static_cast<std::ptrdiff_t>(width), bits.end());
  }
  return out;
}

Bytes back(const Bytes& compressed) {
  Bytes out(*Decompressor::size_of(compressed));
  EXPECT_TRUE(Decompressor().decompress(compressed, out).ok());
  return out;
}

TEST(Compression, ChangesNoBit) {
  Compressor always(Compression::kAlways);
  for (const std::size_t width : {1U, 2U, 4U}) {
    for (const std::size_t count : {4096U, 5001U, 65536U}) {
      const Bytes values = normal(count, width);
      const auto made = always.compress(values, width, 0);
      ASSERT_TRUE(made.has_value()) << width << " " << count;
      EXPECT_LT(made->size(), values.size());
      EXPECT_EQ(back(*made), values);
    }
  }
}

TEST(Compression, LeavesTheMantissaAndNotTheExponent) {
  Compressor always(Compression::kAlways);
  const Bytes fp32 = normal(65536, 4), bf16 = normal(65536, 2);
  // Of 32 bits a sign and 23 of a mantissa are noise.
  EXPECT_LT(always.compress(fp32, 4, 0)->size(), fp32.size() * 88 / 100);
  EXPECT_LT(always.compress(bf16, 2, 0)->size(), bf16.size() * 75 / 100);
  const Bytes zeros(4096 * 4);
  EXPECT_LT(always.compress(zeros, 4, 0)->size(), 256U);
}

TEST(Compression, OfAllBitPatterns) {
  // Infinities, NaNs, and one exponent in all, so that there is something to gain.
  Compressor always(Compression::kAlways);
  Bytes values = noise(65536);
  for (std::size_t i = 3; i < values.size(); i += 4) values[i] = std::byte{0x7f};
  const auto made = always.compress(values, 4, 0);
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ(back(*made), values);
}

TEST(Compression, MakesNothingOfNoiseAndOfLittle) {
  Compressor always(Compression::kAlways);
  EXPECT_FALSE(always.compress(noise(65536), 4, 0).has_value());
  EXPECT_FALSE(always.compress(normal(1023, 4), 4, 0).has_value());
  EXPECT_FALSE(always.compress({}, 4, 0).has_value());
  EXPECT_FALSE(always.compress(normal(4096, 4), 3, 0).has_value());
  const Bytes odd = normal(5001, 1);
  EXPECT_FALSE(always.compress(odd, 4, 0).has_value());
  EXPECT_FALSE(always.compress(Bytes(kMaxPayload + 4), 4, 0).has_value());
}

TEST(Compression, GoesByTheLine) {
  Compressor compressor(Compression::kAuto), never(Compression::kNever);
  const Bytes values = normal(65536, 4);
  EXPECT_FALSE(compressor.compress(values, 4, 0).has_value());  // nobody knows the line
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(compressor.compress(values, 4, kSlow).has_value());
  EXPECT_FALSE(compressor.compress(values, 4, kFast).has_value());
  EXPECT_TRUE(compressor.compress(values, 4, kSlow).has_value());
  EXPECT_FALSE(never.compress(values, 4, kSlow).has_value());
}

TEST(Compression, SeesWhenValuesChange) {
  Compressor compressor(Compression::kAuto);
  const Bytes first = noise(65536), then = normal(16384, 4);
  for (int i = 0; i < 10; ++i) ASSERT_FALSE(compressor.compress(first, 4, kSlow).has_value());
  int made = 0;
  for (int i = 0; i < 2000; ++i) made += compressor.compress(then, 4, kSlow).has_value() ? 1 : 0;
  EXPECT_GT(made, 1000);
}

TEST(Compression, IsWorthWhatItSaves) {
  // Half a plane, at a nanosecond a byte and half of one for the way back: above 3 ns a byte.
  const PlaneSeen half{8, 0.5, 1};
  EXPECT_TRUE(is_worth(half, 1e9 / 3.1));
  EXPECT_FALSE(is_worth(half, 1e9 / 2.9));
  EXPECT_FALSE(is_worth({8, 1, 0.001}, kSlow));
  EXPECT_FALSE(is_worth({8, 0.999, 0.001}, 1));
}

TEST(Decompression, RefusesWhatWasCut) {
  const Bytes made = *Compressor(Compression::kAlways).compress(normal(4096, 4), 4, 0);
  Bytes to(4096 * 4);
  Decompressor decompressor;
  for (std::size_t bytes = 0; bytes < made.size(); ++bytes) {
    EXPECT_FALSE(decompressor.decompress(std::span(made).first(bytes), to).ok()) << bytes;
  }
  Bytes longer = made;
  longer.push_back({});
  EXPECT_FALSE(decompressor.decompress(longer, to).ok());
  EXPECT_FALSE(decompressor.decompress(made, std::span(to).first(4096)).ok());
  EXPECT_TRUE(decompressor.decompress(made, to).ok());
}

TEST(Decompression, RefusesWhatIsNoHead) {
  const auto head = [](std::uint32_t size, unsigned width, unsigned coded) {
    Bytes out(kMaxPayload + 64);
    std::memcpy(out.data(), &size, sizeof size);
    out[4] = static_cast<std::byte>(width);
    out[5] = static_cast<std::byte>(coded);
    return out;
  };
  EXPECT_FALSE(Decompressor::size_of(head(0, 4, 0)).ok());
  EXPECT_FALSE(Decompressor::size_of(head(kMaxPayload + 4, 4, 0)).ok());
  EXPECT_FALSE(Decompressor::size_of(head(4096, 3, 0)).ok());
  EXPECT_FALSE(Decompressor::size_of(head(4098, 4, 0)).ok());
  EXPECT_FALSE(Decompressor::size_of(Bytes(5)).ok());
  EXPECT_EQ(*Decompressor::size_of(head(4096, 4, 0)), 4096U);
  // More planes than there are.
  Bytes to(4096);
  const Bytes more = head(4096, 4, 16);
  EXPECT_FALSE(Decompressor().decompress(std::span(more).first(6 + 4096), to).ok());
  const Bytes plain = head(4096, 4, 0);
  EXPECT_TRUE(Decompressor().decompress(std::span(plain).first(6 + 4096), to).ok());
}

}  // namespace
}  // namespace instep::fabric
