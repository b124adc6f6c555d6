// The endpoints of an address, for those of this folder who connect.
#pragma once

#include <functional>
#include <vector>

#include "fabric/address.h"
#include "fabric/loop_state.h"

namespace instep::fabric {

using Endpoints = std::vector<asio::ip::tcp::endpoint>;

// All that the host's name stands for; the host itself if it is a number, and then at once. `found`
// is called in the resolver's loop; no endpoints: with the reason. Cancel the resolver, and it
// hears that as one.
void resolve(asio::ip::tcp::resolver& resolver, const Address& address,
             std::function<void(const asio::error_code&, Endpoints)> found);

}  // namespace instep::fabric
