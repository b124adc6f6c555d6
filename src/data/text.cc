// Text as a stream of bytes: each byte is a token, and the one after it is its target.
#include <cstring>

#include "base/text.h"
#include "data/readers.h"

namespace instep::data {
namespace {

constexpr std::int64_t kByteValues = 256;

Table table_of(const Memory& memory, std::uint64_t size, std::uint64_t tokens) {
  Table table;
  table.size = size;
  table.kind = Kind::kTokens;
  table.shape = {static_cast<std::int64_t>(tokens)};
  table.values = memory.get();
  table.class_count = kByteValues;
  table.keep = memory;
  return table;
}

}  // namespace

Result<Table> load_text(const std::filesystem::path& file, std::int64_t context) {
  if (context < 1) {
    return invalid(cat("text needs to know how many bytes a sample has: data.context is ", context,
                       "; 1 or more is due"));
  }
  INSTEP_ASSIGN_OR_RETURN(const Bytes bytes, read_bytes(file));
  const auto tokens = static_cast<std::uint64_t>(context);
  if (bytes.size - 1 < tokens) {
    return invalid(cat(file.string(), " has ", bytes.size, bytes.size == 1 ? " byte" : " bytes",
                       "; one sample of data.context = ", context, " bytes needs ", tokens + 1,
                       ", since the byte after it is its last target; use a longer text or a "
                       "smaller context"));
  }
  return table_of(bytes.memory, (bytes.size - 1) / tokens, tokens);
}

Result<Table> load_text_inputs(const std::filesystem::path& file, std::int64_t context) {
  INSTEP_ASSIGN_OR_RETURN(const Bytes bytes, read_bytes(file));
  const std::uint64_t tokens =
      context < 1 ? bytes.size : std::min(bytes.size, static_cast<std::uint64_t>(context));
  // A table of tokens has a byte behind its last sample; here it stands for no target.
  INSTEP_ASSIGN_OR_RETURN(const Memory memory, allocate(bytes.size + 1, file.string()));
  std::memcpy(memory.get(), bytes.memory.get(), bytes.size);
  return table_of(memory, bytes.size / tokens, tokens);
}

}  // namespace instep::data
