// What an agent reads of another's shared memory: parts, books, and the undo slot of a dead one.
#include <cstring>
#include <memory>

#include "input.h"
#include "round/book.h"
#include "round/part.h"
#include "round/undo.h"

namespace instep {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Arenas lie on pages; a vector of words does for their alignment.
  std::vector<std::uint64_t> memory((size + 7) / 8);
  if (size > 0) std::memcpy(memory.data(), data, size);
  const fuzz::Bytes arena = std::as_bytes(std::span(memory));
  if (const auto part = round::read_part(arena); part.ok()) {
    fuzz::use(part->rows);
    fuzz::use(part->nodes);
    fuzz::use(part->offsets);
    fuzz::use(part->bytes);
  }
  if (const auto book = round::read_book(arena, 0); book.ok()) {
    fuzz::use(book->state);
    fuzz::use(book->history);
    fuzz::use(book->log);
  }
  if (memory.size() < 2) return 0;
  const auto words = std::make_unique<fabric::AgentWords>();
  words->undo_open.store(memory[0]);
  words->undo_at.store(memory[1]);
  std::vector<std::uint64_t> state(8 << 10);
  (void)round::undo(*words, arena, std::as_writable_bytes(std::span(state)));
  return 0;
}

}  // namespace instep
