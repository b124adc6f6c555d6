// Uses a data set's table as a trainer would: to its last value.
#pragma once

#include "base/text.h"
#include "data/dataset.h"
#include "input.h"

namespace instep::fuzz {

inline void use(const data::Table& table) {
  const std::uint64_t width = table.kind == data::Kind::kF32 ? sizeof(float) : 1;
  const std::uint64_t more = table.kind == data::Kind::kTokens && table.size > 0 ? 1 : 0;
  use(table.values, (table.size * table.elements() + more) * width);
  if (table.classes != nullptr) {
    for (const std::int32_t label : table.class_span()) {
      INSTEP_CHECK(label >= 0 && label < table.class_count, "a class is one of those there are");
    }
  }
  if (table.targets != nullptr) {
    use(table.targets, table.size * static_cast<std::uint64_t>(table.target_width) * sizeof(float));
  }
}

inline void use(const Result<data::Table>& table) {
  if (table.ok()) use(*table);
}

}  // namespace instep::fuzz
