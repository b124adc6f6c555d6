#include <gtest/gtest.h>

#include "base/random.h"
#include "data/dataset.h"

namespace instep::data {
namespace {

// Every length around the vector block, against a plain loop; nothing is written behind the end.
TEST(Gather, BothKindsForAllLengths) {
  constexpr std::uint64_t kSize = 5;
  for (std::int64_t elements = 1; elements <= 100; ++elements) {
    const auto width = static_cast<std::uint64_t>(elements);
    Random random(width);
    std::vector<std::uint8_t> bytes(kSize * width);
    std::vector<float> reals(kSize * width);
    for (auto& value : bytes) value = static_cast<std::uint8_t>(random.next());
    for (auto& value : reals) value = static_cast<float>(random.normal());
    const std::vector<std::uint64_t> samples = {4, 0, 2, 2};
    for (const Kind kind : {Kind::kU8, Kind::kF32}) {
      Table table;
      table.size = kSize;
      table.kind = kind;
      table.shape = {elements};
      table.values = kind == Kind::kU8 ? reinterpret_cast<const std::byte*>(bytes.data())
                                       : reinterpret_cast<const std::byte*>(reals.data());
      table.scale = 1.0f / 255.0f;
      table.shift = -0.37f;
      std::vector<float> x(samples.size() * width + 1, 77.0f);
      gather(table, samples, x.data());
      for (std::size_t i = 0; i < samples.size(); ++i) {
        for (std::uint64_t j = 0; j < width; ++j) {
          const std::uint64_t from = samples[i] * width + j;
          const volatile float scaled =
              (kind == Kind::kU8 ? static_cast<float>(bytes[from]) : reals[from]) * table.scale;
          ASSERT_EQ(x[i * width + j], scaled + table.shift) << elements << " " << i << " " << j;
        }
      }
      ASSERT_EQ(x.back(), 77.0f);
    }
  }
}

TEST(Gather, ClassesAndTargets) {
  const std::vector<std::int32_t> classes = {3, 1, 4};
  const std::vector<float> targets = {1, 2, 3, 4, 5, 6};
  Table table;
  table.size = 3;
  table.classes = classes.data();
  table.targets = targets.data();
  table.target_width = 2;
  const std::vector<std::uint64_t> samples = {2, 0};
  std::vector<std::int64_t> y(2);
  gather_classes(table, samples, y.data());
  EXPECT_EQ(y, (std::vector<std::int64_t>{4, 3}));
  std::vector<float> z(4);
  gather_targets(table, samples, z.data());
  EXPECT_EQ(z, (std::vector<float>{5, 6, 1, 2}));
}

TEST(GatherDeathTest, SamplesOutsideTheTableAreABug) {
  const std::vector<std::int32_t> classes = {3, 1, 4};
  Table table;
  table.size = 3;
  table.classes = classes.data();
  const std::vector<std::uint64_t> samples = {3};
  std::int64_t y = 0;
  EXPECT_DEATH(gather_classes(table, samples, &y), "samples of its table");
}

}  // namespace
}  // namespace instep::data
