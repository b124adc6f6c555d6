#include "round/state_move.h"

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace instep::round {
namespace {

// A book grows with the samples of an epoch; what claims to be larger is none.
constexpr std::uint64_t kMaxBookBytes = std::uint64_t{1} << 32;

Error broken(const char* what) {
  return {ErrorKind::kCorrupt, cat("the state of the run came with ", what)};
}

Result<std::vector<StatePart>> read_parts(const std::vector<std::uint64_t>& list,
                                          std::uint64_t bytes) {
  const Error wrong{ErrorKind::kCorrupt, "agents do not say where their state lies"};
  if (list.empty() || list.size() % 2 != 0) return wrong;
  std::vector<StatePart> out;
  for (std::size_t i = 0; i < list.size(); i += 2) {
    if (list[i] > bytes || list[i + 1] == 0 || list[i + 1] > bytes - list[i]) return wrong;
    out.push_back({list[i], list[i + 1]});
  }
  return out;
}

}  // namespace

Result<StateParts> state_parts(const wire::Ready& ready, std::uint64_t round, std::uint64_t bytes) {
  const bool odd = (round & 1) != 0;
  StateParts out;
  INSTEP_ASSIGN_OR_RETURN(out.at,
                          read_parts(odd ? ready.state_at_odd : ready.state_at_even, bytes));
  INSTEP_ASSIGN_OR_RETURN(out.next,
                          read_parts(odd ? ready.state_at_even : ready.state_at_odd, bytes));
  std::erase_if(out.next, [&out](const StatePart& it) {
    return std::find(out.at.begin(), out.at.end(), it) != out.at.end();
  });
  return out;
}

void give_state(std::uint32_t lineup, std::uint64_t round, std::vector<std::byte> book,
                std::span<const std::byte> state, const StateParts& parts, bool begun,
                const SendState& send, std::uint64_t piece_bytes) {
  const auto kept = std::make_shared<const std::vector<std::byte>>(std::move(book));
  const auto length = std::make_shared<const std::uint64_t>(kept->size());
  send({kBookFrame, sizeof *length, lineup, begun ? 1U : 0U, round, 0},
       std::as_bytes(std::span(length.get(), 1)), length);
  const auto pieces = [&](std::uint32_t part, std::span<const std::byte> bytes,
                          const std::shared_ptr<const void>& keeper) {
    for (std::uint64_t at = 0; at < bytes.size(); at += piece_bytes) {
      const auto piece = bytes.subspan(at, std::min(piece_bytes, bytes.size() - at));
      send({kStateFrame, static_cast<std::uint32_t>(piece.size()), lineup, part, round, at,
            sizeof(float)},
           piece, keeper);
    }
  };
  pieces(0, *kept, kept);
  std::uint32_t number = 0;
  for (const auto* list : {&parts.at, &parts.next}) {
    if (list == &parts.next && !begun) break;
    for (const StatePart& it : *list) pieces(++number, state.subspan(it.begin, it.bytes), {});
  }
}

StateTaker::StateTaker(std::uint32_t lineup, std::uint64_t round, std::span<std::byte> state,
                       StateParts parts)
    : lineup_(lineup),
      round_(round),
      state_(state),
      parts_(std::move(parts.at)),
      next_(std::move(parts.next)) {}

Result<std::span<std::byte>> StateTaker::place(const RelayFrame& frame) {
  if (frame.lineup != lineup_ || frame.round != round_ || whole()) return broken("another round");
  if (frame.kind == kBookFrame) {
    if (book_bytes_ != 0 || frame.bytes != sizeof book_bytes_ || frame.index > 1) {
      return broken("two books");
    }
    return std::as_writable_bytes(std::span(&book_bytes_, 1));
  }
  if (book_bytes_ == 0 || frame.index != part_ || frame.at != at_ || frame.bytes == 0 ||
      frame.bytes > bytes_of(part_) - at_) {
    return broken("a piece out of turn");
  }
  if (part_ == 0) {  // as much memory as has come
    book_.resize(at_ + frame.bytes);
    return std::span(book_).subspan(at_);
  }
  return state_.subspan(parts_[part_ - 1].begin + at_, frame.bytes);
}

Status StateTaker::took(const RelayFrame& frame) {
  if (frame.kind == kBookFrame) {
    if (frame.index == 1) parts_.insert(parts_.end(), next_.begin(), next_.end());
    const bool real = book_bytes_ > 0 && book_bytes_ <= kMaxBookBytes;
    return real ? Status() : broken("a book of no real size");
  }
  at_ += frame.bytes;
  if (at_ < bytes_of(part_)) return {};
  ++part_;
  at_ = 0;
  return {};
}

}  // namespace instep::round
