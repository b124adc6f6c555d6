// Makes libtorch's CPU allocator take its blocks from an agent's arena.
#pragma once

#include "fabric/arena.h"

namespace instep::model {

// For the whole process, from now on; `arena` must outlive every tensor, so it is never destroyed.
// Blocks taken before stay where they are. An arena that is full throws c10::OutOfMemoryError,
// which says how much was asked for.
void install_arena(fabric::Arena& arena);

}  // namespace instep::model
