// Whether anybody listens at an address: what tells a process that has ended, whose ports are
// closed, from a link that is down.
#pragma once

#include <cstdint>
#include <functional>

#include "fabric/address.h"
#include "fabric/loop.h"

namespace instep::fabric {

enum class Probe {
  kListening,
  kClosed,  // the machine says that nobody does
  kSilent,  // nothing was heard in time, or there is no way there
};

// One attempt. `found` is called once, in the loop's thread; not if the loop ends before.
void probe(Loop& loop, const Address& address, std::int64_t within_ms,
           std::function<void(Probe)> found);

}  // namespace instep::fabric
