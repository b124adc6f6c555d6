// An array as a file of samples or of targets holds it (IDX, NPY), and what makes a table of two.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/dataset.h"
#include "data/memory.h"

namespace instep::data {

// Readers bring every number type that they allow to one of these.
enum class Item { kU8, kI32, kF32 };

struct Array {
  std::string name;  // what errors call it
  Memory memory;     // holds the values
  Item item = Item::kU8;
  std::vector<std::int64_t> extents;  // samples first; each is 1 or more
  const std::byte* values = nullptr;

  std::uint64_t size() const { return static_cast<std::uint64_t>(extents[0]); }
  std::uint64_t width() const;  // values of a sample
};

// The bytes of all values, judged against those that there are: neither fewer nor more. `extents`
// are 1 or more each, or the error says that the file is empty.
Status check_extents(const std::string& name, const std::vector<std::int64_t>& extents,
                     std::uint64_t item_bytes, std::uint64_t held);

// The table of an array of samples, which are u8 (then scale is 1/255) or finite f32.
Result<Table> samples_table(const Array& samples);
// The same with targets: whole numbers are class labels, f32 values are targets.
Result<Table> make_table(const Array& samples, const Array& targets);

}  // namespace instep::data
