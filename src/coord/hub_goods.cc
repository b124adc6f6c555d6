// What the hub gives hosts that join: the files that the job names, and the data's image. Each host
// asks for one after the other (arrivals.h).
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/text.h"
#include "coord/host_frames.h"
#include "coord/hub.h"

namespace instep::coord {
namespace {

constexpr std::size_t kPieceBytes = 1 << 20;

}  // namespace

Status Hub::dataset(const Fd& image) {
  auto data = std::make_shared<Goods>();
  data->what = "the job's data";
  data->file = Fd(::fcntl(image.get(), F_DUPFD_CLOEXEC, 0));
  struct stat info {};
  if (!data->file.valid() || ::fstat(data->file.get(), &info) != 0) {
    return os_error("hold", data->what, errno);
  }
  data->bytes = static_cast<std::uint64_t>(info.st_size);
  loop_.post([this, data] {
    data_ = data;
    for (const auto& [host, guest] : guests_) {
      if (guest.wants && guest.wants->goods == plan_.goods.size()) send_piece(host);
    }
  });
  return {};
}

const Hub::Goods* Hub::goods(std::uint32_t number) const {
  return number < plan_.goods.size() ? &plan_.goods[number] : data_.get();
}

void Hub::hear_wish(std::uint32_t host, const wire::HostWants& wants) {
  Guest& guest = guests_.at(host);
  const std::size_t last = plan_.goods.size() + (plan_.has_dataset ? 1 : 0);
  const Goods* const it = goods(wants.goods);
  const bool in_turn = !guest.wants || wants.goods > guest.wants->goods;
  if (!in_turn || wants.goods >= last || (it != nullptr && wants.from >= it->bytes)) {
    return turn_out(host, {ErrorKind::kCorrupt, "it asks for what it cannot get"});
  }
  guest.wants = wants;
  send_piece(host);
}

// The next one when this one has been sent: what is said to the host meanwhile does not wait for
// all of them. A file that cannot be read any more costs those that want it, and nobody else.
void Hub::send_piece(std::uint32_t host) {
  Guest& guest = guests_.at(host);
  if (!guest.link || !guest.wants) return;
  const Goods* const it = goods(guest.wants->goods);
  if (it == nullptr || guest.wants->from >= it->bytes) return;
  const std::uint64_t from = guest.wants->from;
  const auto piece = std::make_shared<std::vector<std::byte>>(
      std::min<std::uint64_t>(kPieceBytes, it->bytes - from));
  if (const Status read = read_at(it->file.get(), from, *piece, it->what); !read.ok()) {
    // Not at once: the link may be the one that is speaking.
    return loop_.post([this, host, why = read.error()] { turn_out(host, why); });
  }
  guest.wants->from += piece->size();
  guest.link->send({kPieceFrame, 0, from, it->bytes, guest.wants->goods}, *piece,
                   [this, host, piece] { send_piece(host); });
}

}  // namespace instep::coord
