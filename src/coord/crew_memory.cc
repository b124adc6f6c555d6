// What a crew does with the memory that its agents share: reads their words, and takes care of what
// the dead leave behind.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/random.h"
#include "base/text.h"
#include "coord/crew.h"
#include "round/book.h"
#include "round/undo.h"

namespace instep::coord {
namespace {

std::span<const std::byte> bytes_of(const fabric::Mapping& mapping) {
  return {mapping.data(), static_cast<std::size_t>(mapping.size())};
}

struct Extent {
  off_t begin, end;
};

// The parts of a sparse file that have been written.
std::vector<Extent> written(const Fd& file) {
  std::vector<Extent> out;
  for (off_t at = 0;;) {
    const off_t begin = ::lseek(file.get(), at, SEEK_DATA);
    if (begin < 0) return out;
    const off_t end = ::lseek(file.get(), begin, SEEK_HOLE);
    if (end <= begin) return out;
    out.push_back({begin, end});
    at = end;
  }
}

}  // namespace

member::Words Crew::words(std::uint32_t agent) const {
  const fabric::AgentWords& words = page()->agents[agent];
  member::Words out;
  const fabric::Standing stands = fabric::standing(words);
  if (stands.view != 0) {
    out.view = stands.view;
    out.started = stands.op;
    out.released = stands.released();
  }
  out.taken = words.taken.load(std::memory_order_acquire);
  out.beats = words.beats.load(std::memory_order_relaxed);
  const std::uint32_t busy = words.busy.load(std::memory_order_relaxed);
  out.busy = busy <= static_cast<std::uint32_t>(member::Busy::kWaiting)
                 ? static_cast<member::Busy>(busy)
                 : member::Busy::kOutside;
  return out;
}

std::vector<member::Words> Crew::observe() const {
  std::vector<member::Words> out;
  for (std::uint32_t agent = 0; agent < size(); ++agent) out.push_back(words(agent));
  return out;
}

std::uint64_t Crew::newest_round() const {
  const fabric::ControlPage* shared = page();
  for (std::uint32_t agent = 0; agent < size(); ++agent) {
    const std::uint64_t round = shared->agents[agent].status.round.load(std::memory_order_relaxed);
    newest_round_ = std::max(newest_round_, round);
  }
  return newest_round_;
}

Status Crew::map_state() {
  if (state_.data() != nullptr) return {};
  INSTEP_ASSIGN_OR_RETURN(state_, fabric::Mapping::map(files_.state, true));
  return {};
}

Status Crew::undo(std::uint32_t agent) {
  fabric::AgentWords& words = page()->agents[agent];
  if (words.undo_at.load(std::memory_order_acquire) == 0) return {};
  INSTEP_RETURN_IF_ERROR(map_state());
  INSTEP_ASSIGN_OR_RETURN(const fabric::Mapping arena,
                          fabric::Mapping::map(files_.arenas[agent], false));
  return round::undo(words, bytes_of(arena),
                     {state_.data(), static_cast<std::size_t>(state_.size())});
}

Result<std::optional<std::uint64_t>> Crew::take_book() {
  const fabric::ControlPage* shared = page();
  for (std::uint32_t agent = 0; agent < size(); ++agent) {
    const std::uint64_t at = shared->agents[agent].book.load(std::memory_order_acquire);
    if (!members_[agent].gone || at == 0) continue;
    INSTEP_ASSIGN_OR_RETURN(const fabric::Mapping arena,
                            fabric::Mapping::map(files_.arenas[agent], false));
    const auto book = round::read_book(bytes_of(arena), at);
    if (!book.ok()) {
      log(LogLevel::kWarning,
          cat("agent ", agent, " left a book that is damaged: ", book.error().message));
      continue;
    }
    if (book_.valid() && book->round <= book_round_) continue;
    INSTEP_RETURN_IF_ERROR(keep_book(round::copy_book(*book), book->round));
  }
  failpoint("launch.book_taken");
  if (!book_.valid()) return std::optional<std::uint64_t>();
  return std::optional(book_round_);
}

Status Crew::keep_book(std::span<const std::byte> bytes, std::uint64_t round) {
  INSTEP_ASSIGN_OR_RETURN(Fd file, make_memory_file("instep-book", bytes.size()));
  INSTEP_RETURN_IF_ERROR(write_at(file.get(), 0, bytes, "the book of a run"));
  book_ = std::move(file);
  book_round_ = round;
  return {};
}

void Crew::forget_books() {
  book_ = Fd();
  for (std::uint32_t agent = 0; agent < size(); ++agent) page()->agents[agent].book.store(0);
}

Status Crew::flip_bit(std::uint64_t seed) {
  INSTEP_RETURN_IF_ERROR(map_state());
  const std::vector<Extent> extents = written(files_.state);
  std::uint64_t bytes = 0;
  for (const Extent& it : extents) bytes += static_cast<std::uint64_t>(it.end - it.begin);
  if (bytes == 0)
    return Error{ErrorKind::kUnavailable, "there is no shared state yet to flip a bit of"};
  Random random(seed);
  std::uint64_t at = random.below(bytes);
  for (const Extent& it : extents) {
    const auto size = static_cast<std::uint64_t>(it.end - it.begin);
    if (at < size) {
      state_.data()[static_cast<std::uint64_t>(it.begin) + at] ^= std::byte(1U << random.below(8));
      return {};
    }
    at -= size;
  }
  return {};
}

std::vector<AgentSnapshot> Crew::snapshots() const {
  std::vector<AgentSnapshot> out;
  const fabric::ControlPage* shared = page();
  for (std::uint32_t agent = 0; agent < size(); ++agent) {
    out.push_back(snapshot(shared->agents[agent].status));
    out.back().gone = members_[agent].gone;
    out.back().slot = static_cast<int>(agent);
  }
  return out;
}

}  // namespace instep::coord
