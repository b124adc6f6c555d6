#include <cmath>

#include "base/random.h"
#include "base/text.h"
#include "data/readers.h"

namespace instep::data {
namespace {

// What a random stream is for; each sample has a stream of its own, so a set's first samples are
// the same whatever its size.
enum class Stream : std::uint64_t { kCenters = 0x5e71, kMap, kSample };

constexpr std::int64_t kDefaultClasses = 2;
constexpr double kCenterDistance = 4.0;

Random stream(std::uint64_t seed, Stream what, std::uint64_t number) {
  return Random(mix(seed, static_cast<std::uint64_t>(what), number));
}

struct Source {
  job::Loss loss = job::Loss::kCrossEntropy;
  std::uint64_t seed = 0, features = 0, classes = 1;
  double noise = 0;
  Memory memory;
  double* rows = nullptr;  // [classes, features]: the centers; for mse the map, one row
};

Result<Source> make_source(const job::Data& spec, job::Loss loss, std::uint64_t seed) {
  Source source;
  source.loss = loss;
  source.seed = seed;
  source.features = static_cast<std::uint64_t>(spec.features);
  source.noise = spec.noise;
  const bool map = loss == job::Loss::kMse;
  if (!map) {
    source.classes = static_cast<std::uint64_t>(spec.classes > 0 ? spec.classes : kDefaultClasses);
  }
  INSTEP_ASSIGN_OR_RETURN(source.memory, allocate_array(source.classes, source.features,
                                                        sizeof(double), "the synthetic set"));
  source.rows = reinterpret_cast<double*>(source.memory.get());
  // Two centers are kCenterDistance apart on average, however many features there are; a mapped
  // value has variance 1.
  const auto features = static_cast<double>(source.features);
  const double spread =
      map ? 1.0 / std::sqrt(features) : kCenterDistance / std::sqrt(2.0 * features);
  for (std::uint64_t c = 0; c < source.classes; ++c) {
    Random random = stream(seed, map ? Stream::kMap : Stream::kCenters, c);
    for (std::uint64_t i = 0; i < source.features; ++i) {
      source.rows[c * source.features + i] = random.normal() * spread;
    }
  }
  return source;
}

// One sample: its features, and its class or target.
struct Target {
  std::int32_t label = 0;
  double value = 0;
};

Target fill_sample(const Source& source, std::uint64_t number, float* x) {
  Random random = stream(source.seed, Stream::kSample, number);
  Target target;
  if (source.loss == job::Loss::kMse) {
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
  for (std::uint64_t i = 0; i < source.features; ++i) {
    x[i] = static_cast<float>(center[i] + source.noise * random.normal());
  }
  return target;
}

Result<Table> make_table(const Source& source, const job::Data& spec, std::uint64_t first,
                         std::uint64_t size) {
  Table table;
  table.size = size;
  table.shape = {spec.features};
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
  const auto out_of_range = [](const char* key, auto found, const char* allowed) {
    return invalid(cat("data.", key, " = ", found, "; ", allowed, " is allowed"));
  };
  if (spec.samples < 1) return out_of_range("samples", spec.samples, "1 or more");
  if (spec.test_samples_count < 0) {
    return out_of_range("test_samples_count", spec.test_samples_count, "0 or more");
  }
  if (spec.features < 1) return out_of_range("features", spec.features, "1 or more");
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
