#include "round/packing.h"

#include <gtest/gtest.h>

#include <cstring>

namespace instep::round {
namespace {

using reduce::Codec;
using reduce::Range;
using Form = Packing::Form;

const std::vector<Range> kTensors = {{0, 1000}, {1008, 0}, {1008, 100}, {2048, 7}};

TEST(Packing, RunsAreOfOneTensorAndBlock) {
  const Packing packing(kTensors, Codec::kInt8, true);
  std::vector<std::pair<std::size_t, Range>> runs;
  std::vector<Codec> codecs;
  packing.each_run({0, 3072}, Form::kEncoded,
                   [&](std::size_t tensor, const Range& run, Codec codec) {
                     runs.emplace_back(tensor, run);
                     codecs.push_back(codec);
                   });
  const std::vector<std::pair<std::size_t, Range>> expected = {
      {0, {0, 1000}}, {2, {1008, 16}}, {2, {1024, 84}}, {3, {2048, 7}}};
  EXPECT_EQ(runs, expected);
  EXPECT_EQ(codecs, (std::vector<Codec>{Codec::kInt8, Codec::kInt8, Codec::kInt8, Codec::kNone}));
}

TEST(Packing, SizesAreWithoutPadding) {
  const Packing packing(kTensors, Codec::kBf16, true);
  EXPECT_EQ(packing.bytes({0, 3072}, Form::kFlat), 3072 * 4U);
  EXPECT_EQ(packing.bytes({0, 3072}, Form::kPlain), 1107 * 4U);
  EXPECT_EQ(packing.bytes({0, 3072}, Form::kEncoded), 1100 * 2U + 7 * 4U);
  EXPECT_EQ(packing.bytes({1024, 1024}, Form::kEncoded), 84 * 2U);
  EXPECT_EQ(packing.bytes({3072, 1024}, Form::kEncoded), 0U);
}

TEST(Packing, PaddingIsLeftAlone) {
  const Packing packing(kTensors, Codec::kInt8, true);
  const Range range{1024, 2048};
  for (const Form form : {Form::kPlain, Form::kEncoded}) {
    std::vector<float> values(range.count, -1.0F), out(range.count, -1.0F);
    for (std::size_t i = 0; i < 84; ++i) values[i] = static_cast<float>(i) * 0.3F;
    for (std::size_t i = 1024; i < 1031; ++i) values[i] = static_cast<float>(i) * 0.3F;
    std::vector<std::byte> bytes(packing.bytes(range, form));
    packing.pack(range, form, values.data(), bytes.data());
    packing.unpack(range, form, bytes.data(), out.data());
    if (form == Form::kEncoded) packing.encode(range, values.data());
    EXPECT_EQ(out, values);
  }
}

}  // namespace
}  // namespace instep::round
