#include <cmath>
#include <numbers>

#include "base/random.h"
#include "base/text.h"
#include "data/readers.h"

namespace instep::data {
namespace {

// What a random stream is for; each sample has a stream of its own, so a set's first samples are
// the same whatever its size.
enum class Stream : std::uint64_t { kCenters = 0x5e71, kMap, kSample, kWave };

constexpr std::int64_t kDefaultClasses = 2;
constexpr double kCenterDistance = 4.0;

Random stream(std::uint64_t seed, Stream what, std::uint64_t number) {
  return Random(mix(seed, static_cast<std::uint64_t>(what), number));
}

struct Source {
  job::Loss loss = job::Loss::kCrossEntropy;
  std::uint64_t seed = 0, features = 0, classes = 1;
  double noise = 0;
  bool map = false;                     // targets are a map of the features: no classes
  std::uint64_t height = 0, width = 0;  // of an image; 0: samples are no images
  Memory memory;
  double* rows = nullptr;  // [classes, features]: the centers or images; of a map its one row
};

std::vector<std::int64_t> shape_of(const job::Data& spec) {
  return spec.shape.empty() ? std::vector<std::int64_t>{spec.features} : spec.shape;
}

// A class's image: in each channel a few waves of random direction, length and phase that fit the
// image's edges, so that a shifted image is of the same class; its values have variance 1. It is
// known by its texture and by nothing at any one place, which is what a convolution learns.
void fill_image(const Source& source, std::uint64_t of_class, double* row) {
  constexpr std::uint64_t kWaves = 3;
  constexpr std::uint64_t kMostPeriods = 4;  // along an edge
  constexpr double kTurn = 2 * std::numbers::pi;
  const std::uint64_t plane = source.height * source.width;
  for (std::uint64_t channel = 0; channel * plane < source.features; ++channel) {
    for (std::uint64_t wave = 0; wave < kWaves; ++wave) {
      Random random(mix(source.seed, static_cast<std::uint64_t>(Stream::kWave), of_class,
                        channel * kWaves + wave));
      const auto periods = [&random](bool signs) {
        const auto count = static_cast<double>(1 + random.below(kMostPeriods));
        return signs && random.below(2) == 1 ? -count : count;
      };
      const double down = kTurn * periods(false) / static_cast<double>(source.height);
      const double across = kTurn * periods(true) / static_cast<double>(source.width);
      const double phase = kTurn * random.uniform();
      const double strength = std::sqrt(2.0 / static_cast<double>(kWaves));
      double* out = row + channel * plane;
      for (std::uint64_t y = 0; y < source.height; ++y) {
        for (std::uint64_t x = 0; x < source.width; ++x) {
          *out++ += strength * std::cos(down * static_cast<double>(y) +
                                        across * static_cast<double>(x) + phase);
        }
      }
    }
  }
}

Result<Source> make_source(const job::Data& spec, job::Loss loss, std::uint64_t seed) {
  Source source;
  source.loss = loss;
  source.seed = seed;
  source.features = 1;
  const std::vector<std::int64_t> shape = shape_of(spec);
  for (const std::int64_t extent : shape) source.features *= static_cast<std::uint64_t>(extent);
  source.noise = spec.noise;
  source.map = loss == job::Loss::kMse || loss == job::Loss::kHuber;
  if (!source.map) {
    source.classes = static_cast<std::uint64_t>(spec.classes > 0 ? spec.classes : kDefaultClasses);
  }
  if (!source.map && shape.size() == 3) {
    source.height = static_cast<std::uint64_t>(shape[1]);
    source.width = static_cast<std::uint64_t>(shape[2]);
  }
  INSTEP_ASSIGN_OR_RETURN(source.memory, allocate_array(source.classes, source.features,
                                                        sizeof(double), "the synthetic set"));
  source.rows = reinterpret_cast<double*>(source.memory.get());
  // Two centers are kCenterDistance apart on average, however many features there are; a mapped
  // value has variance 1.
  const auto features = static_cast<double>(source.features);
  const double spread =
      source.map ? 1.0 / std::sqrt(features) : kCenterDistance / std::sqrt(2.0 * features);
  for (std::uint64_t c = 0; c < source.classes; ++c) {
    double* row = source.rows + c * source.features;
    if (source.height > 0) {
      fill_image(source, c, row);
      continue;
    }
    Random random = stream(seed, source.map ? Stream::kMap : Stream::kCenters, c);
    for (std::uint64_t i = 0; i < source.features; ++i) row[i] = random.normal() * spread;
  }
  return source;
}

// One sample: its features, and its class or target.
struct Target {
  std::int32_t label = 0;
  double value = 0;
};

// The class's image, moved around its edges by a distance of the sample's own.
void fill_shifted(const Source& source, const double* image, Random& random, float* x) {
  const std::uint64_t down = random.below(source.height);
  const std::uint64_t across = random.below(source.width);
  const std::uint64_t rows = source.features / source.width;  // of all channels
  for (std::uint64_t row = 0; row < rows; ++row) {
    const std::uint64_t channel = row / source.height;
    const std::uint64_t y = (row + down) % source.height;
    const double* from = image + (channel * source.height + y) * source.width;
    for (std::uint64_t i = 0; i < source.width; ++i) {
      *x++ = static_cast<float>(from[(i + across) % source.width] + source.noise * random.normal());
    }
  }
}

Target fill_sample(const Source& source, std::uint64_t number, float* x) {
  Random random = stream(source.seed, Stream::kSample, number);
  Target target;
  if (source.map) {
    for (std::uint64_t i = 0; i < source.features; ++i) {
      x[i] = static_cast<float>(random.normal());
      target.value += source.rows[i] * static_cast<double>(x[i]);
    }
    target.value += source.noise * random.normal();
    return target;
  }
  target.label = static_cast<std::int32_t>(random.below(source.classes));
  target.value = target.label;
  const double* center = source.rows + static_cast<std::uint64_t>(target.label) * source.features;
  if (source.height > 0) {
    fill_shifted(source, center, random, x);
    return target;
  }
  for (std::uint64_t i = 0; i < source.features; ++i) {
    x[i] = static_cast<float>(center[i] + source.noise * random.normal());
  }
  return target;
}

Result<Table> make_table(const Source& source, const job::Data& spec, std::uint64_t first,
                         std::uint64_t size) {
  Table table;
  table.size = size;
  table.shape = shape_of(spec);
  table.scale = static_cast<float>(spec.scale);
  table.shift = static_cast<float>(spec.shift);
  INSTEP_ASSIGN_OR_RETURN(
      Memory values, allocate_array(size, source.features, sizeof(float), "the synthetic set"));
  INSTEP_ASSIGN_OR_RETURN(Memory targets,
                          allocate_array(size, 1, sizeof(float), "the synthetic set"));
  const bool labels = source.loss == job::Loss::kCrossEntropy;
  auto* x = reinterpret_cast<float*>(values.get());
  auto* classes = reinterpret_cast<std::int32_t*>(targets.get());
  auto* y = reinterpret_cast<float*>(targets.get());
  for (std::uint64_t i = 0; i < size; ++i) {
    const Target target = fill_sample(source, first + i, x + i * source.features);
    if (labels) {
      classes[i] = target.label;
    } else {
      y[i] = static_cast<float>(target.value);
    }
  }
  table.values = values.get();
  table.classes = labels ? classes : nullptr;
  table.class_count = labels ? static_cast<std::int64_t>(source.classes) : 0;
  table.targets = labels ? nullptr : y;
  table.target_width = labels ? 0 : 1;
  table.keep = keep_all({values, targets});
  return table;
}

Status check(const job::Data& spec, job::Loss loss) {
  const auto out_of_range = [](const char* key, const auto& found, const char* allowed) {
    return invalid(cat("data.", key, " = ", found, "; ", allowed, " is allowed"));
  };
  if (spec.samples < 1) return out_of_range("samples", spec.samples, "1 or more");
  if (spec.test_samples_count < 0) {
    return out_of_range("test_samples_count", spec.test_samples_count, "0 or more");
  }
  if (spec.features < 1) return out_of_range("features", spec.features, "1 or more");
  std::int64_t values = 1;
  for (const std::int64_t extent : shape_of(spec)) {
    if (extent < 1 || __builtin_mul_overflow(values, extent, &values)) {
      return invalid("data.shape holds an extent below 1, or more values than can be counted");
    }
  }
  if (spec.shape.size() > kMaxRank) {
    return out_of_range("shape", cat(spec.shape.size(), " dimensions"), "at most 8");
  }
  if (!(spec.noise >= 0) || !std::isfinite(spec.noise)) {
    return out_of_range("noise", spec.noise, "a finite number from 0");
  }
  const bool bce = loss == job::Loss::kBce;
  if (bce && spec.classes != 0 && spec.classes != 2) {
    return out_of_range("classes", spec.classes, "2 (with loss bce)");
  }
  if (spec.classes < 0 || spec.classes > kMaxInferredClasses) {
    return out_of_range("classes", spec.classes, "1 to 1048576 (0: two)");
  }
  std::int64_t sum = 0;
  if (__builtin_add_overflow(spec.samples, spec.test_samples_count, &sum)) {
    return out_of_range("samples", spec.samples, "what fits with test_samples_count into 63 bits");
  }
  return {};
}

}  // namespace

Result<Dataset> make_synthetic(const job::Data& spec, job::Loss loss, std::uint64_t seed) {
  INSTEP_RETURN_IF_ERROR(check(spec, loss));
  INSTEP_ASSIGN_OR_RETURN(const Source source, make_source(spec, loss, seed));
  const auto train = static_cast<std::uint64_t>(spec.samples);
  const auto test = static_cast<std::uint64_t>(spec.test_samples_count);
  Dataset out;
  INSTEP_ASSIGN_OR_RETURN(out.train, make_table(source, spec, 0, train));
  if (test > 0) {
    INSTEP_ASSIGN_OR_RETURN(out.test, make_table(source, spec, train, test));
  }
  return out;
}

}  // namespace instep::data
