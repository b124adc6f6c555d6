#include "round/relay_rows.h"

#include <cstring>

namespace instep::round {
namespace {

struct HeadBytes {
  std::uint64_t check;
  std::uint32_t directive, rows, flags, zero;
};

}  // namespace

std::vector<std::byte> write_rows(std::uint64_t check, Directive directive,
                                  std::span<const ShardRow> rows,
                                  std::span<const std::uint8_t> flags) {
  const HeadBytes head{check, static_cast<std::uint32_t>(directive),
                       static_cast<std::uint32_t>(rows.size()),
                       static_cast<std::uint32_t>(flags.size()), 0};
  std::vector<std::byte> out(sizeof head + rows.size_bytes() + flags.size());
  std::memcpy(out.data(), &head, sizeof head);
  if (!rows.empty()) std::memcpy(out.data() + sizeof head, rows.data(), rows.size_bytes());
  if (!flags.empty()) {
    std::memcpy(out.data() + sizeof head + rows.size_bytes(), flags.data(), flags.size());
  }
  return out;
}

Result<Rows> read_rows(std::span<const std::byte> bytes, const std::vector<std::uint32_t>& shards,
                       std::size_t flags) {
  const auto broken = [](const char* what) { return Error{ErrorKind::kCorrupt, what}; };
  HeadBytes head{};
  if (bytes.size() < sizeof head) return broken("its rows are cut off");
  std::memcpy(&head, bytes.data(), sizeof head);
  if (head.rows != shards.size() || head.flags != flags ||
      bytes.size() != sizeof head + shards.size() * sizeof(ShardRow) + flags ||
      head.directive > static_cast<std::uint32_t>(Directive::kStop)) {
    return broken("its rows do not fit the line-up");
  }
  Rows out;
  out.check = head.check;
  out.directive = static_cast<Directive>(head.directive);
  out.rows.resize(shards.size());
  out.flags.resize(flags);
  const std::byte* at = bytes.data() + sizeof head;
  if (!shards.empty()) std::memcpy(out.rows.data(), at, shards.size() * sizeof(ShardRow));
  if (flags > 0) std::memcpy(out.flags.data(), at + shards.size() * sizeof(ShardRow), flags);
  for (std::size_t i = 0; i < shards.size(); ++i) {
    if (out.rows[i].shard != shards[i]) return broken("it has rows of other shards");
  }
  return out;
}

}  // namespace instep::round
