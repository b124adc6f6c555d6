#include "round/part.h"

#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>

#include "base/text.h"
#include "fabric/arena.h"

namespace instep::round {
namespace {

struct Header {
  std::uint64_t ticket, round, rows, nodes, offsets, bytes;
  std::uint32_t directive, magic;
};
constexpr std::uint32_t kMagic = 0x54524150;      // "PART"
constexpr std::uint32_t kOpenMagic = 0x4e45504f;  // "OPEN"

template <class T>
std::byte* put(std::byte* to, std::span<const T> items) {
  if (!items.empty()) std::memcpy(to, items.data(), items.size_bytes());
  return to + items.size_bytes();
}

template <class T>
bool take(std::span<const std::byte>& rest, std::uint64_t count, std::span<const T>& out) {
  if (count > rest.size() / sizeof(T)) return false;
  out = {reinterpret_cast<const T*>(rest.data()), static_cast<std::size_t>(count)};
  rest = rest.subspan(out.size_bytes());
  return true;
}

}  // namespace

float mean_factor(std::uint32_t full_samples, std::uint64_t samples) {
  return samples == 0 ? 0.0F : static_cast<float>(full_samples / static_cast<double>(samples));
}

std::size_t part_bytes(const Part& part) {
  return sizeof(Header) + part.rows.size_bytes() + part.nodes.size_bytes() +
         part.offsets.size_bytes() + part.bytes.size();
}

void write_part(const Part& part, std::byte* to) {
  const Header header{part.ticket,
                      part.round,
                      part.rows.size(),
                      part.nodes.size(),
                      part.offsets.size(),
                      part.bytes.size(),
                      static_cast<std::uint32_t>(part.directive),
                      part.open ? kOpenMagic : kMagic};
  std::memcpy(to, &header, sizeof header);
  to = put(to + sizeof header, part.rows);
  to = put(to, part.nodes);
  to = put(to, part.offsets);
  put(to, part.bytes);
}

Result<Part> read_part(std::span<const std::byte> memory) {
  const Error broken{ErrorKind::kCorrupt, "a member published a part that does not hold together"};
  Header header{};
  if (memory.size() < sizeof header) return broken;
  std::memcpy(&header, memory.data(), sizeof header);
  std::span<const std::byte> rest = memory.subspan(sizeof header);
  Part part;
  part.ticket = header.ticket;
  part.round = header.round;
  part.directive = static_cast<Directive>(header.directive);
  part.open = header.magic == kOpenMagic;
  if ((header.magic != kMagic && !part.open) ||
      header.directive > static_cast<std::uint32_t>(Directive::kStop) ||
      !take(rest, header.rows, part.rows) || !take(rest, header.nodes, part.nodes) ||
      !take(rest, header.offsets, part.offsets) || !take(rest, header.bytes, part.bytes)) {
    return broken;
  }
  return part;
}

// Of an open part its member writes them meanwhile.
void settle(std::byte* to, std::size_t offset_index, std::uint64_t offset) {
  Header header{};
  std::memcpy(&header, to, sizeof header);
  std::byte* const offsets =
      to + sizeof header + header.rows * sizeof(ShardRow) + header.nodes * sizeof(reduce::Node);
  _mm_sfence();
  std::atomic_ref(reinterpret_cast<std::uint64_t*>(offsets)[offset_index])
      .store(offset, std::memory_order_release);
}

Status add_open_sources(const Part& part, std::span<const std::byte> arena,
                        const std::vector<reduce::Range>& tensors,
                        std::vector<const float*>& sources, std::vector<std::uint8_t>& pending) {
  const std::size_t wanted = part.nodes.size() * tensors.size();
  if (part.offsets.size() != wanted) {
    return Error{ErrorKind::kCorrupt,
                 cat("a part has ", part.offsets.size(), " tensors and not ", wanted)};
  }
  for (std::size_t i = 0; i < wanted; ++i) {
    auto& shared = const_cast<std::uint64_t&>(part.offsets[i]);  // atomic_ref wants it; it is read
    const std::uint64_t offset = std::atomic_ref(shared).load(std::memory_order_acquire);
    pending.push_back(offset == fabric::Arena::kPending ? 1 : 0);
    if (offset == fabric::Arena::kAbsent || offset == fabric::Arena::kPending) {
      sources.push_back(nullptr);
      continue;
    }
    const std::uint64_t bytes = tensors[i % tensors.size()].count * sizeof(float);
    if (offset % alignof(float) != 0 || offset > arena.size() || bytes > arena.size() - offset) {
      return Error{ErrorKind::kCorrupt, "a part has a gradient outside its arena"};
    }
    sources.push_back(reinterpret_cast<const float*>(arena.data() + offset));
  }
  return {};
}

Status add_sources(const Part& part, std::span<const std::byte> arena,
                   const std::vector<reduce::Range>& tensors, std::vector<const float*>& sources) {
  std::vector<std::uint8_t> pending;
  INSTEP_RETURN_IF_ERROR(add_open_sources(part, arena, tensors, sources, pending));
  if (part.open || std::find(pending.begin(), pending.end(), 1) != pending.end()) {
    return Error{ErrorKind::kCorrupt, "a part is not whole"};
  }
  return {};
}

Result<std::optional<Part>> find_part(const fabric::AgentWords& words,
                                      std::span<const std::byte> arena, fabric::Ticket ticket) {
  for (const auto& word : words.mail) {
    const std::uint64_t offset = word.load(std::memory_order_acquire);
    if (offset == 0) continue;
    if (offset > arena.size() || arena.size() - offset < sizeof(Header)) {
      return Error{ErrorKind::kCorrupt, "its mail lies outside its arena"};
    }
    // The other one may be over, and its memory something else by now: only this one is read.
    fabric::Ticket found = 0;
    std::memcpy(&found, arena.data() + offset + offsetof(Header, ticket), sizeof found);
    if (found != ticket) continue;
    INSTEP_ASSIGN_OR_RETURN(const Part part, read_part(arena.subspan(offset)));
    return std::optional<Part>(part);
  }
  return std::optional<Part>();
}

}  // namespace instep::round
