#include "round/book.h"

#include <algorithm>
#include <cstring>

#include "base/hash.h"

namespace instep::round {
namespace {

constexpr std::uint64_t kMagic = 0x6b6f6f62;  // "book"

struct Place {
  std::uint64_t offset = 0, bytes = 0;
};
struct Head {
  std::uint64_t magic = kMagic, round = 0;
  Place state, history, log;
  std::uint64_t hash = 0;  // of everything before it and of the sections
};

// Sections are hashed by pieces of so many bytes, so that a log's hash grows with it.
constexpr std::uint64_t kPiece = 8;

std::uint64_t grow(std::uint64_t hash, std::span<const std::byte> bytes) {
  for (std::size_t at = 0; at < bytes.size(); at += kPiece) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, std::min<std::size_t>(kPiece, bytes.size() - at));
    hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
    hash ^= hash >> 29;
  }
  return hash;
}

std::uint64_t hash_of(const Head& head, std::uint64_t state, std::uint64_t history,
                      std::uint64_t log) {
  const std::uint64_t words[] = {
      head.round, head.state.bytes, head.history.bytes, head.log.bytes, state, history, log};
  return xxh3(std::as_bytes(std::span(words)));
}

}  // namespace

std::byte* BookWriter::take(std::uint64_t bytes) {
  auto* at = static_cast<std::byte*>(arena_.take(bytes));
  INSTEP_CHECK(at != nullptr, "an arena holds its book");
  return at;
}

// Somebody may read it by the book before: kept until the commit after the next.
void BookWriter::drop(std::byte* at) {
  if (at != nullptr) dropped_.push_back(at);
}

void BookWriter::set_history(std::span<const std::byte> bytes) {
  drop(history_.at);
  history_ = {take(bytes.size() + 1), bytes.size(), bytes.size(), grow(0, bytes)};
  if (!bytes.empty()) std::memcpy(history_.at, bytes.data(), bytes.size());
}

void BookWriter::clear_log() {
  drop(log_.at);
  log_ = {};
}

void BookWriter::append(std::span<const std::byte> bytes) {
  INSTEP_CHECK(bytes.size() % kPiece == 0, "a log's rows are whole words");
  if (log_.bytes + bytes.size() > log_.capacity) {
    const std::uint64_t capacity = std::max<std::uint64_t>(2 * (log_.bytes + bytes.size()), 4096);
    std::byte* larger = take(capacity);
    if (log_.bytes > 0) std::memcpy(larger, log_.at, log_.bytes);
    drop(log_.at);
    log_.at = larger;
    log_.capacity = capacity;
  }
  if (!bytes.empty()) std::memcpy(log_.at + log_.bytes, bytes.data(), bytes.size());
  log_.bytes += bytes.size();
  log_.hash = grow(log_.hash, bytes);
}

void BookWriter::commit(std::uint64_t round, std::span<const std::byte> state) {
  const std::uint64_t needed = sizeof(Head) + state.size();
  if (head_capacity_[next_] < needed) {
    arena_.give_back(head_[next_]);  // of the book before the last: nobody reads it any more
    head_[next_] = take(needed);
    head_capacity_[next_] = needed;
  }
  std::byte* const at = head_[next_];
  const auto place = [this](const Section& section) {
    return Place{section.at == nullptr ? 0 : arena_.offset(section.at), section.bytes};
  };
  Head head;
  head.round = round;
  head.state = {arena_.offset(at) + sizeof(Head), state.size()};
  head.history = place(history_);
  head.log = place(log_);
  head.hash = hash_of(head, grow(0, state), history_.hash, log_.hash);
  std::memcpy(at, &head, sizeof head);
  if (!state.empty()) std::memcpy(at + sizeof head, state.data(), state.size());
  words_.book.store(arena_.offset(at), std::memory_order_release);
  next_ ^= 1;
  for (std::byte* old : leaving_) arena_.give_back(old);
  leaving_ = std::move(dropped_);
  dropped_.clear();
}

Result<Book> read_book(std::span<const std::byte> memory, std::uint64_t offset) {
  const Error broken{ErrorKind::kCorrupt, "a book does not hold together"};
  Head head;
  if (offset > memory.size() || memory.size() - offset < sizeof head) return broken;
  std::memcpy(&head, memory.data() + offset, sizeof head);
  if (head.magic != kMagic) return broken;
  for (const Place& place : {head.state, head.history, head.log}) {
    if (place.offset > memory.size() || place.bytes > memory.size() - place.offset) return broken;
  }
  Book book;
  book.round = head.round;
  book.state = memory.subspan(head.state.offset, head.state.bytes);
  book.history = memory.subspan(head.history.offset, head.history.bytes);
  book.log = memory.subspan(head.log.offset, head.log.bytes);
  if (head.hash != hash_of(head, grow(0, book.state), grow(0, book.history), grow(0, book.log))) {
    return broken;
  }
  return book;
}

std::vector<std::byte> copy_book(const Book& book) {
  Head head;
  head.round = book.round;
  std::uint64_t at = sizeof head;
  const auto place = [&at](std::span<const std::byte> section) {
    const Place out{at, section.size()};
    at += section.size();
    return out;
  };
  head.state = place(book.state);
  head.history = place(book.history);
  head.log = place(book.log);
  head.hash = hash_of(head, grow(0, book.state), grow(0, book.history), grow(0, book.log));
  std::vector<std::byte> out(at);
  std::memcpy(out.data(), &head, sizeof head);
  std::byte* to = out.data() + sizeof head;
  for (const auto section : {book.state, book.history, book.log}) {
    if (!section.empty()) std::memcpy(to, section.data(), section.size());
    to += section.size();
  }
  return out;
}

}  // namespace instep::round
