// Memory of datasets, and whole files read into it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/result.h"

namespace instep::data {

using Memory = std::shared_ptr<std::byte>;

// Zeroed memory, aligned to pages and taken from the system only as it is touched. `what` names it
// in the error: kNoMemory, with what is needed and what there is.
Result<Memory> allocate(std::uint64_t bytes, const std::string& what);
// The same for count * width * item_bytes, whose product may not overflow.
Result<Memory> allocate_array(std::uint64_t count, std::uint64_t width, std::uint64_t item_bytes,
                              const std::string& what);

struct Bytes {
  Memory memory;
  std::uint64_t size = 0;
};

// The first bytes of a regular file, at most `most`.
Result<std::string> read_beginning(const std::filesystem::path& path, std::size_t most);

// The most that so many bytes of deflated data can hold.
std::uint64_t deflated_at_most(std::uint64_t packed_bytes);

// The whole of a regular file; one that starts with gzip's magic comes unpacked (one member, of any
// size that its packed size makes plausible).
Result<Bytes> read_bytes(const std::filesystem::path& path);

}  // namespace instep::data
