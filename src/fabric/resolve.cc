#include "fabric/resolve.h"

#include <utility>

namespace instep::fabric {

using asio::ip::tcp;

void resolve(tcp::resolver& resolver, const Address& address,
             std::function<void(const asio::error_code&, Endpoints)> found) {
  asio::error_code failed;
  const auto number = asio::ip::make_address(address.host, failed);
  if (!failed) return found({}, {tcp::endpoint(number, address.port)});
  resolver.async_resolve(
      address.host, "",
      [port = address.port, found = std::move(found)](const asio::error_code& why,
                                                      const tcp::resolver::results_type& results) {
        Endpoints endpoints;
        for (const auto& it : results) endpoints.emplace_back(it.endpoint().address(), port);
        found(why, std::move(endpoints));
      });
}

}  // namespace instep::fabric
