// A dataset in an anonymous memory file: a header, then each table's values and targets at
// multiples of 64 bytes. Sealed, so that what map_image() has checked stays so.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "base/machine.h"
#include "base/text.h"
#include "data/readers.h"

namespace instep::data {
namespace {

constexpr std::uint64_t kMagic = 0x617461647065736eULL;
constexpr std::uint32_t kVersion = 1;
constexpr std::uint64_t kAlign = 64;
constexpr const char* kName = "the dataset's memory image";

struct TableHeader {
  std::uint64_t size = 0;
  std::uint32_t kind = 0, rank = 0;
  std::array<std::int64_t, kMaxRank> shape{};
  std::uint64_t values_at = 0;  // offsets in the image; 0: none
  std::uint64_t classes_at = 0, targets_at = 0;
  std::int64_t target_width = 0, class_count = 0;
  float scale = 1, shift = 0;
};

struct Header {
  std::uint64_t magic = kMagic;
  std::uint32_t version = kVersion, header_bytes = sizeof(Header);
  std::uint64_t total_bytes = 0;
  TableHeader train, test;
};
static_assert(std::is_trivially_copyable_v<Header>);

std::uint64_t value_bytes(Kind kind) { return kind == Kind::kF32 ? 4 : 1; }

// Of tokens there is one more: the target of the last.
std::uint64_t value_count(const Table& table) {
  return table.size * table.elements() + (table.kind == Kind::kTokens ? 1 : 0);
}

std::uint64_t all_value_bytes(const Table& table) {
  return value_count(table) * value_bytes(table.kind);
}

// Reserves `bytes` at the image's end.
std::uint64_t reserve(std::uint64_t& total, std::uint64_t bytes) {
  const std::uint64_t at = (total + kAlign - 1) / kAlign * kAlign;
  total = at + bytes;
  return at;
}

TableHeader lay_out(const Table& table, std::uint64_t& total) {
  TableHeader out;
  if (table.size == 0) return out;
  INSTEP_CHECK(table.shape.size() <= kMaxRank, "a sample has at most kMaxRank dimensions");
  out.size = table.size;
  out.kind = static_cast<std::uint32_t>(table.kind);
  out.rank = static_cast<std::uint32_t>(table.shape.size());
  std::copy(table.shape.begin(), table.shape.end(), out.shape.begin());
  out.target_width = table.target_width;
  out.class_count = table.class_count;
  out.scale = table.scale;
  out.shift = table.shift;
  out.values_at = reserve(total, all_value_bytes(table));
  if (table.classes != nullptr) out.classes_at = reserve(total, table.size * 4);
  if (table.targets != nullptr) {
    out.targets_at =
        reserve(total, table.size * static_cast<std::uint64_t>(table.target_width) * 4);
  }
  return out;
}

Status write_array(const Fd& fd, std::uint64_t at, const void* from, std::uint64_t bytes) {
  if (at == 0) return {};
  return write_at(fd.get(), at, {static_cast<const std::byte*>(from), bytes}, kName);
}

Status write_table(const Fd& fd, const TableHeader& header, const Table& table) {
  INSTEP_RETURN_IF_ERROR(write_array(fd, header.values_at, table.values, all_value_bytes(table)));
  INSTEP_RETURN_IF_ERROR(write_array(fd, header.classes_at, table.classes, table.size * 4));
  return write_array(fd, header.targets_at, table.targets,
                     table.size * static_cast<std::uint64_t>(table.target_width) * 4);
}

Error bad_image(std::string_view what) {
  return {ErrorKind::kCorrupt, cat(kName, " is damaged: ", what)};
}

// An array of count * width items and `more` bytes within the image, or null where `at` is 0.
Result<const std::byte*> locate(const std::byte* image, const Header& header, std::uint64_t at,
                                std::uint64_t count, std::uint64_t width, std::uint64_t item_bytes,
                                std::uint64_t more = 0) {
  if (at == 0) return nullptr;
  std::uint64_t end = 0;
  if (__builtin_mul_overflow(count, width, &end) || __builtin_mul_overflow(end, item_bytes, &end) ||
      __builtin_add_overflow(end, at, &end) || __builtin_add_overflow(end, more, &end) ||
      at < header.header_bytes || at % kAlign != 0 || end > header.total_bytes) {
    return bad_image(cat("an array of ", count, " x ", width, " at byte ", at,
                         " is not within its ", header.total_bytes, " bytes"));
  }
  return image + at;
}

Result<Table> read_table(const std::byte* image, const Header& header, const TableHeader& from) {
  Table table;
  if (from.size == 0) return table;
  constexpr std::int64_t kByteValues = 256;
  const bool tokens = from.kind == static_cast<std::uint32_t>(Kind::kTokens);
  const bool has_targets = from.classes_at != 0 || from.targets_at != 0;
  if (from.kind > static_cast<std::uint32_t>(Kind::kTokens) || from.rank > kMaxRank ||
      from.values_at == 0 || (from.classes_at != 0 && from.targets_at != 0) ||
      has_targets == tokens || from.target_width < (from.targets_at == 0 ? 0 : 1) ||
      (tokens && (from.rank != 1 || from.class_count != kByteValues)) ||
      !std::isfinite(from.scale) || !std::isfinite(from.shift)) {
    return bad_image("a table's header is out of range");
  }
  std::uint64_t elements = 1;
  for (std::uint32_t i = 0; i < from.rank; ++i) {
    if (from.shape[i] < 1 ||
        __builtin_mul_overflow(elements, static_cast<std::uint64_t>(from.shape[i]), &elements)) {
      return bad_image(cat("a sample has the extent ", from.shape[i]));
    }
    table.shape.push_back(from.shape[i]);
  }
  table.size = from.size;
  table.kind = static_cast<Kind>(from.kind);
  table.target_width = from.target_width;
  table.class_count = from.class_count;
  table.scale = from.scale;
  table.shift = from.shift;
  INSTEP_ASSIGN_OR_RETURN(table.values, locate(image, header, from.values_at, from.size, elements,
                                               value_bytes(table.kind), tokens ? 1 : 0));
  INSTEP_ASSIGN_OR_RETURN(const std::byte* classes,
                          locate(image, header, from.classes_at, from.size, 1, 4));
  INSTEP_ASSIGN_OR_RETURN(const std::byte* targets,
                          locate(image, header, from.targets_at, from.size,
                                 static_cast<std::uint64_t>(from.target_width), 4));
  table.classes = reinterpret_cast<const std::int32_t*>(classes);
  table.targets = reinterpret_cast<const float*>(targets);
  for (std::uint64_t i = 0; table.classes != nullptr && i < table.size; ++i) {
    if (table.classes[i] < 0 || table.classes[i] >= table.class_count) {
      return bad_image(cat("sample ", i, " has the label ", table.classes[i], " of ",
                           table.class_count, " classes"));
    }
  }
  return table;
}

}  // namespace

Result<Fd> make_image(const Dataset& dataset) {
  Header header;
  header.total_bytes = sizeof(Header);
  header.train = lay_out(dataset.train, header.total_bytes);
  header.test = lay_out(dataset.test, header.total_bytes);
  if (const std::uint64_t available = available_memory(); header.total_bytes > available) {
    return Error{ErrorKind::kNoMemory,
                 cat("too little memory: ", kName, " needs ",
                     human_bytes(static_cast<double>(header.total_bytes)), ", and ",
                     human_bytes(static_cast<double>(available)), " are free")};
  }
  Fd fd(::memfd_create("instep-dataset", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return os_error("make", kName, errno);
  if (::ftruncate(fd.get(), static_cast<off_t>(header.total_bytes)) != 0) {
    return os_error("size", kName, errno);
  }
  // Written, not stored to a mapping: no page fault a page.
  INSTEP_RETURN_IF_ERROR(write_at(fd.get(), 0, std::as_bytes(std::span(&header, 1)), kName));
  INSTEP_RETURN_IF_ERROR(write_table(fd, header.train, dataset.train));
  INSTEP_RETURN_IF_ERROR(write_table(fd, header.test, dataset.test));
  // A kernel without seals still serves: nobody but us holds the descriptor.
  [[maybe_unused]] const int sealed =
      ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
  return fd;
}

Result<Dataset> map_image(const Fd& image) {
  struct stat info {};
  if (::fstat(image.get(), &info) != 0) return os_error("open", kName, errno);
  const auto bytes = static_cast<std::uint64_t>(info.st_size);
  if (bytes < sizeof(Header)) {
    return bad_image(cat("it has ", bytes, " bytes, its header alone ", sizeof(Header)));
  }
  // Private, since kernels before 6.7 refuse shared mappings of a sealed file; unwritten pages are
  // the file's own all the same.
  void* at = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, image.get(), 0);
  if (at == MAP_FAILED) return os_error("map", kName, errno);
  const std::shared_ptr<const void> keep(
      at, [bytes](const void* start) { ::munmap(const_cast<void*>(start), bytes); });
  const auto* start = static_cast<const std::byte*>(at);
  Header header;
  std::memcpy(&header, start, sizeof(header));
  if (header.magic != kMagic) return bad_image("it does not start as one");
  if (header.version != kVersion || header.header_bytes != sizeof(Header)) {
    return Error{ErrorKind::kMismatch, cat(kName, " is of version ", header.version, ", this build",
                                           " reads ", kVersion, "; use one build for all agents")};
  }
  if (header.total_bytes != bytes) {
    return bad_image(cat("it has ", bytes, " bytes and its header says ", header.total_bytes));
  }
  Dataset out;
  INSTEP_ASSIGN_OR_RETURN(out.train, read_table(start, header, header.train));
  INSTEP_ASSIGN_OR_RETURN(out.test, read_table(start, header, header.test));
  out.train.keep = keep;
  out.test.keep = keep;
  return out;
}

}  // namespace instep::data
