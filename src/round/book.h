// An agent's book: what it knows at the beginning of a round beside the parameters that the host
// holds, in its own arena, for who joins there and for who goes on when all are dead. Every member
// keeps one, and all say the same.
//
// It has three sections: `state` of a fixed round (small, written anew), `history` (changes now and
// then) and `log` (grows by rows). A book is committed by one word; until then the one before is
// whole, and a death between any two stores leaves one that is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "fabric/arena.h"
#include "fabric/host_memory.h"

namespace instep::round {

struct Book {
  std::uint64_t round = 0;  // rounds done: it is of the beginning of this one
  std::span<const std::byte> state, history, log;
};

class BookWriter {
 public:
  BookWriter(fabric::Arena& arena, fabric::AgentWords& words) : arena_(arena), words_(words) {}
  BookWriter(const BookWriter&) = delete;
  BookWriter& operator=(const BookWriter&) = delete;

  // For the next commit.
  void set_history(std::span<const std::byte> bytes);
  void clear_log();
  void append(std::span<const std::byte> bytes);

  void commit(std::uint64_t round, std::span<const std::byte> state);

 private:
  struct Section {
    std::byte* at = nullptr;
    std::uint64_t bytes = 0, capacity = 0, hash = 0;
  };
  std::byte* take(std::uint64_t bytes);
  void drop(std::byte* at);

  fabric::Arena& arena_;
  fabric::AgentWords& words_;
  Section history_, log_;
  std::byte* head_[2] = {};
  std::uint64_t head_capacity_[2] = {};
  int next_ = 0;
  std::vector<std::byte*> dropped_, leaving_;  // since the last commit; since the one before
};

// The book at `offset` of memory that may hold anything; the spans point there. An Error if it does
// not hold together or its hash is another.
Result<Book> read_book(std::span<const std::byte> memory, std::uint64_t offset);
// The same book in one piece, to be read at offset 0.
std::vector<std::byte> copy_book(const Book& book);

}  // namespace instep::round
