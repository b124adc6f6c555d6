// What an owner may leave half done when it dies: the update of one unit in place. Before it steps
// a unit it saves what the step changes in a slot of its own arena and says which blocks that is;
// when their new values stand it stamps them. Whoever has the proof that it is dead puts back what
// is saved and not stamped, and any successor may go on from there (design, section 3 rule 2).
//
// What comes out is written nowhere else: parameters have two buffers, and a block's stamp says
// whether the next one stands.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "fabric/arena.h"
#include "fabric/host_memory.h"
#include "reduce/flat.h"

namespace instep::round {

// A block's stamp: round + 1 (its low 32 bits) once the round's update of the block stands. At the
// start of a run it is that of the round before, so that it is one or the other ever after.
using Stamp = std::atomic<std::uint32_t>;
inline std::uint32_t stamp_of(std::uint64_t round) { return static_cast<std::uint32_t>(round + 1); }
void set_stamps(Stamp* stamps, const reduce::Range& unit, std::uint64_t round);
// Whether all blocks of the range, which begins at one, are stamped for the round.
bool stamped(const Stamp* stamps, const reduce::Range& range, std::uint64_t round);
// The parts of `units` whose blocks are not stamped for the round.
std::vector<reduce::Range> unstamped(const std::vector<reduce::Range>& units, const Stamp* stamps,
                                     std::uint64_t round);

// Of a region in a block's check. Odd, so that no bit is lost, and each another than the
// parameters' 1.
inline std::uint64_t check_weight(std::size_t region) { return 2 * region + 3; }

// The owner's side. `regions` are the arrays of the flat space that are stepped in place, all in
// the state file mapped at `state`, as `stamps` are. Units have at most `most` elements.
class UndoSlot {
 public:
  UndoSlot(fabric::Arena& arena, fabric::AgentWords& words, const std::byte* state,
           std::vector<const float*> regions, const Stamp* stamps, std::uint64_t most);
  ~UndoSlot();
  UndoSlot(const UndoSlot&) = delete;
  UndoSlot& operator=(const UndoSlot&) = delete;

  // Nothing of mine is half done: what was saved last may be somebody else's from here on.
  void clear() { words_.undo_open.store(0, std::memory_order_release); }
  // Saves a unit (whole blocks), which may be stepped from then on. Since all of it is read for
  // that, it is summed too: `checks`, by block of the unit, grow by check_weight(i) times the bits
  // of region i.
  void save(const reduce::Range& unit, std::uint64_t round, std::span<std::uint64_t> checks);

 private:
  fabric::Arena& arena_;
  fabric::AgentWords& words_;
  const std::vector<const float*> regions_;
  std::byte* memory_ = nullptr;
  std::uint64_t most_;
};

// Puts back what a dead agent left half done. Of a living one: never. The words and the arena may
// hold anything; nothing is written outside `state`.
Status undo(fabric::AgentWords& words, std::span<const std::byte> arena,
            std::span<std::byte> state);

}  // namespace instep::round
