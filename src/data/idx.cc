// IDX, the format of the MNIST files: two zero bytes, a type, a rank, big-endian extents, values.
#include <bit>
#include <cstring>

#include "base/text.h"
#include "data/array.h"
#include "data/readers.h"

namespace instep::data {
namespace {

enum IdxType : std::uint32_t { kIdxU8 = 0x08, kIdxI32 = 0x0c, kIdxF32 = 0x0d };

std::uint32_t big_endian(const std::byte* at) {
  std::uint32_t value = 0;
  std::memcpy(&value, at, sizeof(value));
  return __builtin_bswap32(value);
}

// Values of more than a byte are turned to the machine's order where they stand.
void swap_in_place(std::byte* values, std::uint64_t count) {
  auto* words = reinterpret_cast<std::uint32_t*>(values);
  for (std::uint64_t i = 0; i < count; ++i) words[i] = __builtin_bswap32(words[i]);
}

Result<Array> read_idx_file(const std::filesystem::path& path) {
  INSTEP_ASSIGN_OR_RETURN(const Bytes bytes, read_bytes(path));
  Array array;
  array.name = path.string();
  array.memory = bytes.memory;
  const std::byte* start = bytes.memory.get();
  if (bytes.size < 8) {
    return invalid(cat(array.name, " has ", bytes.size, " bytes; an IDX file has at least 8"));
  }
  const std::uint32_t magic = big_endian(start);
  const std::uint32_t type = (magic >> 8) & 0xff;
  const std::size_t rank = magic & 0xff;
  if ((magic >> 16) != 0 || rank == 0 || rank > kMaxRank) {
    return invalid(cat(array.name, " is no IDX file: it starts with 0x", std::hex, magic, std::dec,
                       "; 0x00000803 (images) or 0x00000801 (labels) are usual, and at most ",
                       kMaxRank, " dimensions are allowed"));
  }
  if (type != kIdxU8 && type != kIdxI32 && type != kIdxF32) {
    return invalid(cat(array.name, " holds IDX values of type 0x", std::hex, type,
                       "; 0x8 (u8), 0xc (i32) and 0xd (f32) are supported"));
  }
  array.item = type == kIdxU8 ? Item::kU8 : type == kIdxI32 ? Item::kI32 : Item::kF32;
  const std::uint64_t header = 4 + 4 * rank;
  if (bytes.size < header) {
    return invalid(cat(array.name, " ends within its header of ", header, " bytes"));
  }
  for (std::size_t i = 0; i < rank; ++i) array.extents.push_back(big_endian(start + 4 + 4 * i));
  const std::uint64_t item_bytes = array.item == Item::kU8 ? 1 : 4;
  INSTEP_RETURN_IF_ERROR(check_extents(array.name, array.extents, item_bytes, bytes.size - header));
  std::byte* values = bytes.memory.get() + header;
  if (array.item != Item::kU8) swap_in_place(values, array.size() * array.width());
  array.values = values;
  return array;
}

}  // namespace

Result<Table> load_idx_samples(const std::filesystem::path& samples) {
  INSTEP_ASSIGN_OR_RETURN(const Array array, read_idx_file(samples));
  return samples_table(array);
}

Result<Table> load_idx(const std::filesystem::path& samples, const std::filesystem::path& targets) {
  INSTEP_ASSIGN_OR_RETURN(const Array x, read_idx_file(samples));
  INSTEP_ASSIGN_OR_RETURN(const Array y, read_idx_file(targets));
  return make_table(x, y);
}

}  // namespace instep::data
