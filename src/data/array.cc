#include "data/array.h"

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "data/readers.h"

namespace instep::data {
namespace {

Status check_finite(const Array& array) {
  const auto* values = reinterpret_cast<const float*>(array.values);
  const std::uint64_t width = array.width();
  const std::uint64_t count = array.size() * width;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (!std::isfinite(values[i])) {
      return invalid(cat(array.name, ": sample ", i / width, " holds ", values[i], " as value ",
                         i % width, "; finite numbers are due"));
    }
  }
  return {};
}

// Integers are class labels, whose range is judged by who knows the number of classes.
Status set_classes(const Array& array, Table& table, std::shared_ptr<const void>& keep) {
  if (array.width() != 1) {
    return invalid(cat(array.name, " holds ", shape_text(array.extents),
                       " integers; one label a sample is due (targets of a regression are f32)"));
  }
  if (array.item == Item::kI32) {
    table.classes = reinterpret_cast<const std::int32_t*>(array.values);
  } else {
    INSTEP_ASSIGN_OR_RETURN(Memory memory, allocate_array(array.size(), 1, 4, array.name));
    auto* classes = reinterpret_cast<std::int32_t*>(memory.get());
    for (std::uint64_t i = 0; i < array.size(); ++i) {
      classes[i] = std::to_integer<std::int32_t>(array.values[i]);
    }
    table.classes = classes;
    keep = memory;
  }
  for (std::uint64_t i = 0; i < array.size(); ++i) {
    if (table.classes[i] < 0) {
      return invalid(cat(array.name, ": sample ", i, " has the label ", table.classes[i],
                         "; labels are 0 or more (targets of a regression are f32)"));
    }
    table.class_count = std::max<std::int64_t>(table.class_count, table.classes[i] + INT64_C(1));
  }
  return {};
}

}  // namespace

std::uint64_t Array::width() const {
  std::uint64_t product = 1;
  for (std::size_t i = 1; i < extents.size(); ++i)
    product *= static_cast<std::uint64_t>(extents[i]);
  return product;
}

Status check_extents(const std::string& name, const std::vector<std::int64_t>& extents,
                     std::uint64_t item_bytes, std::uint64_t held) {
  std::uint64_t due = item_bytes;
  bool overflow = false;
  for (const std::int64_t extent : extents) {
    if (extent == 0) {
      return invalid(cat(name, " is empty: its header says ", shape_text(extents)));
    }
    overflow = overflow || __builtin_mul_overflow(due, static_cast<std::uint64_t>(extent), &due);
  }
  if (overflow || due > held) {
    return invalid(cat(name, " is truncated: its header promises ", shape_text(extents),
                       " values and ", held, " bytes of them are there"));
  }
  if (due < held) {
    return invalid(cat(name, " has ", held - due, " bytes after the ", shape_text(extents),
                       " values that its header promises"));
  }
  return {};
}

Result<Table> samples_table(const Array& samples) {
  if (samples.item == Item::kI32) {
    return invalid(cat(samples.name, " holds i32 values; samples are u8 or f32"));
  }
  Table table;
  table.size = samples.size();
  table.shape.assign(samples.extents.begin() + 1, samples.extents.end());
  if (table.shape.empty()) table.shape = {1};
  table.kind = samples.item == Item::kU8 ? Kind::kU8 : Kind::kF32;
  table.values = samples.values;
  if (table.kind == Kind::kU8) {
    table.scale = 1.0f / 255.0f;
  } else {
    INSTEP_RETURN_IF_ERROR(check_finite(samples));
  }
  table.keep = samples.memory;
  return table;
}

Result<Table> make_table(const Array& samples, const Array& targets) {
  INSTEP_ASSIGN_OR_RETURN(Table table, samples_table(samples));
  if (samples.size() != targets.size()) {
    return invalid(cat(samples.name, " holds ", samples.size(), " samples and ", targets.name,
                       " holds ", targets.size(), " targets; they must be as many"));
  }
  std::shared_ptr<const void> target_memory = targets.memory;
  if (targets.item == Item::kF32) {
    INSTEP_RETURN_IF_ERROR(check_finite(targets));
    table.targets = reinterpret_cast<const float*>(targets.values);
    table.target_width = static_cast<std::int64_t>(targets.width());
  } else {
    INSTEP_RETURN_IF_ERROR(set_classes(targets, table, target_memory));
  }
  table.keep = keep_all({samples.memory, target_memory});
  return table;
}

}  // namespace instep::data
