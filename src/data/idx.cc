// IDX, the format of the MNIST files: two zero bytes, a type, a rank, big-endian extents, values.
#include <bit>
#include <cmath>
#include <cstring>

#include "base/text.h"
#include "data/readers.h"

namespace instep::data {
namespace {

enum class IdxType : std::uint8_t { kU8 = 0x08, kI32 = 0x0c, kF32 = 0x0d };

struct IdxFile {
  std::string name;
  Memory memory;
  IdxType type = IdxType::kU8;
  std::vector<std::int64_t> extents;
  std::byte* values = nullptr;

  std::uint64_t size() const { return static_cast<std::uint64_t>(extents[0]); }
  std::uint64_t width() const {
    std::uint64_t product = 1;
    for (std::size_t i = 1; i < extents.size(); ++i) {
      product *= static_cast<std::uint64_t>(extents[i]);
    }
    return product;
  }
};

std::uint32_t big_endian(const std::byte* at) {
  std::uint32_t value = 0;
  std::memcpy(&value, at, sizeof(value));
  return __builtin_bswap32(value);
}

std::string shape_text(const std::vector<std::int64_t>& extents) {
  std::vector<std::string> parts;
  for (const std::int64_t extent : extents) parts.push_back(std::to_string(extent));
  return join(parts, " x ");
}

// Values of more than a byte are turned to the machine's order where they stand.
void swap_in_place(IdxFile& file) {
  if (file.type == IdxType::kU8) return;
  const std::uint64_t count = file.size() * file.width();
  auto* words = reinterpret_cast<std::uint32_t*>(file.values);
  for (std::uint64_t i = 0; i < count; ++i) words[i] = __builtin_bswap32(words[i]);
}

Result<IdxFile> read_idx_file(const std::filesystem::path& path) {
  INSTEP_ASSIGN_OR_RETURN(const Bytes bytes, read_bytes(path));
  IdxFile file;
  file.name = path.string();
  file.memory = bytes.memory;
  const std::byte* start = bytes.memory.get();
  if (bytes.size < 8) {
    return invalid(cat(file.name, " has ", bytes.size, " bytes; an IDX file has at least 8"));
  }
  const std::uint32_t magic = big_endian(start);
  const std::uint32_t type = (magic >> 8) & 0xff;
  const std::size_t rank = magic & 0xff;
  if ((magic >> 16) != 0 || rank == 0 || rank > kMaxRank) {
    return invalid(cat(file.name, " is no IDX file: it starts with 0x", std::hex, magic, std::dec,
                       "; 0x00000803 (images) or 0x00000801 (labels) are usual, and at most ",
                       kMaxRank, " dimensions are allowed"));
  }
  if (type != 0x08 && type != 0x0c && type != 0x0d) {
    return invalid(cat(file.name, " holds IDX values of type 0x", std::hex, type,
                       "; 0x8 (u8), 0xc (i32) and 0xd (f32) are supported"));
  }
  file.type = static_cast<IdxType>(type);
  const std::uint64_t header = 4 + 4 * rank;
  if (bytes.size < header) {
    return invalid(cat(file.name, " ends within its header of ", header, " bytes"));
  }
  std::uint64_t due = file.type == IdxType::kU8 ? 1 : 4;
  bool overflow = false;
  for (std::size_t i = 0; i < rank; ++i) {
    file.extents.push_back(big_endian(start + 4 + 4 * i));
    const auto extent = static_cast<std::uint64_t>(file.extents[i]);
    if (extent == 0) {
      return invalid(cat(file.name, " is empty: its header says ", shape_text(file.extents)));
    }
    overflow = overflow || __builtin_mul_overflow(due, extent, &due);
  }
  const std::uint64_t held = bytes.size - header;
  if (overflow || due > held) {
    return invalid(cat(file.name, " is truncated: its header promises ", shape_text(file.extents),
                       " values and ", held, " bytes of them are there"));
  }
  if (due < held) {
    return invalid(cat(file.name, " has ", held - due, " bytes after the ",
                       shape_text(file.extents), " values that its header promises"));
  }
  file.values = bytes.memory.get() + header;
  swap_in_place(file);
  return file;
}

Status check_finite(const IdxFile& file) {
  const auto* values = reinterpret_cast<const float*>(file.values);
  const std::uint64_t count = file.size() * file.width();
  for (std::uint64_t i = 0; i < count; ++i) {
    if (!std::isfinite(values[i])) {
      return invalid(cat(file.name, ": sample ", i / file.width(), " holds ", values[i],
                         " as value ", i % file.width(), "; finite numbers are due"));
    }
  }
  return {};
}

// Integers are class labels, whose range is judged by who knows the number of classes.
Status set_classes(const IdxFile& file, Table& table, std::shared_ptr<const void>& keep) {
  if (file.width() != 1) {
    return invalid(cat(file.name, " holds ", shape_text(file.extents),
                       " integers; one label a sample is due"));
  }
  if (file.type == IdxType::kI32) {
    table.classes = reinterpret_cast<const std::int32_t*>(file.values);
    keep = file.memory;
  } else {
    INSTEP_ASSIGN_OR_RETURN(Memory memory, allocate_array(file.size(), 1, 4, file.name));
    auto* classes = reinterpret_cast<std::int32_t*>(memory.get());
    for (std::uint64_t i = 0; i < file.size(); ++i) {
      classes[i] = std::to_integer<std::int32_t>(file.values[i]);
    }
    table.classes = classes;
    keep = memory;
  }
  for (std::uint64_t i = 0; i < file.size(); ++i) {
    if (table.classes[i] < 0) {
      return invalid(cat(file.name, ": sample ", i, " has the label ", table.classes[i],
                         "; labels are 0 or more"));
    }
    table.class_count = std::max<std::int64_t>(table.class_count, table.classes[i] + INT64_C(1));
  }
  return {};
}

}  // namespace

namespace {

// The table of a file of samples, without targets.
Result<Table> table_of(const IdxFile& x) {
  if (x.type == IdxType::kI32) {
    return invalid(cat(x.name, " holds i32 values; samples are u8 or f32"));
  }
  Table table;
  table.size = x.size();
  table.shape.assign(x.extents.begin() + 1, x.extents.end());
  if (table.shape.empty()) table.shape = {1};
  table.kind = x.type == IdxType::kU8 ? Kind::kU8 : Kind::kF32;
  table.values = x.values;
  if (table.kind == Kind::kU8) {
    table.scale = 1.0f / 255.0f;
  } else {
    INSTEP_RETURN_IF_ERROR(check_finite(x));
  }
  table.keep = x.memory;
  return table;
}

}  // namespace

Result<Table> load_idx_samples(const std::filesystem::path& samples) {
  INSTEP_ASSIGN_OR_RETURN(const IdxFile file, read_idx_file(samples));
  return table_of(file);
}

Result<Table> load_idx(const std::filesystem::path& samples, const std::filesystem::path& targets) {
  INSTEP_ASSIGN_OR_RETURN(const IdxFile x, read_idx_file(samples));
  INSTEP_ASSIGN_OR_RETURN(Table table, table_of(x));
  INSTEP_ASSIGN_OR_RETURN(const IdxFile y, read_idx_file(targets));
  if (x.size() != y.size()) {
    return invalid(cat(x.name, " holds ", x.size(), " samples and ", y.name, " holds ", y.size(),
                       " targets; they must be as many"));
  }
  std::shared_ptr<const void> target_memory = y.memory;
  if (y.type == IdxType::kF32) {
    INSTEP_RETURN_IF_ERROR(check_finite(y));
    table.targets = reinterpret_cast<const float*>(y.values);
    table.target_width = static_cast<std::int64_t>(y.width());
  } else {
    INSTEP_RETURN_IF_ERROR(set_classes(y, table, target_memory));
  }
  table.keep = keep_all({x.memory, target_memory});
  return table;
}

}  // namespace instep::data
