#include "data/npy.h"

#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/text.h"
#include "data/csv_scanner.h"
#include "data/readers.h"

namespace instep::data {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
// numpy itself refuses more than 10,000 bytes; a plain array's header has about 128.
constexpr std::uint64_t kMaxHeaderBytes = 1 << 16;

template <class T>
T load_as(const std::byte* at) {
  T value{};
  std::memcpy(&value, at, sizeof(value));
  return value;
}

// Where the header's text is and where the values begin.
struct Frame {
  std::string_view header;
  std::uint64_t values_at = 0;
};

Result<Frame> find_header(const Bytes& bytes, const std::string& name) {
  const std::byte* start = bytes.memory.get();
  const std::string_view text(reinterpret_cast<const char*>(start), bytes.size);
  if (!text.starts_with(kMagic)) {
    return invalid(cat(name, " is no NPY file: it starts with ",
                       show_field(text.substr(0, kMagic.size())),
                       "; what numpy.save wrote is due"));
  }
  constexpr std::uint64_t kVersionAt = 6;
  constexpr std::uint64_t kLengthAt = 8;
  const auto truncated = [&name] { return invalid(cat(name, " ends within its header")); };
  if (bytes.size < kLengthAt + 4) return truncated();
  const auto version = std::to_integer<unsigned>(start[kVersionAt]);
  if (version < 1 || version > 3) {
    return invalid(cat(name, " is of NPY version ", version, "; 1 to 3 are read"));
  }
  const std::uint64_t at = kLengthAt + (version == 1 ? 2 : 4);
  const std::uint64_t length = version == 1 ? load_as<std::uint16_t>(start + kLengthAt)
                                            : load_as<std::uint32_t>(start + kLengthAt);
  if (length > kMaxHeaderBytes) {
    return invalid(cat(name, " claims a header of ", length, " bytes; at most ", kMaxHeaderBytes,
                       " are read"));
  }
  if (at + length > bytes.size) return truncated();
  return Frame{text.substr(at, length), at + length};
}

Status check_header(const NpyHeader& header, const std::string& name) {
  const std::size_t rank = header.extents.size();
  if (rank == 0 || rank > kMaxRank) {
    return invalid(cat(name, " has ", rank, " dimensions; 1 to ", kMaxRank,
                       " are allowed, the first being the samples"));
  }
  if (header.fortran_order && rank > 1) {
    return invalid(
        cat(name, " is stored in Fortran order; save it again as", " numpy.ascontiguousarray(…)"));
  }
  return {};
}

Error wrong_type(const std::string& type, const std::string& name, Role role) {
  const std::string what = cat(name, " holds ");
  if (type.find('O') != std::string::npos) {
    return invalid(
        cat(what, "pickled Python objects, which are never loaded; save an array of numbers"));
  }
  if (type.starts_with('>')) {
    return invalid(cat(what, "big-endian values, numpy's ", show_field(type),
                       "; save them little-endian, with .astype('<", show_field(type).substr(2),
                       ")"));
  }
  return invalid(
      cat(what, "values of numpy's type ", show_field(type), "; ",
          role == Role::kSamples
              ? "samples are u1 (or bool), f4 or f8: save them with .astype(numpy.float32)"
              : "targets are whole numbers (class labels), f4 or f8: save them with "
                ".astype(numpy.int64) or .astype(numpy.float32)"));
}

// Whole numbers as labels, where they stand or in memory of their own.
template <class From>
Status labels_from(Array& array) {
  const std::uint64_t count = array.size() * array.width();
  Memory to = array.memory;
  if (sizeof(From) < sizeof(std::int32_t)) {
    INSTEP_ASSIGN_OR_RETURN(to, allocate_array(count, 1, sizeof(std::int32_t), array.name));
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    const From value = load_as<From>(array.values + i * sizeof(From));
    if (std::cmp_less(value, 0) ||
        std::cmp_greater(value, std::numeric_limits<std::int32_t>::max())) {
      return invalid(cat(array.name, ": target ", i, " is the whole number ", +value,
                         "; class labels are 0 to ", std::numeric_limits<std::int32_t>::max(),
                         " (targets of a regression are f4)"));
    }
    const auto label = static_cast<std::int32_t>(+value);
    std::memcpy(to.get() + i * sizeof(label), &label, sizeof(label));
  }
  array.memory = to;
  array.values = to.get();
  array.item = Item::kI32;
  return {};
}

Status floats_from_doubles(Array& array) {
  const std::uint64_t count = array.size() * array.width();
  std::byte* to = array.memory.get();
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto value = load_as<double>(array.values + i * sizeof(double));
    if (std::isfinite(value) && std::abs(value) > static_cast<double>(FLT_MAX)) {
      return invalid(cat(array.name, ": sample ", i / array.width(), " holds ", value, " as value ",
                         i % array.width(), ", which no f32 can hold"));
    }
    const auto narrow = static_cast<float>(value);
    std::memcpy(to + i * sizeof(narrow), &narrow, sizeof(narrow));
  }
  array.values = to;
  array.item = Item::kF32;
  return {};
}

// A type's values, as [bytes of one, what brings them to an Item].
struct Type {
  std::string_view name;
  std::uint64_t bytes;
  Status (*bring)(Array&);
  bool for_samples;
};

Status as_bytes(Array& array) {
  array.item = Item::kU8;
  return {};
}
Status as_floats(Array& array) {
  array.item = Item::kF32;
  return {};
}

constexpr Type kTypes[] = {
    {"b1", 1, as_bytes, true},
    {"u1", 1, as_bytes, true},
    {"f4", 4, as_floats, true},
    {"f8", 8, floats_from_doubles, true},
    {"i1", 1, labels_from<std::int8_t>, false},
    {"i2", 2, labels_from<std::int16_t>, false},
    {"u2", 2, labels_from<std::uint16_t>, false},
    {"i4", 4, labels_from<std::int32_t>, false},
    {"u4", 4, labels_from<std::uint32_t>, false},
    {"i8", 8, labels_from<std::int64_t>, false},
    {"u8", 8, labels_from<std::uint64_t>, false},
};

const Type* find_type(const std::string& text, Role role) {
  for (const Type& type : kTypes) {
    const bool order = text.starts_with('<') || text.starts_with('=') ||
                       (type.bytes == 1 && (text.starts_with('|') || text.starts_with('>')));
    if (!order || text.substr(1) != type.name) continue;
    return role == Role::kTargets || type.for_samples ? &type : nullptr;
  }
  return nullptr;
}

}  // namespace

Result<Array> parse_npy(const Bytes& bytes, const std::string& name, Role role) {
  INSTEP_ASSIGN_OR_RETURN(const Frame frame, find_header(bytes, name));
  INSTEP_ASSIGN_OR_RETURN(NpyHeader header, parse_npy_header(frame.header, name));
  const Type* type = find_type(header.type, role);
  if (type == nullptr) return wrong_type(header.type, name, role);
  INSTEP_RETURN_IF_ERROR(check_header(header, name));
  INSTEP_RETURN_IF_ERROR(
      check_extents(name, header.extents, type->bytes, bytes.size - frame.values_at));
  Array array;
  array.name = name;
  array.memory = bytes.memory;
  array.extents = std::move(header.extents);
  std::byte* values = bytes.memory.get() + frame.values_at;
  // numpy puts values at multiples of 16; whoever does not has them moved.
  if (frame.values_at % alignof(double) != 0) {
    std::memmove(bytes.memory.get(), values, bytes.size - frame.values_at);
    values = bytes.memory.get();
  }
  array.values = values;
  INSTEP_RETURN_IF_ERROR(type->bring(array));
  return array;
}

Result<bool> is_numpy(const std::filesystem::path& path) {
  INSTEP_ASSIGN_OR_RETURN(const std::string start, read_beginning(path, kMagic.size()));
  return start == kMagic || start.starts_with("PK");
}

Result<Table> load_npy_samples(const std::filesystem::path& samples, const std::string& key) {
  INSTEP_ASSIGN_OR_RETURN(const bool archive, is_npz(samples));
  if (archive) {
    INSTEP_ASSIGN_OR_RETURN(const NpzFile file, NpzFile::open(samples));
    INSTEP_ASSIGN_OR_RETURN(const Array x, file.read(key, Role::kSamples));
    return samples_table(x);
  }
  INSTEP_ASSIGN_OR_RETURN(const Bytes bytes, read_bytes(samples));
  INSTEP_ASSIGN_OR_RETURN(const Array x, parse_npy(bytes, samples.string(), Role::kSamples));
  return samples_table(x);
}

Result<Table> load_npy(const std::filesystem::path& samples, const std::filesystem::path& targets) {
  INSTEP_ASSIGN_OR_RETURN(const Bytes x_bytes, read_bytes(samples));
  INSTEP_ASSIGN_OR_RETURN(const Array x, parse_npy(x_bytes, samples.string(), Role::kSamples));
  INSTEP_ASSIGN_OR_RETURN(const Bytes y_bytes, read_bytes(targets));
  INSTEP_ASSIGN_OR_RETURN(const Array y, parse_npy(y_bytes, targets.string(), Role::kTargets));
  return make_table(x, y);
}

Result<Table> load_npz(const std::filesystem::path& file, const std::string& samples_key,
                       const std::string& targets_key) {
  INSTEP_ASSIGN_OR_RETURN(const NpzFile archive, NpzFile::open(file));
  INSTEP_ASSIGN_OR_RETURN(const Array x, archive.read(samples_key, Role::kSamples));
  INSTEP_ASSIGN_OR_RETURN(const Array y, archive.read(targets_key, Role::kTargets));
  return make_table(x, y);
}

}  // namespace instep::data
